"""Findings about a file as a whole: its rows and how they are parted."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.audit.findings import Finding
from training.data import Dataset
from training.identity import row_hashes, row_identities
from training.split import Rows, Split, groups

MOST_FRAUDS, MANY_FRAUDS = 0.5, 0.2
"""Share of frauds above which the labels look swapped, and above which it is worth a note."""

_DEVIATIONS = 4  # of the fraud rate between two parts, before it is called a change
_FAR = 5  # widths of the middle half of the times, beyond which a time is far from all others
_FEW = 0.01  # share of the rows that may lie so far and still be called outliers


def of_file(dataset: Dataset, parts: Split) -> Iterator[Finding]:
    """What is to be said about the rows and the split."""
    if bad := dataset.bad_rows:
        yield Finding("warning", "rows-rejected", None,
                      f"{bad:,} rows break the spec and were set aside")  # fmt: skip
    absent = [name for name in dataset.spec.inputs if name not in dataset.frame]
    if absent:
        yield Finding("note", "columns-absent", None,
                      f"The file lacks {', '.join(absent)}; the model does without")  # fmt: skip
    yield from _share(dataset)
    yield from _time(dataset, parts)
    yield from _copies(dataset)
    yield from _twins(dataset, parts)
    yield from _rates(dataset, parts)
    yield from _entities(dataset, parts)


def _share(dataset: Dataset) -> Iterator[Finding]:
    frauds, rows = int(dataset.label.sum()), len(dataset)
    share = frauds / rows
    told = f"{share:.1%} of the rows ({frauds:,} of {rows:,}) are frauds by their label"
    if share > MOST_FRAUDS:
        yield Finding("warning", "fraud-share", None,
                      f"{told}. Check which value of {dataset.spec.label} stands for fraud: "
                      f"the two look swapped")  # fmt: skip
    elif share > MANY_FRAUDS:
        yield Finding("note", "fraud-share", None,
                      f"{told}, far more than among payments as they come. If the file is a "
                      f"selection, precision and cost will be worse in service")  # fmt: skip


def _time(dataset: Dataset, parts: Split) -> Iterator[Finding]:
    name, times = dataset.spec.timestamp, dataset.timestamp
    if name is None or times is None or not len(times):
        return
    ordered = np.sort(times)
    if parts.method != "time":
        why = (
            f"it is {_day(ordered[0])} in every row"
            if ordered[0] == ordered[-1]
            else f"the split is by {parts.method}"
        )
        yield Finding(
            "note", "timestamp-unused", name,
            f"{name} is not used to part the rows: {why}. The test rows are no later than the "
            f"training rows, so the figures say less about payments to come",
        )  # fmt: skip
    first, third = ordered[[len(ordered) // 4, 3 * len(ordered) // 4]]
    width = _FAR * (third - first)
    if not width.astype(np.int64):
        return
    # In floats, where a date far beyond all others cannot overflow.
    place = (times - first).astype(np.float64)
    reach = float(width.astype(np.float64))
    far = (place < -reach) | (place > reach + float((third - first).astype(np.float64)))
    count = int(far.sum())
    if 0 < count <= _FEW * len(times):
        near = times[~far]
        yield Finding(
            "warning", "time-outliers", name,
            f"{name} of {count:,} rows lies far from all others: from {_day(times[far].min())} to "
            f"{_day(times[far].max())}, where the others are from {_day(near.min())} to "
            f"{_day(near.max())}",
        )  # fmt: skip


def _day(time: np.datetime64) -> str:
    return str(pd.Timestamp(time).date())


def _copies(dataset: Dataset) -> Iterator[Finding]:
    hashes, label = row_hashes(dataset.columns), dataset.label
    distinct, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    frauds = np.bincount(inverse, label)
    if copies := len(hashes) - len(distinct):
        repeated = dataset.frame[counts[inverse] > 1]
        whole = int(repeated.duplicated().sum())
        which = "all" if whole == copies else f"{whole:,}" if whole else "none"
        yield Finding(
            "warning", "duplicates", None,
            f"{copies:,} rows agree with an earlier one in all inputs, {which} of them in every "
            f"column that was read",
        )  # fmt: skip
    if conflicts := int(((frauds > 0) & (frauds < counts)).sum()):
        yield Finding("warning", "label-conflicts", None,
                      f"{conflicts:,} groups of rows that agree in all inputs hold both "
                      f"labels")  # fmt: skip


def _twins(dataset: Dataset, parts: Split) -> Iterator[Finding]:
    same, label = row_identities(dataset), dataset.label
    for name, rows in parts.items()[1:]:
        twins = np.isin(same[rows], same[parts.train])
        if twins.any():
            frauds, every = int(label[rows][twins].sum()), int(label[rows].sum())
            yield Finding(
                "warning", "twins", None,
                f"{int(twins.sum()):,} of {len(rows):,} {name} rows, and {frauds:,} of the "
                f"{every:,} frauds among these, agree with a training row in the columns by which "
                f"payments are told apart: a model has seen them",
            )  # fmt: skip


def _rates(dataset: Dataset, parts: Split) -> Iterator[Finding]:
    label = dataset.label
    together = None if parts.method == "time" else groups(dataset, parts.method)
    train = label[parts.train]
    for name, rows in parts.items()[1:]:
        frauds, known = int(label[rows].sum()), int(train.sum())
        common = (frauds + known) / (len(rows) + len(train))
        spread = math.sqrt(
            sum(_variance(label, together, part, common) for part in (rows, parts.train))
        )
        if abs(frauds / len(rows) - known / len(train)) <= _DEVIATIONS * spread:
            continue
        told = (
            f"{frauds / len(rows):.2%} of the {name} rows ({frauds:,} of {len(rows):,}) against "
            f"{known / len(train):.2%} of the training rows ({known:,} of {len(train):,})"
        )
        how = (
            f"The fraud rate changes: {told}"
            if parts.method == "time"
            else f"The parts differ in their fraud rate more than chance makes them: {told}. The "
            f"split is by {parts.method} and knows no time"
        )
        yield Finding("note", "fraud-rate", None, how)


def _variance(
    label: NDArray[np.int8], together: NDArray[np.uint64] | None, rows: Rows, rate: float
) -> float:
    """Of the fraud rate of some rows, where rows of a group have come to them together."""
    if together is None:
        return rate * (1 - rate) / len(rows)
    _, member = np.unique(together[rows], return_inverse=True)
    excess = np.bincount(member, label[rows] - rate)
    return float((excess**2).sum()) / len(rows) ** 2


def _entities(dataset: Dataset, parts: Split) -> Iterator[Finding]:
    name = dataset.spec.entity
    if parts.method == "entity" or name is None or name not in dataset.frame:
        return
    codes, _ = pd.factorize(dataset.frame[name])
    test = codes[parts.test]
    known = int((np.isin(test, codes[parts.train]) & (test >= 0)).sum())
    if known:
        yield Finding(
            "note", "entities", name,
            f"{known:,} of {len(test):,} test rows ({known / len(test):.0%}) have a {name} that "
            f"the training rows have too. A split by entity measures payers never seen",
        )  # fmt: skip
