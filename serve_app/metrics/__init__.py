"""What Prometheus is told of the graph; docs/monitoring.md has all of it in one table.

The writer of decisions tells what ingresses counted, since it gets each of their deliveries once;
the rollout tells of versions and replicas; every stage and ingress tells of its own work. Labels
are routes, statuses and reasons of ours, fields of the spec, and versions of the registry: nothing
that a caller sends becomes one.
"""
