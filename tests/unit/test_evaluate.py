"""Metrics are what scikit-learn says; intervals cover; slices, days and weeks add up."""

from __future__ import annotations

import json
import time
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from training.data import Dataset
from training.evaluate import Metrics, Twins, baselines, evaluate
from training.evaluate.baseline import best_column
from training.evaluate.intervals import (
    average_precision,
    bootstrap,
    difference,
    share_interval,
    wilson,
)
from training.evaluate.slices import (
    FEWEST_FRAUDS,
    MISSING,
    MOST_VALUES,
    OTHER,
    _chance,
    slices,
)
from training.evaluate.windows import over_time, precision_at
from training.spec import DatasetSpec
from training.split import split
from training.threshold import Policy, missed_costs

ROWS = st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=2, max_size=50)


def rows_of(rows: list[tuple[int, float]]) -> tuple[Any, Any]:
    """Labels with both classes, and probabilities."""
    label = np.array([fraud for fraud, _ in rows], np.int8)
    label[:2] = [0, 1]
    return label, np.array([p for _, p in rows])


def dataset_of(spec: DatasetSpec, **columns: Any) -> Dataset:
    return Dataset(pd.DataFrame(columns), spec, "made", pd.DataFrame(columns=["line"]))


@given(rows=ROWS, threshold=st.floats(0, 1), missed=st.floats(0, 1e3), alarm=st.floats(0, 1e3))
def test_metrics_equal_those_of_scikit_learn(
    rows: list[tuple[int, float]], threshold: float, missed: float, alarm: float
) -> None:
    label, probability = rows_of(rows)
    alert = (probability >= threshold).astype(int)
    amounts = missed * np.arange(len(label))

    found = Metrics.of(label, probability, threshold, missed=amounts, alarm=alarm)

    tn, fp, fn, tp = reference.confusion_matrix(label, alert, labels=[0, 1]).ravel()
    assert (found.true_negatives, found.false_positives) == (tn, fp)
    assert (found.false_negatives, found.true_positives) == (fn, tp)
    assert (found.rows, found.frauds) == (len(label), label.sum())
    assert found.recall == pytest.approx(reference.recall_score(label, alert))
    assert found.precision == (
        pytest.approx(reference.precision_score(label, alert)) if alert.any() else None
    )
    assert found.f1 == pytest.approx(reference.f1_score(label, alert, zero_division=0))
    assert found.f2 == pytest.approx(reference.fbeta_score(label, alert, beta=2, zero_division=0))
    assert found.mcc == (
        pytest.approx(reference.matthews_corrcoef(label, alert)) if 0 < alert.mean() < 1 else None
    )
    assert found.accuracy == pytest.approx(reference.accuracy_score(label, alert))
    assert found.pr_auc == pytest.approx(reference.average_precision_score(label, probability))
    assert found.roc_auc == pytest.approx(reference.roc_auc_score(label, probability))
    assert found.brier == pytest.approx(np.mean((label - probability) ** 2))
    cost = sum(
        amount if fraud and not alerted else alarm if alerted and not fraud else 0
        for fraud, alerted, amount in zip(label, alert, amounts, strict=True)
    )
    assert found.cost == pytest.approx(cost)
    assert found.cost_per_10000 == pytest.approx(cost / len(label) * 10_000)
    assert found.alerts_per_10000 == pytest.approx(alert.mean() * 10_000)
    assert Metrics(**json.loads(json.dumps(found.to_dict(), allow_nan=False))) == found


@pytest.mark.parametrize(("fraud", "recall"), [(0, None), (1, 0.0)])
def test_what_has_nothing_to_divide_by_is_none(fraud: int, recall: float | None) -> None:
    found = Metrics.of(
        np.full(4, fraud, np.int8), np.full(4, 0.2), 0.5, missed=np.ones(4), alarm=1.0
    )

    assert (found.pr_auc, found.roc_auc, found.precision, found.recall, found.mcc) == (
        None, None, None, recall, None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("successes", "total", "expected"),
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    [(81, 263, (0.2553, 0.3662)), (15, 148, (0.0624, 0.1605)), (0, 20, (0.0, 0.1611)),
     (1, 29, (0.0061, 0.1718))],
)  # fmt: skip
def test_wilson_intervals_are_the_published_ones(
    successes: int, total: int, expected: tuple[float, float]
) -> None:
    assert wilson(successes, total) == pytest.approx(expected, abs=5e-5)
    other = wilson(total - successes, total)
    assert other is not None
    assert (1 - other[1], 1 - other[0]) == pytest.approx(expected, abs=5e-5)


