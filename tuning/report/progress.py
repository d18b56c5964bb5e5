"""Progress: the scores of a sweep's trials over the time since it began."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tuning.report.look import GREY, INK, MARKED, axis_label, family_handles, frame, scatter
from tuning.report.scale import focus
from tuning.report.standings import Standings
from tuning.trials import Trial

_UNITS = ((2 * 86400, 86400, "days"), (2 * 3600, 3600, "hours"), (120, 60, "minutes"))


def progress_figure(standings: Standings) -> Figure | None:
    """Each trial where it ended, and the best score so far.

    Pruned trials are hollow; failed ones, and those pruned before their first score, stand on a
    line below the others. None where no trial has ended with a score.
    """
    facts = standings.facts
    over = [t for t in standings.trials if t.ended and t.status in ("done", "pruned", "failed")]
    scored = [t for t in over if t.status != "failed" and not math.isnan(facts.score(t))]
    if not scored:
        return None
    figure, axes = frame(9, 4.4)
    lasted = max([facts.ended, *(t.ended for t in over)]) - facts.began
    unit, name = next(((u, n) for least, u, n in _UNITS if lasted >= least), (1, "seconds"))
    axes.set(xlabel=f"Time since the sweep began ({name})", ylabel=axis_label(facts))
    low, high = focus([facts.score(t) for t in scored], higher_is_better=facts.higher_is_better)
    edge = 0.05 * (high - low)
    bottom = low - edge

    def drawn(trials: list[Trial], family: str, *, hollow: bool) -> None:
        mine = [t for t in trials if t.recipe.family == family]
        x = [(t.ended - facts.began) / unit for t in mine]
        y = np.clip([facts.score(t) for t in mine], low - edge / 2, high + edge / 2)
        scatter(axes, family, x, y, count=len(over), hollow=hollow)

    families = list(dict.fromkeys(t.recipe.family for t in scored))
    for family in families:
        drawn([t for t in scored if t.status == "pruned"], family, hollow=True)
        drawn([t for t in scored if t.status == "done"], family, hollow=False)
    handles = family_handles(families)
    if any(t.status == "pruned" for t in scored):
        handles.append(
            Line2D([], [], color=GREY, marker="o", mfc="none", ls="none", label="pruned")
        )
    drawn_keys = {t.key for t in scored}
    lost = [t for t in over if t.key not in drawn_keys]
    if lost:
        bottom = low - 4 * edge
        axes.axhline(low - edge, color="#d9dee5", lw=1)
        axes.plot([(t.ended - facts.began) / unit for t in lost], [low - 2.5 * edge] * len(lost),
                  "x", color=GREY, ms=6, mew=1.5)  # fmt: skip
        early = ", or pruned before its first score" * any(t.status == "pruned" for t in lost)
        handles.append(Line2D([], [], color=GREY, marker="x", ls="none", mew=1.5,
                              label=f"failed{early}"))  # fmt: skip
    handles += _best_so_far(axes, standings, unit, lasted, (low - edge / 2, high + edge / 2))
    if beyond := sum(not low <= facts.score(t) <= high for t in scored):
        axes.set_title(
            f"{beyond:,} {'below' if facts.higher_is_better else 'above'} this range, "
            f"drawn at its edge", loc="right", fontsize=8, color="#5b6675",
        )  # fmt: skip
    axes.set(xlim=(-0.02 * lasted / unit, 1.02 * max(lasted, 1e-9) / unit),
             ylim=(bottom, high + edge))  # fmt: skip
    axes.set_yticks([t for t in axes.get_yticks() if low - edge <= t <= high + edge])
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), frameon=False,
                  fontsize=9, handletextpad=0.4, columnspacing=1.4)  # fmt: skip
    return figure


def _best_so_far(
    axes: Axes, standings: Standings, unit: float, lasted: float, ends: tuple[float, float]
) -> list[Line2D]:
    """A step up at each trial that beat all before it, and the winner's own mark."""
    facts = standings.facts
    best, x, y = -math.inf, [], []
    for trial in sorted((t for t in standings.done if t.ended), key=lambda t: t.ended):
        if facts.goodness(trial) > best:
            best = facts.goodness(trial)
            x.append((trial.ended - facts.began) / unit)
            y.append(float(np.clip(facts.score(trial), *ends)))
    if not x:
        return []
    line = axes.step([*x, lasted / unit], [*y, y[-1]], where="post", color=INK, lw=1.6,
                     label="best so far", zorder=4)  # fmt: skip
    won = standings.winner
    if won is None or not won.ended:
        return line
    mark = axes.plot((won.ended - facts.began) / unit, facts.score(won), "o", mfc="none",
                     mec=MARKED, ms=13, mew=2, ls="none", zorder=5,
                     label="winner" if facts.winner else "best")  # fmt: skip
    return [*line, *mark]
