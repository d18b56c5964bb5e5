"""The decision log: every decision once, whatever the database and the processes do."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fraudray.cli import cli
from serve_app import decision_log, retention
from serve_app.decision_log import DecisionLog
from serve_app.decisions import (
    DecisionLogError,
    DecisionStore,
    Feedback,
    Loss,
    Quality,
    StoreAway,
)
from serve_app.delivery import Delivery
from serve_app.ledger import Ledger, left_behind
from serve_app.retention import Old, Pruned
from training.errors import UsageError

_names = count()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, real, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/log/decisions.db"
    server = sa.make_url(request.getfixturevalue("postgres"))
    name = f"log{uuid.uuid4().hex}"
    with sa.create_engine(server, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    return server.set(database=name).render_as_string()


@pytest.fixture
def store(url: str) -> Iterator[DecisionStore]:
    store = DecisionStore(url)
    yield store
    store.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "decisions.db"


@pytest.fixture
def log(file: Path, tmp_path: Path) -> Iterator[DecisionLog]:
    log = DecisionLog("payments", f"sqlite:///{file}", tmp_path)
    yield log
    log.close()


@pytest.fixture
def new_ledger(tmp_path: Path) -> Callable[..., Ledger]:
    return lambda capacity=200_000: Ledger(f"ingress-{next(_names)}", tmp_path, capacity)


def decide(ledger: Ledger, *requests: tuple[str, list[float]], version: str = "3") -> None:
    for request_id, probability in requests:
        decision = [int(p >= 0.5) for p in probability]
        ledger.decided(request_id, version, "champion", 0.5, probability, decision)


def taken(ledger: Ledger) -> Delivery:
    delivery = ledger.take()
    assert delivery is not None
    return delivery


def held(url: str, columns: str, order: str = "ledger, seq") -> list[Any]:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        query = f"SELECT {columns} FROM decisions_made ORDER BY {order}"  # noqa: S608
        rows = connection.execute(sa.text(query))
        found = [tuple(row) for row in rows]
    engine.dispose()
    return found


def locked(file: Path) -> sqlite3.Connection:
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    return other


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_app.decisions._PATIENCE", 0)
    monkeypatch.setattr(decision_log, "PAUSE", 0.0)


# The store


def test_rows_are_kept_exactly(
    url: str, store: DecisionStore, new_ledger: Callable[..., Ledger]
) -> None:
    ledger = new_ledger()
    before = time.time()
    decide(ledger, ("a", [0.1 + 0.2, 1e-300]), ("b", [1.0]))
    ledger.decided("b", "4", "challenger", 1 / 3, [0.25], [0])
    assert store.append("payments", taken(ledger)) == 4
    columns = "seq, request_id, payment, model, version, role, probability, threshold, decision"
    assert held(url, columns) == [
        (0, "a", 0, "payments", "3", "champion", 0.1 + 0.2, 0.5, 0),
        (1, "a", 1, "payments", "3", "champion", 1e-300, 0.5, 0),
        (2, "b", 0, "payments", "3", "champion", 1.0, 0.5, 1),
        (3, "b", 0, "payments", "4", "challenger", 0.25, 1 / 3, 0),
    ]
    assert all(before <= at <= time.time() for (at,) in held(url, "at"))


def test_rows_held_already_stay_as_they_are(
    url: str, store: DecisionStore, new_ledger: Callable[..., Ledger]
) -> None:
    ledger = new_ledger()
    requests = [(f"r{i}", [0.1, 0.9]) for i in range(1_500)]  # more than one statement carries
    decide(ledger, *requests)
    assert store.received(ledger.name) == 0
    delivery = taken(ledger)
    assert store.append("payments", delivery) == 3_000
    assert store.append("payments", delivery) == 0
    assert store.received(ledger.name) == 3_000
    assert held(url, "count(*)", "1") == [(3_000,)]


def test_labels_of_unknown_decisions_are_returned(
    store: DecisionStore, new_ledger: Callable[..., Ledger]
) -> None:
    ledger = new_ledger()
    decide(ledger, *((f"r{i}", [0.1, 0.9]) for i in range(1_200)))
    store.append("payments", taken(ledger))
    known = [Feedback(f"r{i}", i % 2, payment=i % 3 % 2) for i in range(1_200)]
    unknown = [Feedback("r1", 1, payment=2), Feedback("s", 0)]
    assert store.label([unknown[0], *known, unknown[1]]) == unknown
    (quality,) = store.quality("payments", 0, time.time())
    assert quality.labelled == 1_200
    assert store.label([]) == []


def test_quality_counts_the_last_label_of_the_last_decision(
    store: DecisionStore, new_ledger: Callable[..., Ledger]
) -> None:
    ledger = new_ledger()
    decide(ledger, ("hit", [0.9]), ("alarm", [0.9]), ("miss", [0.1]), ("right", [0.1, 0.2]))
    decide(ledger, ("again", [0.9]), ("again", [0.1]))  # a caller's retry
    ledger.decided("hit", "4", "challenger", 0.95, [0.9], [0])
    delivery = taken(ledger)
    store.append("payments", delivery)
    at = float(delivery.at[-1])
    labels = {"hit": 1, "alarm": 0, "miss": 1, "right": 0, "again": 0}
    store.label([Feedback("hit", 0, at=at), Feedback("right", 1, at=at)])  # mended below
    store.label([Feedback(name, label, at=at + 60) for name, label in labels.items()])
    store.label([Feedback("right", 0, payment=1, at=at + 60)])
    since = pytest.approx(60, abs=1)
    champion, challenger = store.quality("payments", 0, time.time())
    assert champion == Quality("3", "champion", 6, 1, 1, 1, 3, since)
    assert challenger == Quality("4", "challenger", 1, 0, 0, 1, 0, since)
    assert store.quality("payments", time.time(), time.time() + 1) == []
    assert store.quality("others", 0, time.time()) == []


def test_losses_are_noted_once(store: DecisionStore) -> None:
    for loss in (Loss("one", 5, 100.0), Loss("two", 7, 200.0), Loss("one", 9, 300.0)):
        store.lose("payments", loss)
    assert store.losses("payments", 0) == [Loss("two", 7, 200.0), Loss("one", 5, 100.0)]
    assert store.losses("payments", 150) == [Loss("two", 7, 200.0)]
    assert store.losses("others", 0) == []


def decide_at(ledger: Ledger, store: DecisionStore, at: list[float], payments: int = 2) -> None:
    """Requests decided at these times, in the database."""
    if at:
        decide(ledger, *((f"{ledger.name}-{t}", [0.1] * payments) for t in at))
        delivery = taken(ledger)
        store.append("payments", replace(delivery, at=np.array(at)))
        ledger.acknowledge(delivery)


times = st.lists(st.integers(0, 9), max_size=12).map(lambda at: [float(t) for t in sorted(at)])


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=times, second=times, before=st.integers(0, 10))
def test_what_is_old_leaves_and_nothing_else(
    first: list[float], second: list[float], before: int,
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(retention, "_REQUESTS", 3)  # so that it takes several transactions
    monkeypatch.setattr(retention, "_PAYMENTS", 4)
    folder = tmp_path_factory.mktemp("old")
    store = DecisionStore(url := f"sqlite:///{folder}/decisions.db")
    ledgers = {f"ingress{i}": Ledger(f"ingress{i}", folder, 100) for i in range(2)}
    kept = []
    for ledger, at in zip(ledgers.values(), (first, second), strict=True):
        decide_at(ledger, store, at)
        kept += [(ledger.name, t) for t in at[:-1] if t >= before for _ in "ab"]
        kept += [(ledger.name, t) for t in at[-1:] for _ in "ab"]
    received = {name: store.received(name) for name in ledgers}
    counted = store.old(before)

    pruned = store.prune(before)

    assert held(url, "ledger, at") == kept
    assert pruned.payments == 2 * len(first + second) - len(kept)
    assert (sum(o.requests for o in counted), sum(o.payments for o in counted)) == pruned[:2]
    assert {name: store.received(name) for name in ledgers} == received
    assert store.prune(before) == Pruned()
    store.close()
    for ledger in ledgers.values():
        ledger.close()


def test_labels_leave_with_their_decisions_and_losses_stay(
    url: str, store: DecisionStore, new_ledger: Callable[..., Ledger]
) -> None:
    ledger, retry = new_ledger(), new_ledger()
    decide_at(ledger, store, [1.0, 2.0, 3.0])
    decide(retry, (f"{ledger.name}-1.0", [0.1, 0.2]), ("last", [0.1]))  # the caller asked again
    store.append("payments", taken(retry))
    labels = [Feedback(f"{ledger.name}-{t}", 1) for t in (1.0, 2.0, 3.0)]
    assert store.label(labels) == []
    store.lose("payments", Loss("gone", 5, 1.0))
    assert store.old(3.0) == [Old(ledger.name, 4, 2, 4)]

    assert store.prune(3.0) == Pruned(2, 4, 0)  # labels are younger
    with sa.create_engine(url).begin() as connection:
        connection.execute(sa.text("UPDATE feedback SET received = 2.5"))
    assert store.prune(3.0) == Pruned(0, 0, 1)

    with sa.create_engine(url).connect() as connection:
        left = connection.execute(sa.text("SELECT request_id FROM feedback ORDER BY id"))
        assert list(left.scalars()) == [f"{ledger.name}-1.0", f"{ledger.name}-3.0"]
    assert store.losses("payments", 0) == [Loss("gone", 5, 1.0)]


def test_pruning_costs_no_killed_ingress_its_count(
    log: DecisionLog, file: Path, new_ledger: Callable[..., Ledger]
) -> None:
    ledger = new_ledger()
    decide(ledger, ("a", [0.1, 0.9]), ("b", [0.1]))
    log.deliver(taken(ledger))
    ledger.acknowledge(taken(ledger))
    store = DecisionStore(f"sqlite:///{file}")
    assert store.prune(time.time() + 1) == Pruned(1, 2, 0)
    store.close()
    ledger.close()
    assert log.stats()["log"]["lost"] == []


@pytest.mark.parametrize("mode", ["days", "before"])
def test_the_command_prunes_the_log_of_the_graph(
    mode: str, url: str, store: DecisionStore, new_ledger: Callable[..., Ledger],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    day, now = 86400, time.time()
    decide_at(new_ledger(), store, [now - 10 * day, now - 9 * day, now - day, now])
    monkeypatch.setenv("FRAUDRAY_DECISIONS", url)
    date = time.strftime("%Y-%m-%d", time.gmtime(now - 5 * day))
    limit = ["--days", "5"] if mode == "days" else ["--before", date]

    counted = CliRunner().invoke(cli, ["decisions", "prune", *limit, "--dry-run"])
    assert "4 decisions of 2 requests" in counted.stderr
    assert len(held(url, "seq")) == 8
    done = CliRunner().invoke(cli, ["decisions", "prune", *limit, "--json"])

    assert '"payments": 4' in done.stdout
    assert len(held(url, "seq")) == 4


@pytest.mark.parametrize("limit", [[], ["--days", "5", "--before", "2026-01-01"]])
def test_the_command_wants_one_limit(limit: list[str]) -> None:
    refused = CliRunner().invoke(cli, ["decisions", "prune", *limit])
    assert isinstance(refused.exception, UsageError)


def test_a_day_to_come_is_refused() -> None:
    refused = CliRunner().invoke(cli, ["decisions", "prune", "--before", "2999-01-01"])
    assert "expected a day that has begun" in str(refused.exception)


def test_tables_that_are_there_stay(
    url: str, store: DecisionStore, new_ledger: Callable[..., Ledger]
) -> None:
    ledger = new_ledger()
    decide(ledger, ("a", [0.1]))
    store.append("payments", taken(ledger))
    another = DecisionStore(url)
    assert another.received(ledger.name) == 1
    another.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("decisions.db", "expected sqlite:///path or postgresql://"),
        ("sqlite://", "expected sqlite:///path or postgresql://"),
        ("mysql://user:secret@host/base", r"is 'mysql://user:\*\*\*@host/base'"),
    ],
)
def test_another_url_is_refused(url: str, said: str) -> None:
    with pytest.raises(DecisionLogError, match=said) as refused:
        DecisionStore(url)
    assert "secret" not in str(refused.value)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DecisionLogError, match="its folder cannot be made"):
        DecisionStore(f"sqlite:///{tmp_path}/file/below/decisions.db")


def test_a_server_that_is_not_there_is_away(free_ports: Callable[[int], list[int]]) -> None:
    (port,) = free_ports(1)
    store = DecisionStore(f"postgresql://mlflow:secret@127.0.0.1:{port}/postgres")
    with pytest.raises(StoreAway, match="refused") as away:
        store.received("one")
    assert "secret" not in str(away.value)
    assert "\n" not in str(away.value)


@pytest.mark.slow
def test_a_server_that_cuts_its_connections_is_back_at_once(
    postgres: str, new_ledger: Callable[..., Ledger]
) -> None:
    url = postgres.replace("+psycopg2", "")
    store, ledger = DecisionStore(url), new_ledger()
    decide(ledger, ("a", [0.1]))
    assert store.append("payments", taken(ledger)) == 1
    with sa.create_engine(postgres).connect() as other:
        others = sa.text(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        assert other.execute(others).all()
    assert store.append("payments", taken(ledger)) == 0
    store.close()


# The writer

steps = st.lists(
    st.tuples(
        st.sampled_from(["decide", "answer", "deliver", "unheard", "late", "away", "back", "new"]),
        st.integers(0, 1),
    ),
    max_size=30,
)


@pytest.mark.usefixtures("impatient")
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_every_decision_ends_in_the_database_once(
    steps: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whether deliveries are repeated, answered in vain, or refused; the writer may be another."""
    folder = tmp_path_factory.mktemp("log")
    url = f"sqlite:///{folder}/decisions.db"
    log = DecisionLog("payments", url, folder)
    ledgers = [Ledger(f"ingress{i}", folder, 8) for i in range(2)]
    away: sqlite3.Connection | None = None
    earlier: list[Delivery] = []
    made, dropped, answers = [0, 0], [0, 0], 0

    def deliver(which: int, *, heard: bool = True) -> None:
        delivery = ledgers[which].take()
        if delivery is None:
            return
        kept = log.deliver(delivery)
        assert kept or (away and len(delivery.probability))
        earlier.append(delivery)
        if heard:
            ledgers[which].acknowledge(delivery, kept=kept)
            dropped[which] += delivery.dropped

    log.stats()
    for step, which in steps:
        match step:
            case "decide":
                decide(ledgers[which], (f"{which}-{made[which]}", [0.1, 0.9]))
                made[which] += 2
            case "answer":
                ledgers[which].answered("/v1/predict", 200, 0.01)
                answers += 1
            case "deliver":
                deliver(which)
            case "unheard":
                deliver(which, heard=False)
            case "late" if earlier and not away:
                log.deliver(earlier[which % len(earlier)])
            case "away" if not away:
                away = locked(folder / "decisions.db")
            case "back" if away:
                away.close()
                away = None
            case "new":
                log.close()
                log = DecisionLog("payments", url, folder)
                answers = -1_000_000  # it has not seen them all
            case _:
                pass
    if away:
        away.close()
        away = None
    for which in (0, 1, 0, 1):
        deliver(which)
    stats = log.stats()
    log.close()
    for ledger in ledgers:
        assert ledger.take() is None
        ledger.close()
    expected = [(f"ingress{i}", n) for i in (0, 1) for n in range(made[i] - dropped[i])]
    assert held(url, "ledger, seq") == expected
    assert len(set(held(url, "request_id, payment"))) == len(expected)
    assert stats["log"]["pending"] == 0
    assert stats["log"]["lost"] == []
    if answers >= 0:
        assert stats["log"]["written"] == len(expected)
        assert stats["log"]["dropped"] == sum(dropped)
        assert stats["requests"] == ({"/v1/predict": {"200": answers}} if answers else {})
    assert left_behind(folder) == {}