def drawn(rng: np.random.Generator, rows: int) -> tuple[Any, Any, Any]:
    label = (rng.random(rows) < 0.06).astype(np.int8)
    score = 1 / (1 + np.exp(2.5 - rng.normal(size=rows) - 2 * label))
    return label, score.round(3), rng.exponential(50, rows)


def test_nineteen_of_twenty_intervals_hold_the_truth() -> None:
    rng = np.random.default_rng(5)
    label, score, missed = drawn(rng, 1_000_000)
    all_rows = Metrics.of(label, score, 0.4, missed=missed, alarm=5.0).to_dict()
    names = ("pr_auc", "precision", "recall", "f1", "cost_per_10000")
    inside = dict.fromkeys(names, 0)
    trials = 100

    for seed in range(trials):
        label, score, missed = drawn(rng, 1_500)
        found = bootstrap(label, score, 0.4, missed=missed, alarm=5.0, seed=seed, resamples=200)
        for name in names:
            ends, truth = found[name], all_rows[name]
            assert ends is not None
            assert truth is not None
            inside[name] += ends[0] <= truth <= ends[1]

    # 95 %, less what 100 trials can tell.
    assert all(0.88 * trials <= count for count in inside.values()), inside


def strong(rng: np.random.Generator, rows: int) -> tuple[Any, Any, Any]:
    """Scores that hardly ever put a legitimate payment above a fraud."""
    label = (rng.random(rows) < 0.01).astype(np.int8)
    score = 1 / (1 + np.exp(3.5 - rng.normal(size=rows) - 7 * label))
    return label, score, rng.exponential(50, rows)


def outranked(rng: np.random.Generator, rows: int) -> tuple[Any, Any, Any]:
    """As many legitimate payments above every fraud as two samples in three do not hold."""
    label = (rng.random(rows) < 0.01).astype(np.int8)
    score = np.where(rng.random(rows) < 0.4 / 2_000, 0.95, np.where(label == 1, 0.9, 0.1))
    return label, score, rng.exponential(50, rows)


@pytest.mark.parametrize("draw", [strong, outranked])
def test_intervals_hold_the_truth_where_rows_show_no_error(draw: Any) -> None:
    rng = np.random.default_rng(8)
    label, score, missed = draw(rng, 1_000_000)
    truth = Metrics.of(label, score, 0.5, missed=missed, alarm=5.0).to_dict()
    inside, perfect, trials = dict.fromkeys(("pr_auc", "cost_per_10000"), 0), 0, 100

    for seed in range(trials):
        label, score, missed = draw(rng, 2_000)
        found = bootstrap(label, score, 0.5, missed=missed, alarm=5.0, seed=seed, resamples=100)
        perfect += average_precision(label, score) == 1
        for name in inside:
            ends, value = found[name], truth[name]
            assert ends is not None
            assert value is not None
            assert ends[0] < ends[1]
            inside[name] += ends[0] <= value <= ends[1]

    assert perfect > 50  # what it is about
    assert all(0.93 * trials <= count for count in inside.values()), inside


def test_copies_of_rows_count_as_one_row() -> None:
    rng = np.random.default_rng(6)
    label, score, missed = drawn(rng, 1_000_000)
    truth = Metrics.of(label, score, 0.4, missed=missed, alarm=5.0).to_dict()
    inside = dict.fromkeys(("pr_auc", "precision", "recall", "f1", "cost_per_10000"), 0)
    blind, trials = 0, 100

    for seed in range(trials):
        label, score, missed = (np.repeat(x, 4) for x in drawn(rng, 1_000))
        groups = np.repeat(np.arange(1_000), 4)
        given: dict[str, Any] = {"missed": missed, "alarm": 5.0, "seed": seed, "resamples": 100}
        found = bootstrap(label, score, 0.4, groups=groups, **given)
        without = bootstrap(label, score, 0.4, **given)["recall"]
        assert without is not None
        blind += without[0] <= (truth["recall"] or 0) <= without[1]
        for name in inside:
            ends, value = found[name], truth[name]
            assert ends is not None
            assert value is not None
            inside[name] += ends[0] <= value <= ends[1]

    assert blind < 0.8 * trials
    assert all(0.88 * trials <= count for count in inside.values()), inside


