"""Which column of a file says what is fraud, and which of its two values does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.errors import UsageError
from training.propose.looks import Looks
from training.spec.mistake import meant

NAMES = ("label", "class", "fraud", "isfraud", "target", "y", "isfraudulent", "fraudulent")
"""Names of a label, in small letters without anything between them."""

_WORDS = {"label", "fraud", "target"}
_FRAUD = {"true", "yes", "y", "t", "fraud", "fraudulent", "bad", "malicious"}


@dataclass(frozen=True)
class Label:
    """The column that says what is fraud.

    Attributes
    ----------
    values
        Of a legitimate payment, and of a fraud; 0 and 1 stand for false and true as well.
    fraud
        Shape (n,).
    reason
        Why this column, and why this value.
    """

    name: str
    values: tuple[str, str]
    fraud: NDArray[np.bool_]
    reason: str


def find(looks: Mapping[str, Looks], wanted: str | None) -> Label:
    """Find the label by its name and values, or take the one that is wanted.

    Raises
    ------
    UsageError
        If none or several columns could be it, or the wanted one does not hold two values.
    """
    if wanted is not None:
        if wanted not in looks:
            hint = meant(wanted, looks) or f"there are {', '.join(looks)}"
            raise UsageError(f"--label: the file has no column {wanted!r}; {hint}")
        return _label(looks[wanted], "it is the one asked for")
    two = [n for n, look in looks.items() if _two_values(look) and not look.missing.any()]
    for why, found in (
        ("its name says so", [n for n in two if looks[n].compact in NAMES]),
        ("its name says so", [n for n in two if _WORDS & set(looks[n].words)]),
        ("no other column holds two values", two),
    ):
        if len(found) == 1:
            return _label(looks[found[0]], why)
        if found:
            raise UsageError(
                f"several columns could say what is fraud: {', '.join(found)}; "
                "name the right one with --label"
            )
    raise UsageError(
        "no column holds two values, one of them in every row, so none says what is fraud; "
        f"name the right one with --label: {', '.join(looks)}"
    )


def _two_values(look: Looks) -> bool:
    return look.booleans or look.distinct == 2


def _label(look: Looks, why: str) -> Label:
    if not _two_values(look):
        raise UsageError(
            f"--label: expected a column of two values, {look.name!r} has {look.distinct:,} in "
            f"{len(look.raw):,} rows"
        )
    if look.booleans:
        values, how = ("0", "1"), "1 is the fraud"
        fraud = look.texts.str.lower().isin(["1", "1.0", "true"]).to_numpy(bool)
    else:
        common, rare = (str(text) for text in look.counts.index)
        values, how = (common, rare), f"the rarer value {rare!r} is the fraud"
        if common.lower() in _FRAUD and rare.lower() not in _FRAUD:
            values, how = (rare, common), f"{common!r} is the fraud by its name"
        fraud = (look.texts == values[1]).to_numpy(bool)
    reason = f"{look.name!r}, since {why}; {how}, in {fraud.sum():,} of {len(fraud):,} rows."
    if 2 * fraud.sum() > len(fraud):
        reason += " These are most of them: if it is the other value, turn label_values round."
    if lost := int(look.missing.sum()):
        reason += f" {lost:,} rows hold none and will be set aside."
    return Label(look.name, values, fraud, reason)
