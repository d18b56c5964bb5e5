"""What each stage of the graph does, as plain classes; `app.py` makes deployments of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serve_app.contract import Answer
from training.bundle import ModelBundle
from training.data import Columns
from training.home import bundle_folder
from training.preprocess import Matrix


@dataclass(frozen=True)
class Reference:
    """The one version that every stage of a graph serves.

    Attributes
    ----------
    model, version
        In the registry.
    key
        Of its bundle; see `training.tracking.Version`.
    """

    model: str
    version: str
    key: str

    def load(self) -> ModelBundle:
        """Its bundle, from this machine if it is here, else from the registry."""
        folder = bundle_folder(self.key)
        if folder.exists():
            return ModelBundle.load(folder)
        from training.tracking import Tracking  # seconds to import, and seldom needed

        tracking = Tracking()
        return tracking.fetch(tracking.version(self.model, self.version))


class FeatureEngineering:
    """Columns of payments to the model's feature matrix."""

    def __init__(self, reference: Reference) -> None:
        self.features = reference.load().features

    def __call__(self, columns: Columns) -> Matrix:
        """Arrays of shape (n,) to one of shape (n, d)."""
        return self.features.transform(columns)


class Model:
    """Feature matrix to calibrated probabilities of fraud."""

    def __init__(self, reference: Reference) -> None:
        self.bundle = reference.load()

    def __call__(self, matrix: Matrix) -> NDArray[np.float64]:
        """Shape (n, d) to (n,)."""
        return self.bundle.probability(matrix)


class Threshold:
    """Probabilities to answers."""

    def __init__(self, reference: Reference) -> None:
        self.bundle = reference.load()
        self.version = reference.version

    def __call__(self, probability: NDArray[np.float64], request_id: str) -> list[Answer]:
        """Shape (n,) to n answers."""
        threshold = self.bundle.choice.threshold
        return [
            Answer(
                request_id=request_id,
                decision=decision,
                probability=p,
                threshold=threshold,
                model_version=self.version,
            )
            for p, decision in zip(
                probability.tolist(), self.bundle.decide(probability).tolist(), strict=True
            )
        ]