def test_groups_that_hold_unlike_rows_are_drawn_as_one() -> None:
    """Copies with other labels or scores: as if whole groups were drawn again by hand."""
    label, score, missed = drawn(np.random.default_rng(1), 2_000)
    groups = np.random.default_rng(3).integers(0, 300, len(label))
    rng, areas = np.random.default_rng(2), []
    for _ in range(300):
        weight = rng.poisson(1, 300)[groups]
        rows = np.repeat(np.arange(len(label)), weight)
        areas.append(average_precision(label[rows], score[rows]))

    ends = bootstrap(label, score, 0.4, missed=missed, alarm=5.0, groups=groups)["pr_auc"]

    low, high = np.percentile(np.array(areas, float), [2.5, 97.5])
    assert ends == pytest.approx((low, high), abs=0.2 * (high - low))


def test_rows_of_a_group_that_differ_say_more_than_copies() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(50), 8)
    unlike, copied = rng.random(400) < 0.7, np.repeat(rng.random(50) < 0.7, 8)

    def width(success: Any, groups: Any) -> float:
        ends = share_interval(success, groups)
        assert ends is not None
        return ends[1] - ends[0]

    assert width(unlike, groups) < 1.4 * width(unlike, None)
    assert width(copied, groups) == pytest.approx(np.sqrt(8) * width(copied, None), rel=0.05)
    assert share_interval(np.ones(400, bool), groups) == pytest.approx(wilson(50, 50))
    assert share_interval(np.ones(0, bool), groups[:0]) is None


def test_a_group_of_one_row_changes_nothing() -> None:
    label, score, missed = drawn(np.random.default_rng(1), 1_000)
    given: dict[str, Any] = {"missed": missed, "alarm": 5.0}

    found = bootstrap(label, score, 0.4, **given, groups=np.arange(1_000))

    for name, ends in bootstrap(label, score, 0.4, **given).items():
        assert ends is not None
        assert found[name] == pytest.approx(ends, rel=0.05), name


def test_drawing_rows_that_no_metric_tells_apart_as_one_number_changes_nothing() -> None:
    label, score, missed = drawn(np.random.default_rng(1), 1_000)
    rng, areas, costs = np.random.default_rng(2), [], []
    for _ in range(300):
        rows = rng.integers(0, len(label), len(label))
        again = Metrics.of(label[rows], score[rows], 0.4, missed=missed[rows], alarm=5.0)
        areas.append(again.pr_auc)
        costs.append(again.cost_per_10000)

    found = bootstrap(label, score, 0.4, missed=missed, alarm=5.0)

    for values, ends in ((areas, found["pr_auc"]), (costs, found["cost_per_10000"])):
        low, high = np.percentile(np.array(values, float), [2.5, 97.5])
        assert ends == pytest.approx((low, high), abs=0.2 * (high - low))


def test_intervals_of_many_rows_are_quick() -> None:
    label, score, missed = drawn(np.random.default_rng(3), 200_000)
    area = average_precision(label, score)
    begun = time.process_time()

    found = bootstrap(label, score, 0.4, missed=missed, alarm=5.0)

    assert time.process_time() - begun < 3
    assert found["pr_auc"] is not None
    assert area is not None
    assert found["pr_auc"][0] < area < found["pr_auc"][1]


@given(rows=ROWS, threshold=st.floats(0, 1))
def test_intervals_are_ordered_and_never_without_width_for_a_share(
    rows: list[tuple[int, float]], threshold: float
) -> None:
    label, probability = rows_of(rows)
    found = bootstrap(
        label, probability, threshold, missed=np.ones(len(label)), alarm=1.0, resamples=50
    )
    for name, ends in found.items():
        assert ends is None or (0 <= ends[0] <= ends[1]), name
        assert ends is None or name == "cost_per_10000" or ends[1] <= 1
    alert = probability >= threshold
    if (alert == (label == 1)).all():  # without an error no resample holds one
        assert found["recall"] is not None
        assert found["f1"] is not None
        assert found["recall"][0] < found["recall"][1] == 1
        assert found["f1"][0] < found["f1"][1] == 1


def test_intervals_of_one_class_are_none() -> None:
    found = bootstrap(np.zeros(9, np.int8), np.full(9, 0.2), 0.5, missed=np.ones(9), alarm=1.0)

    # Not even of the cost: what a fraud let through would cost is not known.
    assert set(found.values()) == {None}


PAIRS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 9), st.integers(0, 9), st.integers(0, 7)),
    min_size=2,
    max_size=40,
)


def pairs_of(rows: list[tuple[int, int, int, int]]) -> tuple[Any, Any, Any, Any]:
    """Labels with both classes, two scores and groups."""
    label, ours, theirs, groups = (np.array(column) for column in zip(*rows, strict=True))
    label[:2] = [0, 1]
    return label, ours / 10, theirs / 10, groups


