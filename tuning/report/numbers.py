"""Numbers, times and lists as they stand in the report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

NONE = "-"
"""Where there is no number."""

_UNITS = ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))


def number(metric: str, value: float | None) -> str:
    """A metric's value as it is read; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return NONE
    if metric == "cost_per_10000":
        return f"{value:,.0f}"
    return f"{value:,.1f}" if metric == "alerts_per_10000" else f"{value:.4f}"


def duration(seconds: float) -> str:
    """A time in at most two units."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    unit, name, part, small = next(steps for steps in _UNITS if whole >= steps[0])
    rest = whole % unit // part
    return f"{whole // unit} {name}" + (f" {rest} {small}" if rest else "")


def when(moment: float) -> str:
    """A Unix time."""
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC"


def counted(count: int, noun: str) -> str:
    """A number of things."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """Names in a row, with an "and" before the last."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1] if names else ""]))
