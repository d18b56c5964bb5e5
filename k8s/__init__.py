"""Manifests for Kubernetes, what writes a part of them, and what checks all of them."""