def rivals(rng: np.random.Generator, rows: int) -> tuple[Any, Any, Any]:
    """Two scores that are equally good and err apart."""
    label = (rng.random(rows) < 0.015).astype(np.int8)
    both = 3 * label + rng.normal(size=rows)
    return label, both + 0.5 * rng.normal(size=rows), both + 0.5 * rng.normal(size=rows)


@given(rows=PAIRS, seed=st.integers(0, 9), resamples=st.sampled_from([1, 60]))
def test_a_difference_is_the_other_way_round_for_the_other_and_whatever_the_order_of_rows(
    rows: list[tuple[int, int, int, int]], seed: int, resamples: int
) -> None:
    label, ours, theirs, groups = pairs_of(rows)

    found = difference(label, ours, theirs, groups=groups, seed=seed, resamples=resamples)
    other = difference(label, theirs, ours, groups=groups, seed=seed, resamples=resamples)

    mixed = np.random.default_rng(seed).permutation(len(label))
    assert found == difference(
        label[mixed],
        ours[mixed],
        theirs[mixed],
        groups=groups[mixed],
        seed=seed,
        resamples=resamples,
    )
    if found is None or other is None:  # groups that hold all of a class are often not drawn
        assert found is other is None
        return
    value, (low, high) = found
    areas = average_precision(label, ours), average_precision(label, theirs)
    assert value == pytest.approx(areas[0] - areas[1])  # type: ignore[operator]
    assert -1 <= low <= value <= high <= 1
    assert other[0] == -value
    if value:
        assert other[1] == (-high, -low)


@given(rows=PAIRS)
def test_scores_of_one_order_do_not_differ(rows: list[tuple[int, int, int, int]]) -> None:
    label, score, _, _ = pairs_of(rows)

    found = difference(label, score, score**3 / 2, resamples=60)

    assert found in (None, (0.0, (0.0, 0.0)))


@given(rows=PAIRS, copies=st.integers(2, 5))
def test_copies_of_rows_say_nothing_more_about_a_difference(
    rows: list[tuple[int, int, int, int]], copies: int
) -> None:
    label, ours, theirs, _ = pairs_of(rows)
    alone = np.arange(len(label))
    again = tuple(np.repeat(x, copies) for x in (label, ours, theirs))

    once = difference(label, ours, theirs, groups=alone, resamples=60)
    found = difference(*again, groups=np.repeat(alone, copies), resamples=60)

    assert (once is None) == (found is None)
    if once and found:
        assert found[0] == pytest.approx(once[0])
        assert found[1] == pytest.approx(once[1])


def test_equally_good_scores_are_seldom_told_apart() -> None:
    rng = np.random.default_rng(4)
    trials, above, below = 200, 0, 0

    for seed in range(trials):
        label, ours, theirs = rivals(rng, 2_000)
        found = difference(label, ours, theirs, seed=seed, resamples=200)
        assert found is not None
        above += found[1][0] > 0
        below += found[1][1] < 0

    # 2.5 % each, and what 200 trials cannot tell from that.
    assert max(above, below) <= 0.06 * trials


def test_resamples_of_pairs_are_those_of_rows_drawn_by_hand() -> None:
    label, ours, theirs = rivals(np.random.default_rng(2), 2_000)
    groups = np.random.default_rng(3).integers(0, 700, len(label))
    rng, differences = np.random.default_rng(5), []
    for _ in range(600):
        rows = np.repeat(np.arange(len(label)), rng.poisson(1, 700)[groups])
        areas = [average_precision(label[rows], score[rows]) for score in (ours, theirs)]
        differences.append(np.subtract(*np.array(areas, float)))

    found = difference(label, ours, theirs, groups=groups)

    assert found is not None
    low, high = np.percentile(differences, [2.5, 97.5])
    assert found[1] == pytest.approx((low, high), abs=0.1 * (high - low))


def test_what_is_hard_for_both_does_not_widen_a_difference() -> None:
    rng = np.random.default_rng(7)
    label, score, missed = drawn(rng, 3_000)

    found = difference(label, score, score + rng.normal(scale=0.01, size=3_000))
    alone = bootstrap(label, score, 0.4, missed=missed, alarm=5.0)["pr_auc"]

    assert found is not None
    assert alone is not None
    assert found[1][1] - found[1][0] < 0.3 * (alone[1] - alone[0])


