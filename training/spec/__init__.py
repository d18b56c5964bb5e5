"""DatasetSpec: the schema as data, and every mistake in one told in plain words."""

from training.spec.name import NAME_LIMIT, is_name
from training.spec.schema import (
    HOUR_OF_DAY,
    TEXT_LIMIT,
    Bins,
    Column,
    Costs,
    Cross,
    DatasetSpec,
    Feature,
    Ratio,
    SpecError,
    mistakes,
)

__all__ = [
    "HOUR_OF_DAY",
    "NAME_LIMIT",
    "TEXT_LIMIT",
    "Bins",
    "Column",
    "Costs",
    "Cross",
    "DatasetSpec",
    "Feature",
    "Ratio",
    "SpecError",
    "is_name",
    "mistakes",
]