@pytest.mark.usefixtures("impatient")
def test_while_the_database_is_away_ledgers_keep_their_decisions(
    log: DecisionLog, file: Path, new_ledger: Callable[..., Ledger]
) -> None:
    ledger = new_ledger(capacity=4)
    decide(ledger, ("a", [0.1, 0.9]))
    assert log.deliver(taken(ledger))
    ledger.acknowledge(taken(ledger))
    log.close()
    log = DecisionLog(log.model, f"sqlite:///{file}", file.parent)
    other = locked(file)
    decide(ledger, ("b", [0.1, 0.9]))
    for _ in range(3):
        assert not log.deliver(taken(ledger))
    ledger.acknowledge(taken(ledger), kept=False)
    with pytest.raises(StoreAway, match="locked"):
        log.feedback([Feedback("a", 1)])
    decide(ledger, ("c", [0.1, 0.9]), ("d", [0.1]))  # the last finds no place
    assert not log.deliver(taken(ledger))
    stats = log.stats()
    assert stats["log"]["pending"] == 4
    assert stats["log"]["dropped"] == 1
    # What happens is seen all the same, and once.
    assert stats["decisions"]["3"]["champion"] == {"0": 2, "1": 2}
    assert "locked" in stats["log"]["away"]
    other.close()
    while delivery := ledger.take():
        log.deliver(delivery)
        ledger.acknowledge(delivery)
    state = log.stats()["log"]
    assert state == {"pending": 0, "written": 4, "dropped": 1, "lost": [], "away": None}
    assert [r for (r,) in held(f"sqlite:///{file}", "request_id")] == ["a", "a", "b", "b", "c", "c"]
    ledger.close()
    log.close()