def test_two_rows_that_changed_places_among_thousands_of_frauds_decide_nothing() -> None:
    """With so many frauds, resamples count rows of neighbouring scores together."""
    rng = np.random.default_rng(9)
    label = (rng.random(20_000) < 0.2).astype(np.int8)
    score = (rng.normal(size=20_000) + label).argsort().argsort() + 0.0
    fraud = np.flatnonzero((label == 1) & (score > 15_000))
    below = next(f for f in fraud if label[score == score[f] + 1] == 0)
    better = score.copy()
    better[below] += 1.5

    found = difference(label, better, score, resamples=200)

    assert found is not None
    assert 0 < found[0] < 1e-6
    assert found[1][0] <= 0


@pytest.mark.parametrize("fraud", [0, 1])
def test_rows_of_one_class_tell_no_difference(fraud: int) -> None:
    assert difference(np.full(9, fraud, np.int8), np.arange(9.0), np.arange(9.0)) is None


def test_precision_at_takes_the_highest_scores_of_each_day() -> None:
    days = np.array(["2026-01-01T23", "2026-01-02T01", "2026-01-01T00", "2026-01-02T02"] * 3,
                    "datetime64[us]")  # fmt: skip
    label = np.array([1, 0, 0, 1] + [0] * 8, np.int8)
    score = np.array([0.9, 0.8, 0.1, 0.7] + [0.2] * 8)

    found = {p.k: p for p in precision_at(days, label, score)}

    assert set(found) == {1, 5}  # a day has six payments
    assert (found[1].per, found[1].alerts, found[1].true_positives) == ("day", 2, 1)
    assert (found[1].precision, found[1].recall) == (0.5, 0.5)
    assert (found[5].alerts, found[5].recall) == (10, 1.0)


def test_precision_at_without_days_counts_per_ten_thousand() -> None:
    label = np.zeros(20_000, np.int8)
    label[:3] = 1
    score = np.linspace(1, 0, 20_000)

    found = {p.k: p for p in precision_at(None, label, score)}

    assert {p.per for p in found.values()} == {"10,000 payments"}
    assert 1 not in found  # two alerts are too few to tell a share by
    assert (found[5].alerts, found[5].precision, found[5].recall) == (10, 0.3, 1.0)


@given(rows=st.integers(1, 30_000))
def test_alerts_without_days_are_rounded_and_their_rate_is_true(rows: int) -> None:
    for at in precision_at(None, np.arange(rows) % 2, np.linspace(1, 0, rows)):
        assert at.alerts == round(at.k * rows / 10_000) >= 10
        assert at.rate == pytest.approx(at.alerts / rows * 10_000)
        assert abs(at.rate - at.k) <= 0.051 * at.k


def test_slices_part_the_rows_and_name_what_is_weak(spec: DatasetSpec) -> None:
    rows = 3_000
    rng = np.random.default_rng(0)
    label = (np.arange(rows) % 10 == 0).astype(np.int8)
    values = [f"v{i}" for i in rng.integers(0, 40, rows)]
    values[5] = values[15] = None  # type: ignore[call-overload]
    pattern = np.where(label == 1, np.where(np.arange(rows) % 20 == 0, "seen", "hidden"), None)
    probability = np.where(pattern == "seen", 0.9, 0.1)
    amount = rng.exponential(20, rows)
    amount[:7] = np.nan
    dataset = dataset_of(
        spec, label=label, Category=pd.Series(values, dtype=object), amount=amount,
        isWeekend=(np.arange(rows) % 3 == 0).astype(float),
        fraudPattern=pd.Series(pattern, dtype=object),
    )  # fmt: skip

    found = evaluate(dataset, probability, 0.5, missed=np.ones(rows), alarm=1.0).slices

    by = {c: [s for s in found if s.column == c] for c in {s.column for s in found}}
    assert set(by) == {"Category", "amount", "isWeekend", "fraudPattern"}
    for parts in by.values():
        assert sum(s.rows for s in parts) == rows
        assert sum(s.frauds for s in parts) == label.sum()
        assert sum(s.alerts for s in parts) == (probability >= 0.5).sum()
    assert [s.value for s in by["Category"]][-2:] == [OTHER, MISSING]
    assert len(by["Category"]) == MOST_VALUES
    assert [s.value for s in by["isWeekend"]] == ["0", "1"]
    assert [s.rows for s in by["amount"]] == [749, 748, 748, 748, 7]
    assert by["amount"][0].value.startswith("up to ")
    patterns = {s.value: s for s in by["fraudPattern"]}
    assert {s.value for s in found if s.weak and s.column == "fraudPattern"} == {"hidden"}
    assert (patterns["seen"].recall, patterns["hidden"].recall) == (1.0, 0.0)
    assert (patterns["seen"].precision, patterns[MISSING].recall) == (None, None)


