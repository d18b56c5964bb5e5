"""Ten promotions and rollbacks while 64 connections ask: is anything lost, mixed or late?"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from page import Broken, met, table
from serving_case import Case
from serving_client import Seen, crowd, quantile
from serving_servers import graph

from fraudray.runtime import free_ports
from serve_app.client import AsyncClient

CONNECTIONS: Final = 64
ORDERS: Final = 10
PAUSE: Final = 2.0  # seconds between an order carried out and the next
SLOWER: Final = 2.0
LONGEST_MS: Final = 1_000.0


@dataclass(frozen=True)
class Promotions:
    """What the client saw.

    Attributes
    ----------
    steady, orders
        Begin and end of the two spans, on the monotonic clock.
    seconds
        That each order took until it was carried out.
    """

    seen: Seen
    steady: tuple[float, float]
    orders: tuple[float, float]
    seconds: list[float]


def promotions(case: Case, *, seconds: float, warm: float) -> Promotions:
    """Measure `seconds` without orders, then the time that ten of them take.

    Raises
    ------
    Broken
        If the orders were carried out and one of the versions answered nothing.
    """
    with graph(free_ports(1)[0]).running(case) as url:
        found = asyncio.run(_under_load(url, case, seconds, warm))
    if set(found.seen.versions) < set(case.bundles):
        raise Broken(f"not every version answered: {found.seen.versions}")
    return found


def promotions_block(found: Promotions) -> str:
    """The table and its aims."""
    seen = found.seen
    spans = {"steady": found.steady, "promotions and rollbacks": found.orders}
    rows, tails = [], []
    for name, (begin, end) in spans.items():
        took = seen.between(begin, end)
        failed = sum(begin <= at < end for at, _ in seen.failures)
        mixed = sum(begin <= at < end for at, _ in seen.mixed)
        tails.append(quantile(took, 0.99))
        rows.append([name, f"{end - begin:.0f}", f"{len(took):,}", str(failed), str(mixed),
                     f"{quantile(took, 0.5):.1f}", f"{quantile(took, 0.95):.1f}",
                     f"{tails[-1]:.1f}", f"{took.max():.0f}"])  # fmt: skip
    answers = ", ".join(f"{n:,} by version {v}" for v, n in sorted(seen.versions.items()))
    times, longest = tails[1] / tails[0], float(seen.between(*found.orders).max())
    parts = [
        table(["", "seconds", "requests", "failed", "mixed", "p50, ms", "p95, ms", "p99, ms",
               "longest, ms"], rows),
        f"Failed: {met(not seen.failures, '0')}. Mixed: {met(not seen.mixed, '0')}. p99 is "
        f"{times:.2f} times the steady one, {met(times <= SLOWER, f'at most {SLOWER:g}')}. The "
        f"longest wait is {longest:.0f} ms, {met(longest < LONGEST_MS, f'below {LONGEST_MS:g}')}.",
        f"All answers: {answers}. An order was carried out in {min(found.seconds):.1f} to "
        f"{max(found.seconds):.1f} s.",
    ]  # fmt: skip
    return "\n\n".join([*parts, *_examples(seen)])


def _examples(seen: Seen) -> list[str]:
    """The first few things that went wrong."""
    wrong = [*seen.failures[:3], *seen.mixed[:3]]
    return [f"For example: {'; '.join(what for _, what in wrong)}"] if wrong else []


async def _under_load(url: str, case: Case, seconds: float, warm: float) -> Promotions:
    going = True
    load = asyncio.create_task(
        crowd(f"{url}/predict", case, seen := Seen(), connections=CONNECTIONS, going=lambda: going)
    )
    try:
        await asyncio.sleep(warm)
        begin = time.monotonic()
        await asyncio.sleep(seconds)
        steady, took = (begin, time.monotonic()), []
        begin = time.monotonic()
        async with AsyncClient(url, timeout=60) as operator:
            for number in range(ORDERS):
                ordered = time.monotonic()
                await (operator.rollback() if number % 2 else operator.promote("2"))
                took.append(time.monotonic() - ordered)
                await asyncio.sleep(PAUSE)
        orders = (begin, time.monotonic())
    finally:
        going = False
        await load
    return Promotions(seen, steady, orders, took)
