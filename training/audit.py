"""What is suspicious about a file, in plain words, before anything is trained on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from training.data import Dataset
from training.spec import HOUR_OF_DAY
from training.split import Split, row_hashes, row_identities, split

SEPARATES = 0.95
"""Skill from which a column tells the classes apart alone."""
MISSINGNESS_TELLS = 0.5
"""Skill from which the mere absence of a value gives the label away."""
_CLOCK_HOURS = 12  # payments by the hour that span less than this are no clock

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing a person should know.

    Attributes
    ----------
    code
        For machines; stays the same between releases.
    column
        The column concerned, if it is one.
    message
        For people.
    """

    severity: Severity
    code: str
    column: str | None
    message: str


@dataclass(frozen=True)
class Audit:
    """The report on a file.

    Attributes
    ----------
    parts
        Rows and frauds per part of the split.
    excluded
        Columns that a model must not see: their missingness gives the label away.
    """

    source: str
    rows: int
    frauds: int
    split_by: str
    parts: dict[str, dict[str, int]]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that `--strict` refuses a file for."""
        return tuple(f for f in self.findings if f.severity == "error")

    @property
    def excluded(self) -> tuple[str, ...]:
        """Columns to leave out of the features."""
        return tuple(f.column for f in self.findings if f.code == "missingness-tells" and f.column)

    def to_dict(self) -> dict[str, Any]:
        """As JSON carries it."""
        return asdict(self) | {"excluded": list(self.excluded)}


def audit(dataset: Dataset) -> Audit:
    """Look at a labelled dataset.

    Columns are judged on the training rows alone, so that what is learned here, and may lead to a
    column being left out, owes nothing to the rows that measure the model.

    Raises
    ------
    DataRefused
        If the label is missing or a part of the split lacks a class.
    """
    label = dataset.label
    parts = split(dataset)
    train = dataset.take(parts.train)
    findings = [
        *_rejected(dataset),
        *_columns(train),
        *_absent(dataset),
        *_twins(dataset, parts),
    ]
    order = ("error", "warning", "note")
    return Audit(
        source=dataset.source,
        rows=len(dataset),
        frauds=int(label.sum()),
        split_by=parts.method,
        parts={n: {"rows": len(r), "frauds": int(label[r].sum())} for n, r in parts.items()},
        findings=tuple(sorted(findings, key=lambda f: order.index(f.severity))),
    )


def _rejected(dataset: Dataset) -> Iterator[Finding]:
    if len(dataset.rejected):
        lines = dataset.rejected["line"].nunique()
        yield Finding("warning", "rows-rejected", None,
                      f"{lines:,} rows break the spec and were set aside")  # fmt: skip


def _absent(dataset: Dataset) -> Iterator[Finding]:
    absent = [name for name in dataset.spec.inputs if name not in dataset.frame]
    if absent:
        yield Finding("note", "columns-absent", None,
                      f"The file lacks {', '.join(absent)}; the model does without")  # fmt: skip


def _columns(train: Dataset) -> Iterator[Finding]:
    label = train.label
    for name, values in train.columns.items():
        missing = pd.isna(values)
        known = values[~missing]
        if len(known) == 0:
            yield Finding("warning", "empty", name, f"{name} holds no value at all")
            continue
        if missing.any() and (found := _missingness(name, missing, label)):
            yield found
        if len(set(known.tolist())) == 1:
            yield Finding("warning", "constant", name, f"{name} is always {known[0]}: no signal")
            continue
        if (score := _alone(values, missing, label)) >= SEPARATES:
            yield Finding("error", "separates", name, _separates(name, values, label, score))
        column = train.spec.inputs[name]
        if (
            column.type == "number"
            and column.unit == HOUR_OF_DAY
            and known.max() - known.min() < _CLOCK_HOURS
        ):
            yield Finding(
                "warning", "not-a-clock", name,
                f"{name} is taken as the {HOUR_OF_DAY} but does not look like a clock: "
                f"{len(set(known.tolist()))} distinct values, all between {known.min():.2f} and "
                f"{known.max():.2f}",
            )  # fmt: skip


def _missingness(name: str, missing: NDArray[np.bool_], label: NDArray[np.int8]) -> Finding | None:
    fraud = label == 1
    score = max(_skill(label, m) for m in (missing, ~missing))
    if score < MISSINGNESS_TELLS:
        return None
    if (missing == fraud).all():
        how = f"{name} is missing exactly on the frauds: on every fraud and on no other row"
    elif (missing != fraud).all():
        how = f"{name} is missing exactly on the legitimate rows: only frauds have it"
    else:
        how = (
            f"{name} is missing on {missing[fraud].mean():.1%} of the frauds and "
            f"{missing[~fraud].mean():.1%} of the legitimate rows"
        )
    return Finding(
        "error", "missingness-tells", name,
        f"{how}. That gives the label away {_scale(score)} and will not hold in service, so {name} "
        f"is left out of the features",
    )  # fmt: skip


def _alone(values: NDArray[Any], missing: NDArray[np.bool_], label: NDArray[np.int8]) -> float:
    """Skill of a column as the only score, rising or falling, on its known values."""
    known, label = values[~missing], label[~missing]
    if not 0 < label.sum() < len(label):
        return 0.0  # the known values are all of one class: missingness tells, not the value
    if known.dtype == object:
        codes, _ = pd.factorize(known)
        known = (np.bincount(codes, label) / np.bincount(codes))[codes]
    return max(_skill(label, sign * known) for sign in (1, -1))


def _skill(label: NDArray[np.int8], score: NDArray[Any]) -> float:
    """Average precision above that of alerting on every row: 1 is perfect, 0 is no better."""
    prevalence = label.mean()
    return float((average_precision_score(label, score) - prevalence) / (1 - prevalence))


def _separates(name: str, values: NDArray[Any], label: NDArray[np.int8], score: float) -> str:
    how = f"{name} separates the classes alone {_scale(score)}"
    if values.dtype != object:
        fraud, other = values[label == 1], values[label == 0]
        for low, high in ((fraud, other), (other, fraud)):
            if np.nanmax(low) < np.nanmin(high):
                kind = "fraud" if low is fraud else "legitimate"
                how += f": every row up to {np.nanmax(low):g} is {kind}, every other one is not"
    return (
        f"{how}. If it is known before the payment is decided, nothing else is needed; if not, "
        f"it is the label in disguise. It stays in, and any model will look perfect"
    )


def _scale(skill: float) -> str:
    return f"({skill:.2f}, where 0 is chance and 1 is perfect)"


def _twins(dataset: Dataset, parts: Split) -> Iterator[Finding]:
    hashes, label = row_hashes(dataset.columns), dataset.label
    distinct, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    frauds = np.bincount(inverse, label)
    if copies := len(hashes) - len(distinct):
        yield Finding("warning", "duplicates", None,
                      f"{copies:,} rows repeat an earlier one exactly")  # fmt: skip
    if conflicts := int(((frauds > 0) & (frauds < counts)).sum()):
        yield Finding("warning", "label-conflicts", None,
                      f"{conflicts:,} groups of identical rows hold both labels")  # fmt: skip
    same = row_identities(dataset)
    for name, rows in parts.items()[1:]:
        if twins := int(np.isin(same[rows], same[parts.train]).sum()):
            yield Finding("warning", "twins", None,
                          f"{twins:,} of {len(rows):,} {name} rows are identical to a training "
                          f"row")  # fmt: skip
