"""BoosterModel: gradient boosted trees, kept as UBJSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from training.families.model import Label, Params
from training.families.settings import counts_up, row_weights, with_defaults
from training.preprocess import Matrix, Probability

if TYPE_CHECKING:
    import xgboost


@dataclass(frozen=True)
class BoosterModel:
    """XGBoost's gradient boosted trees."""

    family: ClassVar[str] = "xgboost"
    defaults: ClassVar[dict[str, float]] = {
        "n_estimators": 200, "max_depth": 5, "learning_rate": 0.1, "min_child_weight": 1.0,
        "subsample": 0.9, "colsample_bytree": 0.9, "reg_lambda": 1.0,
    }  # fmt: skip
    counted: ClassVar[str | None] = "n_estimators"
    margin_unit: ClassVar[str] = "log-odds"

    booster: xgboost.Booster

    @classmethod
    def fit(
        cls, matrix: Matrix, label: Label, params: Params, *, seed: int, threads: int,
        weight: float = 1.0,
    ) -> Self:  # fmt: skip
        """Fit by histogram on the log loss."""
        settings = with_defaults(cls, params)
        prepared = cls.prepare(matrix, label, weight=weight, threads=threads)
        (booster,) = cls._grown(
            prepared, settings, [settings["n_estimators"]], seed=seed, threads=threads
        )
        booster.set_param({"nthread": 1})
        return cls(booster)

    @classmethod
    def prepare(
        cls, matrix: Matrix, label: Label, *, weight: float, threads: int
    ) -> xgboost.QuantileDMatrix:
        """The rows sorted into the bins that trees are grown from; bins follow from the weights."""
        import xgboost

        weights = row_weights(label, weight)
        return xgboost.QuantileDMatrix(matrix, label, weight=weights, nthread=threads)

    @classmethod
    def grow(
        cls, prepared: xgboost.QuantileDMatrix, params: Params, counts: Sequence[int],
        held_out: Matrix, *, seed: int, threads: int,
    ) -> Iterator[Probability]:  # fmt: skip
        """Give the probabilities after each count of rounds."""
        import xgboost

        counts_up(cls, counts)
        settings = with_defaults(cls, {**params, "n_estimators": counts[-1]})
        # A booster remembers what a DMatrix got from the rounds so far and adds the later ones.
        rows = xgboost.DMatrix(held_out.astype(np.float32), nthread=threads)
        for booster in cls._grown(prepared, settings, counts, seed=seed, threads=threads):
            yield booster.predict(rows).astype(np.float64)

    @classmethod
    def _grown(
        cls, prepared: xgboost.QuantileDMatrix, settings: Mapping[str, Any], counts: Sequence[int],
        *, seed: int, threads: int,
    ) -> Iterator[xgboost.Booster]:  # fmt: skip
        """One booster, given again at every count: the rounds it had and those it went on to."""
        import xgboost

        own = {name: value for name, value in settings.items() if name != cls.counted}
        fixed = {"objective": "binary:logistic", "tree_method": "hist", "seed": seed}
        booster = xgboost.Booster(own | fixed | {"nthread": threads}, [prepared])
        done = 0
        for count in counts:
            for index in range(done, count):
                booster.update(prepared, index)
            done = count
            yield booster

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
