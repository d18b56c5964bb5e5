"""Member: a replica's part in the rollout. It holds what the plan wants and says what it has."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from serve_app.versions import Plan, Reference, Report, Stage

PATIENCE: Final = 0.5
"""Seconds between two tries to reach the rollout; requests are answered meanwhile."""
ANSWER: Final = 5.0
"""Seconds for the rollout's answer, which takes one at most; its machine may have vanished."""

Held = TypeVar("Held")
Follow = Callable[[Report], Awaitable[Plan]]
"""Tells the rollout what is held, and brings the next plan, or the same one after a second."""

_log = logging.getLogger("ray.serve")


class Member(Generic[Held]):
    """Versions held by one replica of a stage.

    Parameters
    ----------
    name
        Another one for every replica.
    make
        Loads and tests a version, and makes of it what the stage needs; run in a thread.
    follow
        The way to the rollout.
    """

    def __init__(
        self, name: str, stage: Stage, make: Callable[[Reference], Held], follow: Follow
    ) -> None:
        self.name = name
        self.stage: Stage = stage
        self.plan = Plan()
        self.in_flight: dict[str, int] = {}
        self._make = make
        self._follow = follow
        self._held: dict[Reference, Held] = {}
        self._failed: dict[str, str] = {}
        self._loading: dict[Reference, asyncio.Task[Held]] = {}
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    async def join(self) -> None:
        """Load every version that is live, then follow the rollout until `leave`.

        Raises
        ------
        Exception
            If what serves cannot be loaded here; the replica must not take requests then.
        """
        while self.plan == Plan():
            self.plan = await self._reach()
        await asyncio.gather(*map(self.obtain, self.plan.load))
        self._task = asyncio.create_task(self._keep_following())

    async def in_service(self, patience: float) -> None:
        """Wait until a version is in service, at most `patience` seconds and only if one is to be.

        A rollout that was started anew has to hear first what the replicas serve.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while self.plan.champion is None and self.plan.load:
                    self._news.clear()
                    await self._news.wait()

    async def leave(self) -> None:
        """Stop following."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def held(self, reference: Reference) -> Held | None:
        """A version, if it is here."""
        return self._held.get(reference)

    async def obtain(self, reference: Reference) -> Held:
        """A version; loaded first if the request that carries it was quicker than the plan."""
        found = self._held.get(reference)
        if found is not None:
            return found
        task = self._loading.get(reference)
        if task is None:
            task = asyncio.create_task(asyncio.to_thread(self._make, reference))
            self._loading[reference] = task
        try:
            found = await asyncio.shield(task)
        finally:
            if task.done():
                self._loading.pop(reference, None)
        self._held[reference] = found
        return found

    async def _keep_following(self) -> None:
        while True:
            plan = await self._reach()
            lacking = [r for r in plan.load if r not in self._held]
            if plan.generation == self.plan.generation and not lacking:
                continue
            loading = asyncio.gather(*map(self._try, lacking))
            while not (await asyncio.wait([loading], timeout=PATIENCE))[0]:
                await self._reach()  # who says nothing for long counts as gone
            # After loading: an ingress must not stamp what it does not hold itself.
            self.plan = plan
            self._news.set()
            for reference in set(self._held) - set(plan.load):
                del self._held[reference]
            wanted = {r.version for r in plan.load}
            self._failed = {v: why for v, why in self._failed.items() if v in wanted}

    async def _try(self, reference: Reference) -> None:
        try:
            await self.obtain(reference)
            self._failed.pop(reference.version, None)
        except Exception as error:  # the rollout decides what follows from it
            _log.error("version %s cannot be loaded", reference.version, exc_info=error)
            self._failed[reference.version] = " ".join(str(error).split())[:300]

    async def _reach(self) -> Plan:
        while True:
            report = Report(
                member=self.name,
                stage=self.stage,
                plan=self.plan,
                held=frozenset(r.version for r in self._held),
                failed=dict(self._failed),
                busy=frozenset(v for v, n in self.in_flight.items() if n),
            )
            try:
                async with asyncio.timeout(ANSWER):
                    return await self._follow(report)
            except asyncio.CancelledError:
                raise
            except Exception as error:  # it is being restarted; the present plan goes on
                _log.warning("the rollout does not answer: %s", error)
                await asyncio.sleep(PATIENCE)
