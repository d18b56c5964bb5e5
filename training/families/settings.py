"""Settings of a family: parameters with defaults and limits, tree counts, weights of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.errors import UsageError
from training.families.model import Label, Model, Params

_LIMITS = {
    "C": (1e-8, 1e8), "n_estimators": (1, 10_000), "max_depth": (1, 64),
    "min_samples_leaf": (1, 1e6), "learning_rate": (1e-4, 1), "min_child_weight": (0, 1e6),
    "subsample": (0.01, 1), "colsample_bytree": (0.01, 1), "reg_lambda": (0, 1e6),
}  # fmt: skip


@dataclass(frozen=True)
class Rows:
    """Rows to fit on: a matrix of shape (n, d), labels and weights of shape (n,)."""

    matrix: NDArray[np.floating[Any]]
    label: Label
    weights: NDArray[np.float64] | None


def with_defaults(model: type[Model], params: Params) -> dict[str, Any]:
    """All parameters of a family, those given taking the place of the defaults.

    A parameter whose default is a whole number is an int, whatever type it was given in.

    Raises
    ------
    UsageError
        If the family has no parameter of a given name, or its value cannot be meant.
    """
    unknown = sorted(set(params) - set(model.defaults))
    if unknown:
        raise UsageError(
            f"{model.family} has no parameter {', '.join(unknown)}; "
            f"it has {', '.join(model.defaults)}"
        )
    for name, value in params.items():
        least, most = _LIMITS[name]
        whole = isinstance(model.defaults[name], int)
        if not least <= value <= most or (whole and value != int(value)):
            kind = "a whole number" if whole else "a number"
            raise UsageError(
                f"{model.family}: {name} must be {kind} from {least:g} to {most:g}, it is {value:g}"
            )
    # scikit-learn refuses 5.0 where it counts, which is what TOML and JSON may say for 5.
    given = {name: type(model.defaults[name])(value) for name, value in params.items()}
    return {**model.defaults, **given}


def counts_up(model: type[Model], counts: Sequence[int]) -> None:
    """Hold the counts of `Model.grow` to what the family can grow by.

    Raises
    ------
    ValueError
        If they do not ascend from 1, or are not what the family needs.
    """
    if model.counted is None:
        if counts:
            raise ValueError(f"{model.family} does not grow by steps, so it takes no counts")
    elif not counts or any(b <= a for a, b in zip([0, *counts], counts, strict=False)):
        raise ValueError(
            f"{model.family} grows by counts that ascend from 1, not by {list(counts)}"
        )


def row_weights(label: Label, weight: float) -> NDArray[np.float64] | None:
    """The weight of every row, shape (n,), where frauds weigh `weight`; None if all weigh 1.

    Raises
    ------
    UsageError
        If the weight is not a positive number.
    """
    if not 0 < weight < np.inf:
        raise UsageError(
            f"the weight of a fraud against a legitimate row must be above 0, it is {weight:g}"
        )
    return None if weight == 1 else np.where(label == 1, weight, 1.0)
