"""The report of a sweep says what became of its trials, whatever that was."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import cycle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.fit import Recipe
from training.models import FAMILIES
from tuning.report import SweepFacts, html, leaderboard, pictures
from tuning.report.importance import importances
from tuning.report.numbers import duration
from tuning.report.scale import Scale, focus
from tuning.report.standings import Standings
from tuning.trials import Trial

BEGAN = 1_790_000_000.0
FACTS = SweepFacts(
    name="payments-1", source="payments.csv", fingerprint="0123456789abcdef", spec="payments",
    split="by time", rows=30_123, frauds=402, folds=3, natural=402 / 29_721, algorithm="random",
    scheduler="asha", families=tuple(FAMILIES), metric="pr_auc", policy="max-f1", seed=7,
    began=BEGAN, state="done", ended=BEGAN + 700, nodes=("10.0.0.1",), currency="EUR",
    command="fraudray tune payments.csv --seed 7", packages={"ray": "2.60.0"},
)  # fmt: skip
CURVE = {
    "threshold": [0.9, 0.5, 0.2, 0.01],
    "precision": [0.0, 0.8, 0.4, 0.013],
    "recall": [0.0, 0.5, 0.8, 1.0],
    "alerts_per_10000": [0.0, 80.0, 260.0, 10_000.0],
    "cost_per_10000": [9_000.0, 4_000.0, 3_000.0, 49_000.0],
}


def scored(*by_fold: float, cost: float = 3_000.0) -> dict[str, float]:
    return {
        "pr_auc": float(np.mean(by_fold)), "pr_auc_std": float(np.std(by_fold)),
        **{f"pr_auc_fold_{i}": score for i, score in enumerate(by_fold, 1)},
        "roc_auc": 0.9, "threshold": 0.5, "precision": 0.8, "recall": 0.5, "f1": 0.615,
        "cost_per_10000": cost, "alerts_per_10000": 80.0,
    }  # fmt: skip


def trial(number: int, *by_fold: float, recipe: Recipe | None = None, **given: Any) -> Trial:
    """Finished, unless told otherwise."""
    made = recipe or Recipe("logistic-regression", {"C": float(number)})
    began = {"status": "done", "metrics": scored(*by_fold) if by_fold else {}, "seconds": 2.0,
             "node": "10.0.0.1", "began": BEGAN + number, "ended": BEGAN + number + 2,
             "curve": CURVE if by_fold else {}}  # fmt: skip
    return Trial(number, made, **{**began, **given})


def failed(number: int, why: str) -> Trial:
    return trial(number, status="failed", failure=why)


def many(count: int, score: Callable[[Recipe, np.random.Generator], float]) -> list[Trial]:
    """Finished trials of every family; forests and boosters three to a fit."""
    rng, trials = np.random.default_rng(0), list[Trial]()
    for name in cycle(FAMILIES):
        if len(trials) >= count:
            break
        shared = {"smote": float(rng.choice([0.0, 0.1, 0.3])), "derived": bool(rng.random() < 0.5)}
        if name == "logistic-regression":
            recipes = [Recipe(name, {"C": float(10 ** rng.uniform(-3, 2))}, **shared)]
        else:
            depth = int(rng.integers(3, 21))
            recipes = [
                Recipe(name, {"max_depth": depth, "n_estimators": n}, **shared, fraud_weight=weight)
                for weight in [float(rng.choice([1, 10]))]
                for n in (100, 200, 300)
            ]
        for recipe in recipes:
            value = float(np.clip(score(recipe, rng), 0, 1))
            spread = np.clip(value + np.array([-0.02, 0.0, 0.02]), 0, 1)
            trials.append(trial(len(trials) + 1, *spread, recipe=recipe))
    return trials[:count]


class Page(HTMLParser):
    """The text, the tags and the pictures of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self.pictures: list[dict[str, str | None]] = []
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "img":
            self.pictures.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def page(trials: list[Trial], **given: Any) -> Page:
    facts = replace(FACTS, **given)
    if "winner" not in given and (best := Standings.of(facts, trials).winner):
        facts = replace(facts, winner=best.key)
    return Page(html(facts, trials))


