"""The tables of the report."""

from __future__ import annotations

import math
from shlex import quote
from statistics import median, stdev

from training.html import Table
from training.models import family, with_defaults
from tuning.report.facts import LABELS, SweepFacts
from tuning.report.numbers import counted, duration, listed, number, when
from tuning.report.standings import Standings, folds_seen
from tuning.trials import Trial

MOST_ROWS = 50
"""Finished trials in the leaderboard of the page."""
UNFOLDED = 12
"""Of them, those that are seen at first."""
MOST_NAMED = 12
"""Trials named in a line."""

_MOST_REASONS = 20
_LONGEST = 400  # characters of a reason
_SHOWN = ("pr_auc", "precision", "recall", "alerts_per_10000", "cost_per_10000")


def board(standings: Standings, places: slice) -> Table:
    """Finished trials by their place, the best at 0."""
    facts = standings.facts
    won = standings.winner if facts.winner else None
    shown = [facts.metric, *(name for name in _SHOWN if name != facts.metric)]
    rows = [
        (
            f"{place:,}{' ★' if won is t else ''}", str(t.number), t.recipe.family, _choices(t),
            number(facts.metric, facts.score(t)) + _spread(standings, t),
            *(number(name, t.metrics.get(name)) for name in shown[1:]),
            duration(t.seconds), t.key,
            "winner" if won is t else "",
        )
        for place, t in list(enumerate(standings.done, 1))[places]
    ]  # fmt: skip
    return Table(
        ("", "Trial", "Family", "Configuration", facts.label,
         *(LABELS[name] for name in shown[1:]), "Fits", "Key", ""),
        rows, (2, 3, len(shown) + 5, len(shown) + 6),
    )  # fmt: skip


def _choices(trial: Trial) -> str:
    """What the family's table does not say already, short."""
    recipe = trial.recipe
    params = with_defaults(family(recipe.family), recipe.params)
    parts = [f"{name} {value:g}" for name, value in params.items()]
    if recipe.smote:
        parts.append(f"SMOTE {recipe.smote:g} of {recipe.neighbours} neighbours")
    if recipe.fraud_weight != 1:
        parts.append(f"frauds weigh {recipe.fraud_weight:g}")
    if not recipe.derived:
        parts.append("no derived features")
    return ", ".join(parts)


def _spread(standings: Standings, trial: Trial) -> str:
    scores = standings.scores_by_fold(trial)
    if len(scores) < 2:
        return ""
    return f" ± {stdev(scores):.3f}"


def pruned(standings: Standings) -> Table:
    """How far the trials that were given up had got."""
    facts = standings.facts
    groups: dict[int, list[Trial]] = {}
    for trial in standings.pruned:
        groups.setdefault(folds_seen(trial), []).append(trial)
    rows = []
    for seen, same in sorted(groups.items()):
        scores = [facts.score(t) for t in same if not math.isnan(facts.score(t))]
        far = f"{seen} of {counted(facts.folds, 'fold')}" if seen else "before its first score"
        rows.append((
            far, f"{len(same):,}", number(facts.metric, facts.score(same[0]) if scores else None),
            number(facts.metric, median(scores) if scores else None),
            duration(sum(t.seconds for t in same)),
        ))  # fmt: skip
    return Table(("Seen before it was given up", "Trials", f"Best {facts.label} so far",
                  "Middle one", "Fits"), rows)  # fmt: skip


def failed(standings: Standings) -> Table:
    """Why trials failed."""
    rows = []
    for reason, same in standings.reasons[:_MOST_REASONS]:
        named = ", ".join(str(t.number) for t in same[:MOST_NAMED])
        more = f" and {len(same) - MOST_NAMED:,} more" if len(same) > MOST_NAMED else ""
        cut = reason if len(reason) <= _LONGEST else f"{reason[: _LONGEST - 1]}…"
        families = listed(list(dict.fromkeys(t.recipe.family for t in same)))
        rows.append((f"{len(same):,}", cut, families, named + more))
    return Table(("Trials", "Reason", "Family", "Which"), rows, (1, 2, 3))


def reasons_left(standings: Standings) -> int:
    """Reasons that `failed` has no room for."""
    return max(len(standings.reasons) - _MOST_REASONS, 0)


def made(facts: SweepFacts) -> Table:
    """Data, space and settings."""
    unknown = "not yet" if facts.state == "running" else "not known, it was killed"
    rows = [
        ("Data", f"{facts.source}, fingerprint {facts.fingerprint}, read by the spec {facts.spec}"),
        ("Rows", f"{facts.rows:,} for training, {facts.frauds:,} of them frauds, split "
                 f"{facts.split}; validation and test rows are not used here"),
        ("Folds", f"{facts.folds}; {facts.natural:.4g} frauds per legitimate row as they come"),
        ("Space", f"{facts.space}: {listed(facts.families)}"),
        ("Algorithm", f"{facts.algorithm}, scheduler {facts.scheduler}, seed {facts.seed}"),
        ("Judged by", f"{facts.label}, threshold by {facts.policy}"),
        ("Began", when(facts.began)),
        ("Ended", when(facts.ended) if facts.ended else unknown),
        ("Nodes", ", ".join(facts.nodes) or "none yet"),
        *facts.settings.items(),
    ]  # fmt: skip
    return Table(("What", "How"), rows, (0, 1))


def commands(facts: SweepFacts) -> list[tuple[str, str]]:
    """What to type, and what it does."""
    found = []
    if facts.state in ("stopped", "failed"):
        found.append((f"fraudray sweeps resume {quote(facts.name)}", "goes on where it ended"))
    if facts.command:
        found.append((facts.command, "does the same again"))
    return found


def packages(facts: SweepFacts) -> Table:
    """Versions."""
    return Table(("Package", "Version"), sorted(facts.packages.items()), (0, 1))
