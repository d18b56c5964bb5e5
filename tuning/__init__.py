"""The search for the best model: many trials in parallel on Ray, each tracked in MLflow."""