# Standings


def test_the_best_come_first_whichever_way_is_better() -> None:
    cheap = replace(trial(1, 0.5), metrics=scored(0.5, cost=10.0))
    exact = replace(trial(2, 0.9), metrics=scored(0.9, cost=99.0))
    lost = trial(3, math.nan)

    by_area = Standings.of(FACTS, [cheap, lost, exact])
    by_cost = Standings.of(replace(FACTS, metric="cost_per_10000"), [exact, cheap])

    assert [t.number for t in by_area.done] == [2, 1]
    assert [t.number for t in by_cost.done] == [1, 2]


def test_the_one_that_was_chosen_wins_over_the_first_of_the_list() -> None:
    trials = [trial(1, 0.5), trial(2, 0.5), trial(3, 0.4)]

    assert Standings.of(FACTS, trials).winner == trials[0]
    assert Standings.of(replace(FACTS, winner=trials[1].key), trials).winner == trials[1]


def test_within_a_standard_error_trials_cannot_be_told_apart() -> None:
    # Standard deviation 0.03 over three folds: a standard error of 0.0173.
    best = trial(1, 0.77, 0.80, 0.83)
    near, far = trial(2, 0.783, 0.783, 0.783), trial(3, 0.782, 0.782, 0.782)

    standings = Standings.of(FACTS, [best, near, far])

    assert standings.standard_error == pytest.approx(0.03 / math.sqrt(3))
    assert standings.alike == (near,)
    told = page([best, near, far]).text
    assert (
        "1 other trial of 2 comes within that and cannot be told apart from the winner: 2." in told
    )


def test_what_is_measured_once_has_no_standard_error() -> None:
    told = page([trial(1, 0.7, 0.8), trial(2, 0.6, 0.7)], metric="f1").text

    assert Standings.of(replace(FACTS, metric="f1"), [trial(1, 0.7, 0.8)]).alike is None
    assert "it is not known how far it would vary" in told


def test_numbers_in_a_reason_make_no_new_reason() -> None:
    trials = [failed(1, "used 9 GB"), failed(2, "lost"), failed(3, "used 12 GB at 0xfe")]
    trials.append(failed(4, "used 7 GB at 0x1"))

    assert [(why, len(same)) for why, same in Standings.of(FACTS, trials).reasons] == [
        ("used 12 GB at 0xfe", 2), ("used 9 GB", 1), ("lost", 1),
    ]  # fmt: skip


# The leaderboard


def test_the_leaderboard_holds_every_trial_once_the_best_on_top() -> None:
    boosted = Recipe("xgboost", {"max_depth": 4}, smote=0.1)
    trials = [failed(1, "lost"), trial(2, 0.4), trial(3, 0.6, recipe=boosted),
              trial(4, 0.9, status="pruned")]  # fmt: skip

    frame = leaderboard(trials)

    assert frame["number"].tolist() == [3, 2, 4, 1]
    assert frame["key"].tolist() == [trials[i].key for i in (2, 1, 3, 0)]
    assert frame.loc[0, "params.max_depth"] == 4
    assert frame.loc[0, "params.learning_rate"] == 0.1  # a default is a choice as well
    assert math.isnan(frame.loc[1, "params.max_depth"])  # type: ignore[arg-type]
    assert frame.loc[3, "failure"] == "lost"
    assert leaderboard(trials, "cost_per_10000")["number"].tolist()[-1] == 1


@pytest.mark.parametrize("trials", [[], [failed(1, "lost")], [trial(1, status="waiting")]])
def test_a_leaderboard_without_a_score_has_its_columns(trials: list[Trial]) -> None:
    frame = leaderboard(trials)

    assert len(frame) == len(trials)
    assert {"number", "key", "status", "family", "pr_auc", "failure"} <= set(frame)
    assert frame["pr_auc"].isna().all()


