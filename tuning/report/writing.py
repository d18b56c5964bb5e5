"""The report of a sweep as one HTML page, and its pictures for the sweep's run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from training.html import each_text, picture, render
from tuning.report import tables, words
from tuning.report.facts import SweepFacts
from tuning.report.importance import importance_table, importances
from tuning.report.standings import Standings
from tuning.trials import Trial

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_SHOWS = {
    "progress": "The score of every trial where it ended, and the best score so far",
    "coordinates": "The parameters of every finished trial as a line, coloured by its score",
    "importance": "Bars of how much each parameter counts for the order of the trials",
    "marginals": "The scores of finished trials along the parameters that count most",
    "pr_curves": "Precision over recall of the best five trials on the rows held out",
    "thresholds": "Precision, recall, cost and alerts of the winner over every threshold",
}


def html(facts: SweepFacts, trials: Sequence[Trial]) -> str:
    """The report as one HTML file with its pictures inside; it opens anywhere and runs no script.

    Every state of a sweep has a page: running, stopped, without a finished trial, all failed.
    """
    from tuning.report.curves import pr_curves_figure, winner_figure
    from tuning.report.influence import importance_figure, marginals, marginals_figure

    standings = Standings.of(facts, trials)
    found = importances(standings)
    drawn = pictures(facts, trials)
    figures = {
        "progress": drawn.get("progress"),
        "coordinates": drawn.get("parallel_coordinates"),
        "importance": importance_figure(found),
        "marginals": marginals_figure(standings, marginals(found)),
        "pr_curves": pr_curves_figure(standings),
        "thresholds": winner_figure(standings),
    }
    said = {
        "title": f"Sweep {facts.name}",
        "lead": words.lead(standings),
        "tiles": words.tiles(standings),
        "winner": words.winner(standings),
        "sureness": words.sureness(standings),
        "board": tables.board(standings, slice(tables.UNFOLDED)),
        "rest": tables.board(standings, slice(tables.UNFOLDED, tables.MOST_ROWS)),
        "shown": min(len(standings.done), tables.MOST_ROWS),
        "more": max(len(standings.done) - tables.MOST_ROWS, 0),
        "pruned": tables.pruned(standings),
        "failed": tables.failed(standings),
        "reasons_left": tables.reasons_left(standings),
        "skills": words.skills(found),
        "silences": words.silences(found),
        "made": tables.made(facts),
        "commands": tables.commands(facts),
        "packages": tables.packages(facts),
    }
    shown = {
        name: picture(figure, _SHOWS[name]) if figure else None for name, figure in figures.items()
    }
    return render("sweep.html", "tuning.report", **each_text(said), **shown)


def parameter_shares(facts: SweepFacts, trials: Sequence[Trial]) -> pd.DataFrame:
    """How much each parameter counts, for programs; see `tuning.report.importance`."""
    return importance_table(Standings.of(facts, trials))


def pictures(facts: SweepFacts, trials: Sequence[Trial]) -> dict[str, Figure]:
    """The pictures for the sweep's run: `progress` and `parallel_coordinates`.

    One that there is nothing to show in is not among them: no trial has ended with a score, or
    no two finished trials of a family differ.
    """
    from tuning.report.coordinates import coordinates_figure
    from tuning.report.progress import progress_figure

    standings = Standings.of(facts, trials)
    found = {
        "progress": progress_figure(standings),
        "parallel_coordinates": coordinates_figure(standings),
    }
    return {name: figure for name, figure in found.items() if figure is not None}
