"""Part the rows into train, validation and test, and the training rows into folds.

A row's part never depends on a seed: it follows from its timestamp or, where there is none, from
a salted hash of its content. So two sweeps over one file can never trade test rows for training
rows, and identical rows always lie on the same side. All rows of one entity do so where that is
asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.data import Dataset
from training.errors import DataRefused, UsageError
from training.identity import Hashes, mix, row_hashes, row_identities, unit

TRAIN, VALIDATION = 0.70, 0.15  # the rest is test
PARTS = ("train", "validation", "test")
MOST_GAP_DAYS = 36_500
"""A century; no label takes longer."""

_PART_SALT = np.uint64(0x9E3779B97F4A7C15)
_FOLD_SALT = np.uint64(0xC2B2AE3D27D4EB4F)

Rows = NDArray[np.intp]
Method = Literal["time", "hash", "entity"]


@dataclass(frozen=True)
class SplitPlan:
    """How rows are to be parted.

    Attributes
    ----------
    by
        `time`, `hash` (of the row), `entity` (all rows of a payer together), or `auto`: time where
        there is a timestamp, else hash.
    gap_days
        Rows left out before each later part when split by time: as long as a label takes to
        arrive, since a model trained on the day that validation begins could not know them.
    """

    by: Literal["auto", "time", "hash", "entity"] = "auto"
    gap_days: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if not 0 <= self.gap_days <= MOST_GAP_DAYS:
            raise UsageError(
                f"the gap must be from 0 to {MOST_GAP_DAYS:,} days, it is {self.gap_days:g}"
            )
        if self.gap_days and self.by not in ("auto", "time"):
            raise UsageError(f"a gap needs a split by time, not by {self.by}")


@dataclass(frozen=True)
class Split:
    """Row positions of the three parts, in the order of the file.

    Attributes
    ----------
    gap_days
        Days left out before each later part; the rows in them are in no part.
    """

    train: Rows
    validation: Rows
    test: Rows
    method: Method
    gap_days: float = 0.0

    def items(self) -> list[tuple[str, Rows]]:
        """Name and rows of each part."""
        return [(name, getattr(self, name)) for name in PARTS]

    @property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change when any row changes its part."""
        digest = blake2b(digest_size=8)
        for name, rows in self.items():
            digest.update(name.encode() + np.sort(rows).astype("<i8").tobytes())
        return digest.hexdigest()


def split(dataset: Dataset, plan: SplitPlan | None = None) -> Split:
    """Part a dataset 70 / 15 / 15.

    Raises
    ------
    DataRefused
        If the file lacks what the plan needs, or a part would lack one of the classes: nothing
        could be chosen or measured on it.
    """
    plan = plan or SplitPlan()
    method = _method(dataset, plan)
    if method == "time":
        times = _times(dataset)
        ordered = np.sort(times)
        first, second = ordered[[int(len(times) * TRAIN), int(len(times) * (TRAIN + VALIDATION))]]
        part = (times >= first).astype(int) + (times >= second)
        gap = _gap(plan.gap_days)
        for begins, before in ((first, 0), (second, 1)):
            part[(part == before) & (times >= begins - gap)] = -1
    else:
        place = unit(mix(groups(dataset, method) ^ _PART_SALT))
        part = (place >= TRAIN).astype(int) + (place >= TRAIN + VALIDATION)
    parts = [np.flatnonzero(part == i) for i in range(3)]
    for name, rows in zip(PARTS, parts, strict=True):
        _both_classes(dataset, rows, f"the {name} rows (split by {method})")
    return Split(parts[0], parts[1], parts[2], method, plan.gap_days)


