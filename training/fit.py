"""From a dataset and a recipe to a bundle: the one way a model is made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.audit import Audit
from training.bundle import ModelBundle, package_versions
from training.calibrate import Calibrated, calibrate
from training.data import Dataset
from training.evaluate import Metrics, baselines, evaluate
from training.examples import kept_examples
from training.explain import explain, importance
from training.features import FeatureEngineering
from training.identity import fingerprint, row_identities
from training.models import Model, family, with_defaults
from training.preprocess import Matrix
from training.recipe import Recipe
from training.reference import Reference
from training.resample import smote
from training.scoring import score
from training.split import Method, Split, groups
from training.threshold import Choice, Curve, Policy

__all__ = ["Recipe", "fit_model", "prior_shift", "train"]

SAMPLE_ROWS = 16
EXPLAINED_ROWS = 300
"""Validation rows, evenly spread, that the importance of the fields is the mean of; explaining a
row takes a forest some 20 ms."""


def fit_model(
    matrix: Matrix, label: NDArray[np.int8], recipe: Recipe, *, threads: int = 1
) -> tuple[Model, float]:
    """Resample these rows, and only these, and fit the recipe's family to them.

    Parameters
    ----------
    matrix, label
        Shapes (n, d) and (n,).

    Returns
    -------
    model : Model
    prior_shift : float
        See `prior_shift`.
    """
    rows, labels = smote(
        matrix, label, ratio=recipe.smote, seed=recipe.seed, neighbours=recipe.neighbours
    )
    model = family(recipe.family).fit(
        rows, labels, recipe.params,
        seed=recipe.seed, threads=threads, weight=recipe.fraud_weight,
    )  # fmt: skip
    return model, prior_shift(label, labels, recipe.fraud_weight)


def prior_shift(natural: NDArray[np.int8], fitted: NDArray[np.int8], fraud_weight: float) -> float:
    """What takes from a log-odds what resampling and weight have added to it.

    Parameters
    ----------
    natural, fitted
        Labels before and after resampling.
    """
    before, after = (part.mean() / (1 - part.mean()) for part in (natural, fitted))
    return float(np.log(before) - np.log(after * fraud_weight))


@dataclass(frozen=True)
class _Fitted:
    """A model with everything that was learned from training and validation rows."""

    features: FeatureEngineering
    model: Model
    background: NDArray[np.float64]
    calibrated: Calibrated
    curve: Curve
    choice: Choice
    probability: NDArray[np.float64]

    def score(self, rows: Dataset) -> NDArray[np.float64]:
        return score(self.features, self.model, self.calibrated.calibration, rows.columns)


@dataclass(frozen=True)
class _Parts:
    """The three parts with what their errors would cost."""

    recipe: Recipe
    method: Method
    train: Dataset
    validation: Dataset
    test: Dataset

    @property
    def policy(self) -> Policy:
        return Policy.parse(self.recipe.policy)

    def fit(self, exclude: Iterable[str], threads: int) -> _Fitted:
        recipe, validation = self.recipe, self.validation
        spec = self.train.spec
        unseen = [*exclude, *(() if recipe.derived else spec.features)]
        features = FeatureEngineering(spec, exclude=unseen).fit(self.train.columns)
        matrix = features.transform(self.train.columns)
        model, shift = fit_model(matrix, self.train.label, recipe, threads=threads)
        raw = model.probability(features.transform(validation.columns))
        calibrated = calibrate(
            validation.label, raw,
            prior_shift=shift, groups=groups(validation, self.method), seed=recipe.seed,
        )  # fmt: skip
        probability = calibrated.calibration.probability(raw)
        curve = Curve.of(validation.label, probability, **self.policy.row_costs(validation))
        return _Fitted(
            features=features,
            model=model,
            background=matrix.mean(axis=0),
            calibrated=calibrated,
            curve=curve,
            choice=self.policy.choose(curve),
            probability=probability,
        )

    def tested(self, fitted: _Fitted) -> Metrics:
        return Metrics.of(
            self.test.label, fitted.score(self.test), fitted.choice.threshold,
            **self.policy.row_costs(self.test),
        )  # fmt: skip


def train(
    dataset: Dataset, parts: Split, recipe: Recipe, report: Audit, *, threads: int = 1
) -> ModelBundle:
    """Fit on the training rows, calibrate and choose the threshold on validation, test once.

    Where columns separate the classes alone, the recipe is fitted a second time without them, so
    that the card can say what the model would be worth if they were not known in time. Nothing is
    chosen by that.

    Parameters
    ----------
    parts
        The split of the dataset.
    report
        The audit of the same split; columns it excludes are left out.

    Raises
    ------
    DataRefused
        If SMOTE has too few frauds, no column is left, or the policy's amounts are not in the file.
    """
    data = _Parts(recipe, parts.method, *(dataset.take(rows) for _, rows in parts.items()))
    data.policy.require(dataset.columns, dataset.source)
    fitted = data.fit(report.excluded, threads)
    choice = fitted.choice
    validated = replace(
        Metrics.of(
            data.validation.label, fitted.probability, choice.threshold,
            **data.policy.row_costs(data.validation),
        ),
        # The only metric that sees more than the order: judged by calibrators blind to the row.
        brier=float(np.mean((data.validation.label - fitted.calibrated.cross_fitted) ** 2)),
    )  # fmt: skip
    learned_from = {
        name: np.sort(row_identities(rows))
        for name, rows in (("train", data.train), ("validation", data.validation))
    }
    probability = fitted.score(data.test)
    tested = evaluate(
        data.test, probability, choice.threshold,
        **data.policy.row_costs(data.test), seed=recipe.seed,
        seen=np.isin(row_identities(data.test), np.concatenate(list(learned_from.values()))),
        groups=groups(data.test, parts.method),
    )  # fmt: skip
    bundle = ModelBundle(
        features=fitted.features,
        model=fitted.model,
        background=fitted.background,
        calibration=fitted.calibrated.calibration,
        choice=choice,
        card={
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "family": recipe.family,
            "params": with_defaults(family(recipe.family), recipe.params),
            "smote": recipe.smote,
            "neighbours": recipe.neighbours,
            "fraud_weight": recipe.fraud_weight,
            "derived": recipe.derived,
            "seed": recipe.seed,
            "spec": dataset.spec.name,
            "source": dataset.source,
            "fingerprint": fingerprint(dataset),
            "split": {
                "method": parts.method,
                "gap_days": parts.gap_days,
                "fingerprint": parts.fingerprint,
            },
            "parts": report.parts,
            "excluded": list(report.excluded),
            "findings": [asdict(finding) for finding in report.findings],
            "metrics": {"validation": validated.to_dict(), "test": tested.metrics.to_dict()},
            "packages": package_versions(),
            "examples": kept_examples(data.test, probability, choice.threshold),
        },
        evaluation={
            "test": tested.to_dict(),
            "baselines": baselines(
                data.train, data.validation, data.test, data.policy, exclude=report.excluded
            ),
            "without": _without(data, report, threads),
            "calibration": fitted.calibrated.report.to_dict(),
            "importance": _importance(fitted, data.validation),
        },
        curve=fitted.curve.frame(),
        reference=Reference.of(data.train.columns, dataset.spec).with_scores(fitted.probability),
        trained_on=learned_from,
    )
    # Half of the sample frauds, so that a self-test sees both ends of the scores.
    frauds = np.flatnonzero(data.validation.label == 1)[: SAMPLE_ROWS // 2]
    others = np.flatnonzero(data.validation.label == 0)[: SAMPLE_ROWS // 2]
    return bundle.with_sample(data.validation.take(np.concatenate([frauds, others])))


def _without(data: _Parts, report: Audit, threads: int) -> dict[str, Any] | None:
    """Test metrics of the same recipe without the columns that separate the classes alone."""
    if not report.separating:
        return None
    gone = [*report.excluded, *report.separating]
    if all(name in gone for name in data.train.columns):
        return None
    metrics = data.tested(data.fit(gone, threads)).to_dict()
    return {"columns": list(report.separating), "metrics": metrics}


def _importance(fitted: _Fitted, validation: Dataset) -> dict[str, float]:
    spread = np.linspace(0, len(validation) - 1, min(EXPLAINED_ROWS, len(validation))).astype(int)
    matrix = fitted.features.transform(validation.take(spread).columns)
    return importance(explain(fitted.model, fitted.features, matrix, fitted.background))
