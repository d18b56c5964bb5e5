"""Which column of a file says what is fraud, and which of its two values does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.data import MAX_BAD_SHARE
from training.errors import UsageError, printable
from training.propose.looks import Looks
from training.spec.mistake import meant

NAMES = ("label", "class", "fraud", "isfraud", "target", "y", "isfraudulent", "fraudulent")
"""Names of a label, in small letters without anything between them."""

_WORDS = {"label", "fraud", "target"}
_FRAUD = {"fraud", "fraudulent", "bad", "malicious"}
_YES = {"true", "yes", "y", "t"}


@dataclass(frozen=True)
class Label:
    """The column that says what is fraud.

    Attributes
    ----------
    values
        Of a legitimate payment, and of a fraud; 0 and 1 stand for false and true as well, in
        either order.
    fraud
        Shape (n,).
    reason
        Why this column, and why this value.
    """

    name: str
    values: tuple[str, str]
    fraud: NDArray[np.bool_]
    reason: str


def find(
    names: Sequence[str], look: Callable[[str], Looks], *, wanted: str | None, seen: str
) -> Label:
    """Find the label by its name and values, or take the one that is wanted.

    Parameters
    ----------
    names
        Of all columns.
    look
        Looks at one of them; what it finds out is held no longer than needed.
    seen
        The rows in words, such as `the first 100,000 rows`.

    Raises
    ------
    UsageError
        If none or several columns could be it, if one that is named like it cannot be, or if the
        wanted one does not hold two values.
    """
    if wanted is not None:
        if wanted not in names:
            hint = meant(wanted, names) or f"there are {_listed(names)}"
            raise UsageError(f"--label: the file has no column {wanted!r}; {hint}")
        return _label(look(wanted), "it is the one asked for", seen)
    strength = {n: power for n in names if (power := _strength(look(n)))}
    misfits = {n: why for n in strength if (why := _misfit(look(n), seen))}
    for exact in (True, False):
        found = [n for n in strength if n not in misfits and (look(n).compact in NAMES) is exact]
        if len(found) > 1:
            raise _several(found)
        if found:
            _refuse({n: w for n, w in misfits.items() if strength[n] > strength[found[0]]})
            return _label(look(found[0]), "its name says so", seen)
    _refuse(misfits)
    two = [n for n in names if _in_every_row(look(n))]
    if len(two) > 1:
        raise _several(two)
    if two:
        return _label(look(two[0]), "no other column holds two values", seen)
    raise UsageError(
        f"no column holds two values in {seen}, one of them in every row, so none says what is "
        f"fraud; name the right one with --label: {_listed(names)}"
    )


def _strength(look: Looks) -> int:
    """How strongly a name speaks of a label, from 0."""
    exact, worded = look.compact in NAMES, not _WORDS.isdisjoint(look.words)
    return (2 * exact or worded) + ("fraud" in look.compact and (exact or worded))


def _misfit(look: Looks, seen: str) -> str:
    """Why a column that is named like a label is none; empty if it fits."""
    if not look.distinct:
        return "holds no value"
    if look.distinct == 1:
        value = str(look.raw[~look.missing].iloc[0]).strip()[:40]
        return f"holds only {value!r} in {seen}"
    if not look.two_values:
        return f"holds {look.distinct:,} different values"
    lost = look.missing.mean()
    return f"is empty in {lost:.1%} of {seen}" if lost > MAX_BAD_SHARE else ""


def _in_every_row(look: Looks) -> bool:
    return look.two_values and not look.missing.any()


def _refuse(misfits: Mapping[str, str]) -> None:
    if misfits:
        told = "; ".join(
            f"{name!r} is named like a label but {why}" for name, why in misfits.items()
        )
        raise UsageError(f"{told}: mend it, or name the right column with --label")


def _several(names: Sequence[str]) -> UsageError:
    return UsageError(
        f"several columns could say what is fraud: {_listed(names)}; "
        "name the right one with --label"
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(printable, names))


def _label(look: Looks, why: str, seen: str) -> Label:
    if not look.two_values:
        raise UsageError(
            f"--label: expected a column of two values, {look.name!r} has {look.distinct:,} in "
            f"{seen}"
        )
    values, how = _values(look)
    if look.booleans:
        meaning = ["1", "1.0", "true"] if values[1] == "1" else ["0", "0.0", "false"]
        fraud = look.texts.str.lower().isin(meaning).to_numpy(bool)
    else:
        fraud = (look.texts == values[1]).to_numpy(bool)
    reason = f"{look.name!r}, since {why}; {how}, in {fraud.sum():,} of {len(fraud):,} rows."
    if 2 * fraud.sum() > len(fraud):
        reason += " These are most of them: if it is the other value, turn label_values round."
    if lost := int(look.missing.sum()):
        reason += f" {lost:,} rows hold none and will be set aside"
        if lost > MAX_BAD_SHARE * len(fraud):
            reason += (
                f", more than the {MAX_BAD_SHARE:.0%} of the rows above which a file is refused: "
                f"leave them out of the file, or allow more with --max-bad"
            )
        reason += "."
    return Label(look.name, values, fraud, reason)


def _values(look: Looks) -> tuple[tuple[str, str], str]:
    """What the label holds for a legitimate payment and for a fraud, and why."""
    common, rare = (str(text) for text in look.counts.index[:2])
    speaks = _strength(look) > 0  # of fraud; else a yes may well mean that all was right
    if look.booleans:
        if not speaks and common.lower() == "true":
            return ("1", "0"), f"the rarer value {rare!r} is the fraud"
        return ("0", "1"), "1 is the fraud"
    words = _FRAUD | _YES if speaks else _FRAUD
    if common.lower() in words and rare.lower() not in words:
        return (rare, common), f"{common!r} is the fraud by its name"
    return (common, rare), f"the rarer value {rare!r} is the fraud"