def test_a_missed_fraud_or_two_make_no_slice_weak(spec: DatasetSpec) -> None:
    few = FEWEST_FRAUDS - 1
    names = ["a"] * 200 + ["b"] * few + ["c"] * (few + 1)
    label = np.ones(len(names), np.int8)
    label[100:200] = 0
    probability = np.where(np.array(names) == "a", label, 0).astype(float)
    dataset = dataset_of(spec, label=label, Category=pd.Series(names, dtype=object))

    found = evaluate(dataset, probability, 0.5, missed=label.astype(float), alarm=1.0).slices

    assert {s.value: s.weak for s in found} == {"a": False, "b": False, "c": True}


def test_slices_of_a_model_without_weakness_are_seldom_called_weak(spec: DatasetSpec) -> None:
    """Some sixty slices of 200 frauds that are found blindly: one weak one in twenty models."""
    rng = np.random.default_rng(2)
    names = ("Category", "paymentMethod", "fraudPattern")
    weak, most, trials = 0, 0, 60
    for _ in range(trials):
        label = np.repeat(np.array([1, 0], np.int8), 200)
        columns = {n: pd.Series(rng.integers(0, 20, 400).astype(str), dtype=object) for n in names}
        alert = (rng.random(400) < 0.7) & (label == 1)
        found = slices(dataset_of(spec, label=label, **columns), alert)
        weak += any(s.weak for s in found)
        most = max(most, len(found))

    assert most == 60
    assert weak <= 0.15 * trials


def test_copies_of_a_missed_fraud_make_no_slice_weak(spec: DatasetSpec) -> None:
    names = ["a"] * 100 + ["b"] * 6
    label = np.ones(106, np.int8)
    dataset = dataset_of(spec, label=label, Category=pd.Series(names, dtype=object))
    alert, own = np.array(names) == "a", np.arange(106)

    def weak(groups: Any) -> list[str]:
        return [s.value for s in slices(dataset, alert, groups=groups) if s.weak]

    assert weak(None) == weak(own) == ["b"]
    assert weak(np.where(alert, own, 100 + own % 2)) == []


@given(data=st.data(), every=st.integers(1, 12))
def test_the_chance_of_a_slice_is_counted(data: st.DataObject, every: int) -> None:
    hits = data.draw(st.integers(0, every))
    frauds = data.draw(st.integers(0, every))
    found = data.draw(st.integers(0, min(frauds, hits)))
    picks = list(combinations([1] * hits + [0] * (every - hits), frauds))

    assert _chance(found, frauds, hits, every) == pytest.approx(
        sum(sum(pick) <= found for pick in picks) / len(picks)
    )


@given(
    minutes=st.lists(st.integers(0, 100 * 24 * 60), min_size=2, max_size=60),
    weeks=st.booleans(),
)
def test_windows_part_the_time(minutes: list[int], weeks: bool) -> None:
    begin = np.datetime64("2026-01-01T07:30", "us")
    last = np.array([35 * 24 * 60 if weeks else 9 * 24 * 60])
    offsets = np.concatenate([[0], np.array(minutes) % last, last])
    times = begin + offsets.astype("timedelta64[m]")
    label = (offsets % 2).astype(np.int8)

    found = over_time(times, label, np.full(len(times), 0.3), np.ones(len(times), bool))

    assert len(found) == (6 if weeks else 10)
    assert [w.ends for w in found[:-1]] == [w.begins for w in found[1:]]
    assert sum(w.rows for w in found) == len(times)
    for window in found:
        inside = (times >= np.datetime64(window.begins)) & (times < np.datetime64(window.ends))
        if weeks:
            assert (window.rows, window.frauds) == (inside.sum(), label[inside].sum())
        assert (window.pr_auc is None) == (window.frauds in (0, window.rows))


def test_there_are_no_windows_without_times() -> None:
    same = np.full(4, np.datetime64("2026-01-01", "us"))
    for times in (None, same):
        assert over_time(times, np.ones(4, np.int8), np.ones(4), np.ones(4, bool)) == ()