def test_nobody_waits_for_a_database_that_was_away_a_moment_ago(
    log: DecisionLog, file: Path, new_ledger: Callable[..., Ledger],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(decision_log, "PAUSE", 30.0)
    log.stats()
    ledger = new_ledger()
    decide(ledger, ("a", [0.1]))
    other = locked(file)
    assert not log.deliver(taken(ledger))
    began = time.monotonic()
    for _ in range(100):
        assert not log.deliver(taken(ledger))
    assert time.monotonic() - began < decision_log.PAUSE
    other.close()
    ledger.close()


def test_labels_are_seen_in_the_quality_at_once(
    log: DecisionLog, new_ledger: Callable[..., Ledger]
) -> None:
    ledger = new_ledger()
    decide(ledger, ("a", [0.1, 0.9]))
    log.deliver(taken(ledger))
    assert log.stats()["quality"] == []
    assert log.feedback([Feedback("a", 1, payment=1)]) == []
    assert log.feedback([Feedback("b", 1)]) == [Feedback("b", 1)]
    (quality,) = log.stats()["quality"]
    assert (quality["version"], quality["labelled"], quality["true_positive"]) == ("3", 1, 1)
    ledger.close()


INGRESS = """
import sys
from pathlib import Path
from serve_app.decision_log import DecisionLog
from serve_app.ledger import Ledger
log = DecisionLog("payments", sys.argv[2], Path(sys.argv[1]))
ledger = Ledger("killed", Path(sys.argv[1]), capacity=1_000)
for i in range(1_200):
    ledger.decided(f"r{i}", "1", "champion", 0.5, [0.1], [0])
    if i == 299:
        log.deliver(ledger.take())
        ledger.acknowledge(ledger.take())
print("made", flush=True)
while True:
    pass
"""


@pytest.mark.slow
def test_what_a_killed_ingress_had_is_counted_exactly(
    log: DecisionLog, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", INGRESS, tmp_path, f"sqlite:///{file}"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "made\n"
    assert log.stats()["log"]["lost"] == []  # it may still deliver them
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (loss,) = log.stats()["log"]["lost"]
    assert (loss["ledger"], loss["decisions"]) == ("killed", 900)
    assert left_behind(tmp_path)  # its last delivery may be on the way
    monkeypatch.setattr(decision_log, "UNDERWAY", 0.0)
    assert log.stats()["log"]["lost"] == [loss]
    assert left_behind(tmp_path) == {}
    later = DecisionLog("payments", f"sqlite:///{file}", tmp_path)
    assert later.stats()["log"]["lost"] == [loss]
    later.close()


def test_decisions_dropped_and_told_are_not_lost_again(
    log: DecisionLog, new_ledger: Callable[..., Ledger]
) -> None:
    ledger = new_ledger(capacity=2)
    decide(ledger, ("a", [0.1, 0.9]), ("b", [0.1, 0.9]))
    log.deliver(taken(ledger))
    ledger.acknowledge(taken(ledger))
    decide(ledger, ("c", [0.1, 0.9]), ("d", [0.1]))
    ledger.close()  # two rows undelivered, one dropped and not told
    state = log.stats()["log"]
    assert state["dropped"] == 2
    assert [loss["decisions"] for loss in state["lost"]] == [3]
