"""FeatureEngineering: from the columns of a payment to the matrix a model sees.

The one feature path: fitting, sweeps, evaluation and the endpoint all call `transform` of the same
object. Missing values are imputed first, the recipe of the spec derives features from the imputed
values, then every column is encoded or scaled. What is learned here, `training.scoring` applies.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
from pydantic import TypeAdapter

from training.data import Columns
from training.errors import DataRefused, FraudrayError
from training.preprocess import AsIs, Encoder, Matrix, OneHot, Scale, impute, most_frequent
from training.scoring import FeaturePlan, cross, ratio
from training.spec import Bins, Cross, DatasetSpec, Ratio

_ENCODERS: TypeAdapter[dict[str, Encoder]] = TypeAdapter(dict[str, Encoder])


class FeatureEngineering:
    """Learn fills, categories and scales from training rows; apply them to any rows.

    Parameters
    ----------
    spec
        Columns and feature recipe.
    exclude
        Columns to leave out, with every feature made from them, and derived features. Columns that
        the training rows lack, or hold no single value of, are left out as well.

    Attributes
    ----------
    fill_ : dict[str, float | str]
        Value for missing ones, per input used: the median of numbers, else the most frequent.
    encoders_ : dict[str, Encoder]
        Per column and derived feature, in the order of the matrix.
    feature_names_ : list[str]
        One per column of the matrix.

    Examples
    --------
    >>> import numpy as np
    >>> spec = DatasetSpec.from_dict(
    ...     {"name": "tiny", "label": "y", "columns": {"x": {}, "c": {"type": "category"}}})
    >>> rows = {"x": np.array([0.0, 10.0, np.nan]), "c": np.array(["a", "b", "b"], object)}
    >>> features = FeatureEngineering(spec).fit(rows)
    >>> features.feature_names_
    ['x', 'c=a', 'c=b']
    >>> features.transform(rows)[2].tolist()
    [0.5, 0.0, 1.0]
    """

    fill_: dict[str, float | str]
    encoders_: dict[str, Encoder]

    def __init__(self, spec: DatasetSpec, *, exclude: Iterable[str] = ()) -> None:
        self.spec = spec
        self.exclude = frozenset(exclude)

    def fit(self, columns: Columns) -> Self:
        """Learn from training rows, columns of shape (n,).

        Raises
        ------
        DataRefused
            If no column is left.
        """
        self.fill_ = {}
        for name, column in self.spec.inputs.items():
            if name in self.exclude or name not in columns:
                continue
            values = columns[name]
            if column.type == "number":
                known = values[~np.isnan(values)]
                fill = float(np.median(known)) if len(known) else None
            else:
                fill = most_frequent(values)
            if fill is not None:
                self.fill_[name] = fill
        if not self.fill_:
            raise DataRefused("no column is left to learn from: each is absent, empty or excluded")
        self.encoders_ = self._encoders(columns)
        self._compile()
        return self

    @property
    def inputs_(self) -> list[str]:
        """The columns a payment is read from."""
        return list(self.fill_)

    @property
    def feature_names_(self) -> list[str]:
        """One name per column of the matrix."""
        return [name for column, e in self.encoders_.items() for name in e.names(column)]

    def transform(self, columns: Columns) -> Matrix:
        """Make the matrix, shape (n, len(feature_names_)), float64 and without missing values.

        An input absent from `columns` counts as missing in every row.
        """
        return self._plan(columns)

    def to_dict(self) -> dict[str, Any]:
        """Learned state as plain JSON types; the spec is kept apart."""
        return {
            "exclude": sorted(self.exclude),
            "fill": self.fill_,
            "encoders": _ENCODERS.dump_python(self.encoders_, mode="json"),
        }

    @classmethod
    def from_dict(cls, spec: DatasetSpec, state: dict[str, Any]) -> FeatureEngineering:
        """Read back what `to_dict` gave.

        Raises
        ------
        FraudrayError
            If it does not belong to the spec.
        """
        if not set(state["fill"]) <= set(spec.inputs) & set(state["encoders"]):
            raise FraudrayError(f"the learned features are not of the spec {spec.name!r}")
        self = cls(spec, exclude=state["exclude"])
        self.fill_ = state["fill"]
        self.encoders_ = _ENCODERS.validate_python(state["encoders"])
        self._compile()
        return self

    def _compile(self) -> None:
        self._plan = FeaturePlan(self.spec, self.fill_, self.encoders_)

    def _encoders(self, columns: Columns) -> dict[str, Encoder]:
        """Learn from the imputed inputs and from what the recipe makes of them."""
        inputs = {name: impute(columns[name], fill) for name, fill in self.fill_.items()}
        encoders: dict[str, Encoder] = {}
        for name, values in inputs.items():
            column = self.spec.inputs[name]
            if column.type == "category":
                encoders[name] = OneHot.fit(values)
            elif column.type == "boolean":
                encoders[name] = AsIs()
            else:
                encoders[name] = Scale.fit(values, skewed=column.skewed)
        for name, feature in self.spec.features.items():
            if name in self.exclude or any(source not in inputs for source in feature.inputs):
                continue
            sources = [inputs[source] for source in feature.inputs]
            match feature:
                case Cross():
                    pairs = set(zip(*(source.tolist() for source in sources), strict=True))
                    encoders[name] = OneHot.fit(cross(*pair) for pair in pairs)
                case Ratio():
                    encoders[name] = Scale.fit(ratio(*sources), skewed=feature.skewed)
                case Bins():
                    seen = np.unique(np.searchsorted(feature.edges, sources[0], side="right"))
                    encoders[name] = OneHot.fit(feature.labels[place] for place in seen)
        return encoders
