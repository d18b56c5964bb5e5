"""Metrics are what scikit-learn says; intervals cover; slices, days and weeks add up."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from training.data import Dataset
from training.evaluate import Metrics, baselines, evaluate
from training.evaluate.baseline import best_column
from training.evaluate.intervals import average_precision, bootstrap, wilson
from training.evaluate.slices import (
    FEWEST_FRAUDS,
    MISSING,
    MOST_VALUES,
    OTHER,
    over_time,
    precision_at,
)
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
    trials = 200

    for seed in range(trials):
        label, score, missed = drawn(rng, 1_500)
        found = bootstrap(label, score, 0.4, missed=missed, alarm=5.0, seed=seed, resamples=200)
        for name in names:
            ends, truth = found[name], all_rows[name]
            assert ends is not None
            assert truth is not None
            inside[name] += ends[0] <= truth <= ends[1]

    # 95 %, less what 200 trials can tell and what percentiles miss of a cost with a long tail.
    assert all(0.88 * trials <= count <= 0.995 * trials for count in inside.values()), inside


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

    assert {name: ends for name, ends in found.items() if ends is not None} == {
        "cost_per_10000": (0.0, 0.0)
    }


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
    assert (found[1].alerts, found[1].precision, found[1].recall) == (2, 1.0, 2 / 3)
    assert (found[5].alerts, found[5].precision, found[5].recall) == (10, 0.3, 1.0)


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
    assert (best.name, best.skill, best.rising) == ("accountAgeDays", 1.0, False)
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
