"""The curve counts as a loop would, and every policy chooses what a search by hand would."""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from training.errors import DataRefused, UsageError
from training.spec import Costs, DatasetSpec
from training.threshold import DEFAULT_POLICY, Choice, Curve, Policy, missed_costs

Labels = NDArray[np.int8]
Scores = NDArray[np.float64]

# Ties, both ends, neighbouring floats and the smallest one are what breaks midpoints.
EDGES = [
    0.0, 5e-324, 1e-300, 0.1, np.nextafter(0.1, 1), 0.5, np.nextafter(0.5, 0),
    1 - 2**-52, 1 - 2**-53, 1.0,
]  # fmt: skip
POLICIES = [
    "max-f1", "max-fbeta=2", "max-fbeta=0.5", "recall>=0.5", "recall>=0.9", "recall>=1",
    "precision>=0.5", "precision>=0.9", "precision>=1", "alert-rate<=0.01", "alert-rate<=0.25",
    "alert-rate<=1", "min-cost",
]  # fmt: skip
ALARM = 5.0


@st.composite
def scored_rows(draw: st.DrawFn) -> tuple[Labels, Scores, Scores]:
    """Labels, scores, and what a missed fraud costs in quarters, whose sums are exact."""
    score = st.sampled_from(EDGES) | st.floats(0, 1) | st.integers(0, 8).map(lambda i: i / 8)
    missed = st.just(100.0) | st.integers(0, 400).map(lambda i: i / 4)
    rows = draw(st.lists(st.tuples(st.booleans(), score, missed), min_size=2, max_size=40))
    label = np.array([fraud for fraud, _, _ in rows], np.int8)
    label[:2] = [0, 1]  # a curve is of rows with both classes
    return label, np.array([s for _, s, _ in rows]), np.array([m for _, _, m in rows])


def _curve(label: list[int], score: list[float], *, missed: float = 100.0) -> Curve:
    return Curve.of(
        np.array(label, np.int8), np.array(score), missed=np.full(len(label), missed), alarm=ALARM
    )


@dataclass(frozen=True)
class Point:
    """Exact counts at one threshold, found with a loop."""

    hits: int
    alerts: int
    frauds: int
    rows: int
    cost: Fraction

    @property
    def precision(self) -> Fraction:
        return Fraction(self.hits, max(self.alerts, 1))

    @property
    def recall(self) -> Fraction:
        return Fraction(self.hits, self.frauds)

    def f_score(self, beta: Fraction) -> Fraction:
        return (1 + beta**2) * self.hits / (beta**2 * self.frauds + self.alerts)


def _point(label: Labels, score: Scores, missed: Scores, threshold: float) -> Point:
    alert = [bool(s >= threshold) for s in score.tolist()]
    hits = sum(a and fraud == 1 for a, fraud in zip(alert, label.tolist(), strict=True))
    cost = Fraction(0)
    for a, fraud, amount in zip(alert, label.tolist(), missed.tolist(), strict=True):
        if a and not fraud:
            cost += Fraction(ALARM)
        elif fraud and not a:
            cost += Fraction(amount)
    return Point(hits, sum(alert), int(label.sum()), len(label), cost)


def _goal(policy: str, point: Point) -> tuple[bool, Fraction]:
    """Whether a policy allows a point, and what it wants to be large."""
    kind, _, number = policy.replace(">", "").replace("<", "").partition("=")
    value = Fraction(number or "1")
    match kind:
        case "max-f1" | "max-fbeta":
            return True, point.f_score(value)
        case "recall":
            return point.recall >= value, point.precision
        case "precision":
            return point.precision >= value, point.recall
        case "min-cost":
            return True, 1 / (1 + point.cost)
        case _:
            return Fraction(point.alerts, point.rows) <= value, point.recall


@given(rows=scored_rows())
@example(rows=(np.array([0, 1], np.int8), np.array([0.0, 0.0]), np.array([1.0, 2.0])))
@example(rows=(np.array([0, 1], np.int8), np.array([1.0, 1.0]), np.array([1.0, 2.0])))
def test_every_count_is_that_of_a_loop_and_no_set_of_alerts_is_left_out(
    rows: tuple[Labels, Scores, Scores],
) -> None:
    label, score, missed = rows
    curve = Curve.of(label, score, missed=missed, alarm=ALARM)

    assert (np.diff(curve.threshold) < 0).all()
    for i, threshold in enumerate(curve.threshold.tolist()):
        point = _point(label, score, missed, threshold)
        assert (curve.true_positives[i], curve.alerts[i]) == (point.hits, point.alerts)
        assert curve.precision[i] == float(point.precision)
        assert curve.recall[i] == float(point.recall)
        assert curve.cost[i] == float(point.cost)
    possible = {0} | {int((score >= s).sum()) for s in score}
    assert set(curve.alerts.tolist()) == possible
    assert len(curve.threshold) == len(possible)


