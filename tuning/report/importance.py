"""Importance: how much of the order of the scores each hyperparameter accounts for.

A forest is fitted to the parameters of finished trials, family by family, because a parameter means
nothing where its family was not chosen; what all families share is judged over all trials. The
target is the rank of the score, so that one hopeless trial does not decide everything. A parameter
counts by the error that shuffling it adds, in each tree on trials which that tree has not seen.

Two things keep it honest. Trials that come from one fit (they differ only in how many of its trees
count) are drawn together, or each would be known from its siblings. And every parameter has a
shuffled copy among the columns: what is no more important than the best copy may be chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tuning.report.scale import Scale
from tuning.report.standings import Standings, parameters
from tuning.trials import Trial

ALL, FAMILY = "all families", "family"
"""What trials of every family are called, and which of them a trial is of."""
FEWEST_TRIALS = 20
"""Finished trials from different fits below which nothing is said."""
PER_PARAMETER = 4
"""As many for each parameter that varies."""
LEAST_SKILL = 0.1
"""Share of the variance of unseen ranks that a forest must explain for its parameters to count."""

_TREES = 200
_NOTHING = 0.01  # a share that is nothing, whatever the copies have
_SHARED = ("smote", "neighbours", "fraud_weight", "derived")
_COUNT = "n_estimators"

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Importance:
    """What the parameters of some trials account for.

    Attributes
    ----------
    about
        A family, or all families.
    shares
        By parameter, the highest first: how much the squared error on unseen ranks grows when it is
        shuffled, over their variance. Shares need not add up to 1, and one alone can exceed it.
    chance
        The highest share of a shuffled copy; what is not above it may be nothing.
    skill
        Share of the variance of unseen ranks that all parameters explain together.
    silence
        Why nothing can be said; empty where something can, and then alone are there shares.
    """

    about: str
    trials: int
    shares: Mapping[str, float]
    chance: float = 0.0
    skill: float = 0.0
    silence: str = ""

    @property
    def telling(self) -> tuple[str, ...]:
        """The parameters that account for more than chance would."""
        return tuple(name for name, share in self.shares.items() if share > self.chance)


def importances(standings: Standings) -> list[Importance]:
    """Judge what all families share over all finished trials, then each family's parameters."""
    trials = standings.done
    goodness = np.array([standings.facts.goodness(t) for t in trials])
    rank = np.searchsorted(np.sort(goodness), goodness) / max(len(trials), 1)
    families = standings.families
    found = []
    if len(families) > 1:
        member = [[float(t.recipe.family == f) for f in families] for t in trials]
        columns = {FAMILY: np.array(member)} | _columns(trials, _SHARED)
        found.append(_importance(ALL, trials, columns, rank))
    for family in families:
        rows = [i for i, t in enumerate(trials) if t.recipe.family == family]
        own = [trials[i] for i in rows]
        found.append(_importance(family, own, _columns(own), rank[rows]))
    return found


def importance_table(standings: Standings) -> pd.DataFrame:
    """What `importances` finds as a table, which the sweep's run in MLflow keeps.

    Returns
    -------
    DataFrame
        A row per group of trials and parameter: `about`, `trials`, `parameter`, `share`, `chance`,
        `skill`, `silence`. A group of which nothing can be said has one row, without a parameter.
    """
    rows = [
        (one.about, one.trials, name, share, one.chance, one.skill, one.silence)
        for one in importances(standings)
        for name, share in (one.shares or {"": 0.0}).items()
    ]
    heads = ["about", "trials", "parameter", "share", "chance", "skill", "silence"]
    return pd.DataFrame(rows, columns=heads)


def _columns(trials: Sequence[Trial], names: Sequence[str] | None = None) -> dict[str, Matrix]:
    """The parameters that vary, as places on their scale, each of shape (n, 1)."""
    chosen = [parameters(t) for t in trials]
    columns = {}
    for name in names or list(chosen[0]):
        values = [params[name] for params in chosen]
        if (scale := Scale.of(name, values)).varies:
            place = scale.place(values)
            # What has no effect on a trial stands apart from every value.
            columns[name] = np.where(np.isnan(place), -0.5, place)[:, None]
    return columns


