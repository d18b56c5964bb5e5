"""Single payments: every server alone, in several settings, at one connection and at 64."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import joblib  # type: ignore[import-untyped]
from page import Broken, met, table
from serving_case import Case
from serving_graph import replicas
from serving_load import Load, write_bodies, wrk
from serving_servers import (
    Server,
    ceiling,
    chain,
    graph,
    mlflow,
    original,
    own_fastapi,
)
from sklearn_pipeline import build

from fraudray.runtime import free_ports

MANY: Final = 64
TIMES: Final = {"original": 12.0, "mlflow": 10.0, "chain": 4.0, "fastapi-1": 1.0, "ceiling": 0.6}
HALF: Final = 0.5  # of the original's median at one connection


@dataclass(frozen=True)
class Measured:
    """One server in one setting.

    Attributes
    ----------
    apart
        From the offline probabilities; None for the constant.
    """

    server: Server
    settings: str
    apart: float | None
    alone: Load
    crowd: Load

    @property
    def throughput(self) -> float:
        """At 64 connections, requests a second."""
        return self.crowd.throughput


@dataclass(frozen=True)
class Single:
    """Who was measured, by peer; each list holds the settings tried."""

    tried: dict[str, list[Measured]]

    def best(self, peer: str) -> Measured:
        """Its best setting, by throughput at 64 connections."""
        return max(self.tried[peer], key=lambda m: m.throughput)

    def quickest(self, peer: str) -> Measured:
        """Its best setting, by the median at one connection."""
        return min(self.tried[peer], key=lambda m: m.alone.p50)

    @cached_property
    def rivals(self) -> dict[str, Measured]:
        """Every peer at its best; FastAPI with our scoring once for each number of workers."""
        found = {peer: self.best(peer) for peer in self.tried if peer not in ("ours", "fastapi")}
        for number, measured in enumerate(self.tried.get("fastapi", []), 1):
            found[f"fastapi-{number}"] = measured
        return found


PEERS: Final = ("original", "mlflow", "chain", "fastapi", "ceiling", "ours")


def single(case: Case, *, seconds: float, warm: float, peers: Sequence[str] = PEERS) -> Single:
    """Measure the given peers.

    Parameters
    ----------
    seconds
        Of a measurement.
    warm
        Seconds of load before the first one.
    """
    (dashboard,) = free_ports(1)
    if "original" in peers:
        pipeline = build(case.champion, case.material.dataset.take(case.material.parts.train))
        joblib.dump(pipeline, case.environment["BENCH_PIPELINE"])
    servers = {
        "original": [original(w, t) for w in (1, 2) for t in (1, 40)],
        "mlflow": [mlflow(w) for w in (1, 2, 4)],
        "chain": [chain(1, 1), chain(2, 1), chain(2, 2)],
        "fastapi": [own_fastapi(w) for w in (1, 2)],
        "ceiling": [ceiling(1), ceiling(2)],
        "ours": [graph(dashboard)],
    }
    return Single(
        {
            peer: [_measured(s, case, seconds, warm, dashboard) for s in servers[peer]]
            for peer in peers
        }
    )


def single_block(found: Single) -> str:
    """The table, the aims and every setting tried."""
    rows = [_row(m) for m in sorted(found.rivals.values(), key=lambda m: m.throughput)]
    rows += [_row(m) for m in found.tried.get("ours", [])]
    settings = [
        [m.server.name, m.settings, f"{m.throughput:,.0f}", f"{m.crowd.p99:.1f}",
         f"{m.alone.throughput:,.0f}", f"{m.alone.p50:.2f}"]
        for tried in found.tried.values() for m in tried
    ]  # fmt: skip
    heads = ["server", "settings", "requests/s at 64", "p50, ms", "p95", "p99", "longest",
             "failed", "p50 at 1, ms", "p95 at 1", "p99 at 1", "probabilities apart"]  # fmt: skip
    parts = [table(heads, rows)]
    if "ours" in found.tried:
        parts.append(_aims(found))
    parts += [
        "Every setting tried:",
        table(["server", "settings", "requests/s at 64", "p99, ms", "requests/s at 1",
               "p50 at 1, ms"], settings),
    ]  # fmt: skip
    return "\n\n".join(parts)


def _measured(server: Server, case: Case, seconds: float, warm: float, dashboard: int) -> Measured:
    bodies = write_bodies(case.folder / "single.bodies", map(server.body, case.bodies))
    with server.running(case) as url:
        apart = server.check(case, url)
        wrk(url + server.path, bodies, connections=MANY, seconds=warm)
        server.check(case, url, 1)  # answered once the server is done with what wrk left behind
        crowd = wrk(url + server.path, bodies, connections=MANY, seconds=seconds)
        settings = replicas(case, dashboard) if server.name == "fraudray" else server.settings
        server.check(case, url, 1)
        alone = wrk(url + server.path, bodies, connections=1, seconds=seconds)
    measured = Measured(server, settings, apart, alone, crowd)
    if crowd.throughput <= 0 or alone.throughput <= 0:
        raise Broken(f"{server.name}, {settings}: answered nothing under load")
    print(
        f"  {server.name}, {settings}: {crowd.throughput:,.0f}/s at {MANY} (p99 {crowd.p99:.1f} "
        f"ms, {crowd.failed} failed), p50 {alone.p50:.2f} ms at 1",
        file=sys.stderr, flush=True,
    )  # fmt: skip
    return measured


def _row(m: Measured) -> list[str]:
    apart = "" if m.apart is None else f"{m.apart:.0e}"
    crowd, alone = m.crowd, m.alone
    return [
        m.server.name, m.settings, f"{m.throughput:,.0f}", f"{crowd.p50:.1f}", f"{crowd.p95:.1f}",
        f"{crowd.p99:.1f}", f"{crowd.longest:.0f}", f"{crowd.failed + alone.failed}",
        f"{alone.p50:.2f}", f"{alone.p95:.2f}", f"{alone.p99:.2f}", apart,
    ]  # fmt: skip


def _aims(found: Single) -> str:
    ours, lines = found.best("ours"), []
    for peer, rival in found.rivals.items():
        times = ours.throughput / rival.throughput
        least = TIMES.get(peer)
        aim = "" if least is None else met(times >= least, f"{least:g}")
        slower = rival.throughput < ours.throughput
        tail = met(ours.crowd.p99 < rival.crowd.p99, f"{rival.crowd.p99:.1f} ms") if slower else ""
        lines.append([f"{rival.server.name}, {rival.settings}", f"{times:.2f}", aim, tail])
    parts = [table(["fraudray beside", "times its throughput", "at least", "p99 below"], lines)]
    if "original" in found.tried:
        theirs = found.quickest("original").alone.p50
        share = ours.alone.p50 / theirs
        parts.append(
            f"At one connection the median is {share:.2f} of the original's {theirs:.2f} ms, "
            f"{met(share < HALF, f'below {HALF:g}')}."
        )
    return "\n\n".join(parts)