@pytest.mark.parametrize("policy", POLICIES)
@given(rows=scored_rows())
def test_a_policy_chooses_the_best_threshold_and_of_equal_ones_the_highest(
    policy: str, rows: tuple[Labels, Scores, Scores]
) -> None:
    label, score, missed = rows
    curve = Curve.of(label, score, missed=missed, alarm=ALARM)
    points = [_point(label, score, missed, t) for t in curve.threshold.tolist()]
    goals = [_goal(policy, point) for point in points]
    met = any(allowed for allowed, _ in goals)
    # Only a precision floor can be out of reach; then the nearest precision is wanted.
    wanted = [(g if ok else Fraction(-1)) if met else p.precision
              for (ok, g), p in zip(goals, points, strict=True)]  # fmt: skip
    best = wanted.index(max(wanted))

    choice = Policy.parse(policy).choose(curve)

    assert choice.met == met
    assert choice.threshold == curve.threshold[best]
    assert choice.precision == float(points[best].precision)
    assert choice.recall == float(points[best].recall)
    assert choice.f1 == pytest.approx(float(points[best].f_score(Fraction(1))))
    assert choice.cost_per_10000 == pytest.approx(float(points[best].cost / len(label) * 10_000))
    assert choice.alerts_per_10000 == pytest.approx(points[best].alerts / len(label) * 10_000)
    assert choice.policy == policy


@pytest.mark.parametrize("percent", [7, 14, 28, 29, 55, 56, 57, 58])
def test_an_alert_budget_is_used_to_the_last_row(percent: int) -> None:
    curve = _curve([1] * 60 + [0] * 40, np.linspace(1, 0, 100).tolist())

    choice = Policy.parse(f"alert-rate<={percent / 100:.2f}").choose(curve)

    assert round(choice.recall * 60) == percent


def test_a_precision_that_no_threshold_reaches_is_reported_as_not_met() -> None:
    curve = _curve([1, 0, 0, 1], [0.5, 0.9, 0.8, 0.5])

    choice = Policy.parse("precision>=0.9").choose(curve)

    assert not choice.met
    assert choice.precision == 0.5
    assert choice.recall == 1.0


def test_the_table_of_a_curve_holds_what_people_ask_for() -> None:
    curve = _curve([0, 1, 0, 0], [0.1, 0.9, 0.9, 0.2])

    table = curve.frame()

    assert table.iloc[1].to_dict() == {
        "threshold": 0.55, "precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3),
        "alerts_per_10000": 5000.0, "cost_per_10000": 12_500.0,
        "true_positives": 1.0, "false_positives": 1.0,
    }  # fmt: skip


def test_an_alert_budget_below_the_rows_that_share_the_highest_score_is_no_alert() -> None:
    choice = Policy.parse("alert-rate<=0.4").choose(_curve([1, 1, 0, 0], [0.9, 0.9, 0.2, 0.1]))

    assert (choice.met, choice.recall, choice.alerts_per_10000) == (True, 0.0, 0.0)
    assert choice.threshold > 0.9


@pytest.mark.parametrize(
    ("policy", "missed", "alerts", "met"),
    [
        ("max-f1", 100.0, 4, True), ("recall>=0.5", 100.0, 4, True),
        ("precision>=0.2", 100.0, 4, True), ("precision>=0.9", 100.0, 4, False),
        ("alert-rate<=0.9", 100.0, 0, True), ("min-cost", 15.5, 4, True),
        ("min-cost", 15.0, 0, True), ("min-cost", 0.0, 0, True),
    ],
)  # fmt: skip
def test_if_all_scores_are_equal_a_policy_takes_every_row_or_none(
    policy: str, missed: float, alerts: int, met: bool
) -> None:
    curve = _curve([1, 0, 0, 0], [0.3] * 4, missed=missed)

    choice = Policy.parse(policy).choose(curve)

    assert (choice.alerts_per_10000, choice.met) == (alerts / 4 * 10_000, met)


