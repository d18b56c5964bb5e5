"""The model families, a module each: how each is fitted, and how a fitted one is kept as data."""

from training.families.boosted import BoosterModel
from training.families.forest import ForestModel
from training.families.linear import LinearModel
from training.families.model import Label, Model, Params
from training.families.settings import with_defaults

__all__ = [
    "BoosterModel", "ForestModel", "Label", "LinearModel", "Model", "Params", "with_defaults",
]  # fmt: skip
