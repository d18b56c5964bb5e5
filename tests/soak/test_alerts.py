"""Faults and drift, for real: each trips the alerts that are about it, and no others.

One graph, one Prometheus, on a clock that is ten times faster: it reports and is read every two
seconds, and every duration in the rules is ten times shorter. What a scenario trips may fire on in
the next one, since budgets and windows of drift remember; only what begins counts.
"""

from __future__ import annotations

import itertools
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import pyarrow as pa
import pytest

from serve_app.exchange import ARROW
from training.data import check, records_of
from training.scenarios import befall
from training.simulate import simulate
from training.spec import DatasetSpec

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1500)]

FASTER = 10.0
RATE = 40.0
"""Payments a second that callers send all the time, one a request."""
CALM = 150.0
"""Seconds without an alert at the start: 25 minutes on the clock of the rules."""
PATIENCE = 400.0
"""Seconds within which an alert must fire."""
QUIET = 20.0
"""Seconds for which others have their chance after the last that was expected."""
DEATHS, LIFE = 10, 8.0
"""Replicas that die one after the other, and the seconds that each lives: it holds the version by
then, or the stage would lack it, which is another alert."""
LOCKED = 90.0
"""Seconds for which nobody else can write decisions: fifteen minutes on the clock of the rules."""
CONNECTIONS, PAUSE = 24, 1500
"""Each with 30,000 payments, more than two ingresses let wait, and again after some milliseconds.
Without a pause the machine would be too busy to be read every two seconds."""

Alert = tuple[str, tuple[tuple[str, str], ...]]
"""Its name, and the labels that say what it is about."""