@pytest.mark.parametrize("policy", POLICIES)
def test_without_a_fraud_every_score_is_0_and_nothing_is_alerted_on(policy: str) -> None:
    with np.errstate(all="raise"):
        curve = _curve([0, 0, 0], [0.1, 0.9, 0.9])
        choice = Policy.parse(policy).choose(curve)
        table = curve.frame()

    assert (table[["precision", "recall", "f1"]] == 0).all(axis=None)
    assert (choice.precision, choice.recall, choice.f1) == (0, 0, 0)
    assert (choice.threshold > 0.9, choice.alerts_per_10000, choice.cost_per_10000) == (True, 0, 0)
    assert choice.met == (">=" not in policy)


def test_costs_that_differ_by_rounding_alone_are_equal_and_the_highest_threshold_wins() -> None:
    # 0.1 + 0.2 > 0.3 in floats: letting both frauds through costs an ulp more than the alarm.
    curve = Curve.of(
        np.array([0, 1, 1], np.int8),
        np.array([0.9, 0.5, 0.5]),
        missed=np.array([0.0, 0.1, 0.2]),
        alarm=0.3,
    )
    assert curve.cost[0] > curve.cost[-1]

    choice = Policy.parse("min-cost").choose(curve)

    assert choice.threshold == curve.threshold[0]


def test_a_dear_fraud_is_worth_an_alarm_that_a_cheap_one_is_not() -> None:
    label, score = np.array([1, 0, 1, 0], np.int8), np.array([0.9, 0.7, 0.5, 0.1])
    recall = {}
    for amount in (4.0, 6.0):
        missed = np.array([50, 0, amount, 0])
        curve = Curve.of(label, score, missed=missed, alarm=ALARM)
        recall[amount] = Policy.parse("min-cost").choose(curve).recall

    assert recall == {4.0: 0.5, 6.0: 1.0}


PRICED = DatasetSpec.from_dict(
    {
        "name": "priced",
        "label": "y",
        "costs": {"missed_fraud": 70, "false_alarm": 3, "amount": "sum: EUR"},
        "columns": {"sum: EUR": {}, "fee": {}, "shop": {"type": "category"}},
    }
)


@pytest.mark.parametrize(
    ("text", "costs", "canonical"),
    [
        ("min-cost", PRICED.costs, "min-cost"),
        ("max-f1", PRICED.costs, "max-f1"),
        ("min-cost=200:5", Costs(missed_fraud=200, false_alarm=5), "min-cost=200:5"),
        ("min-cost=2e2:.5e1", Costs(missed_fraud=200, false_alarm=5), "min-cost=2e2:.5e1"),
        (" min-cost = .5 : 0 ", Costs(missed_fraud=0.5, false_alarm=0), "min-cost=.5:0"),
        ("min-cost=fee:5", Costs(missed_fraud=70, false_alarm=5, amount="fee"), "min-cost=fee:5"),
        (
            "min-cost=sum: EUR:2.5",
            Costs(missed_fraud=70, false_alarm=2.5, amount="sum: EUR"),
            "min-cost=sum: EUR:2.5",
        ),
    ],
)
def test_a_policy_has_its_own_costs_or_those_of_the_spec(
    text: str, costs: Costs, canonical: str
) -> None:
    policy = Policy.parse(text)

    assert policy.costs(PRICED) == costs
    assert policy.text == canonical
    assert Policy.parse(policy.text) == policy


@pytest.mark.parametrize("column", ["shop", "y", "nothing", "nan", "inf", "1_000", "0x10", "1 0"])
def test_costs_by_a_column_that_is_no_number_are_refused_with_those_there_are(column: str) -> None:
    with pytest.raises(UsageError, match=f"{column}.*there are sum: EUR, fee"):
        Policy.parse(f"min-cost={column}:5").costs(PRICED)


@pytest.mark.parametrize(
    "costs", ["-1:5", "1e13:5", "1e999:5", "100:9999999999999", "100:-5", "100:1e13", "fee:-1"]
)
def test_costs_out_of_range_are_refused_with_their_limits(costs: str) -> None:
    with pytest.raises(UsageError, match="must be 0 or more and at most 1e"):
        Policy.parse(f"min-cost={costs}")


@pytest.mark.parametrize("name", ["nan", "inf", "1_000", "1e", "1,5"])
def test_a_column_may_have_any_name_that_is_no_decimal_number(name: str) -> None:
    spec = DatasetSpec.from_dict({"name": "odd", "label": "y", "columns": {name: {}}})

    assert Policy.parse(f"min-cost={name}:5").costs(spec).amount == name


@given(number=st.decimals(0, 10**12, allow_nan=False, places=3) | st.floats(0, 1e12))
def test_both_sides_of_the_colon_take_the_same_numbers(number: object) -> None:
    policy = Policy.parse(f"min-cost={number}:{number}")

    assert policy.missed == policy.alarm == float(str(number))


