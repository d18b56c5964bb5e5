"""The model families by name.

A fitted model is a small object that turns a matrix into probabilities, says what each column of
the matrix contributed, and turns itself into bytes. None of the formats is a pickle: arrays for the
linear model, treelite's checkpoint for the forest, UBJSON for the boosted trees.

Each library is imported where it is used: a replica that serves one model would otherwise spend
seconds on loading what it never calls.
"""

from __future__ import annotations

from training.errors import UsageError
from training.families import (
    BoosterModel,
    ForestModel,
    Label,
    LinearModel,
    Model,
    Params,
    with_defaults,
)  # fmt: skip

__all__ = [
    "FAMILIES", "BoosterModel", "ForestModel", "Label", "LinearModel", "Model", "Params", "family",
    "with_defaults",
]  # fmt: skip

FAMILIES: dict[str, type[Model]] = {m.family: m for m in (LinearModel, ForestModel, BoosterModel)}
"""From the simplest and fastest to the most complex; ties go to the earlier."""


def family(name: str) -> type[Model]:
    """The family of that name.

    Raises
    ------
    UsageError
        If there is none.
    """
    if name not in FAMILIES:
        raise UsageError(f"no model family {name!r}; there are {', '.join(FAMILIES)}")
    return FAMILIES[name]