@dataclass
class Callers:
    """Callers who send payments of the simulator one after the other, as long as the block runs.

    Attributes
    ----------
    payments
        What is sent from now on, again and again.
    """

    url: str
    payments: list[dict[str, Any]]
    failed: list[str] = field(default_factory=list)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Send while the block runs."""
        over = threading.Event()

        def go_on(first: int) -> None:
            with httpx.Client(base_url=self.url, timeout=30) as client:
                for number in itertools.count(first, 2):
                    if over.wait(2 / RATE):
                        return
                    payment = self.payments[number % len(self.payments)]
                    try:
                        client.post("/v1/predict", json=payment).raise_for_status()
                    except httpx.HTTPError as error:
                        self.failed.append(str(error))

        threads = [threading.Thread(target=go_on, args=(first,)) for first in (0, 1)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            over.set()
            for thread in threads:
                thread.join()


@dataclass
class Watch:
    """A graph that is used and watched."""

    served: Any
    prometheus: Any
    callers: Callers

    def begins(self, expected: set[str], work: Callable[[], None] | None = None) -> set[str]:
        """The alerts that begin to fire from now on, until all that are expected have.

        Then others have their chance, those that are pending until they fire or no longer are.
        """
        before, seen, began = self._firing(), {}, time.monotonic()
        last = began
        with ThreadPoolExecutor(1) as pool:
            working = pool.submit(work or (lambda: None))
            while time.monotonic() - began < PATIENCE:
                for alert in self._firing() - before - seen.keys():
                    last = seen[alert] = time.monotonic()
                    print(f"  after {last - began:3.0f} s {alert[0]} {dict(alert[1])}", flush=True)
                whole = expected <= {name for name, _ in seen} and working.done()
                quiet = time.monotonic() - last > QUIET and not self.prometheus.alerts("pending")
                if whole and quiet:
                    break
                time.sleep(1)
            working.result()
        return {name for name, _ in seen}

    def _firing(self) -> set[Alert]:
        return {
            (name, tuple(sorted((k, v) for k, v in labels.items() if k in KINDS)))
            for name, found in self.prometheus.alerts().items()
            for labels in found
        }


KINDS = {"feature", "kind", "cause", "window", "stage", "deployment"}
"""Labels that say what an alert is about."""


def payments(scenario: str | None = None) -> list[dict[str, Any]]:
    """What callers send, as it comes or in a scenario; in no order of time."""
    spec, frame = DatasetSpec.load("payments"), simulate(30_000, seed=21)
    if scenario is not None:
        frame = befall(frame, scenario)
    rows = check(frame.sample(frac=1, random_state=0), spec, source="simulated")
    return list(records_of(rows, list(spec.inputs)))


@pytest.fixture(scope="module")
def watch(
    start_graph: Any, start_prometheus: Any, free_ports: Callable[[int], list[int]]
) -> Iterator[Watch]:
    """Callers send what the model was trained for, to two replicas a stage."""
    (port,) = free_ports(1)
    with start_graph(RAY_metrics_report_interval_ms="2000") as served:
        served.double()
        callers = Callers(served.url, payments())
        with (
            start_prometheus(served.home / "state", port, FASTER) as prometheus,
            callers.going_on(),
        ):
            yield Watch(served, prometheus, callers)


def test_nothing_fires_while_all_is_well(watch: Watch) -> None:
    time.sleep(20)
    print(f"\nall is well, {CALM:.0f} s")
    began, seen = time.monotonic(), {}
    while time.monotonic() - began < CALM:
        seen |= watch.prometheus.alerts()
        time.sleep(1)
    assert seen == {}
    assert watch.callers.failed == []


def _befallen(watch: Watch, scenario: str, expected: set[str]) -> None:
    before, watch.callers.payments = watch.callers.payments, payments(scenario)
    try:
        assert watch.begins(expected) == expected
    finally:
        watch.callers.payments = before


def test_a_field_that_callers_no_longer_send_is_told(watch: Watch) -> None:
    print("\ncallers leave out the amount")
    _befallen(watch, "broken-field", {"FraudrayFieldBroken", "FraudrayFeatureDrift"})
    (broken,) = watch.prometheus.alerts()["FraudrayFieldBroken"]
    assert (broken["feature"], broken["kind"]) == ("amount", "missing")


def test_a_new_pattern_of_fraud_is_told(watch: Watch) -> None:
    print("\nthree of four payments are of a new pattern of fraud")
    expected = {"FraudrayAlertRateJump", "FraudrayScoreDrift", "FraudrayFeatureDrift"}
    _befallen(watch, "new-fraud-pattern", expected)


def test_a_bad_bundle_is_told(watch: Watch) -> None:
    print("\na version that cannot be loaded is named in the registry")

    served = watch.served
    name = partial(
        served.tracking()._client.set_registered_model_alias, "fraudray-payments", "champion"
    )

    def by_hand() -> None:
        """In MLflow, past all checks; and taken back."""
        name(served.damaged())
        try:
            served.until(lambda: bool(served.model["failed"]))
        finally:
            name("1")

    assert watch.begins({"FraudrayPromotionFailed"}, by_hand) == {"FraudrayPromotionFailed"}
    assert watch.callers.failed == []


def test_replicas_that_die_again_and_again_are_told(watch: Watch) -> None:
    print(f"\na replica of the stage Model dies after some seconds, {DEATHS} times")
    served = watch.served

    def kill() -> None:
        for _ in range(DEATHS):
            before = served.replicas("Model")
            # The one that has come last: the other serves.
            max(before, key=lambda p: p.create_time()).kill()
            known = {p.pid for p in before}
            served.until(lambda: {p.pid for p in served.replicas("Model")} - known, 60)  # noqa: B023
            time.sleep(LIFE)

    expected = {"FraudrayReplicaCrashLooping", "FraudrayWorkerLost"}
    assert watch.begins(expected, kill) == expected
    assert watch.callers.failed == []


def test_a_decision_log_that_cannot_be_written_is_told(watch: Watch) -> None:
    print(f"\nthe decision log's database is locked for {LOCKED:.0f} s")

    def lock() -> None:
        other = sqlite3.connect(watch.served.home / "state" / "decisions.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        time.sleep(LOCKED)
        other.close()

    # Payments are answered and counted meanwhile: nobody may call that an end of traffic.
    expected = {"FraudrayDecisionLogDown"}
    assert watch.begins(expected, lock) == expected
    assert watch.callers.failed == []


def test_overload_is_told(watch: Watch, require: Callable[[str], str], tmp_path: Any) -> None:
    print(f"\n{CONNECTIONS} callers with all payments of a month at once")
    wrk = require("wrk")
    table = pa.Table.from_pylist(watch.callers.payments)
    body, script = tmp_path / "month.arrow", tmp_path / "post.lua"
    with pa.ipc.new_stream(body, table.schema) as stream:
        stream.write_table(table)
    script.write_text(
        'wrk.method = "POST"\n'
        f'wrk.headers["Content-Type"] = "{ARROW}"\n'
        f'wrk.body = io.open("{body}", "rb"):read("*a")\n'
        f"function delay() return {PAUSE} end\n"
    )

    def crowd() -> None:
        subprocess.run(
            [wrk, "-t1", f"-c{CONNECTIONS}", "-d90s", "--timeout", "30s", "-s",
             str(script), f"{watch.served.url}/v1/predict/batch"],
            check=True, capture_output=True,
        )  # fmt: skip

    expected = {"FraudrayOverload", "FraudrayErrorBudgetBurn"}
    # Who is let in may be slow, too, and more may be decided than the log takes.
    others = {"FraudrayLatencyBudgetBurn", "FraudrayDecisionsLost"}
    assert watch.begins(expected, crowd) - others == expected
