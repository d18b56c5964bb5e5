"""Panels of Grafana, one constructor for each kind that the dashboards use.

A panel is what Grafana's JSON has of it, less its number and its place, which `dashboard` gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any, Final

from grafana.promql import in_panel
from grafana.settings import RUNBOOK_URL

Panel = dict[str, Any]
Steps = Sequence[tuple[float | None, str]]

DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
GREEN, ORANGE, RED, BLUE, GREY = "green", "orange", "red", "blue", "text"
PLAIN: Final[Steps] = ((None, GREEN),)
PERCENT, SECONDS, PER_SECOND, BYTES, NUMBER, COUNT = (
    "percentunit", "s", "reqps", "bytes", "none", "short",
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """One query of a panel.

    Parameters
    ----------
    expression
        As in `grafana.queries`; the dashboard's variables are filled in.
    legend
        What a series is called, with its labels as {{label}}.
    """

    expression: str
    legend: str = ""


def link(title: str, url: str, tooltip: str = "", *, leaves: bool = False) -> dict[str, Any]:
    """A link that keeps the time and the variables, unless it leaves Grafana."""
    return {
        "title": title, "type": "link", "icon": "external link" if leaves else "dashboard",
        "tooltip": tooltip, "url": url, "tags": [], "asDropdown": False, "targetBlank": leaves,
        "includeVars": not leaves, "keepTime": not leaves,
    }  # fmt: skip


def runbook(section: str) -> dict[str, Any]:
    """A link to a section of the runbook."""
    return link("What to do", f"{RUNBOOK_URL}#{section}", f"The runbook: {section}", leaves=True)


def board(uid: str, title: str) -> dict[str, Any]:
    """A link to another of the dashboards."""
    return link(title, f"/d/fraudray-{uid}?${{__url_time_range}}&${{__all_variables}}", title)


def stat(
    title: str, description: str, target: Target, *, unit: str = NUMBER, steps: Steps = PLAIN,
    names: Mapping[str, tuple[str, str]] | None = None, decimals: int | None = None,
    nothing: str = "no data", line: bool = True, links: Sequence[dict[str, Any]] = (),
) -> Panel:  # fmt: skip
    """One number, coloured by what it means.

    Parameters
    ----------
    names
        Texts and colours to be shown instead of values.
    line
        Whether its course is drawn below; it takes the whole range to be asked.
    """
    return _panel(
        "stat", title, description, [target], links=links, instant=not line,
        defaults=_defaults(unit, steps, decimals, nothing, names),
        options={
            "graphMode": "area" if line else "none", "colorMode": "background",
            "justifyMode": "center", "textMode": "value", "wideLayout": True,
            "showPercentChange": False, "percentChangeColorMode": "standard",
            "orientation": "auto", "reduceOptions": _last(),
        },
    )  # fmt: skip


def timeseries(
    title: str, description: str, targets: Sequence[Target], *, unit: str = COUNT,
    steps: Steps = PLAIN, stacked: bool = False, minimum: float | None = 0,
    maximum: float | None = None, steplike: bool = False, links: Sequence[dict[str, Any]] = (),
) -> Panel:  # fmt: skip
    """Lines over time; `steps` beyond the first are drawn as limits."""
    custom = {
        "drawStyle": "line",
        "lineInterpolation": "stepAfter" if steplike else "linear",
        "lineWidth": 1,
        "fillOpacity": 30 if stacked else 5,
        "showPoints": "auto",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if len(steps) > 1 else "off"},
        "axisPlacement": "auto",
    }
    defaults = _defaults(unit, steps) | {"color": {"mode": "palette-classic"}, "custom": custom}
    return _panel(
        "timeseries", title, description, targets, links=links,
        defaults=defaults | _range(minimum, maximum),
        options={
            "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True,
                       "calcs": ["lastNotNull", "max"]},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    )  # fmt: skip


def bargauge(
    title: str, description: str, target: Target, *, unit: str = NUMBER, steps: Steps = PLAIN,
    maximum: float | None = None, links: Sequence[dict[str, Any]] = (),
) -> Panel:  # fmt: skip
    """A bar for each series, as it is now."""
    return _panel(
        "bargauge", title, description, [target], links=links, instant=True,
        defaults=_defaults(unit, steps, 3) | _range(0, maximum),
        options={
            "displayMode": "basic", "valueMode": "color", "namePlacement": "left",
            "showUnfilled": True, "sizing": "auto", "minVizWidth": 8, "minVizHeight": 16,
            "maxVizHeight": 32, "orientation": "horizontal", "reduceOptions": _last(),
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False,
                       "calcs": []},
        },
    )  # fmt: skip


def heatmap(
    title: str, description: str, target: Target, *, unit: str = NUMBER,
    links: Sequence[dict[str, Any]] = (),
) -> Panel:  # fmt: skip
    """A histogram over time: `target` is a rate of its buckets by `le`."""
    panel = _panel(
        "heatmap", title, description, [target], links=links,
        defaults={"custom": {"scaleDistribution": {"type": "linear"}}},
        options={
            "calculate": False, "showValue": "never", "cellGap": 1,
            "cellValues": {"unit": PER_SECOND},
            "color": {"mode": "scheme", "scheme": "Oranges", "fill": "dark-orange",
                      "scale": "exponential", "exponent": 0.5, "steps": 64, "reverse": False},
            "yAxis": {"axisPlacement": "left", "unit": unit},
            "rowsFrame": {"layout": "auto"}, "filterValues": {"le": 1e-9},
            "legend": {"show": True}, "exemplars": {"color": "rgba(255,0,255,0.7)"},
            "tooltip": {"mode": "single", "yHistogram": True, "showColorScale": False},
        },
    )  # fmt: skip
    panel["targets"][0]["format"] = "heatmap"
    return panel


def state_timeline(
    title: str, description: str, targets: Sequence[Target], *, steps: Steps = PLAIN,
    names: Mapping[str, tuple[str, str]] | None = None, links: Sequence[dict[str, Any]] = (),
) -> Panel:  # fmt: skip
    """Which state each series was in, over time."""
    custom = {"lineWidth": 0, "fillOpacity": 70, "spanNulls": False}
    return _panel(
        "state-timeline", title, description, targets, links=links,
        defaults=_defaults(NUMBER, steps, names=names) | {"custom": custom},
        options={
            "showValue": "auto", "rowHeight": 0.8, "mergeValues": True, "alignValue": "left",
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False,
                       "calcs": []},
            "tooltip": {"mode": "single", "sort": "none"},
        },
    )  # fmt: skip


def table(
    title: str, description: str, targets: Sequence[Target], columns: Mapping[str, str], *,
    unit: str = NUMBER, decimals: int | None = None, nothing: str = "",
    links: Sequence[dict[str, Any]] = (), cell_links: Sequence[dict[str, Any]] = (),
) -> Panel:  # fmt: skip
    """The labels and values of series as they are now, a row for each.

    Parameters
    ----------
    columns
        Label, or `Value #A` and so on, to the heading it gets; the others are left out.
    """
    panel = _panel(
        "table", title, description, targets, links=links, instant=True,
        defaults=_defaults(unit, PLAIN, decimals, nothing)
        | {"custom": {"align": "auto", "inspect": False},
           "links": list(cell_links)},
        options={"frameIndex": 0, "showHeader": True, "cellHeight": "sm"},
    )  # fmt: skip
    for target in panel["targets"]:
        target["format"] = "table"
    panel["transformations"] = [
        {"id": "merge", "options": {}},
        {"id": "filterFieldsByName", "options": {"include": {"names": list(columns)}}},
        {
            "id": "organize",
            "options": {
                "excludeByName": {},
                "indexByName": {name: i for i, name in enumerate(columns)},
                "renameByName": dict(columns),
            },
        },
    ]
    return panel


def _panel(
    kind: str, title: str, description: str, targets: Sequence[Target], *,
    defaults: dict[str, Any], options: dict[str, Any], links: Sequence[dict[str, Any]],
    instant: bool = False,
) -> Panel:  # fmt: skip
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "links": list(links),
        "targets": [
            {
                "refId": letter,
                "datasource": DATASOURCE,
                "editorMode": "code",
                "expr": in_panel(target.expression),
                "legendFormat": target.legend or "__auto",
                "instant": instant,
                "range": not instant,
            }
            for letter, target in zip(ascii_uppercase, targets, strict=False)
        ],
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
    }


def _defaults(
    unit: str, steps: Steps, decimals: int | None = None, nothing: str = "",
    names: Mapping[str, tuple[str, str]] | None = None,
) -> dict[str, Any]:  # fmt: skip
    found: dict[str, Any] = {
        "unit": unit,
        "color": {"mode": "thresholds"},
        "thresholds": {
            "mode": "absolute",
            "steps": [{"value": value, "color": color} for value, color in steps],
        },
        "mappings": [],
    }
    if decimals is not None:
        found["decimals"] = decimals
    if nothing:
        found["noValue"] = nothing
    if names:
        options = {
            value: {"text": name, "color": color, "index": i}
            for i, (value, (name, color)) in enumerate(names.items())
        }
        found["mappings"] = [{"type": "value", "options": options}]
    return found


def _range(minimum: float | None, maximum: float | None) -> dict[str, Any]:
    ends = {"min": minimum, "max": maximum}
    return {name: value for name, value in ends.items() if value is not None}


def _last() -> dict[str, Any]:
    return {"calcs": ["lastNotNull"], "fields": "", "values": False}
