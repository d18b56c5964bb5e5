"""Calls: requests that wait go down the graph together, and what a dead replica had is sent again.

A hop between deployments costs milliseconds of processors whatever it carries, so few large calls
beat many small ones. The first request of a quiet moment goes at once, and so does what comes alone
after it. Where several come at a time, the answers of one call bring the next requests, which get a
moment to gather; and a second call leaves before the first is back only if it is worth its price,
or if the first is so late that something may be wrong with it.
"""

from __future__ import annotations

import asyncio
import logging
from asyncio import FIRST_COMPLETED
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from serve_app.versions import Reference
from training.data import Columns
from training.errors import FraudrayError

ROWS: Final = 4096
"""Most payments of a call."""
_MESSAGE = 3 * 2**20  # bytes; messages between replicas end at 4 MiB
IN_FLIGHT: Final = 2
"""Calls of a version on their way at a time; more of them make smaller ones."""
GATHER: Final = 0.005
"""Seconds after a call of several requests in which the next ones may gather."""
SECOND: Final = 12
"""Requests worth a second call on its way."""
SECOND_ROWS: Final = 512
"""Payments worth a second call on its way, however few the requests."""
OVERDUE: Final = 0.05
"""Seconds that requests wait for a call on its way at most, however few they are."""
WAITING: Final = 512
"""Requests that may wait; what comes beyond is refused at once."""
WAITING_ROWS: Final = 200_000
"""Payments that may wait."""
STUCK: Final = 1.0
"""Seconds without an answer after which a call is sent again: its replica may have died unseen."""
SLOWER: Final = 4.0
"""Times the last call's time, before which the next one is only slow."""
LOST: Final = 20.0
"""Seconds for which an answer may still come; of a machine that died unseen Ray knows by then."""
AGAIN: Final = 0.05
"""Seconds before a call is sent again that a replica died with."""