def folds(dataset: Dataset, parts: Split, count: int) -> list[tuple[Rows, Rows]]:
    """Cross-validation inside the training rows: pairs of (rows to fit, rows held out).

    Done as the split was: by time each fold is held out after all rows it is judged by (an
    expanding window), with the same gap; otherwise each class is dealt evenly over the folds,
    identical rows or all rows of an entity together.

    Parameters
    ----------
    dataset, parts
        The whole file and its split; the positions returned are those of the training rows in
        `dataset`.

    Raises
    ------
    DataRefused
        If there are fewer frauds than folds, or a fold would lack a class.
    """
    train = dataset.take(parts.train)
    frauds = int(train.label.sum())
    if frauds < count:
        raise DataRefused(
            f"{train.source}: {frauds} frauds in the training rows are too few for {count} folds"
        )
    if parts.method == "time":
        # Blocks of equal size in time; the first is only ever fitted on.
        times, gap = _times(train), _gap(parts.gap_days)
        edges = np.sort(times)[[len(times) * i // (count + 1) for i in range(1, count + 1)]]
        block = np.searchsorted(edges, times, side="right")
        pairs = [
            (np.flatnonzero((block < i) & (times < edges[i - 1] - gap)), np.flatnonzero(block == i))
            for i in range(1, count + 1)
        ]
    else:
        hashes = mix(groups(train, parts.method) ^ _FOLD_SALT)
        distinct, inverse = np.unique(hashes, return_inverse=True)
        fraud = np.zeros(len(distinct), bool)
        fraud[inverse[train.label == 1]] = True
        fold_of = np.empty(len(distinct), int)
        for kind in (True, False):
            members = fraud == kind
            fold_of[members] = np.arange(members.sum()) % count
        fold = fold_of[inverse]
        pairs = [(np.flatnonzero(fold != i), np.flatnonzero(fold == i)) for i in range(count)]
    for number, (fit, held_out) in enumerate(pairs, 1):
        _both_classes(train, fit, f"the rows to fit of fold {number} of {count}")
        _both_classes(train, held_out, f"the rows held out of fold {number} of {count}")
    return [(parts.train[fit], parts.train[held_out]) for fit, held_out in pairs]


def _method(dataset: Dataset, plan: SplitPlan) -> Method:
    spec, times = dataset.spec, dataset.timestamp
    timed = times is not None and times.min() < times.max()
    if plan.by == "entity":
        if spec.entity not in dataset.frame:
            raise DataRefused(
                f"{dataset.source}: a split by entity needs a column with the role 'entity'; "
                f"{spec.name!r} names {spec.entity or 'none'}, the file has "
                f"{', '.join(map(str, dataset.frame.columns))}"
            )
        return "entity"
    if plan.by == "hash" or (plan.by == "auto" and not timed and not plan.gap_days):
        return "hash"
    if not timed:
        raise DataRefused(
            f"{dataset.source}: a split by time, or a gap, needs a timestamp that is not the same "
            f"in every row; {spec.name!r} names {spec.timestamp or 'none'}"
        )
    return "time"


def _times(dataset: Dataset) -> NDArray[np.datetime64]:
    times = dataset.timestamp
    if times is None:
        raise DataRefused(f"{dataset.source}: has no timestamp")
    return times


def _gap(days: float) -> np.timedelta64:
    return np.timedelta64(round(days * 86_400e6), "us")


def groups(dataset: Dataset, method: Method) -> Hashes:
    """Rows with equal hashes belong together, whatever is parted: twins, or a payer's payments.

    Parameters
    ----------
    method
        Of the split.
    """
    if method != "entity":
        return row_identities(dataset)
    payer = dataset.frame[dataset.spec.entity].to_numpy(object)
    # A payment without a payer belongs to nobody else's: it counts as itself.
    return np.where(pd.isna(payer), row_identities(dataset), row_hashes({"entity": payer}))


def _both_classes(dataset: Dataset, rows: Rows, what: str) -> None:
    frauds = int(dataset.label[rows].sum())
    if frauds in (0, len(rows)):
        raise DataRefused(
            f"{dataset.source}: {what} hold {frauds} frauds in {len(rows):,} rows; both classes "
            f"are needed in every part (the file has {int(dataset.label.sum())} frauds "
            f"in {len(dataset):,} rows)"
        )
