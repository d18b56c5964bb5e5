-- Run once, on an empty volume. MLflow cannot touch the decision log, nor the graph the registry.
\getenv mlflow_password MLFLOW_PASSWORD
\getenv decisions_password DECISIONS_PASSWORD
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow_password';
CREATE ROLE decisions LOGIN PASSWORD :'decisions_password';
CREATE DATABASE mlflow OWNER mlflow;
CREATE DATABASE decisions OWNER decisions;
REVOKE CONNECT, TEMPORARY ON DATABASE mlflow, decisions, postgres FROM PUBLIC;