def test_an_evaluation_is_plain_json_and_adds_up(dataset: Dataset) -> None:
    label = dataset.label
    rng = np.random.default_rng(0)
    probability = np.clip(rng.beta(1, 30, len(label)) + 0.4 * label * rng.random(len(label)), 0, 1)
    missed = missed_costs(dataset.spec.costs, dataset.columns, len(dataset))

    found = evaluate(dataset, probability, 0.2, missed=missed, alarm=5.0)

    plain = found.to_dict()
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert plain == evaluate(dataset, probability, 0.2, missed=missed, alarm=5.0).to_dict()
    histogram, curve = plain["score_histogram"], plain["curve"]
    assert sum(histogram["fraud"]) == label.sum()
    assert sum(histogram["legitimate"]) == (label == 0).sum()
    assert (len(histogram["edges"]), len(histogram["fraud"])) == (21, 20)
    assert 100 < len(curve["recall"]) == len(curve["precision"]) <= 200
    assert curve["recall"] == sorted(curve["recall"])
    assert curve["recall"][-1] == 1
    assert curve["precision"][-1] == pytest.approx(label.mean())
    assert plain["metrics"] == found.metrics.to_dict()
    assert {s.column for s in found.slices} >= {"paymentMethod", "Category", "fraudPattern"}
    assert sum(w.rows for w in found.over_time) == len(label)


def test_twins_are_counted_and_left_out(dataset: Dataset) -> None:
    label = dataset.label
    rng = np.random.default_rng(0)
    probability = rng.beta(1, 30, len(label))
    missed = missed_costs(dataset.spec.costs, dataset.columns, len(dataset))
    seen = (label == 1) & (np.arange(len(label)) % 2 == 0)
    seen[:100] = True
    probability[seen] = 0.9

    def twins(seen: Any) -> Twins | None:
        return evaluate(dataset, probability, 0.2, missed=missed, alarm=5.0, seen=seen).twins

    found = twins(seen)

    assert found is not None
    assert found.metrics == Metrics.of(
        label[~seen], probability[~seen], 0.2, missed=missed[~seen], alarm=5.0
    )
    assert (found.rows, found.frauds) == (seen.sum(), label[seen].sum())
    assert twins(np.zeros(len(label), bool)) == Twins(0, 0, None)
    assert twins(np.ones(len(label), bool)) == Twins(len(label), int(label.sum()), None)
    assert twins(None) is None


def test_rows_of_one_class_are_evaluated_all_the_same(dataset: Dataset) -> None:
    legitimate = dataset.take(dataset.label == 0)

    found = evaluate(
        legitimate, np.full(len(legitimate), 0.1), 0.5, missed=np.ones(len(legitimate)), alarm=1.0
    ).to_dict()

    assert found["curve"] == {"recall": [], "precision": []}
    assert found["metrics"]["pr_auc"] is None
    assert not any(s["weak"] for s in found["slices"])


@pytest.mark.parametrize("policy", ["max-f1", "min-cost", "precision>=0.9"])
def test_baselines_say_what_no_model_costs(dataset: Dataset, policy: str) -> None:
    frame = dataset.frame.copy()
    # Half of the frauds are of accounts younger than any other.
    frame.loc[dataset.label == 0, "accountAgeDays"] += 10
    frame.loc[(dataset.label == 1) & (np.arange(len(frame)) % 2 == 0), "accountAgeDays"] = 0
    telling = Dataset(frame, dataset.spec, "made", dataset.rejected)
    train, validation, test = (telling.take(rows) for _, rows in split(dataset).items())

    found = baselines(train, validation, test, Policy.parse(policy))

    none, everyone, column = (Metrics(**metrics) for metrics in found.values())  # type: ignore[arg-type]
    assert list(found) == [
        "alert on none", "alert on all",
        "best single column: accountAgeDays, the lower the more suspicious",
    ]  # fmt: skip
    assert (none.true_positives + none.false_positives, none.cost) == (
        0,
        pytest.approx(test.frame["amount"][test.label == 1].sum()),
    )
    assert (everyone.recall, everyone.alerts_per_10000) == (1.0, 10_000)
    assert everyone.cost == 5 * (test.label == 0).sum()
    assert none.pr_auc == everyone.pr_auc == pytest.approx(test.label.mean())
    young = (test.frame["accountAgeDays"] < 10) & (test.label == 1)
    assert column.pr_auc == pytest.approx(
        reference.average_precision_score(test.label, -test.frame["accountAgeDays"]), rel=0.02
    )
    assert column.true_positives >= young.sum() >= 3
    assert column.cost < none.cost
    assert column.brier is None


