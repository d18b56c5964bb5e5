"""Panels that more than one dashboard shows."""

from __future__ import annotations

from typing import Final

from grafana import panels as p
from grafana import queries as q
from grafana.promql import by, rate

REFUSALS: Final = p.timeseries(
    "Refusals by reason",
    "overload: too much waits. deadline: no answer in 10 s. invalid, key, content-type and so on: "
    "the caller's.",
    [p.Target(by("reason", rate(q.REFUSED)), "{{reason}}")],
    unit=p.PER_SECOND,
    stacked=True,
    links=[p.runbook("FraudrayOverload")],
)
STAGE_VERSIONS: Final = p.state_timeline(
    "Versions of the stages",
    "The version that all replicas of a stage follow. At a promotion they differ for some seconds.",
    [p.Target(by("stage", q.STAGE_VERSION, "min"), "{{stage}}")],
    steps=((None, p.RED), (1, p.BLUE)),
    links=[p.runbook("FraudrayVersionMismatch")],
)
