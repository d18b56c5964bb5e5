"""How far the payments of a file are from those that a model was made from.

The file is read, checked, scored and counted part by part, so that memory holds one part of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from training.bundle import ModelBundle
from training.checked import Part, checked_parts
from training.convert import together
from training.data import MAX_BAD_SHARE, Columns, bad_rows, require_share, set_aside
from training.drift.measure import Drift, measure
from training.errors import DataRefused
from training.read import chunks
from training.reference import Counts
from training.source import Source

CYCLES = {"day": timedelta(hours=23), "week": timedelta(hours=7 * 24 - 1)}
"""Rows that span less are not compared in fields that follow the time of day, or of the week."""


@dataclass(frozen=True)
class FileDrift:
    """A file beside the rows that a model was made from.

    Attributes
    ----------
    counts
        Of the file's rows that keep the spec, in the bins of the model's reference.
    bad_rows
        Rows that do not, and are not counted.
    begins, ends
        Earliest and latest timestamp (ISO 8601, UTC); None where the file has none.
    alert_rate, expected_alert_rate
        Share of the rows that the model alerts on, and of the validation rows.
    """

    source: str
    counts: Counts
    drift: Drift
    bad_rows: int
    rejected_file: Path | None
    begins: str | None
    ends: str | None
    alert_rate: float
    expected_alert_rate: float

    def left_out(self) -> str:
        """Which fields were not compared, and why, in words; empty if all were."""
        if not self.drift.skipped or self.begins is None or self.ends is None:
            return ""
        span = datetime.fromisoformat(self.ends) - datetime.fromisoformat(self.begins)
        return (
            f"Not compared: {', '.join(self.drift.skipped)}. What follows the time of day or of "
            "the week is told of a whole one, and the file spans "
            f"{span.total_seconds() / 3600:.1f} hours"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; what `Drift.to_dict` gives is among it."""
        return {
            "source": self.source,
            "begins": self.begins,
            "ends": self.ends,
            "bad_rows": self.bad_rows,
            "rejected_file": self.rejected_file and str(self.rejected_file),
            "alert_rate": self.alert_rate,
            "expected_alert_rate": self.expected_alert_rate,
        } | self.drift.to_dict()


def drift_of(file: str, bundle: ModelBundle, *, max_bad_share: float = MAX_BAD_SHARE) -> FileDrift:
    """Count a file of any size, score it, and compare both with the model's reference.

    It needs no label. Rows that break the spec are listed as `training.data.load` lists them.

    Raises
    ------
    FraudrayError, UsageError, DataRefused
        As `training.data.load` does.
    """
    require_share(max_bad_share)
    source, spec = Source(file), bundle.spec
    parts = checked_parts(
        chunks(source), spec, source=source.name, labelled=False,
        only={n for n, c in spec.columns.items() if c.role in ("feature", "timestamp")},
    )  # fmt: skip
    found, rejected = _counted(parts, bundle)
    if not found.counts.rows and rejected.empty:
        raise DataRefused(f"{source.name}: the file has a header but no rows")
    written = set_aside(rejected, found.counts.rows, source, spec, max_bad_share)
    skip = {
        name for name, column in spec.inputs.items()
        if column.cycle and found.span is not None and found.span < CYCLES[column.cycle]
    }  # fmt: skip
    curve = bundle.thresholds
    return FileDrift(
        source=source.name,
        counts=found.counts,
        drift=measure(bundle.reference, found.counts, skip=skip),
        bad_rows=bad_rows(rejected),
        rejected_file=written,
        begins=_iso(found.moments[0]) if found.moments else None,
        ends=_iso(found.moments[1]) if found.moments else None,
        alert_rate=found.alerts / found.counts.rows,
        expected_alert_rate=float(curve.alerts[curve.at(bundle.choice.threshold)] / curve.rows),
    )


@dataclass
class _Sum:
    """What was counted so far."""

    counts: Counts
    alerts: int = 0
    moments: list[pd.Timestamp] = field(default_factory=list)  # the earliest and the latest

    @property
    def span(self) -> timedelta | None:
        return self.moments[1] - self.moments[0] if self.moments else None

    def add(self, part: Part, bundle: ModelBundle) -> None:
        spec, frame = bundle.spec, part.frame
        columns: Columns = {n: frame[n].to_numpy() for n in spec.inputs if n in frame}
        probability = bundle.score(columns)
        self.counts += bundle.reference.count(columns, probability)
        self.alerts += int(bundle.decide(probability).sum())
        if spec.timestamp in frame:
            times = frame[spec.timestamp]
            known = sorted([*self.moments, times.min(), times.max()])
            self.moments = [known[0], known[-1]]


def _counted(parts: Iterable[Part], bundle: ModelBundle) -> tuple[_Sum, pd.DataFrame]:
    """The sum over the rows that keep the spec, and the problems of the others."""
    dated, undated = _Sum(bundle.reference.empty()), _Sum(bundle.reference.empty())
    problems, problems_if_dated = [], []
    for part in parts:
        if len(part.frame):
            (dated if part.undated is None else undated).add(part, bundle)
        problems.append(part.problems)
        late = part if part.undated is None else part.without_rows(bundle.spec)
        problems_if_dated.append(late.problems)
    # Whether rows without a timestamp are wrong shows at the end: see `Part.undated`.
    if dated.counts.rows:
        return dated, together(problems_if_dated)
    return undated, together(problems)


def _iso(moment: pd.Timestamp) -> str:
    return f"{moment.isoformat(timespec='seconds')}Z"
