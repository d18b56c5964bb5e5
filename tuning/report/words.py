"""What the report says in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from training.models import FAMILIES
from tuning.report.facts import LABELS
from tuning.report.importance import Importance
from tuning.report.numbers import counted, duration, listed, number
from tuning.report.standings import Standings, policy_met, told
from tuning.report.tables import MOST_NAMED
from tuning.trials import Trial


def lead(standings: Standings) -> str:
    """What was searched, on what, and how it ended."""
    facts = standings.facts
    searched = (
        f"A {facts.algorithm} search over {listed(facts.families)} on {facts.source}: "
        f"{facts.rows:,} training rows with {facts.frauds:,} frauds, in "
        f"{counted(facts.folds, 'fold')}, judged by {facts.label} "
        f"({'higher' if facts.higher_is_better else 'lower'} is better)."
    )
    # A sweep that was killed could not say when it ended.
    end = facts.ended or max((t.ended for t in standings.trials), default=0.0)
    lasted = duration(max(end - facts.began, 0.0))
    nodes = f" on {counted(len(facts.nodes), 'node')}" if facts.nodes else ""
    ended = {
        "running": "It is still running",
        "done": f"It ran to its end in {lasted}{nodes}",
        "stopped": f"It was stopped after {lasted}{nodes}, before its end",
        "failed": f"It failed after {lasted}{nodes}",
    }[facts.state]
    statuses = [t.status for t in standings.trials]
    counts = [
        f"{statuses.count(status):,} {word}"
        for status, word in (
            ("done", "finished"), ("pruned", "pruned"), ("failed", "failed"),
            ("stopped", "stopped"), ("running", "running"), ("waiting", "waiting"),
        )
        if status in statuses
    ]  # fmt: skip
    all_there = facts.planned in (None, len(statuses))
    of = "" if all_there else f" of {facts.planned:,} planned"
    became = f" ({', '.join(counts)})" if counts else ""
    return f"{searched} {ended}, with {counted(len(statuses), 'trial')}{of}{became}."


def tiles(standings: Standings) -> list[tuple[str, str, str]]:
    """The winner's figures; none without one."""
    won, facts = standings.winner, standings.facts
    if won is None:
        return []
    found = won.metrics
    scores, error = standings.scores_by_fold(won), standings.standard_error
    spread = (
        f"{min(scores):.3f} to {max(scores):.3f} over {counted(len(scores), 'fold')}"
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
            f"Trial {standings.done[0].number} scores as high; of equals the simpler one wins."
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
    named = ", ".join(str(t.number) for t in alike[:MOST_NAMED])
    more = f" and {len(alike) - MOST_NAMED:,} more" if len(alike) > MOST_NAMED else ""
    simplest = min(alike, key=lambda t: list(FAMILIES).index(t.recipe.family))
    order = list(FAMILIES)
    won = standings.winner
    simpler = (
        f" Trial {simplest.number} among them is of a simpler family, {simplest.recipe.family}."
        if won and order.index(simplest.recipe.family) < order.index(won.recipe.family)
        else ""
    )
    return (
        f"{counted(len(alike), 'other trial')} of {len(standings.done) - 1:,} "
        f"{'comes' if len(alike) == 1 else 'come'} within that and cannot be told apart from the "
        f"winner: {named}{more}.{simpler}"
    )


def silences(found: Sequence[Importance]) -> list[str]:
    """Of which trials nothing can be said, and why."""
    return [f"{one.about}: {one.silence}." for one in found if one.silence]


def skills(found: Sequence[Importance]) -> list[str]:
    """How much the parameters tell, where they do."""
    return [
        f"{one.about}: of the variance in the order of {one.trials:,} finished trials, all "
        f"parameters together explain {one.skill:.0%} in trials not seen; "
        + (f"more than chance: {listed(one.telling)}." if one.telling else
           "none of them alone counts for more than chance.")
        for one in found
        if not one.silence
    ]  # fmt: skip