def most_rows(width: int) -> int:
    """How many payments of so many features a call may hold."""
    return max(1, min(ROWS, _MESSAGE // (8 * max(width, 1))))


Scores = tuple[NDArray[np.float64], NDArray[np.int8]]
"""Probabilities and decisions, shape (n,) each."""
Send = Callable[[Reference, Columns], Awaitable[Scores]]
"""The graph."""

T = TypeVar("T")
_log = logging.getLogger("ray.serve")


class Overloaded(FraudrayError):
    """More waits already than can be answered soon."""


class TooLate(FraudrayError):
    """The answer would have come after the deadline."""


@dataclass
class _Waiting:
    columns: Columns
    rows: int
    answer: asyncio.Future[Scores]
    since: float


class Calls:
    """The way down the graph for one version.

    Parameters
    ----------
    send
        Scores columns of shape (n,).
    lasting
        Whether an error will come again: no use to send the same call twice.
    most
        Payments of a call.
    """

    def __init__(
        self, reference: Reference, send: Send, lasting: Callable[[BaseException], bool], most: int
    ) -> None:
        self.reference = reference
        self._most = most
        self.in_flight = 0
        self.waiting_rows = 0
        self._send = send
        self._lasting = lasting
        self._waiting: deque[_Waiting] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._usual = 1  # requests of the call that came back last
        self._gathered = 0.0  # when the next ones have had their time to gather
        self._took = 0.0  # seconds, by the call that came back last
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def waiting(self) -> int:
        """Requests that no call has taken yet."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Whether nothing waits or is on its way."""
        return not self._waiting and not self.in_flight

    async def score(self, columns: Columns, rows: int, deadline: float) -> Scores:
        """Score the payments of one request.

        Parameters
        ----------
        columns
            Shape (rows,) each.
        deadline
            In the event loop's time, seconds.

        Raises
        ------
        Overloaded
            If too much waits.
        TooLate
            If the deadline passes.
        """
        if len(self._waiting) >= WAITING or self.waiting_rows + rows > WAITING_ROWS:
            raise Overloaded(f"{len(self._waiting)} requests wait already")
        loop = asyncio.get_running_loop()
        answers = []
        for start in range(0, rows, self._most):
            end = min(start + self._most, rows)
            some = columns if rows <= self._most else _slice(columns, start, end)
            waiting = _Waiting(some, end - start, loop.create_future(), loop.time())
            answers.append(waiting.answer)
            self._waiting.append(waiting)
            self.waiting_rows += waiting.rows
        self._pump()
        timer = loop.call_at(deadline, _expire, answers)
        try:
            parts = [await answer for answer in answers]
        finally:
            timer.cancel()
            for answer in answers:
                if not answer.cancel() and not answer.cancelled():
                    answer.exception()  # seen: the first one is what the caller is told
        if len(parts) == 1:
            return parts[0]
        return np.concatenate([p for p, _ in parts]), np.concatenate([d for _, d in parts])

    def _pump(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and self.in_flight < IN_FLIGHT:
            if not self._enough() and asyncio.get_running_loop().time() < self._due():
                self._timer = asyncio.get_running_loop().call_at(self._due(), self._pump)
                return
            batch, rows = [], 0
            while self._waiting and rows + self._waiting[0].rows <= self._most:
                waiting = self._waiting.popleft()
                self.waiting_rows -= waiting.rows
                if not waiting.answer.done():  # its caller has given up
                    batch.append(waiting)
                    rows += waiting.rows
            if batch:
                self.in_flight += 1
                self._task(self._call(batch))

    def _task(self, doing: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(doing)
        self._tasks.add(task)  # the event loop alone would not keep it
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # seen: of a call that was sent twice, one answer is enough

    def _enough(self) -> bool:
        """Whether so much waits that it should go now."""
        if self.in_flight == 0:
            return len(self._waiting) >= self._usual
        return len(self._waiting) >= SECOND or self.waiting_rows >= SECOND_ROWS

    def _due(self) -> float:
        """When what waits should go however little it is, in the event loop's time."""
        return self._gathered if self.in_flight == 0 else self._waiting[0].since + OVERDUE

    async def _call(self, batch: list[_Waiting]) -> None:
        try:
            columns = batch[0].columns if len(batch) == 1 else _joined([w.columns for w in batch])
            probability, decision = await self._persistently(columns, batch)
            start = 0
            for waiting in batch:
                end = start + waiting.rows
                if not waiting.answer.done():
                    waiting.answer.set_result((probability[start:end], decision[start:end]))
                start = end
        except Exception as error:  # each request tells its own caller
            for waiting in batch:
                if not waiting.answer.done():
                    waiting.answer.set_exception(error)
        finally:
            self.in_flight -= 1
            # Their answers bring the next ones; after one that came alone, none is to be expected.
            self._usual = len(batch)
            self._gathered = asyncio.get_running_loop().time() + GATHER
            self._pump()

    async def _persistently(self, columns: Columns, batch: list[_Waiting]) -> Scores:
        """The first answer. Scoring changes nothing, so it may be done again and twice."""
        sent: dict[asyncio.Task[Scores], float] = {}
        now = asyncio.get_running_loop().time
        while True:
            sent[self._task(self._until_lost(columns))] = now()
            patience = max(STUCK, SLOWER * self._took)
            done, _ = await asyncio.wait(sent, timeout=patience, return_when=FIRST_COMPLETED)
            unwanted = all(w.answer.done() for w in batch)
            for task in done:
                began, error = sent.pop(task), task.exception()
                if error is None:
                    self._took = now() - began
                    return task.result()
                # A stage's own error comes again; one that a replica died with does not.
                if unwanted or (not isinstance(error, TimeoutError) and self._lasting(error)):
                    raise error
                _log.warning("a call is sent again: %s", type(error).__name__)
                await asyncio.sleep(AGAIN)
            if not done:
                # It is not cancelled: while it counts there, Ray sends the next ones elsewhere.
                if unwanted:
                    raise TooLate("no answer in time")
                _log.warning("a call is sent again: no answer after %.1f s", patience)

    async def _until_lost(self, columns: Columns) -> Scores:
        async with asyncio.timeout(LOST):
            return await self._send(self.reference, columns)


def _expire(answers: list[asyncio.Future[Scores]]) -> None:
    for answer in answers:
        if not answer.done():
            answer.set_exception(TooLate("no answer in time"))
            return


def _slice(columns: Columns, start: int, end: int) -> Columns:
    return {name: values[start:end] for name, values in columns.items()}


def _joined(parts: list[Columns]) -> Columns:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