def _importance(
    about: str, trials: Sequence[Trial], columns: Mapping[str, Matrix], rank: NDArray[np.float64]
) -> Importance:
    fits = _fits(trials)
    count, needed = int(fits.max()) + 1, max(FEWEST_TRIALS, PER_PARAMETER * len(columns))
    if not columns:
        return Importance(about, len(trials), {}, silence="no parameter was varied")
    if (rank == rank[0]).all() and len(trials) > 1:
        return Importance(about, len(trials), {}, silence="all trials score the same")
    if count < needed:
        told = f"{count} finished {'trial' if count == 1 else 'trials'}" + (
            f" from different fits ({len(trials)} in all)" if count != len(trials) else ""
        )
        return Importance(
            about, len(trials), {}, silence=f"too few to say: {told}, at least {needed} are needed"
        )
    skill, shares, copies = _judge(list(columns.values()), rank, fits)
    if skill < LEAST_SKILL:
        return Importance(
            about, len(trials), {}, skill=skill,
            silence="the parameters tell next to nothing about the order of the trials",
        )  # fmt: skip
    ranked = sorted(zip(columns, shares, strict=True), key=lambda item: -item[1])
    return Importance(about, len(trials), dict(ranked), max(_NOTHING, *copies), skill)


def _judge(
    columns: Sequence[Matrix], target: NDArray[np.float64], fits: NDArray[np.int64]
) -> tuple[float, list[float], list[float]]:
    """Skill of a bagged forest on trials left out of a tree, and what shuffling a column costs it.

    Returns
    -------
    skill : float
    shares, copies : list of float
        Of the columns and of their shuffled copies, as shares of the variance.
    """
    from sklearn.tree import DecisionTreeRegressor

    rng = np.random.default_rng(0)
    count = int(fits.max()) + 1
    copies = [_shuffled(column, fits, rng) for column in columns]
    parts = [*columns, *copies]
    matrix = np.hstack(parts).astype(np.float32)
    ends = np.cumsum([0, *(part.shape[1] for part in parts)])
    features = max(1, -(-matrix.shape[1] // 3))
    added = np.zeros(len(parts))
    total, seen = np.zeros(len(target)), np.zeros(len(target))
    rows = 0
    for seed in range(_TREES):
        drawn = np.bincount(rng.integers(count, size=count), minlength=count)[fits]
        inside, outside = np.flatnonzero(drawn), np.flatnonzero(drawn == 0)
        if not len(outside):
            continue
        tree = DecisionTreeRegressor(max_features=features, min_samples_leaf=2, random_state=seed)
        tree.fit(matrix[inside], target[inside], sample_weight=drawn[inside])
        rest, truth = matrix[outside], target[outside]
        guess = tree.tree_.predict(rest)[:, 0]
        total[outside] += guess
        seen[outside] += 1
        rows += len(outside)
        error = np.sum((guess - truth) ** 2)
        used = set(tree.tree_.feature[tree.tree_.feature >= 0].tolist())
        for place, (begin, end) in enumerate(pairwise(ends)):
            if used.isdisjoint(range(begin, end)):
                continue
            changed = rest.copy()
            changed[:, begin:end] = rest[rng.permutation(len(rest)), begin:end]
            added[place] += np.sum((tree.tree_.predict(changed)[:, 0] - truth) ** 2) - error
    known = seen > 0
    variance = float(target.var()) or 1.0
    errors = (total[known] / seen[known] - target[known]) ** 2
    shares = (added / max(rows, 1) / variance).tolist()
    return 1 - float(errors.mean()) / variance, shares[: len(columns)], shares[len(columns) :]


def _shuffled(column: Matrix, fits: NDArray[np.int64], rng: np.random.Generator) -> Matrix:
    """A column in another order; trials of one fit go on sharing a value if they did before."""
    first = np.unique(fits, return_index=True)[1]
    if np.array_equal(column[first][fits], column):
        shuffled: Matrix = column[first][rng.permutation(len(first))][fits]
        return shuffled
    return column[rng.permutation(len(column))]


def _fits(trials: Sequence[Trial]) -> NDArray[np.int64]:
    """A number for each fit, from 0: trials that differ only in how many trees count have one."""
    keys = [
        (t.recipe.family, tuple((n, v) for n, v in parameters(t).items() if n != _COUNT))
        for t in trials
    ]
    # NaN differs from itself, and says that a parameter has no effect.
    texts = [repr(key) for key in keys]
    return np.unique(texts, return_inverse=True)[1].astype(np.int64)
