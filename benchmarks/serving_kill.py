"""Replicas killed with -9 under half load: who notices, and how long until all is as before?"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import psutil
from page import Broken, met, table
from serving_case import Case
from serving_client import Judge, Seen, crowd, quantile, steady
from serving_graph import Dashboard
from serving_servers import graph

from fraudray.runtime import free_ports
from serve_app.client import AsyncClient
from training.errors import FraudrayError

REPLICAS: Final = 2
CONNECTIONS: Final = 64
BEFORE: Final = 1.0  # seconds before a kill in which a request may be sent that it fails
CLIENT_RATE: Final = 20.0  # requests a second by our client at most, beside the bare one's
CALLERS: Final = 8  # that share our client
INNER: Final = ("FeatureEngineering", "Model", "Threshold")
INGRESS: Final = ("Ingress",)


@dataclass(frozen=True)
class Kill:
    """One replica killed.

    Attributes
    ----------
    at, until
        When, and when the next one was or the load ended; on the monotonic clock.
    in_flight
        Requests of the bare client on their way, at all replicas, at that moment.
    recovered
        Seconds until two replicas ran again; None if they never did.
    """

    deployment: str
    at: float
    until: float
    in_flight: int
    recovered: float | None


@dataclass(frozen=True)
class Kills:
    """Kills of one run, and what both clients saw of them."""

    kills: list[Kill]
    bare: Seen
    client: Seen


def kills(case: Case, *, seconds: float, warm: float) -> tuple[float, list[Kills]]:
    """Two runs of so many seconds, and the requests a second in them.

    In the first a replica of every inner stage is killed in turn, in the second one of the ingress.

    Raises
    ------
    Broken
        If there are no two replicas of every stage.
    """
    (dashboard,) = free_ports(1)
    with graph(dashboard).running(case) as url:
        watched = Dashboard(case.folder, dashboard)
        watched.scale(REPLICAS)
        rate = asyncio.run(_capacity(url, case, warm)) / 2
        runs = [
            asyncio.run(_run(url, case, watched, stages, rate, seconds))
            for stages in (INNER, INGRESS)
        ]
    return rate, runs


def kills_block(rate: float, runs: Sequence[Kills]) -> str:
    """The table, a line for every kill, with its aims."""
    rows = []
    for run in runs:
        for kill in run.kills:
            failed = _failed(run.bare, kill)
            inner = kill.deployment in INNER
            most = 0 if inner else kill.in_flight
            took = run.bare.between(kill.at - BEFORE, kill.until - BEFORE)
            back = "never" if kill.recovered is None else f"{kill.recovered:.1f}"
            rows.append([
                kill.deployment, f"{len(took):,}", f"{failed}",
                met(failed <= most, f"{most}" if inner else f"{most} in hand"),
                f"{len(run.client.between(kill.at, kill.until)):,}",
                met(_failed(run.client, kill) == 0, "0"),
                f"{quantile(took, 0.99):.0f}", f"{took.max():.0f}", back,
            ])  # fmt: skip
    heads = ["killed", "requests until the next", "failed", "at most",
             "requests of our client", "failed, at most", "p99, ms", "longest, ms",
             "two replicas again after, s"]  # fmt: skip
    mixed = sum(len(seen.mixed) for run in runs for seen in (run.bare, run.client))
    told = [what for run in runs for seen in (run.bare, run.client) for _, what in seen.failures]
    counted = sum(
        _failed(seen, kill) for r in runs for kill in r.kills for seen in (r.bare, r.client)
    )
    parts = [
        f"{rate:,.0f} requests a second by the bare client, {CLIENT_RATE:g} by ours. The "
        f"bare one sent {1e3 * max(run.bare.late for run in runs):.0f} ms late at most.",
        table(heads, rows),
        f"Answers that are not their version's: {met(mixed == 0, '0')}. Failed before the first "
        f"kill of a run: {met(len(told) == counted, '0')}.",
    ]
    if told:
        parts.append(f"For example: {'; '.join(told[:3])}")
    return "\n\n".join(parts)


def _failed(seen: Seen, kill: Kill) -> int:
    # What was on its way when the replica died was sent before; the last load ends by itself.
    return sum(kill.at - BEFORE <= at < kill.until - BEFORE for at, _ in seen.failures)


async def _capacity(url: str, case: Case, seconds: float) -> float:
    """Requests a second that two replicas a stage answer to this client, which takes its part."""

    async def once() -> float:
        end, seen = time.monotonic() + seconds, Seen()
        await crowd(f"{url}/predict", case, seen, connections=CONNECTIONS,
                    going=lambda: time.monotonic() < end)  # fmt: skip
        return (len(seen.at) - len(seen.failures)) / seconds

    await once()
    return await once()


async def _run(
    url: str, case: Case, watched: Dashboard, stages: Sequence[str], rate: float, seconds: float
) -> Kills:
    going, bare, ours = True, Seen(), Seen()
    loads = [
        asyncio.create_task(steady(f"{url}/predict", case, bare, rate=rate, going=lambda: going)),
        asyncio.create_task(_client(url, case, ours, lambda: going)),
    ]
    span = seconds / (len(stages) + 1)
    done: list[tuple[str, float, int, asyncio.Task[float | None]]] = []
    try:
        await asyncio.sleep(span)
        for stage in stages:
            victim = next(r for r in await asyncio.to_thread(watched.running)
                          if r.deployment == stage)  # fmt: skip
            if "ServeReplica" not in " ".join(psutil.Process(victim.pid).cmdline()):
                raise Broken(f"process {victim.pid} is no replica")
            done.append((
                stage, time.monotonic(), bare.in_flight,
                asyncio.create_task(_recovery(watched, stage, victim.name, seconds)),
            ))  # fmt: skip
            os.kill(victim.pid, signal.SIGKILL)
            await asyncio.sleep(span)
    finally:
        going = False
        end = time.monotonic()
        await asyncio.gather(*loads)
    ends = [*(at for _, at, _, _ in done[1:]), end + BEFORE]
    return Kills(
        [
            Kill(stage, at, until, hands, await recovery)
            for (stage, at, hands, recovery), until in zip(done, ends, strict=True)
        ],
        bare,
        ours,
    )


async def _recovery(watched: Dashboard, stage: str, victim: str, patience: float) -> float | None:
    begin = time.monotonic()
    while (waited := time.monotonic() - begin) < patience:
        running = [r.name for r in await asyncio.to_thread(watched.running)
                   if r.deployment == stage]  # fmt: skip
        if victim not in running and len(running) == REPLICAS:
            return waited
        await asyncio.sleep(0.25)
    return None


async def _client(url: str, case: Case, seen: Seen, going: Callable[[], bool]) -> None:
    """Our client's requests, by callers who each wait for an answer before they ask again.

    A few callers: httpx needs time that grows with the square of the requests that it holds, and
    thousands held in a pause of the graph would halt this process.
    """
    judge = Judge(case)
    async with AsyncClient(url) as client:

        async def one(number: int) -> None:
            payment = number * len(case.records) // CALLERS
            await asyncio.sleep(number / CLIENT_RATE)
            while going():
                begun = time.monotonic()
                payment = (payment + 1) % len(case.records)
                try:
                    answer = await client.predict_one(case.records[payment])
                    if wrong := judge.wrong(payment, dict(answer)):
                        seen.mixed.append((begun, wrong))
                except FraudrayError as error:
                    seen.failures.append((begun, f"our client: {error}"))
                finally:
                    seen.note(begun)
                await asyncio.sleep(begun + CALLERS / CLIENT_RATE - time.monotonic())

        await asyncio.gather(*map(one, range(CALLERS)))
