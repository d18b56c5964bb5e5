"""The ledger of an ingress: everything is delivered once, and a crash leaves the exact count."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.delivery import LATENCY_EDGES, Comparison, Delivery, latency_bucket
from serve_app.ledger import Count, Ledger, forget, left_behind
from training.errors import FraudrayError

_names = count()


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger("one", tmp_path)


def decide(ledger: Ledger, request_id: str, rows: int) -> None:
    probability = [i / 10 for i in range(rows)]
    decision = [int(p >= 0.2) for p in probability]
    ledger.decided(request_id, "3", "champion", 0.2, probability, decision)


def rows_of(delivery: Delivery) -> list[tuple[int, str, int, float, int]]:
    """Sequence number, request, payment, probability and decision of every row."""
    ids = np.repeat(delivery.request_id, delivery.rows)
    numbers = delivery.first + np.arange(len(delivery.probability))
    places = np.concatenate([np.zeros(0, int), *(np.arange(rows) for rows in delivery.rows)])
    columns = (numbers, ids, places, delivery.probability, delivery.decision)
    return list(zip(*(c.tolist() for c in columns), strict=True))


steps = st.lists(
    st.one_of(
        st.tuples(st.just("decided"), st.integers(0, 5)),
        st.tuples(st.sampled_from(["take", "acknowledge", "count", "repeat"]), st.just(0)),
    ),
    max_size=40,
)


@given(steps=steps, capacity=st.integers(0, 30))
def test_every_decision_is_delivered_once_or_counted_as_dropped(
    steps: list[tuple[str, int]], capacity: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "ledgers"
    name = f"ledger{next(_names)}"
    ledger = Ledger(name, folder, capacity)
    made, held, last = 0, 0, None
    done: dict[int, Delivery] = {}  # counted
    kept: list[Delivery] = []
    end = [("take", 0), ("acknowledge", 0)] * 2
    for step, rows in [*steps, *end]:
        if step == "decided":
            decide(ledger, f"request{made}", rows)
            made += rows
            held += rows if held + rows <= capacity else 0
        elif step == "take":
            again = ledger.take()
            if last is not None and last.number not in done:
                assert again is not None
                assert (again.number, rows_of(again)) == (last.number, rows_of(last))
            assert again is None or again.held == held
            last = again
        elif step in ("acknowledge", "count") and last is not None:
            if last.number not in done:
                done[last.number] = last
                kept += [last] if step == "acknowledge" else []
                held -= len(last.probability) if step == "acknowledge" else 0
            ledger.acknowledge(last, kept=step == "acknowledge")
        elif step == "repeat" and done:
            ledger.acknowledge(done[1])
    dropped = sum(delivery.dropped for delivery in done.values())
    numbers = list(range(made - dropped))
    assert [row[0] for delivery in kept for row in rows_of(delivery)] == numbers
    counted = [rows_of(d)[int(d.rows[: d.counted].sum()) :] for d in done.values()]
    assert [row[0] for rows in counted for row in rows] == numbers
    assert list(done) == list(range(1, len(done) + 1))
    assert ledger.take() is None
    ledger.close()
    assert name not in left_behind(folder)


def test_a_delivery_says_what_happened(ledger: Ledger) -> None:
    ledger.decided("a", "3", "champion", 0.5, [0.1, 0.9], [0, 1])
    ledger.decided("a", "4", "challenger", 0.4, np.array([0.2, 0.3]), np.array([0, 0]))
    ledger.decided("b", "3", "champion", 0.5, [0.7], [1])
    for seconds in (0.002, 0.002, 0.2):
        ledger.answered("/v1/predict", 200, seconds)
    ledger.answered("/v1/predict", 503, 0.001)
    ledger.refused("overload")
    ledger.refused("overload")
    ledger.compared("3", "4", [0.1, 0.9], [0.2, 0.3], [0, 1], [0, 0])
    ledger.compared("3", "4", np.array([0.7]), np.array([0.7]), np.array([1]), np.array([1]))
    ledger.shadow_dropped(7)
    taken = ledger.take()
    assert taken is not None
    delivery = pickle.loads(pickle.dumps(taken))  # noqa: S301
    assert (delivery.ledger, delivery.number, delivery.first) == ("one", 1, 0)
    assert delivery.request_id == ("a", "a", "b")
    assert delivery.version == ("3", "4", "3")
    assert delivery.role == ("champion", "challenger", "champion")
    assert delivery.threshold.tolist() == [0.5, 0.4, 0.5]
    assert delivery.rows.tolist() == [2, 2, 1]
    assert delivery.probability.tolist() == [0.1, 0.9, 0.2, 0.3, 0.7]
    assert delivery.decision.tolist() == [0, 1, 0, 0, 1]
    assert {key: b.sum() for key, b in delivery.answered.items()} == {
        ("/v1/predict", 200): 3,
        ("/v1/predict", 503): 1,
    }
    assert delivery.seconds["/v1/predict", 200] == pytest.approx(0.204)
    assert delivery.refused == {"overload": 2}
    assert delivery.compared == {("3", "4"): Comparison(3, 1, pytest.approx(0.7))}
    assert delivery.shadow_dropped == 7


def test_nothing_happened_is_no_delivery(ledger: Ledger) -> None:
    assert ledger.take() is None
    ledger.answered("/health", 200, 0.001)
    first = ledger.take()
    assert first is not None
    assert len(first.probability) == 0
    ledger.acknowledge(first)
    assert ledger.take() is None


@given(seconds=st.one_of(st.floats(0, 1000), st.sampled_from(LATENCY_EDGES.tolist())))
def test_a_latency_falls_between_the_edges_of_its_bucket(seconds: float) -> None:
    edges = [-np.inf, *LATENCY_EDGES, np.inf]
    bucket = latency_bucket(seconds)
    assert edges[bucket] <= seconds < edges[bucket + 1]


def test_a_name_is_used_once(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(FraudrayError, match=r"one\.count: .* cannot be written: File exists"):
        Ledger("one", tmp_path)
    ledger.close()
    Ledger("one", tmp_path).close()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        FraudrayError, match=r"count of decisions cannot be written: Not a dir|File exists"
    ):
        Ledger("one", tmp_path / "file")


def test_what_is_open_is_not_left_behind(ledger: Ledger, tmp_path: Path) -> None:
    decide(ledger, "a", 3)
    assert left_behind(tmp_path) == {}
    ledger.close()  # nobody has acknowledged the three
    assert left_behind(tmp_path) == {"one": Count(3, 0)}
    forget(tmp_path, "one")
    assert left_behind(tmp_path) == {}


WRITER = """
import sys
from pathlib import Path
from serve_app.ledger import Ledger
ledger = Ledger("killed", Path(sys.argv[1]), capacity=1_000)
rows = 0
while True:
    ledger.decided(f"{rows}", "1", "champion", 0.5, [0.1] * 3, [0] * 3)
    rows += 3
    sys.stdout.write(f"{rows}\\n")
    sys.stdout.flush()
"""


@pytest.mark.slow
def test_a_killed_process_leaves_the_exact_count(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, tmp_path], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= 3_000:
            break
    assert left_behind(tmp_path) == {}
    process.send_signal(signal.SIGKILL)
    rows = int((line + process.stdout.read()).splitlines()[-1])
    process.wait()
    (left,) = left_behind(tmp_path).values()
    # It may die between counting and telling.
    assert sum(left) in (rows, rows + 3)
    assert left.numbered == 999
