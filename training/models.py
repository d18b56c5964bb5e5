"""The model families: how each is fitted, and how a fitted one is kept as data.

A fitted model is a small object that turns a matrix into probabilities, says what each column of
the matrix contributed, and turns itself into bytes. None of the formats is a pickle: arrays for the
linear model, treelite's checkpoint for the forest, UBJSON for the boosted trees.

Each library is imported where it is used: a replica that serves one model would otherwise spend
seconds on loading what it never calls.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from training.errors import UsageError
from training.preprocess import Matrix, Probability

if TYPE_CHECKING:
    import treelite
    import xgboost

Label = NDArray[np.int8]
Params = Mapping[str, float]


class Model(Protocol):
    """What every family offers."""

    family: ClassVar[str]
    """Name on the command line and in MLflow."""
    defaults: ClassVar[dict[str, float]]
    """Every parameter that may be set, with the value it has otherwise."""
    margin_unit: ClassVar[str]
    """What `margin` and `contributions` are measured in."""

    @classmethod
    def fit(
        cls, matrix: Matrix, label: Label, params: Params, *, seed: int, threads: int,
        weight: float = 1.0,
    ) -> Self:  # fmt: skip
        """Fit to a matrix of shape (n, d) and labels of shape (n,).

        `weight` is that of a fraud against a legitimate row: 2 counts every fraud twice.
        """

    def probability(self, matrix: Matrix) -> Probability:
        """Probability of fraud before calibration, shape (n,)."""

    def margin(self, matrix: Matrix) -> NDArray[np.float64]:
        """What the contributions add up to, shape (n,), in `margin_unit`, before calibration."""

    def contributions(self, matrix: Matrix, background: NDArray[np.float64]) -> Matrix:
        """Shapley values of the d columns, then the base value: shape (n, d + 1).

        A row adds up to its margin, to 1e-4 in trees, which count in float32.

        Parameters
        ----------
        background
            Shape (d,): mean row of the training matrix at natural prevalence. The linear model
            measures from it. Trees ignore it: they keep how many rows went each way at a split, so
            their base is that of the rows as fitted, after resampling and weights.
        """

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
    margin_unit: ClassVar[str] = "log-odds"

    weights: NDArray[np.float64]
    intercept: float

    @classmethod
    def fit(
        cls, matrix: Matrix, label: Label, params: Params, *, seed: int, threads: int,
        weight: float = 1.0,
    ) -> Self:  # fmt: skip
        """Fit with scikit-learn's lbfgs solver, which draws nothing.

        Its products are small: sharing them between threads takes longer than doing them, many
        times so on a busy machine.
        """
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits

        del seed, threads
        with threadpool_limits(1):
            fitted = LogisticRegression(**with_defaults(cls, params), max_iter=2000).fit(
                matrix, label, sample_weight=_row_weights(label, weight)
            )
        return cls(fitted.coef_[0], float(fitted.intercept_[0]))

    def probability(self, matrix: Matrix) -> Probability:
        """Shape (n,)."""
        return 1 / (1 + np.exp(-np.clip(self.margin(matrix), -700, 700)))

    def margin(self, matrix: Matrix) -> NDArray[np.float64]:
        """Log-odds, shape (n,)."""
        return matrix @ self.weights + self.intercept

    def contributions(self, matrix: Matrix, background: NDArray[np.float64]) -> Matrix:
        """How far each column lies from the background, times its weight; shape (n, d + 1)."""
        base = np.full((len(matrix), 1), background @ self.weights + self.intercept)
        return np.hstack([(matrix - background) * self.weights, base])

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
    margin_unit: ClassVar[str] = "probability"

    trees: treelite.Model

    @classmethod
    def fit(
        cls, matrix: Matrix, label: Label, params: Params, *, seed: int, threads: int,
        weight: float = 1.0,
    ) -> Self:  # fmt: skip
        """Fit with scikit-learn."""
        import treelite
        from sklearn.ensemble import RandomForestClassifier

        forest = RandomForestClassifier(
            **with_defaults(cls, params), random_state=seed, n_jobs=threads
        ).fit(matrix, label, sample_weight=_row_weights(label, weight))
        return cls(treelite.sklearn.import_model(forest))

    def probability(self, matrix: Matrix) -> Probability:
        """Shape (n,)."""
        import treelite

        if not len(matrix):
            return np.empty(0)
        # scikit-learn compares in float32 with float64 thresholds; treelite takes one type.
        rounded = matrix.astype(np.float32).astype(np.float64)
        scores: Probability = treelite.gtil.predict(self.trees, rounded, nthread=1)
        return scores.reshape(len(matrix), -1)[:, -1]

    def margin(self, matrix: Matrix) -> NDArray[np.float64]:
        """The probability itself, shape (n,), as it is what the leaves add up to: their mean."""
        return self.probability(matrix)

    def contributions(self, matrix: Matrix, background: NDArray[np.float64]) -> Matrix:
        """TreeSHAP along the paths, shape (n, d + 1); the background is in the trees."""
        from training.shapley import tree_shap

        del background
        return tree_shap(self._booster, matrix)

    @cached_property
    def _booster(self) -> xgboost.Booster:
        # Made when first asked to explain: few that serve a forest need XGBoost for anything else.
        from training.shapley import as_booster

        return as_booster(self.trees)

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
    margin_unit: ClassVar[str] = "log-odds"

    booster: xgboost.Booster

    @classmethod
    def fit(
        cls, matrix: Matrix, label: Label, params: Params, *, seed: int, threads: int,
        weight: float = 1.0,
    ) -> Self:  # fmt: skip
        """Fit by histogram on the log loss."""
        import xgboost

        settings = with_defaults(cls, params)
        rounds = int(settings.pop("n_estimators"))
        settings |= {"objective": "binary:logistic", "tree_method": "hist", "seed": seed}
        weights = _row_weights(label, weight)
        quantised = xgboost.QuantileDMatrix(matrix, label, weight=weights, nthread=threads)
        booster = xgboost.train(settings | {"nthread": threads}, quantised, rounds)
        booster.set_param({"nthread": 1})
        return cls(booster)

    def probability(self, matrix: Matrix) -> Probability:
        """Shape (n,)."""
        scores: Probability = self.booster.inplace_predict(matrix.astype(np.float32))
        return scores.astype(np.float64)

    def margin(self, matrix: Matrix) -> NDArray[np.float64]:
        """Log-odds, shape (n,)."""
        scores: NDArray[np.float64] = self.booster.inplace_predict(
            matrix.astype(np.float32), predict_type="margin"
        )
        return scores.astype(np.float64)

    def contributions(self, matrix: Matrix, background: NDArray[np.float64]) -> Matrix:
        """TreeSHAP along the paths, shape (n, d + 1); the background is in the trees."""
        from training.shapley import tree_shap

        del background
        return tree_shap(self.booster, matrix)

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


_LIMITS = {
    "C": (1e-8, 1e8), "n_estimators": (1, 10_000), "max_depth": (1, 64),
    "min_samples_leaf": (1, 1e6), "learning_rate": (1e-4, 1), "min_child_weight": (0, 1e6),
    "subsample": (0.01, 1), "colsample_bytree": (0.01, 1), "reg_lambda": (0, 1e6),
}  # fmt: skip

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
        If the family has no parameter of a given name, or its value cannot be meant.
    """
    unknown = sorted(set(params) - set(model.defaults))
    if unknown:
        raise UsageError(
            f"{model.family} has no parameter {', '.join(unknown)}; "
            f"it has {', '.join(model.defaults)}"
        )
    for name, value in params.items():
        least, most = _LIMITS[name]
        whole = isinstance(model.defaults[name], int)
        if not least <= value <= most or (whole and value != int(value)):
            kind = "a whole number" if whole else "a number"
            raise UsageError(
                f"{model.family}: {name} must be {kind} from {least:g} to {most:g}, it is {value:g}"
            )
    return {**model.defaults, **params}


def _row_weights(label: Label, weight: float) -> NDArray[np.float64] | None:
    if not 0 < weight < np.inf:
        raise UsageError(
            f"the weight of a fraud against a legitimate row must be above 0, it is {weight:g}"
        )
    return None if weight == 1 else np.where(label == 1, weight, 1.0)
