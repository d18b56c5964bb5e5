"""What the report says in sentences, tiles and tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from shlex import quote
from statistics import median
from typing import Any

from training.html import Table
from training.models import FAMILIES, family, with_defaults
from tuning.report.facts import LABELS, SweepFacts
from tuning.report.importance import Importance
from tuning.report.standings import Standings, folds_seen, policy_met, told
from tuning.trials import Trial

MOST_ROWS = 50
"""Finished trials in the leaderboard of the page."""

_MOST_NAMED = 12
_MOST_REASONS = 20
_LONGEST = 400  # characters of a reason
_NONE = "-"
_SHOWN = ("pr_auc", "precision", "recall", "alerts_per_10000", "cost_per_10000")


def lead(standings: Standings) -> str:
    """What was searched, on what, and how it ended."""
    facts = standings.facts
    searched = (
        f"A {facts.algorithm} search over {_and(facts.families)} on {facts.source}: "
        f"{facts.rows:,} training rows with {facts.frauds:,} frauds, in {_count(facts.folds, 'fold')}, "
        f"judged by {facts.label} ({'higher' if facts.higher_is_better else 'lower'} is better)."
    )
    lasted = duration(facts.ended - facts.began) if facts.ended else ""
    nodes = f" on {_count(len(facts.nodes), 'node')}" if facts.nodes else ""
    ended = {
        "running": "It is still running",
        "done": f"It ran to its end in {lasted}{nodes}",
        "stopped": f"It was stopped after {lasted}{nodes}, before its end",
        "failed": f"It failed after {lasted}{nodes}",
    }[facts.state if lasted or facts.state == "running" else "running"]
    statuses = [t.status for t in standings.trials]
    counts = [
        f"{statuses.count(status):,} {word}"
        for status, word in (
            ("done", "finished"), ("pruned", "pruned"), ("failed", "failed"),
            ("stopped", "stopped"), ("running", "running"), ("waiting", "waiting"),
        )
        if status in statuses
    ]  # fmt: skip
    of = f" of {facts.planned:,} planned" if facts.planned else ""
    tried = f"{_count(len(statuses), 'trial')}{of}" + (f": {', '.join(counts)}" if counts else "")
    return f"{searched} {ended}: {tried}."


def tiles(standings: Standings) -> list[tuple[str, str, str]]:
    """The winner's figures; none without one."""
    won, facts = standings.winner, standings.facts
    if won is None:
        return []
    found = won.metrics
    scores, error = standings.scores_by_fold(won), standings.standard_error
    spread = (
        f"{min(scores):.3f} to {max(scores):.3f} over {_count(len(scores), 'fold')}"
        if error is not None
        else "all folds together"
    )
    boxes = [(facts.label, number(facts.metric, facts.score(won)), spread)]
    if facts.metric != "pr_auc" and "pr_auc" in found:
        boxes.append((LABELS["pr_auc"], number("pr_auc", found["pr_auc"]), "mean of the folds"))
    if "threshold" in found:
        boxes.append(("Threshold", f"{found['threshold']:.4g}", f"by {facts.policy}"))
    notes = {
        "precision": "of the alerts are frauds", "recall": "of the frauds are found",
        "alerts_per_10000": "payments, as they come", "cost_per_10000": facts.currency,
    }  # fmt: skip
    boxes += [
        (LABELS[name], number(name, found[name]), note)
        for name, note in notes.items()
        if name in found and name != facts.metric
    ]
    return boxes


def winner(standings: Standings) -> list[str]:
    """What won, and what became of it."""
    won, facts = standings.winner, standings.facts
    if won is None:
        return [] if facts.state == "running" else ["No trial has finished, so there is no winner."]
    called = "The winner is" if facts.winner == won.key else "The best so far is"
    said = [f"{called} trial {won.number}: {told(won)}."]
    if not policy_met(facts, won):
        said.append(f"No threshold of it meets the policy {facts.policy} on the rows held out.")
    if won is not standings.done[0]:
        said.append(
            f"Trial {standings.done[0].number} scores as high; of equal trials the simpler one wins."
        )
    if facts.outcome:
        said.append(facts.outcome)
    return said


def sureness(standings: Standings) -> list[str]:
    """How far the winner can be told from the others."""
    won, facts = standings.winner, standings.facts
    if won is None:
        return []
    alike, error = standings.alike, standings.standard_error
    said = []
    if alike is None or error is None:
        said.append(
            f"{facts.label} is measured once, on the rows held out of all folds together, so it "
            f"is not known how far it would vary: small differences between trials mean little."
        )
    else:
        by_fold = ", ".join(number(facts.metric, s) for s in standings.scores_by_fold(won))
        said.append(
            f"Fold by fold it has {by_fold}: a mean of {number(facts.metric, facts.score(won))} "
            f"with a standard error of {number(facts.metric, error)}."
        )
        said.append(_alike(alike, standings))
    if len(standings.done) > 1:
        said.append(
            f"It is the best of {len(standings.done):,}, and the best of many is in part the "
            f"luckiest: expect a little less on new rows. The test rows, which no trial has seen, "
            f"say what the refitted winner is worth."
        )
    return said


