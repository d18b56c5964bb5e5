"""Parallel coordinates: what finished trials chose, a line each, coloured by score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, Stroke

from tuning.report.look import DPI, INK, MARKED, as_dots, axis_label, drawable
from tuning.report.scale import Scale, focus
from tuning.report.standings import Standings, parameters
from tuning.trials import Trial

_JITTER = 0.018  # of choices, so that lines through the same one stay apart
_CROWDED = 7  # parameters from which names stand on two levels
_NO_EFFECT = -0.12  # where a parameter stands that has none


def coordinates_figure(standings: Standings) -> Figure | None:
    """A picture below the other for each family, with the parameters that varied in it.

    None where no family has two finished trials that differ.
    """
    panels = [
        (family, own, scales)
        for family in standings.families
        for own in [[t for t in standings.done if t.recipe.family == family]]
        for scales in [varied(own)]
        if scales
    ]
    if not panels:
        return None
    facts = standings.facts
    shown = [facts.score(t) for t in standings.done]
    norm = Normalize(*focus(shown, higher_is_better=facts.higher_is_better))
    cmap = _dark_is_best(higher_is_better=facts.higher_is_better)
    figure = Figure(figsize=(10.5, 0.4 + 2.6 * len(panels)), layout="constrained", dpi=DPI)
    for axes, (family, own, scales) in zip(
        figure.subplots(len(panels), 1, squeeze=False)[:, 0], panels, strict=True
    ):
        _lines(axes, standings, own, scales, norm, cmap)
        axes.set_title(
            f"{family}: {len(own):,} finished",
            loc="left",
            fontsize=10,
            pad=32 if len(scales) > _CROWDED else 22,
        )
    bar = figure.colorbar(
        ScalarMappable(norm, cmap), ax=figure.axes, pad=0.02, fraction=0.03, shrink=0.8,
        extend="min" if facts.higher_is_better else "max",
    )  # fmt: skip
    bar.set_label(axis_label(facts), fontsize=9)
    bar.ax.tick_params(labelsize=8)
    if not facts.higher_is_better:
        bar.ax.invert_yaxis()
    return figure


def varied(trials: Sequence[Trial]) -> list[Scale]:
    """Scales of the parameters that differ between trials of one family."""
    chosen = [parameters(t) for t in trials]
    scales = [Scale.of(name, [params[name] for params in chosen]) for name in chosen[0]]
    return [scale for scale in scales if scale.varies]


def _lines(
    axes: Axes, standings: Standings, trials: Sequence[Trial], scales: Sequence[Scale],
    norm: Normalize, cmap: Colormap,
) -> None:  # fmt: skip
    facts = standings.facts
    chosen = [parameters(t) for t in trials]
    scores = np.array([facts.score(t) for t in trials])
    height = np.clip(np.asarray(norm(scores), np.float64), 0, 1)
    places = [scale.place([params[scale.name] for params in chosen]) for scale in scales]
    places.append(height if facts.higher_is_better else 1 - height)
    exact = np.column_stack([np.where(np.isnan(p), _NO_EFFECT, p) for p in places])
    spread = np.random.default_rng(0).uniform(-_JITTER, _JITTER, exact.shape)
    spread[:, [*(scale.kind != "choices" for scale in scales), True]] = 0
    x = np.arange(exact.shape[1])

    def path(row: int, moved: float) -> np.ndarray:
        return np.column_stack([x, exact[row] + moved * spread[row]])

    worst_first = range(len(trials) - 1, -1, -1)
    axes.add_collection(
        LineCollection(
            [path(row, 1) for row in worst_first],
            colors=cmap(norm(scores[::-1])), rasterized=as_dots(len(trials)),
            linewidths=1.4 if len(trials) <= 60 else 0.8,
            alpha=0.85 if len(trials) <= 60 else 0.5,
        )
    )  # fmt: skip
    won = next((i for i, t in enumerate(trials) if t is standings.winner), None)
    if won is not None:
        axes.plot(*path(won, 0).T, color=MARKED, lw=2.4, marker="o", ms=5, zorder=5, clip_on=False,
                  path_effects=[Stroke(linewidth=4.5, foreground="white"), Normal()])  # fmt: skip
        axes.annotate("winner" if facts.winner else "best", (x[-1], exact[won, -1]), (6, 0),
                      textcoords="offset points", va="center", fontsize=8, color=MARKED,
                      annotation_clip=False)  # fmt: skip
    axes.vlines(x, 0, 1, color=INK, lw=0.8, zorder=4)
    for place, scale in enumerate(scales):
        ticks = scale.ticks()
        if np.isnan(places[place]).any():
            ticks = [(_NO_EFFECT, "no effect"), *ticks]
        _ticks(axes, place, scale.name, ticks, raised=len(scales) > _CROWDED and place % 2 == 1)
    score = Scale("", "linear", (float(norm.vmin or 0), float(norm.vmax or 1)))
    ticks = [(p if facts.higher_is_better else 1 - p, told) for p, told in score.ticks(4)]
    _ticks(axes, len(scales), drawable(facts.label), ticks, left=True,
           raised=len(scales) > _CROWDED and len(scales) % 2 == 1)  # fmt: skip
    axes.set(xlim=(-0.25, x[-1] + 0.25), ylim=(min(-0.06, float(exact.min()) - 0.04), 1.06))
    axes.set_axis_off()


def _ticks(
    axes: Axes,
    place: int,
    name: str,
    ticks: Sequence[tuple[float, str]],
    *,
    left: bool = False,
    raised: bool = False,
) -> None:
    axes.annotate(name, (place, 1), (0, 20 if raised else 9), textcoords="offset points",
                  ha="center", fontsize=8.5, fontweight="bold", annotation_clip=False)  # fmt: skip
    on_white = [Stroke(linewidth=2.5, foreground="white"), Normal()]
    for height, told in ticks:
        axes.plot([place - 0.015, place + 0.015], [height, height], color=INK, lw=0.8, zorder=6)
        axes.annotate(told, (place, height), (-5 if left else 5, 0), textcoords="offset points",
                      va="center", ha="right" if left else "left", fontsize=7.5, zorder=6,
                      path_effects=on_white)  # fmt: skip


def _dark_is_best(*, higher_is_better: bool) -> Colormap:
    """Viridis from its darkest to a yellow that is still seen on white."""
    from matplotlib import colormaps

    shades = colormaps["viridis"](np.linspace(0, 0.93, 256))
    return ListedColormap(shades[::-1] if higher_is_better else shades, name="dark-is-best")
