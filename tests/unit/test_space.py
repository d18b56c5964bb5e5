"""A sweep's recipes cover every family and ratio, are all valid, and come again with the seed."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.errors import UsageError
from training.fit import Recipe
from training.models import FAMILIES
from training.resample import smote
from tuning.space import SPACE, ratios, sample


def test_every_family_has_a_space_of_its_own_parameters() -> None:
    assert set(SPACE) == set(FAMILIES)
    for name, spans in SPACE.items():
        assert set(spans) <= set(FAMILIES[name].defaults)


@given(frauds=st.integers(6, 200), legitimate=st.integers(1, 200))
def test_every_ratio_tried_can_be_reached(frauds: int, legitimate: int) -> None:
    label = np.repeat([1, 0], [frauds, legitimate]).astype(np.int8)
    matrix = np.arange(len(label), dtype=float)[:, None]

    tried = ratios(frauds / legitimate)

    assert tried[0] == 0
    assert len(set(tried)) == len(tried)
    for ratio in tried:
        smote(matrix, label, ratio=ratio, seed=0)


def test_ratios_part_the_way_from_natural_to_balanced_evenly() -> None:
    assert ratios(0.001) == (0.0, 0.01, 0.1)


def test_every_family_tries_every_ratio_and_begins_with_its_defaults() -> None:
    recipes = sample(9, natural=0.01)

    for name in FAMILIES:
        mine = [r for r in recipes if r.family == name]
        assert [r.smote for r in mine] == list(ratios(0.01))
        assert [bool(r.params) for r in mine] == [False, True, True]


@given(trials=st.integers(1, 40), seed=st.integers(0, 2**32), natural=st.floats(1e-4, 0.5))
def test_what_is_drawn_lies_in_the_space_and_comes_again(
    trials: int, seed: int, natural: float
) -> None:
    recipes = sample(trials, natural=natural, seed=seed, policy="recall>=0.9")

    assert len(recipes) == trials
    assert recipes == sample(trials, natural=natural, seed=seed, policy="recall>=0.9")
    for recipe in recipes:
        assert (recipe.seed, recipe.policy) == (seed, "recall>=0.9")
        assert recipe.smote in ratios(natural)
        for key, value in recipe.params.items():
            low, high, how = SPACE[recipe.family][key]
            assert low <= value <= high
            assert isinstance(value, int if how == "integer" else float)
        assert Recipe(**json.loads(json.dumps(asdict(recipe)))) == recipe


def test_more_trials_begin_with_the_same_ones() -> None:
    assert sample(20, natural=0.01)[:7] == sample(7, natural=0.01)


def test_only_the_models_asked_for_are_tried_and_none_twice_in_a_turn() -> None:
    recipes = sample(4, natural=0.01, models=["xgboost", "logistic-regression", "xgboost"])

    assert [r.family for r in recipes] == ["xgboost", "logistic-regression"] * 2


@pytest.mark.parametrize(
    ("trials", "models", "message"),
    [
        (0, ["xgboost"], "--trials must be 1 or more, it is 0"),
        (-3, ["xgboost"], "it is -3"),
        (3, [], "no model family given; there are logistic-regression"),
        (3, ["xgboost", "svm"], "no model family 'svm'"),
    ],
)
def test_what_cannot_be_sampled_is_refused(trials: int, models: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        sample(trials, natural=0.01, models=models)
