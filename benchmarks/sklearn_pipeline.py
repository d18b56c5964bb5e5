"""A model of ours as the scikit-learn pipeline most projects would serve: frame in, frame between.

The recipe of the spec is written with SimpleImputer, FunctionTransformer, OneHotEncoder,
StandardScaler and MinMaxScaler in ColumnTransformers, grouped by kind as one would, so that the
pipeline has as few steps as it can. It is fitted to the same training rows; the estimator at its
end is the same fitted model.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
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
from training.spec import Bins, Cross, DatasetSpec, Ratio

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
    features = preprocessing(bundle, train)
    matrix = features.transform(frame(bundle, train))
    return Pipeline([*features.steps, ("model", _estimator(bundle, matrix, train.label))])


def frame(bundle: ModelBundle, rows: Dataset) -> pd.DataFrame:
    """The columns a model reads, as a frame: texts as objects, missing ones None or NaN."""
    return rows.frame[bundle.features.inputs_]


def preprocessing(bundle: ModelBundle, train: Dataset) -> Pipeline:
    """Impute, derive and encode, fitted: a frame to the bundle's matrix, column by column."""
    spec, inputs = bundle.spec, bundle.features.inputs_
    kinds = {name: spec.inputs[name].type for name in inputs}
    numbers = [n for n in inputs if kinds[n] == "number"]
    booleans = [n for n in inputs if kinds[n] == "boolean"]
    categories = [n for n in inputs if kinds[n] == "category"]
    derived = [n for n in bundle.features.encoders_ if n in spec.features]
    ratios = {n: f for n in derived if isinstance(f := spec.features[n], Ratio)}

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
    texts = [*categories, *(n for n in derived if n not in ratios)]
    encode = ColumnTransformer(
        [
            ("skewed", make_pipeline(FunctionTransformer(np.log1p), StandardScaler()), skewed),
            ("even", MinMaxScaler(), even),
            ("booleans", "passthrough", booleans),
            ("texts", OneHotEncoder(handle_unknown="ignore", sparse_output=False), texts),
        ]
    )
    steps = [("impute", impute), ("derive", FunctionTransformer(derive, kw_args={"spec": spec}))]
    pipeline = Pipeline([*steps, ("encode", encode)]).fit(frame(bundle, train))
    values = encode.named_transformers_["texts"].categories_
    made = [f"{n}={v}" for n, seen in zip(texts, values, strict=True) for v in seen]
    places = {name: i for i, name in enumerate([*skewed, *even, *booleans, *made])}
    order = np.array([places[name] for name in bundle.features.feature_names_])
    sort = FunctionTransformer(in_order, kw_args={"order": order}).fit(np.zeros((1, len(order))))
    return Pipeline([*pipeline.steps, ("sort", sort)])


def derive(rows: pd.DataFrame, spec: DatasetSpec) -> pd.DataFrame:
    """The recipe's features beside the columns they are made from."""
    made: dict[str, Any] = {}
    for name, feature in spec.features.items():
        if not set(feature.inputs) <= set(rows.columns):
            continue
        match feature:
            case Cross():
                made[name] = rows[feature.left] + "|" + rows[feature.right]
            case Ratio():
                under = rows[feature.denominator].astype(float)
                over = rows[feature.numerator].astype(float)
                quotient = (over / under.where(under != 0)).fillna(0.0)
                made[name] = quotient.clip(-MOST, MOST)
            case Bins():
                edges = [-np.inf, *feature.edges, np.inf]
                cut = pd.cut(rows[feature.input], edges, right=False, labels=feature.labels)
                made[name] = cut.astype(object)
    return rows.assign(**made)


def in_order(matrix: NDArray[np.float64], order: NDArray[np.intp]) -> NDArray[np.float64]:
    """The columns in the order the model was fitted with."""
    return matrix[:, order]


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
