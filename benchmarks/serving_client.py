"""A load client in asyncio that looks at every answer: is it the version's that it names?

wrk is quicker and looks at none; this one is for what must never happen.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import numpy as np
from serving_case import Case

SLACK: Final = 1e-9
"""Two sums of the same numbers in another order differ by less, two versions by far more."""
HEADERS: Final = {"Content-Type": "application/json"}


@dataclass
class Seen:
    """Answers in the order they came.

    Attributes
    ----------
    at, took
        When each request was sent, on the monotonic clock, and how many seconds it took; failed
        ones among them.
    versions
        Answers by version.
    failures, mixed
        What went wrong, and when the request was sent.
    in_flight
        Requests on their way now.
    late
        Seconds that a request was sent later than it should, at most: the client's own doing.
    """

    at: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)
    failures: list[tuple[float, str]] = field(default_factory=list)
    mixed: list[tuple[float, str]] = field(default_factory=list)
    in_flight: int = 0
    late: float = 0.0

    def note(self, begun: float) -> None:
        """A request has ended, one way or the other."""
        self.at.append(begun)
        self.took.append(time.monotonic() - begun)

    def between(self, begin: float, end: float) -> Any:
        """Milliseconds of requests sent in a span of time, shape (n,)."""
        at = np.array(self.at)
        return 1e3 * np.array(self.took)[(at >= begin) & (at < end)]


class Judge:
    """Compares answers with the offline scores of the version that they name."""

    def __init__(self, case: Case) -> None:
        self.expected = case.expected
        self.thresholds = {v: b.choice.threshold for v, b in case.bundles.items()}

    def wrong(self, payment: int, answer: dict[str, Any]) -> str | None:
        """What of an answer is not its version's, if anything."""
        version = answer["model_version"]
        if version not in self.expected:
            return f"version {version} was never promoted"
        probability = float(self.expected[version][payment])
        threshold = self.thresholds[version]
        if abs(answer["probability"] - probability) > SLACK:
            return f"version {version} says {answer['probability']!r}, is {probability!r}"
        if answer["threshold"] != threshold:
            return f"version {version} decides at {answer['threshold']!r}, not {threshold!r}"
        if answer["decision"] != int(answer["probability"] >= threshold):
            return f"version {version}: {answer['probability']!r} decided {answer['decision']}"
        return None


async def ask(
    http: aiohttp.ClientSession, url: str, case: Case, payment: int, judge: Judge, seen: Seen
) -> None:
    """Send one payment once, and keep what came of it."""
    begun = time.monotonic()
    seen.in_flight += 1
    try:
        async with http.post(url, data=case.bodies[payment], headers=HEADERS) as response:
            body = await response.read()
        if response.status != 200:
            seen.failures.append((begun, f"{response.status}: {body[:120]!r}"))
            return
        answer = json.loads(body)
        version = answer["model_version"]
        seen.versions[version] = seen.versions.get(version, 0) + 1
        if wrong := judge.wrong(payment, answer):
            seen.mixed.append((begun, wrong))
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, LookupError) as error:
        seen.failures.append((begun, f"{type(error).__name__}: {error}"))
    finally:
        seen.in_flight -= 1
        seen.note(begun)


async def crowd(
    url: str, case: Case, seen: Seen, *, connections: int, going: Callable[[], bool]
) -> None:
    """Keep so many connections busy with different payments while `going`."""
    judge = Judge(case)
    async with session(connections) as http:

        async def one(number: int) -> None:
            payment = number * len(case.bodies) // connections
            while going():
                payment = (payment + 1) % len(case.bodies)
                await ask(http, url, case, payment, judge, seen)

        await asyncio.gather(*map(one, range(connections)))


async def steady(
    url: str, case: Case, seen: Seen, *, rate: float, going: Callable[[], bool]
) -> None:
    """Send so many requests a second, whatever becomes of those before."""
    judge, begun, number = Judge(case), time.monotonic(), 0
    async with session(0) as http, asyncio.TaskGroup() as tasks:
        while going():
            due = begun + number / rate
            if due > time.monotonic():
                await asyncio.sleep(due - time.monotonic())
            seen.late = max(seen.late, time.monotonic() - due)
            tasks.create_task(ask(http, url, case, number % len(case.bodies), judge, seen))
            number += 1


def session(connections: int) -> aiohttp.ClientSession:
    """Connections that are kept; 0 for as many as it takes."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections),
        timeout=aiohttp.ClientTimeout(total=60),
    )


def quantile(milliseconds: Any, share: float) -> float:
    """Of what took so long; NaN of nothing."""
    return float(np.quantile(milliseconds, share)) if len(milliseconds) else float("nan")
