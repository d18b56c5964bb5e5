"""Absence: whether it tells the classes apart that a column has no value.

Judged by how often each class lacks it, whatever share of the rows the frauds are, and by what of
the difference is left when chance has had its part: three deviations are taken off.
"""

from __future__ import annotations

import math
from typing import Literal

Absence = Literal["", "differs", "tells"]
"""What a column's absence says: nothing, something, or what class a row is of."""

TELLING_RATIO, TELLING_DIFFERENCE = 20.0, 0.6
"""Where one class lacks a column (or has it) so many times as often as the other, or on so much
more of its rows, its absence gives the label away."""
RATIO, DIFFERENCE = 3.0, 0.1
"""Where it is worth a warning."""

_TELLING_SHARE, _SHARE = 0.1, 0.02  # of a class that a ratio must be about
_LEAST = 3  # rows of it
_DEVIATIONS = 3


def absence(frauds: tuple[int, int], legitimate: tuple[int, int]) -> Absence:
    """What is to be made of the rows that lack a column.

    Parameters
    ----------
    frauds, legitimate
        Rows of the class that lack the column, and all rows of the class.
    """
    (some, all_frauds), (others, all_others) = frauds, legitimate
    if min(all_frauds, all_others) < _LEAST or some + others in (0, all_frauds + all_others):
        return ""
    difference = _difference(frauds, legitimate)
    having = (all_frauds - some, all_frauds), (all_others - others, all_others)
    pairs = (
        (frauds, legitimate), (legitimate, frauds), (having[0], having[1]), (having[1], having[0]),
    )  # fmt: skip
    ratios = [(_ratio(*pair), pair[0][0] / pair[0][1]) for pair in pairs if pair[0][0] >= _LEAST]
    if difference >= TELLING_DIFFERENCE or any(
        ratio >= TELLING_RATIO and share >= _TELLING_SHARE for ratio, share in ratios
    ):
        return "tells"
    if difference >= DIFFERENCE or any(
        ratio >= RATIO and share >= _SHARE for ratio, share in ratios
    ):
        return "differs"
    return ""


def _difference(one: tuple[int, int], other: tuple[int, int]) -> float:
    """Of two shares, less its uncertainty (Agresti and Caffo: two rows are added to each)."""
    shares = [(some + 1) / (every + 2) for some, every in (one, other)]
    spread = sum(
        share * (1 - share) / (every + 2)
        for share, (_, every) in zip(shares, (one, other), strict=True)
    )
    return abs(shares[0] - shares[1]) - _DEVIATIONS * math.sqrt(spread)


def _ratio(one: tuple[int, int], other: tuple[int, int]) -> float:
    """Of two shares, less its uncertainty on the log scale (half a row is added to each)."""
    log = 0.0
    spread = 0.0
    for sign, (some, every) in ((1, one), (-1, other)):
        log += sign * math.log((some + 0.5) / (every + 1))
        spread += 1 / (some + 0.5) - 1 / (every + 1)
    return math.exp(log - _DEVIATIONS * math.sqrt(spread))
