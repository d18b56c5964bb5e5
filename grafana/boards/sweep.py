"""Sweep: how far a search is, what it has found and how fast it goes."""

from __future__ import annotations

from typing import Final

from grafana import panels as p
from grafana import queries as q
from grafana.dashboard import CLUSTER, SWEEP, Dashboard, Row
from grafana.promql import by, quantile, rate

PROGRESS: Final = Row(
    "Progress",
    5,
    (
        (6, p.stat(
            "Finished trials", "Judged on every fold, or given up by the scheduler.",
            p.Target(by("", q.FINISHED)), unit=p.COUNT, steps=((None, p.BLUE),),
            nothing="no sweep runs",
        )),
        (6, p.stat(
            "Unfinished trials", "Running, or drawn and waiting for a worker.",
            p.Target(by("", q.UNFINISHED)), unit=p.COUNT, steps=((None, p.BLUE),), nothing="none",
            links=[p.runbook("FraudraySweepStalled")],
        )),
        (6, p.stat(
            "Failed trials", "An exception in a fit, or a worker that died three times over it.",
            p.Target(by("", q.FAILED_TRIALS) + " or vector(0)"), unit=p.COUNT,
            steps=((None, p.GREEN), (1, p.ORANGE)),
        )),
        (6, p.stat(
            "Reports a minute", "Results that workers have told of. None for half an hour is a "
            "sweep that does not get on.",
            p.Target(by("", rate(q.REPORTS)) + " * 60"), decimals=1, nothing="none",
            steps=((None, p.RED), (0.01, p.GREEN)), links=[p.runbook("FraudraySweepStalled")],
        )),
    ),
)  # fmt: skip
RESULTS: Final = Row(
    "Trials",
    9,
    (
        (12, p.timeseries(
            "Trials by status", "What became of the trials of each sweep.",
            [p.Target(by("sweep, status", q.TRIALS), "{{sweep}}: {{status}}")], unit=p.COUNT,
            stacked=True, steplike=True,
        )),
        (12, p.timeseries(
            "Best score", "Of a finished trial, in units of the metric that is searched for.",
            [p.Target(by("sweep, metric", q.BEST_SCORE, "max"), "{{sweep}}: {{metric}}")],
            unit=p.NUMBER, minimum=None, steplike=True,
        )),
        (12, p.timeseries(
            "Reports", "Results a second that workers have told of.",
            [p.Target(by("sweep", rate(q.REPORTS)), "{{sweep}}")], unit="cps",
            links=[p.runbook("FraudraySweepStalled")],
        )),
        (12, p.timeseries(
            "Time the fits of a trial took", "Half, and nine of ten trials took less.",
            [p.Target(quantile(share, q.TRIAL_TIME, "sweep"), f"{{{{sweep}}}} p{share * 100:g}")
             for share in (0.5, 0.9)],
            unit=p.SECONDS,
        )),
        (12, p.heatmap(
            "Trials by time", "How many trials took how long.",
            p.Target(by("le", rate(q.TRIAL_TIME)), "{{le}}"), unit=p.SECONDS,
        )),
        (12, p.timeseries(
            "Cores in use", "Share of each node's cores. A sweep should use all of them; if not, "
            "workers wait for data or for a free place.",
            [p.Target(q.CPU_SHARE, "{{instance}}")], unit=p.PERCENT, maximum=1,
            links=[p.runbook("FraudrayWorkerLost")],
        )),
    ),
)  # fmt: skip
SWEEPS: Final = Dashboard(
    "sweep",
    "Sweep",
    "How far a search is, what it has found and how fast it goes; needs `fraudray tune --metrics`.",
    (PROGRESS, RESULTS),
    (CLUSTER, SWEEP),
)