@pytest.mark.parametrize(
    ("fee", "message"),
    [
        (None, "payments.csv: the policy 'min-cost=fee:5' needs .* 'fee'; .* no such column"),
        ([np.nan, np.nan], "payments.csv: .* 'fee'; they are missing in all 2 rows"),
    ],
)
def test_data_without_the_amounts_a_policy_names_are_refused(
    fee: list[float] | None, message: str
) -> None:
    columns = {"other": np.array([1.0, 2.0])} | ({} if fee is None else {"fee": np.array(fee)})

    with pytest.raises(DataRefused, match=message):
        Policy.parse("min-cost=fee:5").require(columns, "payments.csv")
    # What the policy does not name itself has the spec's flat cost to stand in.
    for text in ("min-cost", "min-cost=100:5", "max-f1"):
        Policy.parse(text).require(columns, "payments.csv")


def test_one_known_amount_is_enough_for_a_policy_that_names_the_column() -> None:
    Policy.parse("min-cost=fee:5").require({"fee": np.array([np.nan, 3.0])}, "payments.csv")


def test_a_missed_fraud_costs_its_amount_where_that_is_known() -> None:
    columns = {"fee": np.array([12.5, np.nan, 0.0, -3.0])}

    def of(costs: Costs) -> list[float]:
        return missed_costs(costs, columns, 4).tolist()

    assert of(Costs(missed_fraud=70, amount="fee")) == [12.5, 70.0, 0.0, 0.0]
    assert of(Costs(missed_fraud=70, amount="absent")) == [70.0] * 4
    assert of(Costs(missed_fraud=70)) == [70.0] * 4


@pytest.mark.parametrize("text", ["recall >= 0.9", " recall>=0.9 ", "recall>=.9"])
def test_spaces_and_a_missing_zero_do_no_harm(text: str) -> None:
    assert (Policy.parse(text).kind, Policy.parse(text).value) == ("recall", 0.9)


@given(rows=scored_rows(), threshold=st.floats(1e-6, 1))
def test_a_threshold_given_is_taken_and_counted_on_a_curve_that_was_kept(
    rows: tuple[Labels, Scores, Scores], threshold: float
) -> None:
    label, score, missed = rows
    # Scores are known again from midpoints, to some digits.
    assume((np.abs(score - threshold) > 1e-9).all())
    kept = io.StringIO()
    Curve.of(label, score, missed=missed, alarm=ALARM).frame().to_csv(kept, index=False)
    kept.seek(0)

    choice = Policy.parse(f"threshold={threshold!r}").choose(Curve.from_frame(pd.read_csv(kept)))

    point = _point(label, score, missed, threshold)
    assert (choice.threshold, choice.met) == (threshold, True)
    assert (choice.precision, choice.recall) == (float(point.precision), float(point.recall))
    assert choice.alerts_per_10000 == pytest.approx(point.alerts / point.rows * 10_000)
    assert choice.cost_per_10000 == pytest.approx(float(point.cost) / point.rows * 10_000)
    assert Choice.from_json(choice.to_json()) == choice


def test_the_default_policy_is_one() -> None:
    assert Policy.parse(DEFAULT_POLICY).kind == "max-f1"


@pytest.mark.parametrize(
    "text",
    [
        "", "f1", "max-f2", "recall", "recall>=", "recall<=0.9", "recall>=90%", "recall>=.",
        "precision>=nan", "precision>=1.0.0", "alert-rate<=.", "alert-rate>=0.1",
        "alert-rate<=1_0", "min-cost=", "min-cost=5", "min-cost=amount", "min-cost=:5",
        "min-cost=100:", "min-cost=100:fee", "min-cost=100:1_000", "min-cost=100:1.0.0",
        "min-cost=100:nan", "min-cost<=5", "max-fbeta", "max-f1 max-f1",
        "threshold", "threshold>=0.5", "threshold=nan",
    ],
)  # fmt: skip
def test_a_text_that_is_no_policy_is_refused_with_those_there_are(text: str) -> None:
    with pytest.raises(UsageError, match=r"max-f1, max-fbeta=2, recall>=0\.9"):
        Policy.parse(text)


@pytest.mark.parametrize(
    "text",
    ["recall>=0", "recall>=-1", "recall>=1.1", "precision>=2", "precision>=1e999",
     "alert-rate<=0.0", "max-fbeta=0", "max-fbeta=1e4", "threshold=0", "threshold=1.1"],
)  # fmt: skip
def test_a_number_out_of_range_is_refused_with_its_limit(text: str) -> None:
    with pytest.raises(UsageError, match="must be above 0"):
        Policy.parse(text)
