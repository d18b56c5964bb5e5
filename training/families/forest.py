"""ForestModel: a random forest, kept as treelite's checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from training.families.model import Label, Params
from training.families.settings import Rows, counts_up, row_weights, with_defaults
from training.preprocess import Matrix, Probability

if TYPE_CHECKING:
    import treelite
    import xgboost
    from sklearn.ensemble import RandomForestClassifier


@dataclass(frozen=True)
class ForestModel:
    """Random forest: fitted by scikit-learn, kept and scored by treelite."""

    family: ClassVar[str] = "random-forest"
    defaults: ClassVar[dict[str, float]] = {
        "n_estimators": 200, "max_depth": 12, "min_samples_leaf": 5,
    }  # fmt: skip
    counted: ClassVar[str | None] = "n_estimators"
    margin_unit: ClassVar[str] = "probability"

    trees: treelite.Model

    @classmethod
    def fit(
        cls, matrix: Matrix, label: Label, params: Params, *, seed: int, threads: int,
        weight: float = 1.0,
    ) -> Self:  # fmt: skip
        """Fit with scikit-learn."""
        import treelite

        settings = with_defaults(cls, params)
        prepared = cls.prepare(matrix, label, weight=weight, threads=threads)
        (forest,) = cls._grown(
            prepared, settings, [settings["n_estimators"]], seed=seed, threads=threads
        )
        return cls(treelite.sklearn.import_model(forest))

    @classmethod
    def prepare(cls, matrix: Matrix, label: Label, *, weight: float, threads: int) -> Rows:
        """The rows in float32, which is what scikit-learn's trees would make of them every time."""
        del threads
        return Rows(np.ascontiguousarray(matrix, np.float32), label, row_weights(label, weight))

    @classmethod
    def grow(
        cls, prepared: Rows, params: Params, counts: Sequence[int], held_out: Matrix, *, seed: int,
        threads: int,
    ) -> Iterator[Probability]:  # fmt: skip
        """Give the mean of the trees so far, adding up every tree's answer once."""
        counts_up(cls, counts)
        settings = with_defaults(cls, {**params, "n_estimators": counts[-1]})
        rows = np.ascontiguousarray(held_out, np.float32)
        total, summed = np.zeros(len(rows)), 0
        for forest in cls._grown(prepared, settings, counts, seed=seed, threads=threads):
            for tree in forest.estimators_[summed:]:
                total += tree.predict_proba(rows, check_input=False)[:, -1]
            summed = len(forest.estimators_)
            yield total / summed

    @classmethod
    def _grown(
        cls, prepared: Rows, settings: Mapping[str, Any], counts: Sequence[int], *, seed: int,
        threads: int,
    ) -> Iterator[RandomForestClassifier]:  # fmt: skip
        """One forest, given again at every count: the trees it had and those it went on to."""
        from sklearn.ensemble import RandomForestClassifier

        forest = RandomForestClassifier(
            **settings, random_state=seed, n_jobs=threads, warm_start=True
        )
        for count in counts:
            forest.set_params(n_estimators=count).fit(
                prepared.matrix, prepared.label, sample_weight=prepared.weights
            )
            yield forest

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
