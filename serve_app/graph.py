"""Graph: what the HTTP side asks for, from one payment's score to an order to promote."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, Final, Protocol

from serve_app.calls import Calls, Scores, Send
from serve_app.decisions import Feedback
from serve_app.delivery import Delivery, Role
from serve_app.entry import Entry
from serve_app.ledger import Ledger
from serve_app.member import Follow, Member
from serve_app.tally import Tally
from serve_app.versions import Plan, Reference
from training.data import Columns
from training.errors import FraudrayError

DELIVERY: Final = 0.2
"""Seconds between two deliveries to the decision log."""
AWAY: Final = 1.0
"""Seconds to the next one where it keeps nothing: all that waits for it goes each time."""
COUNTING: Final = 2.0
"""Seconds between two times that payments are counted for drift."""
STOP: Final = 8.0
"""Seconds that the last decisions may take to reach their log."""
SHADOW_ROWS: Final = 8192
"""Payments that may wait for a challenger in shadow; others are not compared."""
COMING: Final = 15.0
"""Seconds that a version may take to be in service before an ingress takes requests without one."""
PROBE: Final = 2.0
"""Seconds that a graph may take to score the payment that says whether it is ready."""

_log = logging.getLogger("ray.serve")


class NotReady(FraudrayError):
    """The graph cannot answer yet."""


@dataclass(frozen=True)
class Outcome:
    """What became of an operator's order.

    Attributes
    ----------
    status
        As HTTP has it: 200, 404 (no such version), 409 (refused), 503 (the registry is away).
    """

    status: int
    reason: str
    plan: Plan


class Orders(Protocol):
    """The way to whoever carries out orders."""

    async def order(self, kind: str, what: dict[str, Any], /) -> Outcome:
        """Promote, roll back, set a threshold or a challenger; return when the graph follows."""

    async def history(self) -> list[dict[str, Any]] | Outcome:
        """Past changes, the newest first; else why they cannot be told."""


class DecisionLog(Protocol):
    """The way to the one writer of decisions."""

    async def deliver(self, delivery: Delivery, /) -> bool:
        """Count and keep what a ledger brings; whether it is kept, else it must come again."""

    async def feedback(self, labels: list[Feedback], /) -> list[Feedback]:
        """Keep labels; those of decisions that are not known."""

    async def stats(self) -> dict[str, Any]:
        """What happened in the last minutes, in all ingresses."""


@dataclass(frozen=True)
class Chosen:
    """The version that one request is scored by, in all stages."""

    entry: Entry
    role: Role


class Graph:
    """The stages behind one ingress.

    Parameters
    ----------
    name
        Another one for every ingress.
    send, lasting
        The stages, and which of their errors come again; see `Calls`.
    explain
        Gives the reasons and the nearest changes for each of n payments.
    """

    def __init__(
        self,
        name: str,
        *,
        follow: Follow,
        send: Send,
        lasting: Callable[[BaseException], bool],
        explain: Callable[[Reference, Columns], Awaitable[list[dict[str, Any]]]],
        orders: Orders,
        log: DecisionLog,
        ledger: Ledger,
    ) -> None:
        self.ledger = ledger
        self.orders = orders
        self._member = Member(name, "ingress", Entry.of, follow)
        self._send = send
        self._lasting = lasting
        self._explain = explain
        self._log = log
        self._calls: dict[Reference, Calls] = {}
        self._shadows: set[asyncio.Task[None]] = set()
        self._delivering = asyncio.Lock()
        self._tally = Tally()
        self._keeping: list[asyncio.Task[None]] = []
        self._counting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Hold what is live; return when requests may come."""
        await self._member.join()
        await self._member.in_service(COMING)
        self._keeping = [
            asyncio.create_task(self._keep_delivering()),
            asyncio.create_task(self._keep_counting()),
        ]

    async def stop(self) -> None:
        """Bring the last decisions to their log."""
        await self._member.leave()
        for task in self._keeping:
            task.cancel()
        counting = [] if self._counting is None else [self._counting]
        await asyncio.gather(*self._keeping, *counting, *self._shadows, return_exceptions=True)
        await self._count()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP):
                while not await self._deliver() or self.ledger.take() is not None:
                    await asyncio.sleep(DELIVERY)
        self.ledger.close()  # what is left is counted in a file

    def choose(self, key: str) -> Chosen:
        """The version for a request.

        Parameters
        ----------
        key
            Equal keys meet the same version while a challenger has its share.

        Raises
        ------
        NotReady
            If nothing serves yet.
        """
        plan, champion = self._serving()
        challenger = plan.challenger
        if challenger is not None and challenger.mode == "share":
            drawn = int.from_bytes(sha256(key.encode()).digest()[:8]) / 2**64
            if drawn < challenger.share:
                return Chosen(self._entry(challenger.reference), "challenger")
        return Chosen(champion, "champion")

    async def score(
        self, chosen: Chosen, columns: Columns, rows: int, request_id: str, deadline: float
    ) -> Scores:
        """Score one request's payments and note the decisions; see `Calls.score`."""
        scores = await self._score(chosen.entry, columns, rows, deadline)
        version = chosen.entry.reference.version
        self.ledger.decided(request_id, version, chosen.role, chosen.entry.threshold, *scores)
        self._tally.note(version, chosen.entry.yardstick, columns, scores[0])
        plan = self._member.plan
        if (
            plan.challenger is not None
            and plan.challenger.mode == "shadow"
            and chosen.role == "champion"
        ):
            self._shadow(version, plan.challenger.reference, columns, rows, scores)
        return scores

    async def explain(self, chosen: Chosen, columns: Columns) -> list[dict[str, Any]]:
        """Why each of n payments got its score, and what would turn its decision."""
        while True:
            try:
                return await self._explain(chosen.entry.reference, columns)
            except Exception as error:
                if self._lasting(error):
                    raise
                await asyncio.sleep(DELIVERY)

    def model(self) -> dict[str, Any]:
        """Who is in service, who challenges, and who was refused.

        Raises
        ------
        NotReady
            If nothing serves yet.
        """
        plan, champion = self._serving()
        return champion.about | situation(plan)

    async def ready(self) -> None:
        """Score one payment.

        Raises
        ------
        NotReady
            If that does not work, with the reason.
        """
        entry = self.choose("").entry
        deadline = asyncio.get_running_loop().time() + PROBE
        try:
            await self._score(entry, entry.probe, 1, deadline)
        except Exception as error:  # whatever is wrong, it is not ready
            raise NotReady(f"a payment cannot be scored now: {error}") from error

    async def feedback(self, labels: list[Feedback]) -> list[Feedback]:
        """Keep labels; those whose decision is not known are given back."""
        await self._deliver()
        unknown = await self._log.feedback(labels)
        for _ in range(3):
            if not unknown:
                break
            await asyncio.sleep(2 * DELIVERY)  # another ingress may not have delivered yet
            unknown = await self._log.feedback(unknown)
        return unknown

    async def stats(self) -> dict[str, Any]:
        """The last minutes of the whole graph, this ingress's newest requests included."""
        await self._deliver()
        return await self._log.stats()

    @property
    def waiting(self) -> tuple[int, int]:
        """Requests and payments that no call has taken yet."""
        calls = list(self._calls.values())  # at once: another thread may ask, for metrics
        return sum(c.waiting for c in calls), sum(c.waiting_rows for c in calls)

    def _serving(self) -> tuple[Plan, Entry]:
        plan = self._member.plan
        if plan.champion is None:
            raise NotReady("no version is in service yet" + _why(plan))
        return plan, self._entry(plan.champion)

    async def _score(self, entry: Entry, columns: Columns, rows: int, deadline: float) -> Scores:
        in_flight, version = self._member.in_flight, entry.reference.version
        in_flight[version] = in_flight.get(version, 0) + 1
        try:
            return await self._way(entry).score(columns, rows, deadline)
        finally:
            in_flight[version] -= 1

    def _way(self, entry: Entry) -> Calls:
        # By the entry that the request has: the version may have left this ingress meanwhile.
        reference = entry.reference
        calls = self._calls.get(reference)
        if calls is None:
            self._calls = {r: c for r, c in self._calls.items() if not c.idle}
            calls = self._calls[reference] = Calls(reference, self._send, self._lasting, entry.rows)
        return calls

    def _entry(self, reference: Reference) -> Entry:
        entry = self._member.held(reference)
        if entry is None:
            raise NotReady(f"version {reference.version} is not loaded here yet")
        return entry

    def _shadow(
        self, champion: str, challenger: Reference, columns: Columns, rows: int, own: Scores
    ) -> None:
        entry = self._member.held(challenger)
        if entry is None or self._way(entry).waiting_rows + rows > SHADOW_ROWS:
            self.ledger.shadow_dropped(rows)
            return
        task = asyncio.create_task(self._compare(champion, entry, columns, rows, own))
        self._shadows.add(task)
        task.add_done_callback(self._shadows.discard)

    async def _compare(
        self, champion: str, challenger: Entry, columns: Columns, rows: int, own: Scores
    ) -> None:
        try:
            deadline = asyncio.get_running_loop().time() + 10 * PROBE
            other = await self._score(challenger, columns, rows, deadline)
        except Exception as error:  # the caller has had the answer long since
            _log.warning("a challenger could not be compared: %s", error)
            self.ledger.shadow_dropped(rows)
            return
        version = challenger.reference.version
        self.ledger.compared(champion, version, own[0], other[0], own[1], other[1])
        self._tally.note(version, challenger.yardstick, columns, other[0])

    async def _keep_delivering(self) -> None:
        kept = True
        while True:
            await asyncio.sleep(DELIVERY if kept else AWAY)
            kept = await self._deliver()

    async def _keep_counting(self) -> None:
        while True:
            await asyncio.sleep(COUNTING)
            # Its thread goes on in any case, and what it has taken from the tally would be lost.
            self._counting = asyncio.create_task(self._count())
            await asyncio.shield(self._counting)

    async def _count(self) -> None:
        noted = self._tally.take()
        try:
            seen = await asyncio.to_thread(lambda: {v: n.counted() for v, n in noted.items()})
        except Exception as error:  # payments are scored without it
            _log.warning("payments could not be counted for drift", exc_info=error)
        else:
            self.ledger.seen(seen)

    async def _deliver(self) -> bool:
        """Bring what the ledger holds; whether it was kept."""
        async with self._delivering:
            delivery = self.ledger.take()
            if delivery is None:
                return True
            try:
                kept = await self._log.deliver(delivery)
            except Exception as error:  # its writer is away: the ledger keeps what it has
                _log.warning("the decision log does not take a delivery: %s", error)
                return False
            self.ledger.acknowledge(delivery, kept=kept)
            return kept


def situation(plan: Plan) -> dict[str, Any]:
    """Challenger and refused versions, as `/v1/model` says them."""
    challenger = plan.challenger
    return {
        "challenger": challenger
        and {
            "version": challenger.reference.version,
            "mode": challenger.mode,
            "share": challenger.share,
        },
        "failed": [asdict(failure) for failure in plan.failed],
    }


def _why(plan: Plan) -> str:
    return "".join(f"; version {f.version} was refused: {f.reason}" for f in plan.failed[:1])
