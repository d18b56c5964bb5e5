"""Examples: a few test payments with their labels, for people to start from.

They are picked when everything has been measured; nothing is chosen, tested or judged by them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data import Dataset, records_of

_OF_EACH = 8
_NEAR = 4


def kept_examples(
    test: Dataset, probability: NDArray[np.float64], threshold: float
) -> list[dict[str, Any]]:
    """Payments of either label over all of their scores, and those nearest to the threshold.

    Parameters
    ----------
    probability
        Of the test rows, shape (n,).

    Returns
    -------
    list of dict
        `row` as a request has it, `label` and `probability`.
    """
    label = test.label
    places = set(np.argsort(np.abs(_log_odds(probability) - _log_odds(threshold)))[:_NEAR].tolist())
    for value in (0, 1):
        mine = np.flatnonzero(label == value)
        ranked = mine[np.argsort(probability[mine], kind="stable")]
        if len(ranked):
            places |= set(ranked[np.linspace(0, len(ranked) - 1, _OF_EACH).astype(int)].tolist())
    rows = np.array(sorted(places), np.intp)
    records = records_of(test.take(rows), list(test.spec.inputs))
    return [
        {"row": record, "label": int(label[row]), "probability": float(probability[row])}
        for record, row in zip(records, rows, strict=True)
    ]


def pick(kept: list[dict[str, Any]], threshold: float) -> list[dict[str, Any]]:
    """Of what `kept_examples` gave, one payment of each kind at the threshold there is now.

    Returns
    -------
    list of dict
        `kind`, which is legitimate, fraudulent or borderline, `label` and `payment`. The first is
        let through and the second an alert where such a one was kept; the third is the nearest to
        the threshold.
    """
    if not kept:
        return []
    found = []
    for value, kind in enumerate(("legitimate", "fraudulent")):
        mine = sorted((e for e in kept if e["label"] == value), key=lambda e: e["probability"])
        right = [e for e in mine if (e["probability"] >= threshold) == bool(value)]
        if mine:
            several = right or mine
            found.append((kind, several[len(several) // 2]))
    limit = _log_odds(threshold)
    nearest = min(kept, key=lambda e: abs(float(_log_odds(e["probability"]) - limit)))
    found.append(("borderline", nearest))
    return [{"kind": kind, "label": e["label"], "payment": e["row"]} for kind, e in found]


def _log_odds(probability: float | NDArray[np.float64]) -> NDArray[np.float64]:
    p = np.clip(probability, 1e-9, 1 - 1e-9)
    return np.asarray(np.log(p / (1 - p)))
