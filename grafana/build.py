"""Write the dashboards and the rules: `make dashboards`, or `python -m grafana.build FOLDER`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

import yaml

from grafana import alerts, records
from grafana.alerts import Alert
from grafana.boards.cluster import CLUSTERS
from grafana.boards.model import MODEL
from grafana.boards.overview import OVERVIEW
from grafana.boards.serving import SERVING
from grafana.boards.sweep import SWEEPS
from grafana.records import Record
from grafana.settings import INTERVAL

DASHBOARDS: Final = (OVERVIEW, SERVING, MODEL, SWEEPS, CLUSTERS)
RECORDING: Final[dict[str, tuple[Record, ...]]] = {
    "fraudray-traffic": (*records.TRAFFIC, *records.SHARES),
    "fraudray-model": records.MODEL,
    "fraudray-budget": records.BUDGET,
}
ALERTING: Final[dict[str, tuple[Alert, ...]]] = {
    "fraudray-serving-alerts": alerts.SERVING,
    "fraudray-objective-alerts": alerts.OBJECTIVES,
    "fraudray-model-alerts": alerts.MODEL,
    "fraudray-log-alerts": alerts.LOG,
    "fraudray-sweep-alerts": alerts.SWEEP,
    "fraudray-cluster-alerts": alerts.CLUSTER,
}
_SELDOM: Final = {"fraudray-budget": 300}
"""Seconds between two evaluations where every 30 would be dear: these look back a month."""


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def write(folder: Path) -> None:
    """Write all that is made: `dashboards/*.json`, `rules/*.yaml`."""
    made = {f"dashboards/{d.name}.json": _json(d.to_dict()) for d in DASHBOARDS}
    made["rules/recording.yaml"] = _rules(RECORDING)
    made["rules/alerts.yaml"] = _rules(ALERTING)
    for name, content in made.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")


def _json(dashboard: dict[str, Any]) -> str:
    return json.dumps(dashboard, indent=1, ensure_ascii=False) + "\n"


def _rules(groups: dict[str, Any]) -> str:
    made = {
        "groups": [
            {
                "name": name,
                "interval": f"{_SELDOM.get(name, INTERVAL)}s",
                "rules": [rule.to_dict() for rule in rules],
            }
            for name, rules in groups.items()
        ]
    }
    head = "# Made by `make dashboards` from the Python beside it; change that.\n"
    return head + yaml.dump(made, Dumper=_Dumper, sort_keys=False, width=1000, allow_unicode=True)


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
