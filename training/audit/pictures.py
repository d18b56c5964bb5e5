"""Pictures of columns by class, made from the counts of their profiles."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from training.audit.profiles import ColumnProfile, Histogram
from training.bins import short
from training.html import picture

LEGITIMATE, FRAUD = "#a9c4e4", "#8f2313"
"""A light and a dark colour: they stay apart in print and to every eye."""

_TICKS = 5
_LABEL = 16  # characters of a value beside its bar


def column_figure(profile: ColumnProfile) -> Figure:
    """How each class is spread over the known values of a column, as shares of the class."""
    figure = Figure(figsize=(4.0, 2.3))
    shown = profile.histogram
    # Set by hand: a layout that measures every text takes longer than the drawing.
    sideways = profile.type == "category"
    left = 0.26 if sideways else 0.11
    axes = figure.add_axes((left, 0.17, 0.97 - left, 0.73))
    legitimate, fraud = _shares(shown.legitimate), _shares(shown.fraud)
    if not len(legitimate):
        axes.text(0.5, 0.5, "no value", ha="center", va="center", color="#5b6675")
        axes.set_axis_off()
        return figure
    if shown.edges:
        _ranges(axes, shown, legitimate, fraud)
    elif sideways:
        _values(axes, shown, legitimate, fraud)
    else:
        _numbers(axes, shown, legitimate, fraud)
    axes.tick_params(labelsize=7, length=2)
    shares = axes.xaxis if sideways else axes.yaxis
    shares.set_major_locator(MaxNLocator(4))
    shares.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="upper right", ncols=2, frameon=False, fontsize=7, handlelength=1.2)
    return figure


def column_picture(profile: ColumnProfile) -> Markup:
    """The same, to be put into a page."""
    what = "range" if profile.histogram.edges else "value"
    return picture(
        column_figure(profile),
        f"{profile.name}: share of the legitimate rows and of the frauds per {what}",
    )


def _shares(counts: tuple[int, ...]) -> NDArray[np.float64]:
    found = np.array(counts, np.float64)
    shares: NDArray[np.float64] = found / max(found.sum(), 1.0)
    return shares


def _ranges(
    axes: Axes, shown: Histogram, legitimate: NDArray[np.float64], fraud: NDArray[np.float64]
) -> None:
    # Ranges are of equal width on their scale, so a place on the axis is the number of an edge.
    places = np.arange(len(shown.edges))
    axes.stairs(legitimate, places, fill=True, color=LEGITIMATE, label="legitimate")
    axes.stairs(fraud, places, color=FRAUD, lw=1.6, label="fraud")
    ticks = np.unique(np.linspace(0, len(places) - 1, _TICKS).round().astype(int))
    axes.set_xticks(ticks, [short(shown.edges[i]) for i in ticks])
    axes.set_xlabel(
        "log scale" if shown.log else "", fontsize=6, color="#5b6675", loc="right", labelpad=0
    )


def _numbers(
    axes: Axes, shown: Histogram, legitimate: NDArray[np.float64], fraud: NDArray[np.float64]
) -> None:
    places = np.arange(len(shown.labels))
    axes.bar(places - 0.2, legitimate, 0.4, color=LEGITIMATE, label="legitimate")
    axes.bar(places + 0.2, fraud, 0.4, color=FRAUD, label="fraud")
    axes.set_xticks(places, shown.labels)


def _values(
    axes: Axes, shown: Histogram, legitimate: NDArray[np.float64], fraud: NDArray[np.float64]
) -> None:
    places = np.arange(len(shown.labels))
    axes.barh(places - 0.2, legitimate, 0.4, color=LEGITIMATE, label="legitimate")
    axes.barh(places + 0.2, fraud, 0.4, color=FRAUD, label="fraud")
    # A dollar sign would begin a formula.
    names = [_cut(label).replace("$", r"\$") for label in shown.labels]
    axes.set_yticks(places, names)
    axes.invert_yaxis()


def _cut(label: str) -> str:
    return label if len(label) <= _LABEL else f"{label[: _LABEL - 1]}…"
