"""Pictures of how rows are spread over bins, expected beside found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from training.errors import printable

MOST_BARS = 14
"""Bins of a picture; those that hold less are put together."""

# A light and a dark colour: they stay apart in print and to every eye.
_EXPECTED, _FOUND = "#b9c4d1", "#1f5fa8"
_LABEL = 22  # characters of a bin beside its bars
_BAR, _ABOVE, _BELOW = 0.27, 0.32, 0.3  # inches


def shares_figure(labels: Sequence[str], expected: Sequence[int], found: Sequence[int]) -> Figure:
    """Share of the rows in each bin.

    Parameters
    ----------
    labels
        What each bin holds.
    expected, found
        Rows of each bin; one that is empty on both sides is left out.
    """
    shown = _shown(labels, expected, found)
    height = _ABOVE + _BELOW + _BAR * max(len(shown), 2)
    figure = Figure(figsize=(4.2, height))
    # Set by hand: a layout that measures every text takes longer than the drawing.
    axes = figure.add_axes((0.38, _BELOW / height, 0.58, 1 - (_ABOVE + _BELOW) / height))
    places = np.arange(len(shown))
    axes.barh(places - 0.2, [e for _, e, _ in shown], 0.4, color=_EXPECTED, label="expected")
    axes.barh(places + 0.2, [f for _, _, f in shown], 0.4, color=_FOUND, label="found")
    axes.set_yticks(places, [_cut(label) for label, _, _ in shown])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.tick_params(labelsize=7, length=2)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="upper right", ncols=2, frameon=False, fontsize=7, handlelength=1.2)
    return figure


def _shown(
    labels: Sequence[str], expected: Sequence[int], found: Sequence[int]
) -> list[tuple[str, float, float]]:
    n, m = max(sum(expected), 1), max(sum(found), 1)
    bars = [
        (label, e / n, f / m) for label, e, f in zip(labels, expected, found, strict=True) if e or f
    ]
    if len(bars) <= MOST_BARS:
        return bars
    largest = sorted(bars, key=lambda bar: -max(bar[1], bar[2]))[: MOST_BARS - 1]
    rest = [bar for bar in bars if bar not in largest]
    together = (f"{len(rest)} others", sum(e for _, e, _ in rest), sum(f for _, _, f in rest))
    return [*(bar for bar in bars if bar in largest), together]


def _cut(label: str) -> str:
    label = printable(label)
    shown = label if len(label) <= _LABEL else f"{label[: _LABEL - 1]}…"
    return shown.replace("$", r"\$")  # a dollar sign would begin a formula