def test_the_best_column_is_the_one_that_tells(dataset: Dataset) -> None:
    train = dataset.take(np.arange(4_000))
    frame, label = train.frame.copy(), train.label
    frame["accountAgeDays"] = np.where(label == 1, 0.0, 5.0 + np.arange(len(label)) % 9)
    tells = Dataset(frame, train.spec, "made", train.rejected)

    best, other = best_column(tells), best_column(tells, exclude=["accountAgeDays"])

    assert best is not None
    assert (best.name, best.skill, best.read) == ("accountAgeDays", 1.0, "lower")
    assert average_precision(label, best.score(tells)) == 1
    assert other is not None
    assert other.name != "accountAgeDays"


def test_a_category_is_not_judged_by_what_it_learned_from(spec: DatasetSpec) -> None:
    rng = np.random.default_rng(4)
    rows = 4_000
    label = (rng.random(rows) < 0.05).astype(np.int8)
    method = np.where((label == 1) & (rng.random(rows) < 0.5), "paypal", "creditcard")
    dataset = dataset_of(
        spec,
        label=label,
        # Every value its own: rates learned and judged on the same rows would be perfect.
        Category=pd.Series([f"id{i}" for i in range(rows)], dtype=object),
        paymentMethod=pd.Series(method, dtype=object),
    )

    best = best_column(dataset)
    only = best_column(dataset, exclude=["paymentMethod"])

    assert best is not None
    assert best.name == "paymentMethod"
    assert only is not None
    assert only.skill < 0.05
    unknown = dataset_of(spec, paymentMethod=pd.Series(["paypal", "cash", None], dtype=object))
    score = best.score(unknown)
    assert score[0] > 0.5 > score[1] == pytest.approx(label.mean())
    assert score[2] < score[1]  # missing is taken as the most frequent, a credit card


def test_missingness_is_not_what_a_single_column_is_judged_by(spec: DatasetSpec) -> None:
    label = (np.arange(1_000) % 20 == 0).astype(np.int8)
    amount = np.where(label == 1, np.nan, 10.0 + np.arange(1_000) % 7)

    best = best_column(dataset_of(spec, label=label, amount=amount))

    assert best is not None
    assert best.skill < 0.1


def test_a_number_that_is_a_code_is_read_by_ranges(spec: DatasetSpec) -> None:
    """51 is every fraud, and 0 to 91 the others: neither high nor low values tell."""
    rng = np.random.default_rng(0)
    rows = 5_000
    label = (rng.random(rows) < 0.02).astype(np.int8)
    code = np.where(label == 1, 51.0, rng.choice([0.0, 5.0, 12.0, 54.0, 91.0], rows))
    amount = rng.exponential(50, rows)
    made = dataset_of(spec, label=label, numItems=code, amount=amount)

    best = best_column(made)

    assert best is not None
    assert (best.name, best.read) == ("numItems", "ranges")
    assert best.skill > 0.99
    assert best.label == "numItems, by the rate of each range"
    assert average_precision(label, best.score(made)) == 1
    new = dataset_of(spec, numItems=np.array([51.0, 0.0, np.nan, -1.0]))
    score = best.score(new)
    assert score[0] > 0.5 > score[2] == score[3] == pytest.approx(label.mean())
    assert score[1] < score[2]


def test_ranges_of_a_continuous_number_are_found_and_noise_is_not(spec: DatasetSpec) -> None:
    rng = np.random.default_rng(0)
    rows = 20_000
    label = (rng.random(rows) < 0.05).astype(np.int8)
    band = np.where(label == 1, rng.uniform(40, 60, rows), rng.uniform(0, 100, rows))
    given: dict[str, Any] = {"label": label, "accountAgeDays": rng.random(rows)}

    best = best_column(dataset_of(spec, **given, amount=band))
    noise = best_column(dataset_of(spec, **given))

    assert best is not None
    assert (best.name, best.read) == ("amount", "ranges")
    assert 0.1 < best.skill < 0.3
    assert noise is not None
    assert noise.skill < 0.02


def test_copies_do_not_make_noise_tell(spec: DatasetSpec) -> None:
    rng = np.random.default_rng(0)
    rows = 2_000
    label = (rng.random(rows) < 0.05).astype(np.int8)
    names = pd.Series([f"m{i}" for i in rng.integers(0, 5_000, rows)], dtype=object)
    frame = pd.DataFrame({"label": label, "Category": names, "amount": rng.random(rows)})
    thrice = pd.concat([frame] * 3, ignore_index=True)

    best = best_column(Dataset(thrice, spec, "made", pd.DataFrame(columns=["line"])))

    assert best is not None
    assert best.skill < 0.1