# Scales

VALUES = st.lists(
    st.one_of(st.just(0.0), st.floats(1e-6, 1e6), st.integers(1, 300).map(float)), min_size=1
)


@given(VALUES)
def test_every_value_has_a_place_in_order_and_ticks_lie_on_the_line(values: list[float]) -> None:
    scale = Scale.of("C", values)
    places = scale.place(sorted(values))
    ticks = scale.ticks()

    assert np.all((places >= 0) & (places <= 1))
    assert np.all(np.diff(places) >= 0)
    assert np.isnan(scale.place([math.nan])).all()
    assert all(0 <= place <= 1 for place, _ in ticks)
    assert [place for place, _ in ticks] == sorted(place for place, _ in ticks)
    if scale.varies:
        assert len({place for place, _ in ticks}) == len(ticks) >= 2


def test_the_scale_follows_the_values() -> None:
    tenfold = np.geomspace(0.01, 10, 20)

    assert Scale.of("C", tenfold).kind == "log"
    assert Scale.of("C", tenfold).place([0.01, math.sqrt(0.1), 10]) == pytest.approx([0, 0.5, 1])
    assert Scale.of("max_depth", np.arange(6.0, 21)).kind == "linear"
    assert Scale.of("smote", [0.0, *tenfold]).ticks()[0] == (0.0, "none")
    assert Scale.of("derived", [1.0, 0.0]).ticks() == [(0.0, "no"), (1.0, "yes")]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.booleans())
def test_the_best_is_always_in_focus(scores: list[float], higher: bool) -> None:
    low, high = focus(scores, higher_is_better=higher)

    assert low < high
    assert low <= (max(scores) if higher else min(scores)) <= high


def test_hopeless_trials_do_not_squeeze_the_others() -> None:
    assert focus([0.01, 0.78, 0.79, 0.8, 0.81], higher_is_better=True)[0] > 0.7
    assert focus([1e6, 50.0, 40.0, 30.0], higher_is_better=False)[1] < 100


# Importance


def test_the_parameter_that_decides_is_found_and_the_others_are_not() -> None:
    def score(recipe: Recipe, rng: np.random.Generator) -> float:
        depth = recipe.params.get("max_depth", 0.0)
        return {"logistic-regression": 0.2, "random-forest": 0.4, "xgboost": 0.7}[recipe.family] + (
            0.01 * depth + rng.normal(0, 0.003)
        )

    found = {one.about: one for one in importances(Standings.of(FACTS, many(280, score)))}

    assert list(found) == ["all families", *FAMILIES]
    assert found["all families"].telling[0] == "family"
    assert found["xgboost"].telling == ("max_depth",)
    assert found["logistic-regression"].silence  # nothing that it chose decides anything
    assert "C" not in found["logistic-regression"].shares


def test_noise_makes_nothing_important_though_trials_of_one_fit_are_alike() -> None:
    """Three trials of a fit share its luck, which no parameter has earned."""
    luck: dict[Any, float] = {}

    def score(recipe: Recipe, rng: np.random.Generator) -> float:
        fit = (recipe.family, recipe.params.get("max_depth"), recipe.params.get("C"), recipe.smote,
               recipe.derived, recipe.fraud_weight)  # fmt: skip
        return 0.5 + luck.setdefault(fit, rng.normal(0, 0.1))

    found = importances(Standings.of(FACTS, many(280, score)))

    assert not any(one.telling for one in found)
    assert sum(bool(one.silence) for one in found) >= 3


@pytest.mark.parametrize(
    ("trials", "why"),
    [
        (many(12, lambda _, rng: float(rng.random())), "too few to say"),
        ([trial(n, 0.5, 0.5) for n in range(1, 60)], "all trials score the same"),
        ([trial(1, 0.5, 0.6)], "no parameter was varied"),
    ],
)
def test_where_nothing_can_be_said_the_page_says_why(trials: list[Trial], why: str) -> None:
    found = page(trials)

    assert why in found.text
    assert not any("how much each parameter counts" in (p["alt"] or "") for p in found.pictures)


