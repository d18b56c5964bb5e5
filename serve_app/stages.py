"""What each stage of the graph does, as plain classes; `app.py` makes deployments of them.

A call goes from stage to stage and its scores come back the same way, so an ingress, the busiest of
all, handles one answer a call. Every call carries the version it is for, so an answer is never a
mix of two.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve_app.calls import Scores
from serve_app.member import Follow, Member
from serve_app.metrics.replicas import Work
from serve_app.versions import Reference, Stage
from training.bundle import ModelBundle
from training.changes import nearest_changes
from training.data import Columns
from training.explain import reasons
from training.features import FeatureEngineering as Features
from training.preprocess import Matrix

Probability = NDArray[np.float64]
Decision = NDArray[np.int8]


def _bundle(reference: Reference) -> ModelBundle:
    return reference.load()


def _features(reference: Reference) -> Features:
    return reference.load().features


class FeatureEngineering:
    """Columns of payments to the model's feature matrix.

    Parameters
    ----------
    model
        The next stage.
    """

    stage: Stage = "features"

    def __init__(
        self, name: str, follow: Follow, model: Callable[[Reference, Matrix], Awaitable[Scores]]
    ) -> None:
        self.member = Member(name, self.stage, _features, follow)
        self.work = Work(self.stage)
        self._model = model

    async def score(self, reference: Reference, columns: Columns) -> Scores:
        """Arrays of shape (n,) to scores."""
        features = await self.member.obtain(reference)
        with self.work.on(len(next(iter(columns.values())))):
            matrix = features.transform(columns)
        return await self._model(reference, matrix)


class Model:
    """Feature matrix to calibrated probabilities of fraud.

    Parameters
    ----------
    threshold
        The next stage.
    """

    stage: Stage = "model"

    def __init__(
        self,
        name: str,
        follow: Follow,
        threshold: Callable[[Reference, Probability], Awaitable[Decision]],
    ) -> None:
        self.member = Member(name, self.stage, _bundle, follow)
        self.work = Work(self.stage)
        self._threshold = threshold

    async def score(self, reference: Reference, matrix: Matrix) -> Scores:
        """Shape (n, d) to scores."""
        bundle = await self.member.obtain(reference)
        with self.work.on(len(matrix)):
            probability = bundle.probability(matrix)
        return probability, await self._threshold(reference, probability)

    async def explain(self, reference: Reference, columns: Columns) -> list[dict[str, Any]]:
        """For each of n payments `reasons`, the largest first, and `changes`, the nearest first."""
        bundle = await self.member.obtain(reference)
        explanation = bundle.explain(columns)
        rows = len(next(iter(columns.values())))
        most = len(explanation.fields)
        return [
            {
                "reasons": [
                    asdict(reason)
                    for reason in reasons(explanation, bundle.features, columns, row, most=most)
                ],
                "changes": [
                    asdict(change)
                    for change in nearest_changes(
                        bundle, {name: values[row : row + 1] for name, values in columns.items()}
                    )
                ],
            }
            for row in range(rows)
        ]


class Threshold:
    """Probabilities to decisions."""

    stage: Stage = "threshold"

    def __init__(self, name: str, follow: Follow) -> None:
        self.member = Member(name, self.stage, _bundle, follow)
        self.work = Work(self.stage)

    async def decide(self, reference: Reference, probability: Probability) -> Decision:
        """Shape (n,) to (n,)."""
        bundle = await self.member.obtain(reference)
        with self.work.on(len(probability)):
            return bundle.decide(probability)
