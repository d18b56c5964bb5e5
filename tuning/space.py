"""What a sweep may try: model families with their parameters, and SMOTE ratios."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training.errors import UsageError
from training.fit import Recipe
from training.models import FAMILIES, family
from training.threshold import DEFAULT_POLICY

Range = tuple[float, float, str]
"""Lowest, highest, and how to draw between them: log, uniform or integer."""

SPACE: dict[str, dict[str, Range]] = {
    "logistic-regression": {"C": (1e-3, 1e2, "log")},
    "random-forest": {
        "n_estimators": (100, 300, "integer"),
        "max_depth": (6, 20, "integer"),
        "min_samples_leaf": (1, 20, "integer"),
    },
    "xgboost": {
        "n_estimators": (100, 400, "integer"),
        "max_depth": (3, 8, "integer"),
        "learning_rate": (0.02, 0.3, "log"),
        "min_child_weight": (1, 10, "log"),
        "subsample": (0.6, 1.0, "uniform"),
        "colsample_bytree": (0.6, 1.0, "uniform"),
        "reg_lambda": (0.1, 10, "log"),
    },
}


def ratios(natural: float) -> tuple[float, ...]:
    """SMOTE ratios to try: none, and two that part the way from natural to balanced evenly.

    Where frauds are nearly half of the rows there is nothing to resample, and fewer are tried.

    Parameters
    ----------
    natural
        Frauds per legitimate row as they come.
    """
    steps = (float(f"{natural**power:.2g}") for power in (2 / 3, 1 / 3))
    return (0.0, *dict.fromkeys(step for step in steps if natural * 1.05 < step <= 1))


def sample(
    trials: int,
    *,
    natural: float,
    models: Sequence[str] = tuple(FAMILIES),
    policy: str = DEFAULT_POLICY,
    seed: int = 0,
) -> list[Recipe]:
    """Draw recipes that cover every family and, family by family, every ratio.

    Families take turns; each goes through the ratios in order. A family's first recipe has its
    default parameters, later ones are drawn. The same arguments give the same recipes.

    Raises
    ------
    UsageError
        If `trials` is below 1 or a family does not exist.
    """
    if trials < 1:
        raise UsageError(f"--trials must be 1 or more, it is {trials}")
    names = [family(name).family for name in dict.fromkeys(models)]
    if not names:
        raise UsageError(f"no model family given; there are {', '.join(FAMILIES)}")
    steps = ratios(natural)
    rng = np.random.default_rng(seed)
    recipes = []
    for number in range(trials):
        turn, place = divmod(number, len(names))
        drawn = {key: _draw(rng, span) for key, span in SPACE[names[place]].items()}
        recipes.append(
            Recipe(
                family=names[place],
                params=drawn if turn else {},
                smote=steps[turn % len(steps)],
                policy=policy,
                seed=seed,
            )
        )
    return recipes


def _draw(rng: np.random.Generator, span: Range) -> float:
    low, high, how = span
    if how == "integer":
        return int(rng.integers(int(low), int(high), endpoint=True))
    if how == "log":
        low, high = np.log(low), np.log(high)
    value = rng.uniform(low, high)
    return float(f"{np.exp(value) if how == 'log' else value:.3g}")
