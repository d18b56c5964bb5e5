"""The peers of a sweep: scikit-learn's GridSearchCV, and Ray Tune as its documentation shows it.

Both judge a pipeline of imbalanced-learn: the preprocessing of `sklearn_pipeline`, SMOTE, and the
estimator with the parameters that ours has. Estimators are given one thread: with as many fits at a
time as there are cores, more would only wait for each other.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import Pipeline
from numpy.typing import NDArray
from page import Broken
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn_pipeline import preprocessing
from sweep_case import Case

from training.models import family, with_defaults
from training.recipe import Recipe
from training.tracking import Tracking

SCORING: Final = "average_precision"
_LOGGERS: Final = "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"


@dataclass(frozen=True)
class Searched:
    """A search that is over.

    Attributes
    ----------
    scores
        Mean PR-AUC of the folds, by the key of the configuration.
    """

    seconds: float
    scores: dict[str, float]

    @property
    def best(self) -> float:
        """The highest score."""
        return max(self.scores.values())


def pipeline(case: Case, recipe: Recipe, *, memory: str | None = None) -> Pipeline:
    """A configuration as a pipeline of frames, yet to be fitted.

    Parameters
    ----------
    memory
        A folder to keep fitted transformers and resampled rows in; None keeps none.
    """
    derived = list(case.dataset.spec.features) if recipe.derived else []
    features = preprocessing(case.dataset.spec, case.inputs, derived)
    steps = [*features.steps, ("smote", _sampler(recipe)), ("model", _estimator(recipe))]
    return Pipeline(steps, memory=memory)


def cross_validated(case: Case, recipe: Recipe) -> float:
    """Mean PR-AUC of the folds by scikit-learn's `cross_validate`."""
    return _mean_score(pipeline(case, recipe), case.frame, case.dataset.label, case.cuts)


def grid_search(case: Case, *, cached: bool) -> Searched:
    """GridSearchCV over the configurations, on every core.

    Parameters
    ----------
    cached
        Whether what transformers and SMOTE made of a fold is kept on disk for all that follow.
    """
    with TemporaryDirectory() as folder:
        search = GridSearchCV(
            pipeline(case, case.recipes[0], memory=folder if cached else None),
            [{"smote": [_sampler(r)], "model": [_estimator(r)]} for r in case.recipes],
            scoring=SCORING, cv=case.cuts, n_jobs=-1, refit=False, error_score="raise",
        )  # fmt: skip
        began = time.perf_counter()
        search.fit(case.frame, case.dataset.label)
        seconds = time.perf_counter() - began
    found = search.cv_results_["mean_test_score"]
    return Searched(seconds, {r.key: float(s) for r, s in zip(case.recipes, found, strict=True)})


def plain_tune(case: Case, folder: Path) -> Searched:
    """A function trainable and Ray's MLflow callback on SQLite, everything else left as it is.

    Ray has to run. A trial is a process of its own then, and writes CSV, JSON and TensorBoard.
    """
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    recipes = {recipe.key: recipe for recipe in case.recipes}

    def judge(config: dict[str, Any], case: Case) -> None:
        recipe = Recipe(**config["recipe"])
        tune.report({"pr_auc": cross_validated(case, recipe)})

    store = f"sqlite:///{folder / 'plain.db'}"
    tuner = tune.Tuner(
        tune.with_parameters(judge, case=case),
        param_space={"recipe": tune.grid_search([asdict(r) for r in recipes.values()])},
        tune_config=tune.TuneConfig(metric="pr_auc", mode="max"),
        run_config=tune.RunConfig(
            storage_path=str(folder / "tune"),
            callbacks=[MLflowLoggerCallback(store, experiment_name="plain")],
            verbose=0,
        ),
    )
    Tracking(store)  # a new store takes seconds to lay out its tables
    began = time.perf_counter()
    try:
        with _default_loggers():
            results = tuner.fit()
    finally:
        os.environ.pop("MLFLOW_TRACKING_URI", None)  # which Ray's callback sets for good
    seconds = time.perf_counter() - began
    scores = {Recipe(**r.config["recipe"]).key: float(r.metrics["pr_auc"]) for r in results}
    return Searched(seconds, {key: scores[key] for key in recipes})


def _mean_score(
    pipeline: Pipeline, frame: Any, label: NDArray[np.int8], cuts: Sequence[Any]
) -> float:
    found = cross_validate(pipeline, frame, label, scoring=SCORING, cv=cuts, error_score="raise")
    return float(np.mean(found["test_score"]))


def _sampler(recipe: Recipe) -> Any:
    if not recipe.smote:
        return "passthrough"
    return SMOTE(
        sampling_strategy=recipe.smote, k_neighbors=recipe.neighbours, random_state=recipe.seed
    )


def _estimator(recipe: Recipe) -> Any:
    """An estimator of one thread with the parameters of a recipe, in which all rows weigh 1.

    Raises
    ------
    Broken
        If frauds weigh more: GridSearchCV has no weights for rows that SMOTE makes.
    """
    if recipe.fraud_weight != 1:
        raise Broken(f"{recipe.label}: the peers know no weights")
    params, seed = with_defaults(family(recipe.family), recipe.params), recipe.seed
    if recipe.family == "xgboost":
        from xgboost import XGBClassifier

        return XGBClassifier(**params, tree_method="hist", random_state=seed, n_jobs=1)
    if recipe.family == "random-forest":
        return RandomForestClassifier(**params, random_state=seed, n_jobs=1)
    return LogisticRegression(**params, max_iter=2000)


@contextmanager
def _default_loggers() -> Iterator[None]:
    """Tune's loggers, which `fraudray.runtime` switches off."""
    before = os.environ.pop(_LOGGERS, None)
    try:
        yield
    finally:
        if before is not None:
            os.environ[_LOGGERS] = before
