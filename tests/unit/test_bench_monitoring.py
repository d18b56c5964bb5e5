"""What the benchmark of monitoring takes for its interval, and that it leaves out what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from math import comb
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    """The benchmark, which finds its neighbours beside itself."""
    sys.path.insert(0, str(BENCHMARKS))
    yield import_module("bench_monitoring")
    sys.path.remove(str(BENCHMARKS))


@pytest.mark.parametrize("count", range(6, 41))
def test_the_interval_is_the_narrowest_that_holds_the_median_often_enough(
    bench: Any, count: int
) -> None:
    def outside(left: int) -> float:
        """How often the median lies beyond the `left` + 1 outermost of so many draws."""
        return 2 * sum(comb(count, below) for below in range(left + 1)) / 2**count

    low, high = bench.interval([float(n) for n in reversed(range(count))])

    assert low + high == count - 1
    assert outside(int(low)) <= 0.05 < outside(int(low) + 1)


def test_the_page_says_what_the_pairs_say(bench: Any) -> None:
    def load(throughput: float) -> Any:
        return SimpleNamespace(throughput=throughput, p99=100.0, failed=0)

    pairs = [bench.Pair(load(1000 - 10 * n), load(1000)) for n in range(10)]
    told = bench.block(pairs)
    assert "Monitoring costs 4.5 % of the throughput" in told
    assert "at most 5 %: met" in told
    assert "between 1.0 and 8.0 %" in told
    assert "MISSED" in bench.block([bench.Pair(load(900), load(1000))])


def test_the_unwatched_graph_counts_nothing() -> None:
    code = """
from serve_app.metrics.bridge import Bridge
from serve_app.tally import Tally
Bridge("fraudray", lambda: 1 / 0).tell()
tally = Tally()
tally.note("1", None, {}, range(3))
assert not tally.take()
"""
    path = os.pathsep.join((str(BENCHMARKS / "unwatched"), str(ROOT)))
    told = {}
    for way, given in {"unwatched": path, "watched": str(ROOT)}.items():
        done = subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": given},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        told[way] = done.stderr
    assert told["unwatched"] == ""
    assert "ZeroDivisionError" in told["watched"]
