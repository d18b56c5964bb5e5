"""The curve counts as a loop would, and every policy chooses what a search by hand would."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from training.errors import UsageError
from training.threshold import DEFAULT_POLICY, Curve, Policy

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
    "alert-rate<=1",
]  # fmt: skip


@st.composite
def scored_rows(draw: st.DrawFn) -> tuple[Labels, Scores]:
    score = st.sampled_from(EDGES) | st.floats(0, 1) | st.integers(0, 8).map(lambda i: i / 8)
    rows = draw(st.lists(st.tuples(st.booleans(), score), min_size=2, max_size=40))
    label = np.array([fraud for fraud, _ in rows], np.int8)
    label[:2] = [0, 1]  # a curve is of rows with both classes
    return label, np.array([s for _, s in rows])


@dataclass(frozen=True)
class Point:
    """Exact counts at one threshold, found with a loop."""

    hits: int
    alerts: int
    frauds: int
    rows: int

    @property
    def precision(self) -> Fraction:
        return Fraction(self.hits, max(self.alerts, 1))

    @property
    def recall(self) -> Fraction:
        return Fraction(self.hits, self.frauds)

    def f_score(self, beta: Fraction) -> Fraction:
        return (1 + beta**2) * self.hits / (beta**2 * self.frauds + self.alerts)


def _point(label: Labels, score: Scores, threshold: float) -> Point:
    alert = [bool(s >= threshold) for s in score.tolist()]
    hits = sum(a and fraud == 1 for a, fraud in zip(alert, label.tolist(), strict=True))
    return Point(hits, sum(alert), int(label.sum()), len(label))


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
        case _:
            return Fraction(point.alerts, point.rows) <= value, point.recall


@given(rows=scored_rows())
@example(rows=(np.array([0, 1], np.int8), np.array([0.0, 0.0])))
@example(rows=(np.array([0, 1], np.int8), np.array([1.0, 1.0])))
def test_every_count_is_that_of_a_loop_and_no_set_of_alerts_is_left_out(
    rows: tuple[Labels, Scores],
) -> None:
    label, score = rows
    curve = Curve.of(label, score)

    assert (np.diff(curve.threshold) < 0).all()
    for i, threshold in enumerate(curve.threshold.tolist()):
        point = _point(label, score, threshold)
        assert (curve.true_positives[i], curve.alerts[i]) == (point.hits, point.alerts)
        assert curve.precision[i] == float(point.precision)
        assert curve.recall[i] == float(point.recall)
    possible = {0} | {int((score >= s).sum()) for s in score}
    assert set(curve.alerts.tolist()) == possible
    assert len(curve.threshold) == len(possible)


@pytest.mark.parametrize("policy", POLICIES)
@given(rows=scored_rows())
def test_a_policy_chooses_the_best_threshold_and_of_equal_ones_the_highest(
    policy: str, rows: tuple[Labels, Scores]
) -> None:
    label, score = rows
    curve = Curve.of(label, score)
    points = [_point(label, score, t) for t in curve.threshold.tolist()]
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
    assert choice.policy == policy


@pytest.mark.parametrize("percent", [7, 14, 28, 29, 55, 56, 57, 58])
def test_an_alert_budget_is_used_to_the_last_row(percent: int) -> None:
    label = np.repeat([1, 0], [60, 40]).astype(np.int8)
    curve = Curve.of(label, np.linspace(1, 0, 100))

    choice = Policy.parse(f"alert-rate<={percent / 100:.2f}").choose(curve)

    assert round(choice.recall * 60) == percent


def test_a_precision_that_no_threshold_reaches_is_reported_as_not_met() -> None:
    curve = Curve.of(np.array([1, 0, 0, 1], np.int8), np.array([0.5, 0.9, 0.8, 0.5]))

    choice = Policy.parse("precision>=0.9").choose(curve)

    assert not choice.met
    assert choice.precision == 0.5
    assert choice.recall == 1.0


def test_the_table_of_a_curve_holds_what_people_ask_for() -> None:
    curve = Curve.of(np.array([0, 1, 0, 0], np.int8), np.array([0.1, 0.9, 0.9, 0.2]))

    table = curve.frame()

    assert table.iloc[1].to_dict() == {
        "threshold": 0.55, "precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3),
        "alerts_per_10000": 5000.0, "true_positives": 1.0, "false_positives": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize("text", ["recall >= 0.9", " recall>=0.9 ", "recall>=.9"])
def test_spaces_and_a_missing_zero_do_no_harm(text: str) -> None:
    assert (Policy.parse(text).kind, Policy.parse(text).value) == ("recall", 0.9)


def test_the_default_policy_is_one() -> None:
    assert Policy.parse(DEFAULT_POLICY).kind == "max-f1"


@pytest.mark.parametrize(
    "text",
    [
        "", "f1", "max-f2", "recall", "recall>=", "recall<=0.9", "recall>=90%", "recall>=-1",
        "precision>=nan", "alert-rate>=0.1", "alert-rate<=1e-2", "max-fbeta", "max-f1 max-f1",
    ],
)  # fmt: skip
def test_a_text_that_is_no_policy_is_refused_with_those_there_are(text: str) -> None:
    with pytest.raises(UsageError, match=r"max-f1, max-fbeta=2, recall>=0\.9"):
        Policy.parse(text)


@pytest.mark.parametrize(
    "text",
    ["recall>=0", "recall>=1.1", "precision>=2", "precision>=1.0.0", "alert-rate<=.",
     "alert-rate<=0.0", "max-fbeta=0"],
)  # fmt: skip
def test_a_number_out_of_range_is_refused_with_its_limit(text: str) -> None:
    with pytest.raises(UsageError, match="must be above 0"):
        Policy.parse(text)
