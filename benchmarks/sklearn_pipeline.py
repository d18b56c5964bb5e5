"""A model of ours as the scikit-learn pipeline most projects would serve: frame in, frame between.

The recipe of the spec is written with SimpleImputer, FunctionTransformer, OneHotEncoder,
StandardScaler and MinMaxScaler in ColumnTransformers, grouped by kind as one would, so that the
pipeline has as few steps as it can. It is fitted to the same training rows; the estimator at its
end is the same fitted model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    StandardScaler,
)

from training.bundle import ModelBundle
from training.data import Dataset
from training.models import BoosterModel, family, with_defaults
from training.spec import Bins, Cross, DatasetSpec, Feature, Ratio

MOST = float(np.finfo(float).max)


def build(bundle: ModelBundle, train: Dataset) -> Pipeline:
    """Make the pipeline: `predict_proba` of a frame is the bundle's score before calibration.

    Parameters
    ----------
    bundle
        Fitted without SMOTE.
    train
        The rows it was fitted on.
    """
    derived = [n for n in bundle.features.encoders_ if n in bundle.spec.features]
    features = preprocessing(bundle.spec, bundle.features.inputs_, derived)
    matrix = features.fit_transform(frame(bundle, train))
    return Pipeline([*features.steps, ("model", _estimator(bundle, matrix, train.label))])


def frame(bundle: ModelBundle, rows: Dataset) -> pd.DataFrame:
    """The columns a model reads, as a frame: texts as objects, missing ones None or NaN."""
    return rows.frame[bundle.features.inputs_]


def preprocessing(spec: DatasetSpec, inputs: Sequence[str], derived: Sequence[str]) -> Pipeline:
    """Impute, derive and encode, yet to be fitted: a frame to the matrix that models of ours see.

    Parameters
    ----------
    inputs
        Columns of the frame; each holds a value in the rows to fit on.
    derived
        Those of the spec's features that are to be made of them.
    """
    kinds = {name: spec.inputs[name].type for name in inputs}
    numbers = [n for n in inputs if kinds[n] == "number"]
    booleans = [n for n in inputs if kinds[n] == "boolean"]
    categories = [n for n in inputs if kinds[n] == "category"]
    made = {name: spec.features[name] for name in derived}
    ratios = {n: f for n, f in made.items() if isinstance(f, Ratio)}

    impute = ColumnTransformer(
        [
            ("numbers", SimpleImputer(strategy="median"), numbers),
            ("booleans", SimpleImputer(strategy="most_frequent"), booleans),
            (
                "categories",
                SimpleImputer(missing_values=None, strategy="most_frequent"),
                categories,
            ),
        ],
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    skewed = [n for n in numbers if spec.inputs[n].skewed] + [n for n in ratios if ratios[n].skewed]
    even = [n for n in [*numbers, *ratios] if n not in skewed]
    texts = [*categories, *(n for n in made if n not in ratios)]
    by_kind = ColumnTransformer(
        [
            ("skewed", make_pipeline(FunctionTransformer(np.log1p), StandardScaler()), skewed),
            ("even", MinMaxScaler(), even),
            ("booleans", "passthrough", booleans),
            ("texts", OneHotEncoder(handle_unknown="ignore", sparse_output=False), texts),
        ]
    )
    return Pipeline(
        [
            ("impute", impute),
            ("derive", FunctionTransformer(derive, kw_args={"made": made})),
            ("encode", InOrder(by_kind, [*inputs, *derived])),
        ]
    )


def derive(rows: pd.DataFrame, made: Mapping[str, Feature]) -> pd.DataFrame:
    """The recipe's features beside the columns they are made from."""
    columns: dict[str, Any] = {}
    for name, feature in made.items():
        match feature:
            case Cross():
                columns[name] = rows[feature.left] + "|" + rows[feature.right]
            case Ratio():
                under = rows[feature.denominator].astype(float)
                over = rows[feature.numerator].astype(float)
                quotient = (over / under.where(under != 0)).fillna(0.0)
                columns[name] = quotient.clip(-MOST, MOST)
            case Bins():
                edges = [-np.inf, *feature.edges, np.inf]
                cut = pd.cut(rows[feature.input], edges, right=False, labels=feature.labels)
                columns[name] = cut.astype(object)
    return rows.assign(**columns)


class InOrder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """A ColumnTransformer, and what it makes put in the order of the columns it is made from.

    Models draw columns by their place, so two that are to be equal must see them in one order.

    Parameters
    ----------
    by_kind
        With the OneHotEncoder, the only one that makes several columns of one, named `texts`.
    order
        Every column that it takes.
    """

    def __init__(self, by_kind: ColumnTransformer, order: Sequence[str]) -> None:
        self.by_kind = by_kind
        self.order = order

    def fit(self, rows: pd.DataFrame, label: Any = None) -> Self:
        """Learn what the ColumnTransformer learns, and where its columns go."""
        self.fit_transform(rows, label)
        return self

    def fit_transform(self, rows: pd.DataFrame, label: Any = None) -> NDArray[np.float64]:
        """Learn and apply at once, shape (n, d)."""
        del label
        self.by_kind_ = clone(self.by_kind)
        matrix = self.by_kind_.fit_transform(rows)
        columns = {name: names for name, _, names in self.by_kind_.transformers_}
        sources = [*columns["skewed"], *columns["even"], *columns["booleans"]]
        if columns["texts"]:
            seen = self.by_kind_.named_transformers_["texts"].categories_
            for name, values in zip(columns["texts"], seen, strict=True):
                sources += [name] * len(values)
        rank = {name: place for place, name in enumerate(self.order)}
        self.places_ = np.argsort([rank[name] for name in sources], kind="stable")
        return self._sorted(matrix)

    def transform(self, rows: pd.DataFrame) -> NDArray[np.float64]:
        """Apply, shape (n, d)."""
        return self._sorted(self.by_kind_.transform(rows))

    def _sorted(self, matrix: NDArray[Any]) -> NDArray[np.float64]:
        return np.ascontiguousarray(matrix[:, self.places_], np.float64)


def _estimator(bundle: ModelBundle, matrix: NDArray[np.float64], label: NDArray[np.int8]) -> Any:
    """The fitted model as a scikit-learn estimator; one thread, which is quickest for one row."""
    settings, seed = bundle.card["params"], bundle.card["seed"]
    if isinstance(bundle.model, BoosterModel):
        from xgboost import XGBClassifier

        estimator = XGBClassifier(n_jobs=1)
        estimator.load_model(bytearray(bundle.model.to_bytes()))
        return estimator
    settings = with_defaults(family(bundle.card["family"]), settings)
    if bundle.card["family"] == "random-forest":
        forest = RandomForestClassifier(**settings, random_state=seed, n_jobs=-1)
        return forest.fit(matrix, label).set_params(n_jobs=1)
    return LogisticRegression(**settings, max_iter=2000).fit(matrix, label)
