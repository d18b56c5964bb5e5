"""What is suspicious about a file, in plain words, before anything is trained on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import TypeAdapter

from training.audit.file import of_file
from training.audit.findings import SEPARATES, Finding, Later, of_column, of_probe
from training.audit.probe import Probe, probe
from training.audit.profiles import ColumnProfile, profile
from training.data import Dataset
from training.errors import printable
from training.reference import Reference, psi
from training.split import Split

MOST_PICTURES = 60
"""Columns with a picture on the page."""

_MANY_VALUES = 1000  # of a category, more than a quick model can take


@dataclass(frozen=True)
class Audit:
    """The report on a file.

    Attributes
    ----------
    gap_days
        Days left out before each later part of a split by time.
    parts
        Rows and frauds per part of the split.
    columns
        What each input looks like in the training rows.
    probe
        What a quick model is worth, and what without the columns that separate; None if the frauds
        are too few.
    """

    source: str
    rows: int
    frauds: int
    split_by: str
    split_fingerprint: str
    gap_days: float
    parts: dict[str, dict[str, int]]
    findings: tuple[Finding, ...]
    columns: tuple[ColumnProfile, ...]
    probe: Probe | None

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that `--strict` refuses a file for."""
        return tuple(f for f in self.findings if f.severity == "error")

    @property
    def excluded(self) -> tuple[str, ...]:
        """Columns that a model must not see: their missingness gives the label away."""
        return self._named("missingness-tells")

    @property
    def separating(self) -> tuple[str, ...]:
        """Columns that tell the classes apart alone, by their value."""
        return self._named("separates")

    def to_dict(self) -> dict[str, Any]:
        """As JSON carries it; `from_dict` reads it back to an equal report."""
        content: dict[str, Any] = _AUDIT.dump_python(self, mode="json")
        return content | {"excluded": list(self.excluded), "separating": list(self.separating)}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Audit:
        """Read back what `to_dict` gave."""
        return _AUDIT.validate_python(content)

    def _named(self, code: str) -> tuple[str, ...]:
        return tuple(f.column for f in self.findings if f.code == code and f.column)


_AUDIT: TypeAdapter[Audit] = TypeAdapter(Audit)


def audit(dataset: Dataset, parts: Split) -> Audit:
    """Look at a labelled dataset.

    Columns are judged against the label on the training rows alone, so that what is learned here,
    and may lead to one being left out, owes nothing to the rows that measure the model. The labels
    of all rows are only counted: how many frauds the file and its parts hold, how many are twins
    of training rows, and where equal rows disagree. Nothing is left out for that.

    Raises
    ------
    DataRefused
        If the label is missing.
    """
    label = dataset.label
    train = dataset.take(parts.train)
    counts = {n: {"rows": len(r), "frauds": int(label[r].sum())} for n, r in parts.items()}
    reference = Reference.of(train.columns, dataset.spec)
    counted = {n: reference.count(dataset.take(r).columns) for n, r in parts.items()[1:]}
    later = {part: Later.of(reference, found) for part, found in counted.items()}
    shifts = {part: psi(reference.counts, found) for part, found in counted.items()}
    columns = profile(train, shifts)
    left_out = _left_out(columns)
    separating = _separating(columns, left_out)
    quick = probe(dataset, parts, separating, left_out=left_out)
    findings = [
        *(f for column in columns for f in of_column(column, dataset.spec.inputs[column.name],
                                                     later, quick)),
        *(of_probe(quick, separating) if quick else ()),
        *of_file(dataset, parts),
    ]  # fmt: skip
    order = ("error", "warning", "note")
    return Audit(
        source=dataset.source,
        rows=len(dataset),
        frauds=int(label.sum()),
        split_by=parts.method,
        split_fingerprint=parts.fingerprint,
        gap_days=parts.gap_days,
        parts=counts,
        findings=tuple(
            # What a file holds may end up in a terminal.
            replace(f, message=printable(f.message))
            for f in sorted(findings, key=lambda f: order.index(f.severity))
        ),
        columns=columns,
        probe=quick,
    )


def audit_html(report: Audit) -> str:
    """Make the page of a report, from the report alone: one file, pictures inside.

    The `MOST_PICTURES` columns that tell most about the label get a picture, the rest a line.
    """
    from training.audit.pictures import column_picture
    from training.html import render

    ranked = sorted(report.columns, key=lambda c: -max(c.skill, c.missing_skill))
    notes: dict[str | None, list[Finding]] = {}
    for finding in report.findings:
        notes.setdefault(finding.column, []).append(finding)
    return render(
        "audit.html",
        title=f"Audit of {report.source}",
        report=report,
        pictured=[(column, column_picture(column)) for column in ranked[:MOST_PICTURES]],
        rest=ranked[MOST_PICTURES:],
        notes=notes,
    )


def _separating(columns: Sequence[ColumnProfile], left_out: Sequence[str]) -> list[str]:
    """Columns of a quick model that separate the classes, the most telling first."""
    ranked = sorted(columns, key=lambda c: -c.skill)
    return [c.name for c in ranked if c.skill >= SEPARATES and c.name not in left_out]


def _left_out(columns: Sequence[ColumnProfile]) -> list[str]:
    """Columns that no quick model may see, or can take."""
    telling = [c.name for c in columns if c.absence == "tells"]
    unfit = [
        c.name
        for c in columns
        if c.type == "category" and (c.identifier or c.distinct > _MANY_VALUES)
    ]
    return [*telling, *(name for name in unfit if name not in telling)]
