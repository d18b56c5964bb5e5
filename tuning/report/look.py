"""How the report's pictures look: colours and marks of families, dots, and empty frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from training.errors import printable
from training.models import FAMILIES
from tuning.report.facts import SweepFacts

INK, GREY, MARKED = "#1c2430", "#888888", "#d55e00"
"""Lines and texts; what to compare with; the winner."""
DPI = 100
"""Of what is drawn as dots rather than lines where there are very many."""

_MOST_SHAPES = 300
_STYLES = (("#0072b2", "o"), ("#e69f00", "s"), ("#882255", "^"), ("#009e73", "D"), ("#56b4e9", "v"))
"""A dark, a light and a darker colour that stay apart in print and to every eye."""


def style(family: str) -> tuple[str, str]:
    """Colour and mark of a family."""
    return _STYLES[list(FAMILIES).index(family) % len(_STYLES)]


def frame(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of one picture, sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained", dpi=DPI)
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def as_dots(count: int) -> bool:
    """Whether so many shapes are drawn as an image within the picture, to keep pages small."""
    return count > _MOST_SHAPES


def scatter(
    axes: Axes, family: str, x: Sequence[float] | NDArray[np.float64],
    y: Sequence[float] | NDArray[np.float64], *, count: int, hollow: bool = False,
) -> None:  # fmt: skip
    """Dots of one family; the more there are in the whole picture the fainter each is.

    Parameters
    ----------
    count
        Dots in the whole picture, of all families.
    """
    color, mark = style(family)
    faint = 0.85 if count <= 100 else 0.7 if count <= 500 else 0.4
    axes.scatter(
        x, y, s=32 if count <= 100 else 24 if count <= 500 else 14, marker=mark, alpha=faint,
        facecolors="none" if hollow else color, edgecolors=color if hollow else "white",
        linewidths=1.0 if hollow else 0.4, rasterized=as_dots(count), zorder=2 if hollow else 3,
    )  # fmt: skip


def family_handles(families: Sequence[str]) -> list[Line2D]:
    """Lines of a legend, one a family."""
    return [
        Line2D([], [], color=color, marker=mark, ls="none", ms=6, label=family)
        for family in families
        for color, mark in [style(family)]
    ]


def axis_label(facts: SweepFacts) -> str:
    """What the axis of the score says."""
    label = drawable(facts.label)
    return label if facts.higher_is_better else f"{label}, lower is better"


def drawable(text: str) -> str:
    """A text from outside as it may stand in a picture, where dollar signs would set formulas."""
    return printable(text).replace("$", r"\$")
