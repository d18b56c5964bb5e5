"""What each stage of the graph does, as plain classes; `app.py` makes deployments of them.

Every call carries the version it is for, so an answer is never a mix of two.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from serve_app.member import Follow, Member
from serve_app.versions import Reference, Stage
from training.bundle import ModelBundle
from training.data import Columns
from training.explain import reasons
from training.features import FeatureEngineering as Features
from training.preprocess import Matrix

Part = TypeVar("Part")


def _bundle(reference: Reference) -> ModelBundle:
    return reference.load()


def _features(reference: Reference) -> Features:
    return reference.load().features


class FeatureEngineering:
    """Columns of payments to the model's feature matrix."""

    stage: Stage = "features"

    def __init__(self, name: str, follow: Follow) -> None:
        self.member = Member(name, self.stage, _features, follow)

    async def transform(self, reference: Reference, columns: Columns) -> Matrix:
        """Arrays of shape (n,) to one of shape (n, d)."""
        return (await self.member.obtain(reference)).transform(columns)


class Model:
    """Feature matrix to calibrated probabilities of fraud."""

    stage: Stage = "model"

    def __init__(self, name: str, follow: Follow) -> None:
        self.member = Member(name, self.stage, _bundle, follow)

    async def probability(self, reference: Reference, matrix: Matrix) -> NDArray[np.float64]:
        """Shape (n, d) to (n,)."""
        return (await self.member.obtain(reference)).probability(matrix)

    async def explain(self, reference: Reference, columns: Columns) -> list[list[dict[str, Any]]]:
        """For each of n payments what moved its score, the largest contribution first."""
        bundle = await self.member.obtain(reference)
        explanation = bundle.explain(columns)
        rows = len(next(iter(columns.values())))
        most = len(explanation.fields)
        return [
            [asdict(r) for r in reasons(explanation, bundle.features, columns, row, most=most)]
            for row in range(rows)
        ]


class Threshold:
    """Probabilities to decisions."""

    stage: Stage = "threshold"

    def __init__(self, name: str, follow: Follow) -> None:
        self.member = Member(name, self.stage, _bundle, follow)

    async def decide(
        self, reference: Reference, probability: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
        """Shape (n,) to the probabilities as they are and the decisions, shape (n,) each."""
        return probability, (await self.member.obtain(reference)).decide(probability)