# The page


def test_the_page_says_what_was_searched_and_what_won() -> None:
    boosted = Recipe("xgboost", {"max_depth": 4, "learning_rate": 0.05}, smote=0.1, neighbours=7)
    trials = [
        trial(1, 0.50, 0.52, 0.54), trial(2, 0.78, 0.80, 0.85, recipe=boosted),
        trial(3, 0.6, status="pruned"), failed(4, "ran out of memory"),
    ]  # fmt: skip

    found = page(
        trials, outcome="It is version 3 and the champion.", planned=6, settings={"A": "b"}
    )

    for wanted in (
        "Sweep payments-1", "A random search over logistic-regression, random-forest and xgboost",
        "payments.csv: 30,123 training rows with 402 frauds, in 3 folds, judged by PR-AUC",
        "It ran to its end in 11 min 40 s on 1 node, with 4 trials of 6 planned "
        "(2 finished, 1 pruned, 1 failed)",
        "The winner is trial 2: xgboost, SMOTE 0.1", "max_depth 4", "learning_rate 0.05",
        "It is version 3 and the champion.", "0.7800, 0.8000, 0.8500: a mean of 0.8100",
        "No other trial comes within that of it.", "0.780 to 0.850 over 3 folds",
        "Threshold 0.5 by max-f1", "Alerts per 10,000 80.0", "Cost per 10,000 3,000 EUR",
        "0.8100 ± 0.036", "1 of 3 folds", "ran out of memory", "fingerprint 0123456789abcdef",
        "seed 7", "fraudray tune payments.csv --seed 7", "ray 2.60.0", "A b",
    ):  # fmt: skip
        assert wanted in found.text, wanted
    assert "sweeps resume" not in found.text  # it is done
    assert len(found.pictures) == 3  # progress, curves, threshold: no two of a family differ
    assert "script" not in found.tags


def test_of_very_many_the_page_shows_the_best_and_counts_the_others() -> None:
    trials = [trial(n, 0.5 + n / 1000, 0.5 + n / 1000) for n in range(1, 71)]

    found = page(trials)

    keys = [t.key for t in trials if t.key in found.text]
    assert keys == [t.key for t in trials[20:]]
    assert "The best 50 of 70 finished trials; the other 20 are in" in found.text
    assert "Places 13 to 50" in found.text


@pytest.mark.parametrize(
    ("trials", "given", "wanted", "shown"),
    [
        ([], {"state": "running", "ended": 0.0}, "It is still running, with 0 trials", 0),
        ([trial(1, 0.5, 0.6)], {}, "There is no other finished trial to compare it with", 3),
        ([trial(1, 0.5, 0.6)], {"winner": None, "state": "running"}, "The best so far is", 3),
        ([failed(1, "lost"), failed(2, "lost")], {"state": "failed"}, "so there is no winner", 0),
        ([trial(1, status="pruned")], {"state": "stopped"}, "before its first score", 0),
        ([trial(1, 0.5, 0.5), trial(2, 0.5, 0.5)], {}, "cannot be told apart", 4),
        ([trial(1, 0.5, 0.6, curve={})], {}, "The winner is trial 1", 1),
        ([trial(1, 0.9, 0.9), trial(2, 1e-9, 1e-9)], {}, "The winner is trial 1", 4),
        ([replace(trial(n, 0.5, 0.6), metrics=scored(0.5, cost=10.0**n)) for n in range(1, 9)],
         {"metric": "cost_per_10000"}, "Cost per 10,000 (EUR) (lower is better)", 4),
        ([trial(1, 0.5, 0.6)], {"policy": "recall>=0.9"}, "No threshold of it meets the policy", 3),
    ],
)  # fmt: skip
def test_every_state_of_a_sweep_has_a_page(
    trials: list[Trial], given: dict[str, Any], wanted: str, shown: int
) -> None:
    found = page(trials, **given)

    assert wanted in found.text
    assert len(found.pictures) == shown
    assert all(len(p["alt"] or "") > 20 for p in found.pictures)
    assert "How it was made" in found.text


