"""What the sweep benchmark compares is equal: its peers judge a configuration as a sweep does."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from training.recipe import Recipe
from training.threshold import DEFAULT_POLICY, Policy
from tuning.bound import Point
from tuning.objective import METRIC, prepare
from tuning.worker import Bench, judged

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "results" / "sweep.md"
NAMES = ("bench_sweep", "sweep_case", "sweep_peers", "sweep_speed")


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, Any]]:
    """The benchmarks' modules; they are scripts and find each other beside themselves."""
    folder = str(ROOT / "benchmarks")
    sys.path.insert(0, folder)
    yield {name: import_module(name) for name in NAMES}
    sys.path.remove(folder)


@pytest.fixture(scope="module")
def case(scripts: dict[str, Any]) -> Any:
    return scripts["sweep_case"].Case.of(8_000)


@pytest.fixture(scope="module")
def bench(case: Any) -> Bench:
    made = {
        derived: prepare(case.dataset, case.parts, case.report, len(case.cuts), derived=derived)
        for derived in (True, False)
    }
    return Bench(lambda derived: made[derived])


def _point(family: str, counts: tuple[int, ...] = (), **settings: Any) -> Point:
    """A configuration for each count of trees."""
    params = [{"n_estimators": count} for count in counts] or [{}]
    return tuple(Recipe(family, own, seed=3, **settings) for own in params)


@pytest.mark.parametrize(
    "point",
    [
        _point("logistic-regression"),
        _point("logistic-regression", smote=0.2, neighbours=3),
        _point("logistic-regression", derived=False),
        _point("random-forest", (5, 12), smote=0.1),
        _point("random-forest", (12,)),
        _point("xgboost", (4, 20), smote=0.1),
        _point("xgboost", (20,)),
    ],
    ids=lambda point: point[0].label,
)
def test_the_peers_pipeline_scores_as_a_sweep_does(
    point: Point, case: Any, bench: Bench, scripts: dict[str, Any]
) -> None:
    policy = Policy.parse(DEFAULT_POLICY)
    _, trials = judged(bench, point, policy, METRIC, 9)
    ours = {trial["key"]: trial["metrics"][METRIC] for trial in trials}

    for recipe in point:
        theirs = scripts["sweep_peers"].cross_validated(case, recipe)
        assert ours[recipe.key] == pytest.approx(theirs, abs=1e-9)


def test_the_grid_has_configurations_enough_and_an_axis_that_shares_fits(case: Any) -> None:
    forests = [recipe for recipe in case.recipes if recipe.family == "random-forest"]

    assert len(case.recipes) >= 48
    assert len({recipe.params["n_estimators"] for recipe in forests}) == 4
    assert len({recipe.key for recipe in case.recipes}) == len(case.recipes)


def test_differences_are_told_by_family_and_never_of_half_a_pair(
    scripts: dict[str, Any],
) -> None:
    first, second = _point("xgboost", (4, 20))
    speed = scripts["sweep_speed"]

    apart = speed.differences(
        {first.key: 0.5, second.key: 0.25}, {first.key: 0.5, second.key: 0.75}, [first, second]
    )

    assert apart == {"xgboost": 0.5}
    with pytest.raises(import_module("page").Broken, match="was not judged by both"):
        speed.differences({first.key: 0.5}, {first.key: 0.5, second.key: 0.75}, [first, second])


def test_the_page_has_a_place_for_every_part_and_names_commands_that_are_there(
    scripts: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        scripts["bench_sweep"].main(["--help"])
    usage = capsys.readouterr().out
    text = PAGE.read_text("utf-8")

    assert ended.value.code == 0
    parts = re.search(r"--part \{([a-z,]+)\}", usage)
    assert parts is not None
    for name in parts[1].split(","):
        text = import_module("page").with_block(text, name, "figures")
    assert "\nbench-sweep:" in (ROOT / "Makefile").read_text("utf-8")
