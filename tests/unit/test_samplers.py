"""Samplers stay in their space, repeat nothing, and go on after a replay as if they had asked."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.errors import UsageError
from training.fit import Recipe
from training.models import FAMILIES
from tuning.axis import Range, Values
from tuning.bound import BoundSpace, Point
from tuning.samplers import ALGORITHMS, Sampler, sampler
from tuning.space import Space
from tuning.tpe import STARTUP

Score = Callable[[Point], float | None]
History = list[tuple[Point, float | None]]


def space(content: dict[str, object] | None = None, natural: float = 0.01) -> BoundSpace:
    written = Space.load() if content is None else Space.from_dict(content)
    return written.bind(natural=natural, fewest_frauds=50, data="pay.csv")


SMALL = space(
    {
        "sampling": {"smote": [0, 0.1], "neighbours": [3, 5], "derived": [True, False]},
        "logistic-regression": {"C": [0.1, 1]},
        "random-forest": {
            "n_estimators": [10, 20],
            "max_depth": {"low": 2, "high": 3, "points": 2},
        },
    }
)
"""Lists and whole ranges only: 12 linear points and 12 forests of 2 recipes each, 36 in all."""


def shallow_boosters(point: Point) -> float:
    """Highest for boosters of depth 4 without resampling."""
    depth, rate = (point[0].params.get(name, 0.0) for name in ("max_depth", "learning_rate"))
    good = point[0].family == "xgboost"
    return good - 0.1 * abs(depth - 4) - abs(math.log10(rate or 1e-3) + 1) - point[0].smote


def asked(source: Sampler, score: Score = shallow_boosters, most: int = 10_000) -> History:
    """Ask and tell by turns until there is no more."""
    history: History = []
    while len(history) < most and (point := source.ask()):
        history.append((point, score(point)))
        source.tell(*history[-1])
    return history


def keys(history: History) -> list[str]:
    return [recipe.key for point, _ in history for recipe in point]


def holds(there: BoundSpace, recipe: Recipe) -> bool:
    shared = (
        (there.neighbours, recipe.neighbours if recipe.smote else there.neighbours.values[0]),
        (there.fraud_weight, recipe.fraud_weight),
        (there.derived, recipe.derived),
    )
    axes = there.families[recipe.family]
    return (
        recipe.smote in there.smote
        and all(value in axis for axis, value in shared)
        and set(axes) == set(recipe.params)
        and all(recipe.params[name] in axis for name, axis in axes.items())
    )


@settings(max_examples=15)
@given(
    algorithm=st.sampled_from(["random", "tpe"]),
    trials=st.integers(1, 60),
    seed=st.integers(0, 2**32),
    natural=st.floats(1e-4, 0.5),
)
def test_draws_lie_in_the_space_differ_and_come_again(
    algorithm: str, trials: int, seed: int, natural: float
) -> None:
    there = space(natural=natural)

    def drawn() -> History:
        return asked(sampler(algorithm, there, trials=trials, seed=seed, policy="recall>=0.9"))

    history = drawn()

    assert len(set(keys(history))) == len(keys(history)) == trials
    assert history == drawn()
    for point, _ in history:
        for recipe in point:
            assert holds(there, recipe)
            assert (recipe.seed, recipe.policy) == (seed, "recall>=0.9")
            assert Recipe(**vars(recipe)).key == recipe.key


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_recipes_of_a_point_differ_in_nothing_but_an_ascending_count(algorithm: str) -> None:
    there = SMALL if algorithm == "grid" else space()
    history = asked(sampler(algorithm, there, trials=40))

    for point, _ in history[:-1]:
        listed = there.families[point[0].family].get("n_estimators", Values(()))
        counts = [r.params["n_estimators"] for r in point if "n_estimators" in r.params]
        assert counts == list(listed.grid())
        assert len({(r.family, r.smote, r.fraud_weight, r.derived) for r in point}) == 1
        rest = [{**r.params, "n_estimators": 0} for r in point]
        assert rest == rest[:1] * len(point)


def test_a_range_of_counts_is_drawn_like_any_other() -> None:
    there = space({"xgboost": {"n_estimators": {"low": 50, "high": 400}}})

    history = asked(sampler("random", there, trials=20))

    assert [len(point) for point, _ in history] == [1] * 20
    assert len({point[0].params["n_estimators"] for point, _ in history}) > 10


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_small_space_is_used_up_and_nothing_is_tried_under_two_names(algorithm: str) -> None:
    source = sampler(algorithm, SMALL, trials=1_000)
    history = asked(source)

    assert source.total == SMALL.trials == len(set(keys(history))) == len(keys(history)) == 36
    assert source.ask() is None
    plain = [point[0] for point, _ in history if not point[0].smote]
    assert {recipe.neighbours for recipe in plain} == {Recipe("xgboost").neighbours}


def test_a_narrow_range_ends_too() -> None:
    there = space({"sampling": {"smote": 0}, "xgboost": {"subsample": {"low": 0.8, "high": 0.801}}})

    assert keys(asked(sampler("random", there, trials=50))) != []
    assert len(asked(sampler("random", there, trials=50))) < 5


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("trials", [1, 4, 17])
def test_as_many_recipes_as_asked_for_are_tried(algorithm: str, trials: int) -> None:
    source = sampler(algorithm, SMALL, trials=trials)

    assert len(keys(asked(source))) == source.total == trials


def test_without_a_number_of_trials_the_total_is_that_of_the_space() -> None:
    assert sampler("grid", SMALL).total == sampler("random", SMALL).total == 36
    assert sampler("random", space()).total is None


def test_random_families_take_turns_from_their_defaults_and_go_through_the_ratios() -> None:
    there = space()
    points = [point for point, _ in asked(sampler("random", there, seed=1), most=9)]

    assert [p[0].family for p in points] == [*FAMILIES] * 3
    assert [p[0].smote for p in points] == [r for r in there.smote for _ in FAMILIES]
    for point in points[: len(FAMILIES)]:
        usual = FAMILIES[point[0].family].defaults
        assert usual in [{**usual, **recipe.params} for recipe in point]
        assert all(Recipe(r.family, r.params, seed=1) == r for r in point)


def test_a_family_draws_the_same_without_the_others() -> None:
    alone = Space.load().narrowed(["xgboost"])
    there = alone.bind(natural=0.01, fewest_frauds=50, data="pay.csv")

    mine = [p for p, _ in asked(sampler("random", there), most=5)]

    together = asked(sampler("random", space()), most=15)
    assert mine == [p for p, _ in together if p[0].family == "xgboost"]


def test_random_and_grid_owe_nothing_to_scores() -> None:
    for algorithm in ("random", "grid"):
        one, other = (sampler(algorithm, SMALL, seed=3) for _ in range(2))
        assert keys(asked(one, lambda _: 1.0)) == keys(asked(other, lambda _: None))


def test_a_grid_tries_simple_families_first_and_counts_listed_by_points_share_a_fit() -> None:
    there = space(
        {
            "sampling": {"smote": 0},
            "xgboost": {"n_estimators": {"low": 100, "high": 300, "points": 3}},
            "logistic-regression": {"C": {"low": 0.1, "high": 10, "log": True, "points": 3}},
        }
    )

    points = [point for point, _ in asked(sampler("grid", there))]

    assert [p[0].params["C"] for p in points[:-1]] == [0.1, 1, 10]
    assert [r.params["n_estimators"] for r in points[-1]] == [100, 200, 300]


@pytest.mark.parametrize("algorithm", ["random", "grid"])
@given(known=st.integers(0, 24), told=st.booleans())
def test_after_a_replay_the_rest_of_the_series_comes(
    algorithm: str, known: int, told: bool
) -> None:
    history = asked(sampler(algorithm, SMALL, trials=30, seed=5))
    later = sampler(algorithm, SMALL, trials=30, seed=5)

    later.replay([(point, score if told else None) for point, score in history[:known]])

    assert later.total == 30
    assert [p for p, _ in asked(later)] == [p for p, _ in history[known:]]


def test_more_trials_than_before_complete_the_point_that_was_cut() -> None:
    before = asked(sampler("random", SMALL, trials=8))
    assert len(before[-1][0]) == 1  # a forest of 10 trees, the one of 20 left out

    later = sampler("random", SMALL, trials=30)
    later.replay(before)

    assert len(set(keys(before)) | set(keys(asked(later)))) == 30


def test_tpe_begins_as_random_search_does_until_enough_is_told() -> None:
    tpe, random = (sampler(name, space(), trials=100, seed=2) for name in ("tpe", "random"))

    ahead = [tpe.ask() for _ in range(STARTUP + 2)]  # none told yet

    assert ahead == [random.ask() for _ in range(STARTUP + 2)]


def test_tpe_searches_the_better_half_more_often_than_random() -> None:
    def good(algorithm: str, seed: int) -> int:
        history = asked(sampler(algorithm, space(), seed=seed), most=60)
        return sum(shallow_boosters(point) > 0.5 for point, _ in history)

    for seed in range(3):
        assert good("tpe", seed) > 1.5 * good("random", seed)


def test_tpe_knows_what_was_told_to_it_in_an_earlier_life() -> None:
    history = asked(sampler("random", space(), seed=1), most=40)
    knowing, ignorant = (sampler("tpe", space(), seed=1) for _ in range(2))
    knowing.replay(history)
    ignorant.replay([(point, None) for point, _ in history])

    scores = [
        [shallow_boosters(point) for point in [source.ask() for _ in range(12)] if point]
        for source in (knowing, ignorant)
    ]

    assert sum(scores[0]) > sum(scores[1]) + 3


def test_tpe_goes_on_after_a_replay_without_repeating() -> None:
    history = asked(sampler("tpe", space(), trials=90, seed=4))
    later = sampler("tpe", space(), trials=90, seed=4)
    later.replay(history[:20])

    rest = asked(later)

    assert len(set(keys(history[:20] + rest))) == 90


def test_tpe_is_told_of_points_it_did_not_draw_and_of_those_still_out_at_a_replay() -> None:
    points = [point for point, _ in asked(sampler("random", space()), most=14)]
    source = sampler("tpe", space())
    source.replay([(point, None) for point in points[:7]])

    for number, point in enumerate(points):
        source.tell(point, float(number))
        source.tell(point, -1.0)  # told twice, which changes nothing

    assert not {r.key for p in points for r in p} & set(keys(asked(source, most=10)))


@pytest.mark.parametrize("worth", [None, math.nan, -math.inf])
def test_tpe_keeps_away_from_what_fails(worth: float | None) -> None:
    def score(point: Point) -> float | None:
        return worth if point[0].family == "xgboost" else 0.5

    late = asked(sampler("tpe", space(), seed=0), score, most=50)[STARTUP:]

    assert sum(point[0].family == "xgboost" for point, _ in late) < len(late) / 4


def test_many_points_of_tpe_may_be_out_at_once() -> None:
    source = sampler("tpe", space(), seed=0)
    asked(source, most=15)

    out = [point for _ in range(8) if (point := source.ask())]

    assert len({point[0].key for point in out}) == 8


def test_tpe_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    asked(sampler("tpe", space()), most=15)

    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("algorithm", "trials", "message"),
    [
        ("bayes", 5, "no search algorithm 'bayes'; there are random, grid, tpe"),
        ("random", 0, "--trials must be 1 or more, it is 0"),
        ("grid", -3, "--trials must be 1 or more, it is -3"),
        ("tpe", 0, "--trials must be 1 or more"),
        (
            "grid",
            5,
            "the space default: logistic-regression.C: a grid takes a list, or a range that",
        ),
    ],
)
def test_what_cannot_be_sampled_is_refused(algorithm: str, trials: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        sampler(algorithm, SMALL if trials < 1 else space(), trials=trials)


def test_every_range_of_the_default_space_is_drawn_to_both_halves() -> None:
    history = asked(sampler("random", space()), most=150)

    for family, axes in space().families.items():
        for name, axis in axes.items():
            if isinstance(axis, Range):
                drawn = [p[0].params[name] for p, _ in history if p[0].family == family]
                ends = (axis.low, axis.high)
                middle = math.sqrt(math.prod(ends)) if axis.log else sum(ends) / 2
                assert 0.25 < sum(value < middle for value in drawn) / len(drawn) < 0.75, name
