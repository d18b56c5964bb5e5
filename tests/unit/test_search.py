"""What a sweep is to search is held against the data before anything starts."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest

from fraudray.pipeline import Audited
from fraudray.search import Search
from training.audit import Audit, audit
from training.data import Dataset, check
from training.errors import UsageError
from training.fit import train
from training.simulate import simulate
from training.spec import DatasetSpec
from training.split import Split, split
from tuning.space import Space


def test_the_winner_can_be_fitted_where_the_newest_rows_hold_more_frauds() -> None:
    frame: Any = simulate(6_000, seed=2)
    rng = np.random.default_rng(0)
    share = np.where(np.arange(6_000) < 3_300, 0.01, 0.2)
    frame["label"] = (rng.random(6_000) < share).astype(int)
    dataset = check(frame, DatasetSpec.load("payments"), source="drifting")
    parts = split(dataset)
    report = audit(dataset, parts)

    prepared = Search(Space.load(), trials=9).prepare(Audited(dataset, parts, report))
    drawn = prepared.search.sampler(prepared.bound)
    recipes = [recipe for point in iter(drawn.ask, None) for recipe in point]

    frauds = dataset.label[parts.train].mean()
    assert all(r.smote == 0 or r.smote > frauds / (1 - frauds) for r in recipes)
    resampled = next(r for r in recipes if r.smote and r.family == "logistic-regression")
    assert train(dataset, parts, resampled, report).choice.threshold > 0


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"scheduler": "median"}, "no scheduler 'median'; there are none, asha"),
        ({"algorithm": "annealing"}, "'annealing'"),
        ({"metric": "accuracy"}, "no metric 'accuracy'"),
        ({"policy": "luck"}, "no threshold policy 'luck'"),
        ({"trials": 0}, "--trials must be 1 or more, it is 0"),
        ({"folds": 1}, "--folds must be 2 or more, it is 1"),
        ({"algorithm": "grid"}, "a grid takes a list"),
    ],
)
def test_what_no_data_could_make_right_is_refused_at_once(
    settings: dict[str, Any], told: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(told)):
        Search(Space.load(), **settings)


def test_a_search_is_read_back_from_what_the_journal_keeps() -> None:
    search = Search(
        Space.load("grid"), algorithm="grid", scheduler="asha", trials=None, policy="recall>=0.9"
    )

    again = Search.from_dict(json.loads(json.dumps(search.to_dict())))

    assert again == search


def test_a_ratio_that_the_data_exceed_is_refused_before_ray(
    dataset: Dataset, parts: Split, report: Audit
) -> None:
    space = Space.from_dict({"sampling": {"smote": [0.001]}, "logistic-regression": {}})

    with pytest.raises(UsageError, match=r"0\.001 is not above the natural ratio"):
        Search(space).prepare(Audited(dataset, parts, report))
