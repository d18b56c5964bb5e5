"""Batches: which points travel together, so that what Tune costs a trial is shared by many."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from typing import NamedTuple

from tuning.bound import Point
from tuning.trials import rows_key

BATCH_SECONDS = 4.0
"""Work that a batch is meant to hold; less when points run out, more if one point takes longer."""
MOST_POINTS = 64


class Task(NamedTuple):
    """A point and the rung it is on its way to."""

    point: Point
    rung: int


@dataclass
class Timing:
    """How long tasks of one kind took."""

    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        self.count, self.seconds = self.count + 1, self.seconds + seconds

    @property
    def mean(self) -> float:
        """Of one task; unknown, a whole batch's."""
        return self.seconds / self.count if self.count else BATCH_SECONDS


class Pace:
    """What tasks take, learned from those that are over, and batches of as much as is wanted."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, int], Timing] = defaultdict(Timing)

    def took(self, task: Task, seconds: float) -> None:
        """Learn from a task that is over."""
        self._seconds[task.point[0].family, task.rung].add(seconds)

    def expected(self, task: Task) -> float:
        """Seconds a task will take, as others like it did; unknown, a whole batch's."""
        return self._seconds[task.point[0].family, task.rung].mean

    def batch(self, waiting: deque[Task], concurrency: int) -> list[Task]:
        """Take the task that is next, with others that are fitted to the same rows before all.

        Parameters
        ----------
        waiting
            Not empty; loses the tasks that are taken.
        concurrency
            Batches at a time, among which what waits is dealt evenly.
        """
        most = min(-(-len(waiting) // concurrency), MOST_POINTS)
        batch = [waiting.popleft()]
        left = BATCH_SECONDS - self.expected(batch[0])
        rows = rows_key(batch[0].point[0])
        for task in sorted(waiting, key=lambda t: rows_key(t.point[0]) != rows):
            if len(batch) >= most:
                break
            if (expected := self.expected(task)) <= left:
                left -= expected
                batch.append(task)
                waiting.remove(task)
        return batch
