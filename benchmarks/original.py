"""The original project's claim on the real payments file, rebuilt and measured where it counts.

Quoted were threshold 0.837, precision 0.955 and recall 0.991 of a logistic regression. They were
measured on its training rows after SMOTE had made half of them frauds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from procedures import Figures
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from training.data import Columns, Dataset, load
from training.features import FeatureEngineering
from training.models import family
from training.resample import smote
from training.spec import DatasetSpec

THRESHOLD: Final = 0.837
PRECISION: Final = 0.955
RECALL: Final = 0.991
WEEKEND: Final = "isWeekend"


TEST: Final = 0.15


@dataclass(frozen=True)
class Original:
    """One model, the quoted threshold, and what both do on different rows.

    Attributes
    ----------
    fitted
        On the rows the model was fitted on, synthetic frauds among them: where the claim is from.
    test
        On test rows as they come, the weekend missing on every fraud and filled in as in training.
    same_day, other_day
        On the same rows with the weekend known on frauds too, as it is in service: all of them on
        the kind of day that gaps were filled with, or all of them on the other kind.
    any_day
        The same with frauds on both kinds of day as often as legitimate payments.
    weekend_share
        Share of the legitimate test rows on a weekend.
    """

    fitted: Figures
    test: Figures
    same_day: Figures
    other_day: Figures
    any_day: Figures
    weekend_share: float


def rebuild(dataset: Dataset, *, seed: int) -> Original:
    """Fit the original's model to the real payments and measure it.

    One-hot payment method, category, their cross and the bins; the weekend filled in with the
    most frequent value; every column centred and scaled, none in logs; SMOTE to balance; 15 % of
    the rows for test, drawn at random. What else the original did is not known, but at its
    threshold this model meets its claim.

    Parameters
    ----------
    dataset
        What `read` gave.
    seed
        Of the draw and of SMOTE.
    """
    drawn = train_test_split(
        np.arange(len(dataset)), test_size=TEST, stratify=dataset.label, random_state=seed
    )
    train, test = (dataset.take(np.sort(rows)) for rows in drawn)
    features = FeatureEngineering(dataset.spec).fit(train.columns)
    matrix = features.transform(train.columns)
    center, spread = matrix.mean(axis=0), matrix.std(axis=0)
    spread[spread == 0] = 1.0
    rows, labels = smote((matrix - center) / spread, train.label, ratio=1.0, seed=seed)
    with threadpool_limits(1, user_api="blas"):
        model = family("logistic-regression").fit(rows, labels, {}, seed=seed, threads=1)

    def measured(columns: Columns) -> Figures:
        score = model.probability((features.transform(columns) - center) / spread)
        return Figures.of(test.label, score, THRESHOLD)

    usual = float(features.fill_[WEEKEND])
    share = float(np.nanmean(test.columns[WEEKEND]))
    any_day = (np.random.default_rng(seed).random(len(test)) < share).astype(np.float64)
    return Original(
        fitted=Figures.of(labels, model.probability(rows), THRESHOLD),
        test=measured(test.columns),
        same_day=measured(_filled(test, np.full(len(test), usual))),
        other_day=measured(_filled(test, np.full(len(test), 1 - usual))),
        any_day=measured(_filled(test, any_day)),
        weekend_share=share,
    )


def read(path: Path) -> Dataset:
    """The real file, under the spec of payments but with no number in logs.

    Raises
    ------
    FraudrayError
        If it cannot be read or breaks the spec.
    """
    content = DatasetSpec.load("payments").to_dict()
    for column in content["columns"].values():
        column.pop("skewed", None)
    return load(path, DatasetSpec.from_dict(content))


def _filled(test: Dataset, days: NDArray[np.float64]) -> Columns:
    known = test.columns[WEEKEND]
    return test.columns | {WEEKEND: np.where(np.isnan(known), days, known)}
