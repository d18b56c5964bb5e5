"""Findings: what a person should know about a file, one sentence each."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import pandas as pd

from training.audit.probe import Probe
from training.audit.profiles import ColumnProfile
from training.data import Dataset
from training.reference import LARGE, MODERATE, Counts, Reference, chance
from training.spec import HOUR_OF_DAY, Column
from training.split import Split, row_hashes, row_identities

SEPARATES = 0.95
"""Skill from which a column tells the classes apart alone."""
STRONG = 0.7
"""Skill above which a column is worth a second look."""
MISSINGNESS_TELLS = 0.5
"""Skill from which the mere absence of a value gives the label away."""
LATER = (
    "chargeback", "dispute", "refund", "settle", "resol", "review", "flagged", "label", "fraud",
    "investigat", "confirmed", "reversal", "reversed", "verdict", "outcome",
)  # fmt: skip
"""Beginnings of words in a column's name for what is known only after a payment."""

_CLOCK_HOURS = 12  # payments by the hour that span less than this are no clock
_UNKNOWN = 0.05  # share of rows with values never seen in training that is worth a note
_DEVIATIONS = 4  # of the fraud rate between two parts, before it is called a change

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


def of_column(
    profile: ColumnProfile,
    column: Column,
    reference: Reference,
    later: Mapping[str, Counts],
    quick: Probe | None,
) -> Iterator[Finding]:
    """What is to be said about one column.

    Parameters
    ----------
    reference, later
        The bins of the training rows, and the later parts of the split counted in them.
    quick
        Models with and without the separating columns.
    """
    name = profile.name
    if profile.distinct == 0:
        yield Finding("warning", "empty", name, f"{name} holds no value at all")
        return
    tells = profile.missing_skill >= MISSINGNESS_TELLS
    if tells:
        yield Finding("error", "missingness-tells", name, _missingness(profile))
    if word := _later(name):
        yield Finding(
            "warning", "future", name,
            f"{name} speaks of {word!r}, which is often known only after a payment is decided. If "
            f"it is, give it the role annotation",
        )  # fmt: skip
    if profile.constant is not None:
        yield Finding("warning", "constant", name,
                      f"{name} is always {profile.constant}: no signal")  # fmt: skip
        yield from _drift(profile, reference, later)
        return
    if profile.skill >= SEPARATES and not tells:
        yield Finding("error", "separates", name, _separates(profile, quick))
    elif profile.skill > STRONG and not tells:
        yield Finding(
            "warning", "strong", name,
            f"{name} alone nearly tells the classes apart {_scale(profile.skill)}. Few columns "
            f"that are known before a payment is decided can; check that it is one",
        )  # fmt: skip
    if profile.identifier:
        what = "different texts" if profile.type == "category" else "whole numbers that count rows"
        yield Finding(
            "warning", "identifier", name,
            f"{name} looks like an identifier: {profile.distinct:,} {what}. A model cannot learn "
            f"from it; give it the role annotation",
        )  # fmt: skip
    if column.unit == HOUR_OF_DAY and profile.quartiles is not None:
        low, high = profile.quartiles[0], profile.quartiles[-1]
        if high - low < _CLOCK_HOURS:
            yield Finding(
                "warning", "not-a-clock", name,
                f"{name} is taken as the {HOUR_OF_DAY} but does not look like a clock: "
                f"{profile.distinct} distinct values, all between {low:.2f} and {high:.2f}",
            )  # fmt: skip
    yield from _drift(profile, reference, later)


def of_file(dataset: Dataset, parts: Split) -> Iterator[Finding]:
    """What is to be said about the rows and the split."""
    if bad := dataset.bad_rows:
        yield Finding("warning", "rows-rejected", None,
                      f"{bad:,} rows break the spec and were set aside")  # fmt: skip
    absent = [name for name in dataset.spec.inputs if name not in dataset.frame]
    if absent:
        yield Finding("note", "columns-absent", None,
                      f"The file lacks {', '.join(absent)}; the model does without")  # fmt: skip
    yield from _twins(dataset, parts)
    yield from _rates(dataset, parts)
    yield from _entities(dataset, parts)


def _missingness(profile: ColumnProfile) -> str:
    name, fraud, other = profile.name, profile.missing_fraud, profile.missing_legitimate
    if (other, fraud) == (0, 1):
        how = f"{name} is missing exactly on the frauds: on every fraud and on no other row"
    elif (other, fraud) == (1, 0):
        how = f"{name} is missing exactly on the legitimate rows: only frauds have it"
    else:
        how = (
            f"{name} is missing on {fraud:.1%} of the frauds and {other:.1%} of the legitimate rows"
        )
    return (
        f"{how}. That gives the label away {_scale(profile.missing_skill)} and will not hold in "
        f"service, so {name} is left out of the features"
    )


def _separates(profile: ColumnProfile, quick: Probe | None) -> str:
    how = f"{profile.name} separates the classes alone {_scale(profile.skill)}"
    if profile.stump:
        how += f": {profile.stump}"
    how += (
        ". If it is known before the payment is decided, nothing else is needed; if not, it is "
        "the label in disguise. It stays in"
    )
    full, lacking = (quick.without(), quick.without(profile.name)) if quick else (None, None)
    if full and lacking:
        return (
            f"{how}: a quick model has PR-AUC {full.pr_auc:.2f} with it and "
            f"{lacking.pr_auc:.2f} without"
        )
    return f"{how}, and any model will look perfect"


def _scale(skill: float) -> str:
    return f"({skill:.2f}, where 0 is chance and 1 is perfect)"


def _later(name: str) -> str | None:
    """The word of a column's name that speaks of what is known only later."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_a-zA-Z]+", name)
    pairs = ("".join(pair) for pair in pairwise(words))
    return next((w for w in (*words, *pairs) if w.lower().startswith(LATER)), None)


def _drift(
    profile: ColumnProfile, reference: Reference, later: Mapping[str, Counts]
) -> Iterator[Finding]:
    name = profile.name
    shifted = {
        part: shift
        for part, shift in profile.drift.items()
        if shift > max(MODERATE, chance(reference.counts, later[part])[name])
    }
    if shifted:
        told = " and ".join(f"the {part} rows (PSI {s:.2f})" for part, s in shifted.items())
        large = max(shifted.values()) > LARGE
        yield Finding(
            "warning" if large else "note", "drift", name,
            f"{name} is spread differently in {told} than in the training rows: a "
            f"{'large' if large else 'moderate'} shift",
        )  # fmt: skip
    for part, counts in later.items():
        share = reference.unknown(counts).get(name, 0.0)
        if share > _UNKNOWN and not profile.identifier:
            yield Finding("note", "unknown-values", name,
                          f"{name} has values in {share:.1%} of the {part} rows that are rare or "
                          f"absent in training")  # fmt: skip


def _rates(dataset: Dataset, parts: Split) -> Iterator[Finding]:
    label = dataset.label
    train = label[parts.train]
    for name, rows in parts.items()[1:]:
        frauds, known = int(label[rows].sum()), int(train.sum())
        common = (frauds + known) / (len(rows) + len(train))
        spread = math.sqrt(common * (1 - common) * (1 / len(rows) + 1 / len(train)))
        if abs(frauds / len(rows) - known / len(train)) > _DEVIATIONS * spread:
            yield Finding(
                "note", "fraud-rate", None,
                f"The fraud rate changes: {frauds / len(rows):.2%} of the {name} rows "
                f"({frauds:,} of {len(rows):,}) against {known / len(train):.2%} of the training "
                f"rows ({known:,} of {len(train):,})",
            )  # fmt: skip


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
