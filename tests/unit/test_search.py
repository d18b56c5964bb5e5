"""A sweep's recipes fit the rows that its winner will be fitted on."""

from __future__ import annotations

from typing import Any

import numpy as np

from fraudray.pipeline import Audited
from fraudray.search import Search
from training.audit import audit
from training.data import check
from training.fit import train
from training.simulate import simulate
from training.spec import DatasetSpec
from training.split import split


def test_the_winner_can_be_fitted_where_the_newest_rows_hold_more_frauds() -> None:
    frame: Any = simulate(6_000, seed=2)
    rng = np.random.default_rng(0)
    share = np.where(np.arange(6_000) < 3_300, 0.01, 0.2)
    frame["label"] = (rng.random(6_000) < share).astype(int)
    dataset = check(frame, DatasetSpec.load("payments"), source="drifting")
    parts = split(dataset)
    report = audit(dataset, parts)

    recipes = Search(trials=9).prepare(Audited(dataset, parts, report)).recipes

    frauds = dataset.label[parts.train].mean()
    assert all(r.smote == 0 or r.smote > frauds / (1 - frauds) for r in recipes)
    resampled = next(r for r in recipes if r.smote and r.family == "logistic-regression")
    assert train(dataset, parts, resampled, report).choice.threshold > 0
