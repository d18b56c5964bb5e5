"""The last minutes in numbers: sums over ledgers, percentiles, and what leaves the window."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.delivery import LATENCY_EDGES, latency_bucket
from serve_app.ledger import Ledger
from serve_app.statistics import SCORE_EDGES, Totals, Window, percentile_ms

_names = count()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger("one", tmp_path)
    yield ledger
    ledger.close()


def delivered(ledger: Ledger) -> Totals:
    delivery = ledger.take()
    assert delivery is not None
    ledger.acknowledge(delivery)
    return Totals.of(delivery)


probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=4)
events = st.one_of(
    st.tuples(
        st.just("decided"),
        st.sampled_from(["3", "4"]),
        st.sampled_from(["champion", "challenger"]),
        probabilities,
    ),
    st.tuples(
        st.just("answered"),
        st.sampled_from(["/v1/predict", "/predict"]),
        st.sampled_from([200, 503]),
        st.floats(0, 200),
    ),
    st.tuples(st.just("refused"), st.sampled_from(["overload", "deadline"])),
    st.tuples(st.just("compared"), probabilities),
    st.tuples(st.just("shadow_dropped"), st.integers(0, 9)),
)


def note(ledger: Ledger, event: tuple[Any, ...]) -> None:
    match event:
        case ("decided", version, role, p):
            ledger.decided("id", version, role, 0.5, p, [int(x >= 0.5) for x in p])
        case ("compared", p):
            other = [1 - x for x in p]
            ledger.compared(
                "3", "4", p, other, [int(x >= 0.5) for x in p], [int(x >= 0.5) for x in other]
            )
        case (name, *given):
            getattr(ledger, name)(*given)


@given(
    noted=st.lists(st.tuples(st.integers(0, 2), events), max_size=30),
    cuts=st.lists(st.booleans(), min_size=30, max_size=30),
)
def test_several_ledgers_add_up_to_one(
    noted: list[tuple[int, Any]], cuts: list[bool], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "ledgers"
    several = [Ledger(f"several{next(_names)}", folder) for _ in range(3)]
    one = Ledger(f"one{next(_names)}", folder)
    apart, together = Window(), Window()
    for (which, event), cut in zip(noted, cuts, strict=False):
        note(several[which], event)
        note(one, event)
        if cut:
            apart.add(delivered(several[which]), 1000)
    for ledger in several[::-1]:
        if ledger.take():
            apart.add(delivered(ledger), 1000)
    if one.take():
        together.add(delivered(one), 1000)
    for ledger in (*several, one):
        ledger.close()
    ours, theirs = apart.summary(1000), together.summary(1000)
    for pair, same in zip(ours.pop("shadow"), theirs.pop("shadow"), strict=True):
        assert pair == pytest.approx(same)  # a sum of floats in another order
    assert ours == theirs


@given(
    st.lists(st.floats(1e-4, 99), min_size=1, max_size=200), st.sampled_from([1, 50, 95, 99, 100])
)
def test_a_percentile_is_in_the_bucket_of_the_true_one(seconds: list[float], percent: int) -> None:
    buckets = np.bincount([latency_bucket(s) for s in seconds], minlength=len(LATENCY_EDGES) + 1)
    true = 1000 * sorted(seconds)[max(math.ceil(len(seconds) * percent / 100), 1) - 1]
    found = percentile_ms(buckets, percent)
    assert found is not None
    assert true / 1.101 - 0.001 <= found <= true * 1.101 + 0.001


def test_a_summary_says_what_happened(ledger: Ledger) -> None:
    ledger.decided("a", "3", "champion", 0.5, [0.1, 0.9, 0.5, 1.0], [0, 1, 1, 1])
    ledger.decided("a", "4", "challenger", 0.5, [0.02, 0.15], [0, 0])
    for _ in range(99):
        ledger.answered("/v1/predict", 200, 0.0105)
    ledger.answered("/v1/predict", 503, 0.0001)
    ledger.answered("/v1/explain", 422, 0.001)
    ledger.refused("overload")
    ledger.compared("3", "4", [0.1, 0.9], [0.02, 0.15], [0, 1], [0, 0])
    ledger.shadow_dropped(5)
    window = Window()
    window.add(delivered(ledger), 1_000)
    summary = window.summary(1_000)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["seconds"] == 900
    assert summary["requests"] == {
        "/v1/explain": {"422": 1},
        "/v1/predict": {"200": 99, "503": 1},
    }
    assert summary["refused"] == {"overload": 1}
    assert summary["decisions"] == {
        "3": {"champion": {"0": 1, "1": 3}},
        "4": {"challenger": {"0": 2, "1": 0}},
    }
    assert summary["alert_rate"] == 0.75
    latency = summary["latency_ms"]
    assert latency["/v1/explain"] == {"p50": None, "p95": None, "p99": None}
    assert all(10 < p < 11.01 for p in latency["/v1/predict"].values())
    assert summary["scores"]["edges"] == SCORE_EDGES.tolist()
    assert np.flatnonzero(summary["scores"]["counts"]["3"]).tolist() == [2, 10, 18, 19]
    assert np.flatnonzero(summary["scores"]["counts"]["4"]).tolist() == [0, 3]
    assert summary["shadow"] == [
        {"champion": "3", "challenger": "4", "rows": 2, "differ": 1,
         "mean_difference": pytest.approx(0.415)},
    ]  # fmt: skip
    assert summary["shadow_dropped"] == 5
    assert summary["dropped"] == 0


def test_a_window_without_traffic_has_no_rates() -> None:
    summary = Window().summary(1_000)
    assert summary["alert_rate"] is None
    assert summary["requests"] == summary["decisions"] == summary["latency_ms"] == {}
    assert len(summary["timeline"]) == 60


def test_what_is_older_than_the_window_leaves_it(ledger: Ledger) -> None:
    window = Window(seconds=60, step=15)
    for now in (100, 110, 150):
        ledger.decided("a", "3", "champion", 0.5, [0.9], [1])
        ledger.answered("/v1/predict", 200, 0.01)
        window.add(delivered(ledger), now)
    points = window.summary(150)["timeline"]
    assert [p["at"] for p in points] == [105, 120, 135, 150]
    assert [p["requests"] for p in points] == [1, 0, 0, 1]
    assert [p["alerts"] for p in points] == [1, 0, 0, 1]
    assert [p["p99_ms"] is None for p in points] == [False, True, True, False]
    assert window.summary(164)["requests"] == {"/v1/predict": {"200": 2}}
    assert window.summary(165)["requests"] == {"/v1/predict": {"200": 1}}
    assert window.summary(10_000)["requests"] == {}