def test_a_sweep_that_was_killed_is_not_said_to_run() -> None:
    found = page([trial(58, 0.5, 0.6)], state="stopped", ended=0.0)

    assert "It was stopped after 1 min on 1 node, before its end" in found.text
    assert "fraudray sweeps resume payments-1 goes on where it ended" in found.text


def test_nothing_that_was_named_can_act_in_the_page() -> None:
    evil = "<script>alert(1)</script>$\\frac$\x1b[31m</td>"
    trials = [failed(1, evil), trial(2, 0.5, 0.6, node=evil), trial(3, 0.5, 0.4)]

    text = html(
        replace(
            FACTS, name=evil, source=evil, fingerprint=evil, spec=evil, split=evil, nodes=(evil,),
            outcome=evil, space=evil, command=evil, currency=evil, settings={evil: evil},
            packages={evil: evil}, state="stopped", metric="cost_per_10000",
        ),
        trials,
    )  # fmt: skip

    found = Page(text)
    assert "script" not in found.tags
    assert found.text.count("<script>alert(1)</script>") > 10
    assert all(c.isprintable() or c == "\n" for c in text)
    assert "default-src 'none'" in text
    sources = [p["src"] or "" for p in found.pictures]
    assert sources
    assert all(src.startswith("data:image/svg+xml;base64,") for src in sources)


def test_the_same_trials_make_the_same_page() -> None:
    trials = many(40, lambda _, rng: float(rng.random()))

    assert html(FACTS, trials) == html(FACTS, list(reversed(trials)))


# The pictures of the run


def test_the_runs_pictures_are_drawn_and_show_the_numbers() -> None:
    trials = [trial(1, 0.5, 0.5), trial(2, 0.4, 0.4), trial(3, 0.7, 0.7), failed(4, "lost"),
              trial(5, 0.6, status="pruned")]  # fmt: skip

    drawn = pictures(replace(FACTS, winner=trials[2].key), trials)

    assert list(drawn) == ["progress", "parallel_coordinates"]
    for figure in drawn.values():
        figure.savefig(io.BytesIO(), format="png")
    axes = drawn["progress"].axes[0]
    best = next(line for line in axes.lines if line.get_label() == "best so far")
    assert list(best.get_ydata()) == [0.5, 0.7, 0.7]  # type: ignore[call-overload]
    assert {h.get_label() for h in drawn["progress"].legends[0].legend_handles if h} == {
        "logistic-regression", "pruned", "failed", "best so far", "winner",
    }  # fmt: skip
    lines = drawn["parallel_coordinates"].axes[0]
    assert lines.get_title(loc="left") == "logistic-regression: 3 finished"
    assert {"C", "PR-AUC", "winner"} <= {text.get_text() for text in lines.texts}


def test_a_picture_of_nothing_is_not_made() -> None:
    assert pictures(FACTS, [failed(1, "lost")]) == {}
    assert list(pictures(FACTS, [trial(1, 0.5, 0.5)])) == ["progress"]


@pytest.mark.slow
def test_two_thousand_trials_make_a_page_that_can_be_sent() -> None:
    text = html(FACTS, many(2_000, lambda _, rng: float(rng.random())))

    assert len(text) < 3_000_000
    assert len(re.findall("<img ", text)) >= 4


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0.0 s"), (59.4, "59.4 s"), (59.7, "1 min"), (61, "1 min 1 s"), (3_661, "1 h 1 min"),
     (90_000, "1 d 1 h")],
)  # fmt: skip
def test_times_are_told_in_two_units(seconds: float, told: str) -> None:
    assert duration(seconds) == told
