"""Findings: what a person should know about a file, one sentence each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Self

from training.audit.probe import Probe
from training.audit.profiles import ColumnProfile
from training.reference import Counts, Reference, chance, level
from training.spec import HOUR_OF_DAY, Column

SEPARATES = 0.95
"""Skill from which a column tells the classes apart alone."""
STRONG = 0.7
"""Skill above which a column is worth a second look."""
# Beginnings of words in a column's name for what is known only after a payment.
_LATER = (
    "settle", "dispute", "refunded", "flagged", "investigat", "confirmed", "reversal", "reversed",
    "verdict", "outcome", "decision", "decided", "declin", "blocked", "recover", "writeoff",
    "writtenoff", "finalstatus", "labelled", "labeled", "resolved", "reviewed",
)  # fmt: skip
_LATER_WORDS = frozenset({
    "after", "cb", "closed", "label", "labels", "loss", "losses", "refund", "refunds",
    "resolution", "review",
})  # fmt: skip
_LATER_PARTS = ("fraud", "chargeback", "chargedback")  # anywhere in a word
# What "label" and "resolution" are harmless beside.
_THINGS = frozenset({"product", "item", "price", "brand", "screen", "display", "image", "video"})

_FEW_FRAUDS, _ENOUGH_FRAUDS = 8, 20  # to judge a quick model by
_CLOCK_HOURS = 12  # payments by the hour that span less than this are no clock
_UNKNOWN = 0.05  # share of rows with values never seen in training that is worth a note

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
class Later:
    """A later part of the split beside the training rows.

    Attributes
    ----------
    chance
        Per column, the PSI that chance alone hardly exceeds.
    rare
        Per category, the share of the part's rows with values that have no bin of their own, and
        the same of the training rows.
    """

    chance: dict[str, float]
    rare: dict[str, tuple[float, float]]

    @classmethod
    def of(cls, reference: Reference, counts: Counts) -> Self:
        """Compare a part, counted in the bins of the training rows."""
        before, now = reference.other(reference.counts), reference.other(counts)
        return cls(
            chance(reference.counts, counts), {name: (now[name], before[name]) for name in now}
        )


def of_probe(quick: Probe, separating: Sequence[str]) -> Iterator[Finding]:
    """What is to be said about a quick model without the columns that separate alone."""
    trial = quick.without(*separating)
    if trial is None or quick.frauds < _FEW_FRAUDS:
        return
    common = quick.frauds / quick.rows
    # A few frauds may be found by luck, and hardly one by one in front of all other rows.
    least = SEPARATES if quick.frauds >= _ENOUGH_FRAUDS else 1 - 1e-9
    if (trial.pr_auc - common) / (1 - common) < least:
        return
    rest = f"without {', '.join(separating)}" if separating else "on the columns together"
    yield Finding(
        "warning", "near-perfect", None,
        f"A quick model {rest} has PR-AUC {trial.pr_auc:.3f} on {quick.frauds:,} frauds it was not "
        f"fitted on, though no column of these separates the classes alone. Check that all are "
        f"known before a payment is decided",
    )  # fmt: skip


def later(name: str) -> bool:
    """Whether a column's name speaks of what is known only after a payment is decided."""
    return _later_word(name) is not None


def of_column(
    profile: ColumnProfile,
    column: Column,
    parts: Mapping[str, Later],
    quick: Probe | None,
) -> Iterator[Finding]:
    """What is to be said about one column.

    Parameters
    ----------
    parts
        The later parts of the split.
    quick
        Models with and without the separating columns.
    """
    name = profile.name
    if profile.distinct == 0:
        yield Finding("warning", "empty", name, f"{name} holds no value at all")
        return
    tells = profile.absence == "tells"
    if profile.absence:
        yield Finding(
            "error" if tells else "warning",
            "missingness-tells" if tells else "missingness-differs",
            name,
            _missingness(profile),
        )
    if word := _later_word(name):
        yield Finding(
            "warning", "future", name,
            f"{name} speaks of {word!r}, which is often known only after a payment is decided. If "
            f"it is, give it the role annotation",
        )  # fmt: skip
    if profile.constant is not None:
        yield Finding("warning", "constant", name,
                      f"{name} is always {profile.constant}: no signal")  # fmt: skip
        yield from _drift(profile, parts)
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
    yield from _drift(profile, parts)


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
    if profile.absence == "differs":
        return (
            f"{how}. Check that it is so when a payment is decided; {name} stays in, and filling "
            f"the gaps does not hide them from a model"
        )
    return (
        f"{how}. That gives the label away, however rare frauds are, and will not hold in "
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


def _later_word(name: str) -> str | None:
    """The word of a column's name that speaks of what is known only later."""
    words: list[str] = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_a-zA-Z]+", name)
    about_a_thing = not _THINGS.isdisjoint(word.lower() for word in words)
    for word in (*words, *("".join(pair) for pair in pairwise(words))):
        small = word.lower()
        if small.startswith((*_LATER, *_LATER_PARTS)):
            return word
        if any(part in small for part in _LATER_PARTS) and word in words:
            return word
        if small in _LATER_WORDS and not about_a_thing:
            return word
    return None


def _drift(profile: ColumnProfile, parts: Mapping[str, Later]) -> Iterator[Finding]:
    name = profile.name
    levels = {part: level(s, parts[part].chance[name]) for part, s in profile.drift.items()}
    shifted = [part for part, found in levels.items() if found != "steady"]
    if shifted:
        told = " and ".join(f"the {part} rows (PSI {profile.drift[part]:.2f})" for part in shifted)
        large = "large" in levels.values()
        yield Finding(
            "warning" if large else "note", "drift", name,
            f"{name} is spread differently in {told} than in the training rows: a "
            f"{'large' if large else 'moderate'} shift",
        )  # fmt: skip
    for part, found in parts.items():
        now, before = found.rare.get(name, (0.0, 0.0))
        if now - before > _UNKNOWN and not profile.identifier:
            yield Finding(
                "note", "unknown-values", name,
                f"{name} has values that are rare or absent in training in {now:.1%} of the "
                f"{part} rows, against {before:.1%} of the training rows",
            )  # fmt: skip
