"""Influence: pictures of how much each parameter counts, and of the scores along those that do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from tuning.report.importance import ALL, FAMILY, Importance
from tuning.report.look import DPI, GREY, INK, axis_label, family_handles, scatter
from tuning.report.scale import Scale, focus
from tuning.report.standings import Standings, parameters
from tuning.trials import Trial

_BAR = "#0072b2"
_MOST_MARGINALS = 6
_JITTER = 0.05
_ENOUGH = 3  # trials that a median is taken of
_BINS = 8


def importance_figure(found: Sequence[Importance]) -> Figure | None:
    """Bars of each group of trials, the most important parameter on top.

    None where nothing can be said of any.
    """
    said = [one for one in found if not one.silence]
    if not said:
        return None
    figure = Figure(figsize=(8, 0.5 + sum(0.75 + 0.25 * len(o.shares) for o in said)),
                    layout="constrained")  # fmt: skip
    rows = figure.subplots(len(said), 1, sharex=True, squeeze=False,
                           height_ratios=[1.2 + len(o.shares) for o in said])  # fmt: skip
    for axes, one in zip(rows[:, 0], said, strict=True):
        shares = [max(share, 0.0) for share in one.shares.values()]
        places = np.arange(len(shares))
        colors = [_BAR if name in one.telling else "#c3c9d1" for name in one.shares]
        axes.barh(places, shares, 0.7, color=colors)
        axes.axvline(one.chance, color=INK, ls="--", lw=1)
        axes.set_yticks(places, list(one.shares), fontsize=9)
        axes.invert_yaxis()
        axes.set_title(f"{one.about}: {one.trials:,} finished trials", loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(axis="x", labelsize=8)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    rows[-1, 0].set_xlim(0, None)
    rows[-1, 0].set_xlabel("Growth of the error on unseen trials, as a share of the variance; "
                           "grey: no more than chance (dashed)", fontsize=8.5)  # fmt: skip
    return figure


@dataclass(frozen=True)
class Marginal:
    """A parameter that counts, in the trials of a family or of all."""

    about: str
    name: str


def marginals(found: Sequence[Importance]) -> list[Marginal]:
    """The parameters worth a picture: those above chance, the most important first."""
    overall = {name for one in found if one.about == ALL for name in one.telling}
    ranked = sorted(
        (
            (one.shares[name], Marginal(one.about, name))
            for one in found
            for name in one.telling
            # What counts over all families needs no second picture of one of them.
            if one.about == ALL or name not in overall
        ),
        key=lambda item: -item[0],
    )
    return [marginal for _, marginal in ranked[:_MOST_MARGINALS]]


def marginals_figure(standings: Standings, chosen: Sequence[Marginal]) -> Figure | None:
    """The score of every finished trial along each of these parameters; None without any."""
    if not chosen:
        return None
    columns = min(3, len(chosen))
    lines = -(-len(chosen) // columns)
    figure = Figure(figsize=(3.3 * columns, 0.5 + 2.7 * lines), layout="constrained", dpi=DPI)
    grid = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
    shown = []
    for axes, marginal in zip(grid, chosen, strict=False):
        trials = [t for t in standings.done if marginal.about in (t.recipe.family, ALL)]
        shown += trials
        _marginal(axes, standings, marginal, trials)
    for axes in grid[len(chosen) :]:
        axes.set_visible(False)
    facts = standings.facts
    low, high = focus([facts.score(t) for t in shown], higher_is_better=facts.higher_is_better)
    edge = 0.06 * (high - low)
    grid[0].set_ylim(low - edge, high + edge)
    for axes in grid[::columns]:
        axes.set_ylabel(axis_label(facts), fontsize=9)
    families = [f for f in standings.families if any(t.recipe.family == f for t in shown)]
    figure.legend(handles=family_handles(families), loc="outside upper left", frameon=False,
                  ncols=len(families), fontsize=9, handletextpad=0.4)  # fmt: skip
    return figure


def _marginal(
    axes: Axes, standings: Standings, marginal: Marginal, trials: Sequence[Trial]
) -> None:
    facts = standings.facts
    if marginal.name == FAMILY:
        values = [float(standings.families.index(t.recipe.family)) for t in trials]
    else:
        values = [parameters(t)[marginal.name] for t in trials]
    scale = Scale.of(marginal.name, values)
    at = scale.place(values)
    scores = np.array([facts.score(t) for t in trials])
    jitter = np.random.default_rng(0).uniform(-_JITTER, _JITTER, len(at))
    x = at + (jitter if scale.kind == "choices" else 0)
    low, high = focus(scores.tolist(), higher_is_better=facts.higher_is_better)
    inside = np.clip(scores, low, high)
    for family in standings.families:
        mine = np.array([t.recipe.family == family for t in trials])
        scatter(axes, family, x[mine], inside[mine], count=len(trials))
    _medians(axes, scale, at, inside)
    ticks = scale.ticks(4)
    names = [told for _, told in ticks]
    if marginal.name == FAMILY:
        names = [family.replace("-", "\n") for family in standings.families]
    axes.set_xticks([place for place, _ in ticks], names)
    axes.set_xlim(-0.1, 1.1)
    axes.set_title(marginal.name, fontsize=10, loc="left")
    axes.set_xlabel(f"{marginal.about}{', log scale' if scale.kind == 'log' else ''}",
                    fontsize=8.5, color="#5b6675")  # fmt: skip
    axes.tick_params(labelsize=8)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axes.grid(axis="y", color=GREY, alpha=0.2, lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _medians(axes: Axes, scale: Scale, at: np.ndarray, scores: np.ndarray) -> None:
    """Medians: a bar at each choice, or a line through parts of equal number."""
    known = ~np.isnan(at)
    at, scores = at[known], scores[known]
    if scale.kind == "choices":
        for place in np.unique(at):
            here = scores[at == place]
            if len(here) >= _ENOUGH:
                axes.plot([place - 0.09, place + 0.09], [np.median(here)] * 2, color=INK, lw=2.2,
                          zorder=5)  # fmt: skip
        return
    parts = min(_BINS, len(at) // (2 * _ENOUGH))
    if parts < 3:
        return
    groups = np.array_split(np.argsort(at, kind="stable"), parts)
    axes.plot([at[g].mean() for g in groups], [np.median(scores[g]) for g in groups], color=INK,
              lw=2, zorder=5)  # fmt: skip
