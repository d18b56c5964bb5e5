"""A bundle as MLflow's `pyfunc` flavour sees it: a frame in, a frame out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from training.bundle import ModelBundle
from training.data import check


class _Pyfunc:
    def __init__(self, bundle: ModelBundle) -> None:
        self.bundle = bundle

    def predict(self, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Score rows; the answer has their index."""
        del params
        dataset = check(model_input, self.bundle.spec, source="input", labelled=False)
        if len(dataset.rejected):
            worst = dataset.rejected.iloc[0]
            raise ValueError(f"{worst.column} should be {worst.expectation}, is {worst.value!r}")
        probability = self.bundle.score(dataset.columns)
        return pd.DataFrame(
            {"probability": probability, "decision": self.bundle.decide(probability)},
            index=model_input.index,
        )


def _load_pyfunc(path: str) -> _Pyfunc:
    """Load as an MLflow pyfunc model; MLflow calls the loader module's function of this name."""
    return _Pyfunc(ModelBundle.load(Path(path)))
