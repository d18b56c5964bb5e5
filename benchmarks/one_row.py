"""One payment in process: the bundle's score beside the same model as a scikit-learn pipeline."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from page import Broken, met, table
from sklearn_pipeline import build, frame

from training.audit import audit
from training.bundle import ModelBundle
from training.data import Dataset, check
from training.fit import Recipe, train
from training.simulate import simulate
from training.spec import DatasetSpec
from training.split import split

MODELS: Final[dict[str, dict[str, float]]] = {
    "logistic-regression": {},
    "random-forest": {"n_estimators": 200},
    "xgboost": {"n_estimators": 200, "max_depth": 6},
}
FASTER: Final = 50.0
MOST_MS: Final = {"logistic-regression": 0.1, "random-forest": 0.5, "xgboost": 0.5}
SAME: Final = 1e-6
ROUND: Final = 20  # of our calls to one of the pipeline, which takes so much longer


@dataclass(frozen=True)
class OneRow:
    """Medians for one family, in milliseconds.

    Attributes
    ----------
    apart
        Largest difference of the two probabilities, before calibration.
    """

    family: str
    pipeline_ms: float
    ours_ms: float
    features_ms: float
    apart: float


def one_row(rows: int, repeats: int) -> list[OneRow]:
    """Measure every family, fitted to `rows` simulated payments, in `repeats` turns.

    The two take turns within one run, so that a busy machine slows both; each turn is another
    test payment. Ours includes calibration, the pipeline has none.

    Raises
    ------
    Broken
        If the two do not give the same probabilities: then the comparison means nothing.
    """
    dataset = check(simulate(rows, seed=0), DatasetSpec.load("payments"), source="simulated")
    parts = split(dataset)
    report = audit(dataset, parts)
    fitted_on, test = dataset.take(parts.train), dataset.take(parts.test)
    return [
        _measured(train(dataset, parts, Recipe(name, params), report, threads=2), fitted_on, test,
                  min(repeats, len(test)))
        for name, params in MODELS.items()
    ]  # fmt: skip


def one_row_block(figures: list[OneRow]) -> str:
    """The table."""
    lines = [
        [
            f.family,
            f"{f.pipeline_ms:.1f}",
            f"{f.ours_ms:.3f}",
            f"{f.features_ms:.3f}",
            f"{f.pipeline_ms / f.ours_ms:,.0f}",
            met(f.pipeline_ms / f.ours_ms >= FASTER, f"{FASTER:g} times"),
            met(f.ours_ms <= MOST_MS[f.family], f"{MOST_MS[f.family]:g} ms"),
            f"{f.apart:.0e}",
        ]
        for f in figures
    ]
    heads = ["family", "pipeline, ms", "fraudray, ms", "of which features", "times faster",
             "at least", "at most", "probabilities apart"]  # fmt: skip
    return table(heads, lines)


def _measured(bundle: ModelBundle, fitted_on: Dataset, test: Dataset, repeats: int) -> OneRow:
    pipeline, name = build(bundle, fitted_on), bundle.card["family"]
    frames = [frame(bundle, test.take(np.array([i]))) for i in range(repeats)]
    columns = [{n: v[i : i + 1] for n, v in test.columns.items()} for i in range(repeats)]
    first = {n: v[:repeats] for n, v in test.columns.items()}
    expected = bundle.model.probability(bundle.features.transform(first))

    pipeline.predict_proba(frames[0])
    bundle.score(columns[0])
    theirs, ours, features, apart = [], [], [], 0.0
    for i in range(repeats):
        seconds, answer = _timed(pipeline.predict_proba, frames[i])
        theirs.append(seconds)
        apart = max(apart, abs(float(answer[0, 1]) - float(expected[i])))
        for j in range(i, i + ROUND):
            one = columns[j % repeats]
            ours.append(_timed(bundle.score, one)[0])
            features.append(_timed(bundle.features.transform, one)[0])
    if apart > SAME:
        raise Broken(f"{name}: the pipeline's probabilities are {apart:.2g} from the bundle's")
    pipeline_ms, ours_ms, features_ms = (
        1e3 * float(np.median(times)) for times in (theirs, ours, features)
    )
    return OneRow(name, pipeline_ms, ours_ms, features_ms, apart)


def _timed(call: Callable[[Any], Any], argument: Any) -> tuple[float, Any]:
    begin = time.perf_counter()
    result = call(argument)
    return time.perf_counter() - begin, result
