"""Cluster: nodes, object store and the processes of Ray."""

from __future__ import annotations

from typing import Final

from grafana import panels as p
from grafana import queries as q
from grafana.dashboard import CLUSTER, Dashboard, Row
from grafana.promql import by

NODES: Final = Row(
    "Nodes",
    8,
    (
        (4, p.stat(
            "Nodes", "That report.", p.Target(f"sum({q.NODES})"), steps=((None, p.BLUE),),
            links=[p.runbook("FraudrayWorkerLost")],
        )),
        (4, p.stat(
            "Cores", "Of all nodes.", p.Target(by("", q.CORES)), steps=((None, p.BLUE),),
        )),
        (16, p.table(
            "Nodes now", "Share of cores, memory, disk and object store in use.",
            [p.Target(q.CPU_SHARE), p.Target(q.MEMORY_SHARE), p.Target(f"1 - {q.DISK_FREE_SHARE}"),
             p.Target(q.STORE_SHARE)],
            {"cluster": "Cluster", "instance": "Node", "Value #A": "Cores", "Value #B": "Memory",
             "Value #C": "Disk", "Value #D": "Object store"},
            unit=p.PERCENT, links=[p.runbook("FraudrayDiskFilling")],
        )),
        (8, p.timeseries(
            "Cores in use", "Share of each node's cores.",
            [p.Target(q.CPU_SHARE, "{{instance}}")], unit=p.PERCENT, maximum=1,
        )),
        (8, p.timeseries(
            "Memory in use", "Share of each node's memory, object store included. Ray begins to "
            "kill at 95 %.",
            [p.Target(q.MEMORY_SHARE, "{{instance}}")], unit=p.PERCENT, maximum=1,
            steps=((None, p.GREEN), (0.95, p.RED)), links=[p.runbook("FraudrayWorkerLost")],
        )),
        (8, p.timeseries(
            "Nodes over time", "A step down that no autoscaler made is a node lost.",
            [p.Target(q.NODES, "{{cluster}}")], unit=p.NUMBER, steplike=True,
            links=[p.runbook("FraudrayWorkerLost")],
        )),
    ),
)  # fmt: skip
STORE: Final = Row(
    "Disk and object store",
    8,
    (
        (8, p.bargauge(
            "Disk", "Share of each node's disk in use. Ray spills nothing more at 95 %.",
            p.Target(f"1 - {q.DISK_FREE_SHARE}", "{{instance}}"), unit=p.PERCENT, maximum=1,
            steps=((None, p.GREEN), (0.85, p.ORANGE), (0.95, p.RED)),
            links=[p.runbook("FraudrayDiskFilling")],
        )),
        (8, p.timeseries(
            "Object store", "Share of each node's object store in use.",
            [p.Target(q.STORE_SHARE, "{{instance}}")], unit=p.PERCENT, maximum=1,
            steps=((None, p.GREEN), (0.9, p.RED)), links=[p.runbook("FraudrayObjectStoreFull")],
        )),
        (8, p.timeseries(
            "Spilled to disk", "What did not fit into the object store.",
            [p.Target(q.SPILLED, "{{instance}}")], unit=p.BYTES,
            links=[p.runbook("FraudrayObjectStoreFull")],
        )),
    ),
)  # fmt: skip
WORKERS: Final = Row(
    "Ray's workers",
    8,
    (
        (8, p.timeseries(
            "CPUs given out", "Ray's bookkeeping: what replicas and workers have asked for.",
            [p.Target(by("State", q.RESOURCES), "{{State}}")], unit=p.NUMBER, stacked=True,
        )),
        (8, p.timeseries(
            "Actors by state", "Replicas, workers of sweeps, Serve's own. Many that restart or "
            "wait for a place say that the cluster is too small.",
            [p.Target(q.ACTORS, "{{State}}")], unit=p.COUNT, stacked=True,
        )),
        (8, p.timeseries(
            "Tasks by state", "Those that are not over.",
            [p.Target(q.TASKS, "{{State}}")], unit=p.COUNT, stacked=True,
        )),
        (8, p.timeseries(
            "Processes lost", "In 15 minutes: killed for want of memory, or ended unforeseen.",
            [p.Target(q.OOM_KILLS, "{{cluster}}: memory"),
             p.Target(q.WORKER_FAILURES, "{{cluster}}: unforeseen")],
            unit=p.COUNT, links=[p.runbook("FraudrayWorkerLost")],
        )),
        (8, p.timeseries(
            "Cores by component", "What the processes of Ray use, and what runs in them.",
            [p.Target(q.COMPONENT_CPU, "{{Component}}")], unit=p.NUMBER, stacked=True,
        )),
        (8, p.timeseries(
            "Memory by component", "What the processes of Ray hold, shared pages counted each "
            "time.",
            [p.Target(q.COMPONENT_MEMORY, "{{Component}}")], unit=p.BYTES, stacked=True,
        )),
    ),
)  # fmt: skip
CLUSTERS: Final = Dashboard(
    "cluster",
    "Cluster",
    "Nodes, object store and the processes of Ray.",
    (NODES, STORE, WORKERS),
    (CLUSTER,),
)
