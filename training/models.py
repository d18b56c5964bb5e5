"""The model families: how each is fitted, and how a fitted one is kept as data.

A fitted model is a small object that turns a matrix into probabilities and itself into bytes.
None of the formats is a pickle: arrays for the linear model, treelite's checkpoint for the forest,
UBJSON for the boosted trees.

Each library is imported where it is used: a replica that serves one model would otherwise spend
seconds on loading what it never calls.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from training.errors import UsageError
from training.preprocess import Matrix

if TYPE_CHECKING:
    import treelite
    import xgboost

Probability = NDArray[np.float64]
Params = Mapping[str, float]


class Model(Protocol):
    """What every family offers."""

    family: ClassVar[str]
    """Name on the command line and in MLflow."""
    defaults: ClassVar[dict[str, float]]
    """Every parameter that may be set, with the value it has otherwise."""

    @classmethod
    def fit(
        cls, matrix: Matrix, label: NDArray[np.int8], params: Params, *, seed: int, threads: int
    ) -> Self:
        """Fit to a matrix of shape (n, d) and labels of shape (n,)."""

    def probability(self, matrix: Matrix) -> Probability:
        """Probability of fraud before calibration, shape (n,)."""

    def to_bytes(self) -> bytes:
        """The fitted model as data."""

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read back what `to_bytes` gave."""


@dataclass(frozen=True)
class LinearModel:
    """Logistic regression: one weight per column and an intercept."""

    family: ClassVar[str] = "logistic-regression"
    defaults: ClassVar[dict[str, float]] = {"C": 1.0}

    weights: NDArray[np.float64]
    intercept: float

    @classmethod
    def fit(
        cls, matrix: Matrix, label: NDArray[np.int8], params: Params, *, seed: int, threads: int
    ) -> Self:
        """Fit with scikit-learn's lbfgs solver, which draws nothing and takes one thread."""
        from sklearn.linear_model import LogisticRegression

        del seed, threads
        fitted = LogisticRegression(**with_defaults(cls, params), max_iter=2000).fit(matrix, label)
        return cls(fitted.coef_[0], float(fitted.intercept_[0]))

    def probability(self, matrix: Matrix) -> Probability:
        """Shape (n,)."""
        margin = matrix @ self.weights + self.intercept
        return 1 / (1 + np.exp(-np.clip(margin, -700, 700)))

    def to_bytes(self) -> bytes:
        """An uncompressed .npz file."""
        buffer = io.BytesIO()
        np.savez(buffer, weights=self.weights, intercept=self.intercept)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read back what `to_bytes` gave; object arrays, which would be pickles, are refused."""
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return cls(arrays["weights"], float(arrays["intercept"]))


@dataclass(frozen=True)
class ForestModel:
    """Random forest: fitted by scikit-learn, kept and scored by treelite."""

    family: ClassVar[str] = "random-forest"
    defaults: ClassVar[dict[str, float]] = {
        "n_estimators": 200, "max_depth": 12, "min_samples_leaf": 5,
    }  # fmt: skip

    trees: treelite.Model

    @classmethod
    def fit(
        cls, matrix: Matrix, label: NDArray[np.int8], params: Params, *, seed: int, threads: int
    ) -> Self:
        """Fit with scikit-learn."""
        import treelite
        from sklearn.ensemble import RandomForestClassifier

        forest = RandomForestClassifier(
            **with_defaults(cls, params), random_state=seed, n_jobs=threads
        ).fit(matrix, label)
        return cls(treelite.sklearn.import_model(forest))

    def probability(self, matrix: Matrix) -> Probability:
        """Shape (n,)."""
        import treelite

        # scikit-learn compares in float32 with float64 thresholds; treelite takes one type.
        rounded = matrix.astype(np.float32).astype(np.float64)
        scores: Probability = treelite.gtil.predict(self.trees, rounded, nthread=1)
        return scores.reshape(len(matrix), -1)[:, -1]

    def to_bytes(self) -> bytes:
        """A treelite checkpoint."""
        return bytes(self.trees.serialize_bytes())

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read back what `to_bytes` gave."""
        import treelite

        return cls(treelite.Model.deserialize_bytes(content))


@dataclass(frozen=True)
class BoosterModel:
    """XGBoost's gradient boosted trees."""

    family: ClassVar[str] = "xgboost"
    defaults: ClassVar[dict[str, float]] = {
        "n_estimators": 200, "max_depth": 5, "learning_rate": 0.1, "min_child_weight": 1.0,
        "subsample": 0.9, "colsample_bytree": 0.9, "reg_lambda": 1.0,
    }  # fmt: skip

    booster: xgboost.Booster

    @classmethod
    def fit(
        cls, matrix: Matrix, label: NDArray[np.int8], params: Params, *, seed: int, threads: int
    ) -> Self:
        """Fit by histogram on the log loss."""
        import xgboost

        settings = with_defaults(cls, params)
        rounds = int(settings.pop("n_estimators"))
        settings |= {"objective": "binary:logistic", "tree_method": "hist", "seed": seed}
        quantised = xgboost.QuantileDMatrix(matrix, label, nthread=threads)
        booster = xgboost.train(settings | {"nthread": threads}, quantised, rounds)
        booster.set_param({"nthread": 1})
        return cls(booster)

    def probability(self, matrix: Matrix) -> Probability:
        """Shape (n,)."""
        scores: Probability = self.booster.inplace_predict(matrix.astype(np.float32))
        return scores.astype(np.float64)

    def to_bytes(self) -> bytes:
        """UBJSON."""
        return bytes(self.booster.save_raw("ubj"))

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read back what `to_bytes` gave."""
        import xgboost

        booster = xgboost.Booster(model_file=bytearray(content))
        booster.set_param({"nthread": 1})
        return cls(booster)


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


def with_defaults(model: type[Model], params: Params) -> dict[str, Any]:
    """All parameters of a family, those given taking the place of the defaults.

    Raises
    ------
    UsageError
        If the family has no parameter of a given name.
    """
    unknown = sorted(set(params) - set(model.defaults))
    if unknown:
        raise UsageError(
            f"{model.family} has no parameter {', '.join(unknown)}; "
            f"it has {', '.join(model.defaults)}"
        )
    return {**model.defaults, **params}
