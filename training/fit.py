"""From a dataset and a recipe to a bundle: the one way a model is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from training.audit import Audit
from training.bundle import ModelBundle
from training.calibrate import Calibration
from training.data import Dataset
from training.errors import UsageError
from training.evaluate import Metrics
from training.features import FeatureEngineering
from training.models import Model, family, with_defaults
from training.preprocess import Matrix
from training.resample import smote
from training.split import fingerprint, row_identities, split
from training.threshold import DEFAULT_POLICY, Curve, Policy

SAMPLE_ROWS = 16


@dataclass(frozen=True)
class Recipe:
    """What is chosen, by a person or a sweep, before a model is fitted.

    Attributes
    ----------
    smote
        Frauds per legitimate row after resampling; 0 for none.
    policy
        How the threshold is chosen.
    """

    family: str
    params: Mapping[str, float] = field(default_factory=dict)
    smote: float = 0.0
    policy: str = DEFAULT_POLICY
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be meant, before any work is done."""
        with_defaults(family(self.family), self.params)
        if not 0 <= self.smote <= 1:
            raise UsageError(f"the SMOTE ratio must be from 0 (none) to 1, it is {self.smote:g}")
        Policy.parse(self.policy)

    @property
    def label(self) -> str:
        """In words, short."""
        resampling = f"SMOTE {self.smote:g}" if self.smote else "no resampling"
        return f"{self.family}, {resampling}"


def fit_model(
    matrix: Matrix, label: NDArray[np.int8], recipe: Recipe, *, threads: int = 1
) -> Model:
    """Resample these rows, and only these, and fit the recipe's family to them.

    Parameters
    ----------
    matrix, label
        Shapes (n, d) and (n,).
    """
    rows, labels = smote(matrix, label, ratio=recipe.smote, seed=recipe.seed)
    return family(recipe.family).fit(rows, labels, recipe.params, seed=recipe.seed, threads=threads)


def train(dataset: Dataset, recipe: Recipe, report: Audit, *, threads: int = 1) -> ModelBundle:
    """Fit on the training rows, calibrate and choose the threshold on validation, test once.

    Parameters
    ----------
    report
        The audit of the same dataset; columns it excludes are left out.

    Raises
    ------
    DataRefused
        If a part of the split lacks a class, or SMOTE has too few frauds.
    """
    parts = split(dataset)
    train_rows, validation, test = (dataset.take(rows) for _, rows in parts.items())
    features = FeatureEngineering(dataset.spec, exclude=report.excluded).fit(train_rows.columns)
    model = fit_model(
        features.transform(train_rows.columns), train_rows.label, recipe, threads=threads
    )
    score = model.probability(features.transform(validation.columns))
    calibration = Calibration.fit(validation.label, score)
    probability = calibration.probability(score)
    curve = Curve.of(validation.label, probability)
    choice = Policy.parse(recipe.policy).choose(curve)
    tested = calibration.probability(model.probability(features.transform(test.columns)))
    metrics = {
        "validation": Metrics.of(validation.label, probability, choice.threshold),
        "test": Metrics.of(test.label, tested, choice.threshold),
    }
    bundle = ModelBundle(
        features=features,
        model=model,
        calibration=calibration,
        choice=choice,
        card={
            "family": recipe.family,
            "params": with_defaults(family(recipe.family), recipe.params),
            "smote": recipe.smote,
            "seed": recipe.seed,
            "spec": dataset.spec.name,
            "source": dataset.source,
            "fingerprint": fingerprint(dataset),
            "split": parts.method,
            "parts": report.parts,
            "excluded": list(report.excluded),
            "metrics": {part: m.to_dict() for part, m in metrics.items()},
        },
        curve=curve.frame(),
        trained_on={
            name: np.sort(row_identities(rows))
            for name, rows in (("train", train_rows), ("validation", validation))
        },
    )
    # Half of the sample frauds, so that a self-test sees both ends of the scores.
    frauds = np.flatnonzero(validation.label == 1)[: SAMPLE_ROWS // 2]
    others = np.flatnonzero(validation.label == 0)[: SAMPLE_ROWS // 2]
    return bundle.with_sample(validation.take(np.concatenate([frauds, others])))
