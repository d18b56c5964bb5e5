"""A space says what it means or every mistake it has, and is held against the data."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.errors import DataRefused, UsageError
from training.models import FAMILIES
from training.resample import smote
from tuning.axis import Range, Values
from tuning.bound import BoundSpace
from tuning.space import Space, SpaceError, ratios

BUILT_IN = ("default", "grid")


def parsed(text: str) -> Space:
    return Space.from_dict(tomllib.loads(text), "mine.toml")


def bound(space: Space, **facts: Any) -> BoundSpace:
    return space.bind(**({"natural": 0.01, "fewest_frauds": 50, "data": "pay.csv"} | facts))


def test_lists_ranges_and_single_values_are_read_as_the_parameter_is() -> None:
    space = parsed(
        """
        [sampling]
        smote = [0, 0.1]
        fraud_weight = [1, "balanced"]
        derived = false
        [xgboost]
        max_depth = { low = 3, high = 8 }
        subsample = { low = 0.5, high = 1, points = 3 }
        reg_lambda = 2
        n_estimators = [100, 200]
        """
    )

    assert space.smote == (0.0, 0.1)
    assert space.derived == (False,)
    assert space.families == {
        "xgboost": {
            "max_depth": Range(3, 8, whole=True),
            "subsample": Range(0.5, 1.0, points=3),
            "reg_lambda": Values((2.0,)),
            "n_estimators": Values((100, 200)),
        }
    }


def test_the_default_space_holds_every_family_and_its_defaults() -> None:
    space = Space.load()

    assert list(space.families) == list(FAMILIES)
    for family, axes in space.families.items():
        assert set(axes) == set(FAMILIES[family].defaults)
        for parameter, axis in axes.items():
            assert FAMILIES[family].defaults[parameter] in axis


def test_the_built_in_grid_is_modest_and_has_every_family() -> None:
    assert list(Space.load("grid").families) == list(FAMILIES)
    assert bound(Space.load("grid")).as_grid().trials == 84


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_space_comes_back_from_plain_types(name: str) -> None:
    space = Space.load(name)

    assert Space.from_dict(json.loads(json.dumps(space.to_dict())), space.source) == space


def test_a_space_without_smote_comes_back_from_plain_types() -> None:
    space = parsed("[sampling]\nsmote = 0\n[random-forest]")

    assert Space.from_dict(space.to_dict(), space.source) == space


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "should have a table for at least one model family of logistic-regression, random-"),
        ("[sampling]", "should have a table for at least one model family"),
        ("xgboost = 3", "xgboost: should be a table, is 3"),
        ("[xgbost]", "xgbost: there is no such table; did you mean 'xgboost'?"),
        ("[svm]", "svm: there is no such table; there are sampling, logistic-regression,"),
        ("[xgboost]\nmaxdepth = 3", "xgboost.maxdepth: xgboost has no such parameter; did you "
         "mean 'max_depth'?"),
        ("[xgboost]\nC = 3", "xgboost.C: xgboost has no such parameter; there are n_estimators,"),
        ("[xgboost]\nmax_depth = []", "xgboost.max_depth: should hold at least one value"),
        ("[xgboost]\nmax_depth = [3, 5, 3]", "xgboost.max_depth: holds 3 twice"),
        ("[xgboost]\nmax_depth = [3, 3.0]", "xgboost.max_depth: holds 3 twice"),
        ("[xgboost]\nmax_depth = [3, 99]", "xgboost.max_depth: must be a whole number from 1 to "
         "64, it is 99"),
        ("[xgboost]\nmax_depth = [3, '5']", "xgboost.max_depth: should be numbers, is '5'"),
        ("[xgboost]\nmax_depth = true", "max_depth: should be a number, a list of numbers or a "
         "range, is true"),
        ("[xgboost]\nsubsample = nan", "subsample: should be a number, a list of numbers or a "),
        ("[xgboost]\nn_estimators = [200, 100]", "xgboost.n_estimators: should be in ascending "
         "order, is [200, 100]"),
        ("[xgboost]\nmax_depth = {low = 2.5, high = 8}", "xgboost.max_depth.low: must be a whole "
         "number from 1 to 64, it is 2.5"),
        ("[xgboost]\nmax_depth = {low = 'a', high = 8}", "max_depth.low: should be a number, is"),
        ("[xgboost]\nmax_depth = {low = 8, high = 8}", "xgboost.max_depth: low should be below "
         "high, they are 8 and 8"),
        ("[xgboost]\nmax_depth = {low = 8}", "xgboost.max_depth.high: is missing"),
        ("[xgboost]\nmax_depth = {low = 2, high = 8, step = 2}", "xgboost.max_depth.step: there "
         "is no such key in a range; there are low, high, log, points"),
        ("[xgboost]\nmax_depth = {low = 2, high = 8, log = 1}", "max_depth.log: should be true or "
         "false, is 1"),
        ("[xgboost]\nmax_depth = {low = 2, high = 8, points = 1}", "max_depth.points: should be a "
         "whole number from 2 to 1000, is 1"),
        ("[xgboost]\nmax_depth = {low = 2, high = 8, points = 2.0}", "points: should be a whole"),
        ("[xgboost]\nreg_lambda = {low = 0, high = 8, log = true}", "xgboost.reg_lambda.low: "
         "should be above 0 where log is true, is 0"),
        ("[sampling]\nsmot = 0\n[xgboost]", "sampling.smot: there is no such key; did you mean "
         "'smote'?"),
        ("[sampling]\nsmote = 1.5\n[xgboost]", "sampling.smote: should be 'auto' or ratios from 0 "
         "(none) to 1, is 1.5"),
        ("[sampling]\nsmote = ['auto']\n[xgboost]", "sampling.smote: should be 'auto' or ratios"),
        ("[sampling]\nsmote = []\n[xgboost]", "sampling.smote: should hold at least one value"),
        ("[sampling]\nsmote = [0, 0.0]\n[xgboost]", "sampling.smote: holds 0 twice"),
        ("[sampling]\nneighbours = [0]\n[xgboost]", "neighbours: should be whole numbers from 1"),
        ("[sampling]\nneighbours = ['']\n[xgboost]", "neighbours: should be whole numbers from 1"),
        ("[sampling]\nneighbours = inf\n[xgboost]", "neighbours: should be whole numbers from 1"),
        ("[sampling]\nsmote = 0\nneighbours = [3, 5]\n[xgboost]", "sampling.neighbours: there are "
         "none to choose where smote is 0 alone; leave the key out"),
        ("[sampling]\nfraud_weight = [0]\n[xgboost]", "sampling.fraud_weight: should be 'balanced' "
         "or numbers above 0 and at most 1000, is 0"),
        ("[sampling]\nfraud_weight = 'even'\n[xgboost]", "fraud_weight: should be 'balanced' or"),
        ("[sampling]\nderived = [1]\n[xgboost]", "sampling.derived: should be true or false, is 1"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(text: str, message: str) -> None:
    with pytest.raises(SpaceError) as caught:
        parsed(text)

    told = str(caught.value)
    assert told.startswith("mine.toml: ")
    assert message in told
    assert told.count("; ") == message.count("; ")  # one mistake is told once
    assert "\n" not in told


def test_every_mistake_is_told_at_once() -> None:
    text = "[sampling]\nsmote = 2\n[svm]\n[xgboost]\nmax_depth = {low = 9, high = 8}\nC = 1"

    with pytest.raises(SpaceError) as caught:
        parsed(text)

    for place in ("sampling.smote: ", "svm: ", "xgboost.max_depth: ", "xgboost.C: "):
        assert place in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(
    table=st.sampled_from(["sampling", *FAMILIES]),
    key=st.sampled_from(["smote", "neighbours", "fraud_weight", "derived", "C", "max_depth"]),
    value=JSON | st.fixed_dictionaries({"low": JSON, "high": JSON}, optional={"log": JSON}),
)
def test_whatever_is_written_is_read_or_refused(table: str, key: str, value: Any) -> None:
    try:
        space = Space.from_dict({"random-forest": {}, table: {key: value}})
    except SpaceError:
        return
    assert Space.from_dict(space.to_dict(), space.source) == space


def test_a_file_that_is_no_space_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("[xgboost", "utf-8")

    with pytest.raises(SpaceError, match=r"broken.toml: cannot be read as TOML"):
        Space.load(str(broken))
    with pytest.raises(SpaceError, match=r"no space 'wide': give the path .* of default, grid"):
        Space.load("wide")
    with pytest.raises(SpaceError, match=r"no space '.*absent.toml'"):
        Space.load(str(tmp_path / "absent.toml"))


def test_only_the_models_asked_for_stay_in_the_order_asked() -> None:
    space = Space.load().narrowed(["xgboost", "logistic-regression", "xgboost"])

    assert list(space.families) == ["xgboost", "logistic-regression"]


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ([], "no model family given; mine.toml has random-forest"),
        (["xgboost"], "mine.toml has no model family 'xgboost'; it has random-forest"),
    ],
)
def test_models_that_the_space_has_not_are_refused(models: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parsed("[random-forest]").narrowed(models)


@given(frauds=st.integers(6, 200), legitimate=st.integers(1, 200))
def test_every_ratio_of_auto_can_be_reached(frauds: int, legitimate: int) -> None:
    label = np.repeat([1, 0], [frauds, legitimate]).astype(np.int8)
    matrix = np.arange(len(label), dtype=float)[:, None]

    tried = ratios(frauds / legitimate)

    assert tried[0] == 0
    assert len(set(tried)) == len(tried)
    for ratio in tried:
        smote(matrix, label, ratio=ratio, seed=0)


def test_ratios_part_the_way_from_natural_to_balanced_evenly() -> None:
    assert ratios(0.001) == (0.0, 0.01, 0.1)


@pytest.mark.parametrize(
    ("natural", "weights"), [(0.01, (1.0, 100.0)), (1.0, (1.0,)), (1e-5, (1.0, 1000.0))]
)
def test_balanced_is_as_many_as_there_are_legitimate_rows_for_a_fraud(
    natural: float, weights: tuple[float, ...]
) -> None:
    space = parsed("[sampling]\nfraud_weight = [1, 'balanced']\n[random-forest]")

    assert bound(space, natural=natural).fraud_weight.values == weights


def test_a_ratio_that_the_data_have_already_is_refused() -> None:
    space = parsed("[sampling]\nsmote = [0, 0.02, 0.5]\n[random-forest]")

    with pytest.raises(UsageError, match=r"mine.toml: .*smote: 0.02 is not .*pay.csv, 0.02345;"):
        bound(space, natural=0.02345)
    assert bound(space, natural=0.0199).smote == (0.0, 0.02, 0.5)


def test_too_few_frauds_for_the_neighbours_are_refused_unless_there_is_no_smote() -> None:
    space = parsed("[sampling]\nsmote = [0, 0.5]\nneighbours = [3, 7]\n[random-forest]")

    with pytest.raises(DataRefused, match=r"pay.csv: a fold has only 7 frauds .* more than 7"):
        bound(space, fewest_frauds=7)
    assert bound(space, fewest_frauds=8).neighbours.values == (3, 7)
    assert bound(parsed("[sampling]\nsmote = 0\n[random-forest]"), fewest_frauds=2).smote == (0,)


def test_features_that_a_spec_does_not_derive_are_not_left_out() -> None:
    space = parsed("[sampling]\nderived = [true, false]\n[random-forest]")

    assert bound(space).trials == 2 * 3
    assert bound(space, derives=False).trials == 3


SPANS = st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)).filter(lambda ends: ends[0] < ends[1])


@given(ends=SPANS, log=st.booleans(), value=st.floats(-1e4, 1e4), seed=st.integers(0, 99))
def test_what_a_range_gives_lies_in_it(
    ends: tuple[float, float], log: bool, value: float, seed: int
) -> None:
    any_number = Range(*ends, log=log, points=5)
    low, high = int(ends[0]) + 1, int(ends[1]) + 2
    whole = Range(low, high, whole=True, log=log, points=5)

    for span in (any_number, whole):
        steps = list(span.grid())
        assert steps == sorted(set(steps))
        assert (steps[0], steps[-1]) == (span.low, span.high)
        assert all(n in span for n in [*steps, span.nearest(value)])
        assert span.draw(np.random.default_rng(seed)) in span


def test_a_whole_range_is_drawn_evenly_to_its_ends() -> None:
    rng = np.random.default_rng(0)

    drawn = [Range(1, 4, whole=True).draw(rng) for _ in range(4_000)]

    assert all(900 < drawn.count(n) < 1_100 for n in (1, 2, 3, 4))


def test_the_documentation_names_every_parameter_and_its_example_can_be_read() -> None:
    text = (Path(__file__).parents[2] / "docs/search-space.md").read_text("utf-8")
    example = text.split("```toml\n")[1].split("```")[0]

    assert list(parsed(example).families) == list(FAMILIES)
    for name, model in FAMILIES.items():
        assert f"| `{name}` | {', '.join(f'`{p}`' for p in model.defaults)} |" in text
