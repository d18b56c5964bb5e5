"""Dashboard: panels in rows on Grafana's grid, with the variables and annotations all share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from grafana import queries as q
from grafana.panels import DATASOURCE, Panel
from grafana.promql import in_panel

COLUMNS: Final = 24
_SCHEMA: Final = 42


@dataclass(frozen=True)
class Row:
    """A heading and panels of one height below it, from left to right.

    Parameters
    ----------
    panels
        How many of the grid's 24 columns each takes, and the panel.
    """

    title: str
    height: int
    panels: Sequence[tuple[int, Panel]]


@dataclass(frozen=True)
class Variable:
    """A choice on top of a dashboard, filled by a query.

    Parameters
    ----------
    name
        The label whose values may be chosen.
    series
        A selector of the series that have it.
    """

    name: str
    title: str
    label: str
    series: str

    def to_dict(self) -> dict[str, Any]:
        """As Grafana reads it; all of them are chosen at first."""
        query = f"label_values({in_panel(self.series)}, {self.label})"
        return {
            "type": "query",
            "name": self.name,
            "label": self.title,
            "datasource": DATASOURCE,
            "query": query,
            "definition": query,
            "refresh": 2,
            "sort": 3,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"selected": True, "text": "All", "value": "$__all"},
        }


CLUSTER: Final = Variable(
    "cluster", "Cluster", "cluster", '{__name__=~"ray_node_cpu_count|fraudray_sweep_trials"}'
)
APPLICATION: Final = Variable(
    "application", "Application", "application", 'ray_fraudray_model_version{cluster=~"$cluster"}'
)
VERSION: Final = Variable(
    "version", "Version", "model_version", "ray_fraudray_decisions_total{<served>}"
)
SWEEP: Final = Variable("sweep", "Sweep", "sweep", "fraudray_sweep_trials{<cluster>}")


@dataclass(frozen=True)
class Dashboard:
    """One dashboard; its address is /d/fraudray-<name>."""

    name: str
    title: str
    description: str
    rows: Sequence[Row]
    variables: Sequence[Variable]
    since: str = "now-3h"

    def to_dict(self) -> dict[str, Any]:
        """As Grafana reads it."""
        return {
            "uid": f"fraudray-{self.name}",
            "title": f"fraudray: {self.title}",
            "tags": ["fraudray"],
            "schemaVersion": _SCHEMA,
            "editable": True,
            "graphTooltip": 1,
            "refresh": "30s",
            "timezone": "browser",
            "time": {"from": self.since, "to": "now"},
            "links": [_LINKS],
            "annotations": {"list": [_PROMOTIONS, _PAGES]},
            "templating": {"list": [_DATASOURCES, *(v.to_dict() for v in self.variables)]},
            "panels": self._placed(),
        }

    def _placed(self) -> list[Panel]:
        placed: list[Panel] = []
        y = 0
        for row in self.rows:
            head = {"type": "row", "title": row.title, "collapsed": False, "panels": []}
            placed.append(head | _place(len(placed), 0, y, COLUMNS, 1))
            x, y = 0, y + 1
            for width, panel in row.panels:
                if x + width > COLUMNS:
                    x, y = 0, y + row.height
                placed.append(panel | _place(len(placed), x, y, width, row.height))
                x += width
            y += row.height
        return placed


def _place(before: int, x: int, y: int, w: int, h: int) -> dict[str, Any]:
    return {"id": before + 1, "gridPos": {"x": x, "y": y, "w": w, "h": h}}


def _annotation(name: str, color: str, expression: str, title: str) -> dict[str, Any]:
    return {
        "name": name, "datasource": DATASOURCE, "enable": True, "hide": False, "iconColor": color,
        "expr": in_panel(expression), "step": "60s", "titleFormat": title,
    }  # fmt: skip


_LINKS: Final = {
    "title": "fraudray", "type": "dashboards", "icon": "external link", "tooltip": "",
    "tags": ["fraudray"], "asDropdown": False, "targetBlank": False, "includeVars": True,
    "keepTime": True, "url": "",
}  # fmt: skip
_DATASOURCES: Final = {
    "type": "datasource", "name": "datasource", "label": "Prometheus", "query": "prometheus",
    "refresh": 1, "current": {"selected": True, "text": "Prometheus", "value": "prometheus"},
}  # fmt: skip
_PROMOTIONS: Final = _annotation("Promotions", "blue", q.NEW_CHAMPION, "Version {{version}} serves")
_PAGES: Final = _annotation("Pages", "red", q.firing('severity="page"'), "{{alertname}} {{cause}}")