def _alike(alike: Sequence[Trial], standings: Standings) -> str:
    if not alike:
        return (
            "No other trial comes within that of it." if len(standings.done) > 1
            else "There is no other finished trial to compare it with."
        )  # fmt: skip
    named = ", ".join(str(t.number) for t in alike[:_MOST_NAMED])
    more = f" and {len(alike) - _MOST_NAMED:,} more" if len(alike) > _MOST_NAMED else ""
    simplest = min(alike, key=lambda t: list(FAMILIES).index(t.recipe.family))
    order = list(FAMILIES)
    won = standings.winner
    simpler = (
        f" Trial {simplest.number} among them is of a simpler family, {simplest.recipe.family}."
        if won and order.index(simplest.recipe.family) < order.index(won.recipe.family)
        else ""
    )
    return (
        f"{_count(len(alike), 'other trial')} of {len(standings.done) - 1:,} "
        f"{'comes' if len(alike) == 1 else 'come'} within that and cannot be told apart from the "
        f"winner: {named}{more}.{simpler}"
    )


def board(standings: Standings) -> Table:
    """The best finished trials."""
    facts = standings.facts
    shown = [facts.metric, *(name for name in _SHOWN if name != facts.metric)]
    rows = [
        (
            f"{place:,}", str(t.number), t.recipe.family, _choices(t),
            number(facts.metric, facts.score(t)) + _spread(standings, t),
            *(number(name, t.metrics.get(name)) for name in shown[1:]),
            duration(t.seconds), t.key,
            "winner" if t is standings.winner and facts.winner else "",
        )
        for place, t in enumerate(standings.done[:MOST_ROWS], 1)
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
    mean = sum(scores) / len(scores)
    return f" ± {math.sqrt(sum((s - mean) ** 2 for s in scores) / (len(scores) - 1)):.3f}"


def pruned(standings: Standings) -> Table:
    """How far the trials that were given up had got."""
    facts = standings.facts
    groups: dict[int, list[Trial]] = {}
    for trial in standings.pruned:
        groups.setdefault(folds_seen(trial), []).append(trial)
    rows = []
    for seen, same in sorted(groups.items()):
        scores = [facts.score(t) for t in same if not math.isnan(facts.score(t))]
        far = f"{seen} of {_count(facts.folds, 'fold')}" if seen else "before its first score"
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
        named = ", ".join(str(t.number) for t in same[:_MOST_NAMED])
        more = f" and {len(same) - _MOST_NAMED:,} more" if len(same) > _MOST_NAMED else ""
        cut = reason if len(reason) <= _LONGEST else f"{reason[: _LONGEST - 1]}…"
        families = _and(list(dict.fromkeys(t.recipe.family for t in same)))
        rows.append((f"{len(same):,}", cut, families, named + more))
    return Table(("Trials", "Reason", "Family", "Which"), rows, (1, 2, 3))


def reasons_left(standings: Standings) -> int:
    """Reasons that `failed` has no room for."""
    return max(len(standings.reasons) - _MOST_REASONS, 0)


def silences(found: Sequence[Importance]) -> list[str]:
    """Of which trials nothing can be said, and why."""
    return [f"{one.about[0].upper()}{one.about[1:]}: {one.silence}." for one in found if one.silence]


def skills(found: Sequence[Importance]) -> list[str]:
    """How much the parameters tell, where they do."""
    return [
        f"{one.about[0].upper()}{one.about[1:]}: all parameters together explain {one.skill:.0%} of "
        f"the order of {one.trials:,} finished trials that a tree has not seen"
        + (f"; beyond chance count {_and(one.telling)}." if one.telling else
           ", none of them clearly more than chance.")
        for one in found
        if not one.silence
    ]  # fmt: skip


def made(facts: SweepFacts) -> Table:
    """Data, space and settings."""
    rows = [
        ("Data", f"{facts.source}, fingerprint {facts.fingerprint}, read by the spec {facts.spec}"),
        ("Rows", f"{facts.rows:,} for training, {facts.frauds:,} of them frauds, split "
                 f"{facts.split}; validation and test rows are not used here"),
        ("Folds", f"{facts.folds}; {facts.natural:.4g} frauds per legitimate row as they come"),
        ("Space", f"{facts.space}: {_and(facts.families)}"),
        ("Algorithm", f"{facts.algorithm}, scheduler {facts.scheduler}, seed {facts.seed}"),
        ("Judged by", f"{facts.label}, threshold by {facts.policy}"),
        ("Began", _when(facts.began)),
        ("Ended", _when(facts.ended) if facts.ended else "not yet"),
        ("Nodes", ", ".join(facts.nodes) or "none yet"),
        *facts.settings.items(),
    ]  # fmt: skip
    return Table(("What", "How"), rows, (0, 1))


def commands(facts: SweepFacts) -> list[tuple[str, str]]:
    """What to type, and what it does."""
    found = []
    if facts.state != "done":
        found.append((f"fraudray sweeps resume {quote(facts.name)}", "goes on where it ended"))
    if facts.command:
        found.append((facts.command, "does the same again"))
    return found


def packages(facts: SweepFacts) -> Table:
    """Versions."""
    return Table(("Package", "Version"), sorted(facts.packages.items()), (0, 1))


def number(metric: str, value: float | None) -> str:
    """A metric's value as it is read; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return _NONE
    if metric == "cost_per_10000":
        return f"{value:,.0f}"
    return f"{value:,.1f}" if metric == "alerts_per_10000" else f"{value:.4f}"


def duration(seconds: float) -> str:
    """A time in at most two units."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit, name, part, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit:
            rest = whole % unit // part
            return f"{whole // unit} {name}" + (f" {rest} {small}" if rest else "")
    raise ValueError(seconds)


def _when(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _and(names: Sequence[Any]) -> str:
    told = [str(name) for name in names]
    return " and ".join(filter(None, [", ".join(told[:-1]), told[-1] if told else ""]))
