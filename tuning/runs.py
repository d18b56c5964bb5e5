"""Runs of trials in MLflow, written behind the sweep's back so that it never waits for MLflow."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

from training.tracking import StoreAway, TrackingError
from tuning.children import Children, RunRecord

GATHER_SECONDS = 0.5
"""How long records are held after a silence, so that all they say of a trial goes out at once."""
LONGEST_PAUSE = 15.0
MOST_ATTEMPTS = 5
"""Failures of one record, while the store answers, before it is given up."""


class ChildRuns:
    """The runs below a parent run, one a trial, written by a thread of its own.

    Runs that are there already are gone on with: a trial has one run, however many processes tell
    of it one after the other. While the store is away, records wait; when it comes back they are
    written. What MLflow refuses for good is dropped and told in `refused`.

    Parameters
    ----------
    uri
        The MLflow store.
    experiment, parent
        Ids of the experiment and of the parent run, which the caller starts and finishes.

    Examples
    --------
    >>> runs = ChildRuns(uri, experiment, parent)  # doctest: +SKIP
    >>> runs.write(RunRecord("a1", "first", params={"depth": 3}))  # doctest: +SKIP
    >>> runs.write(RunRecord("a1", "first", status="FINISHED"))  # doctest: +SKIP
    >>> runs.close()  # doctest: +SKIP
    True
    """

    def __init__(self, uri: str, experiment: str, parent: str) -> None:
        self.uri, self.experiment, self.parent = uri, experiment, parent
        self.refused: dict[str, str] = {}
        self._away = ""
        self._waiting: dict[str, list[RunRecord]] = {}
        self._in_hand: str | None = None
        self._not_before = 0.0
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="fraudray-runs", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many runs have something that is not written yet."""
        with self._changed:
            return len(self._waiting.keys() | ({self._in_hand} - {None}))

    @property
    def problem(self) -> str:
        """Why the store is waited for, or what it refused, in one line; empty if all is well."""
        refused = [f"trial {key} is not written: {why}" for key, why in self.refused.items()]
        return "; ".join([*([self._away] if self._away else []), *refused[-1:]])

    def write(self, record: RunRecord) -> None:
        """Take a record; returns at once.

        Raises
        ------
        RuntimeError
            After `close`.
        """
        now = time.time()
        record = replace(record, at=now if record.at is None else record.at)
        with self._changed:
            if self._closed:
                raise RuntimeError("these runs are closed")
            if not self._waiting and self._in_hand is None:
                self._not_before = max(self._not_before, time.monotonic() + GATHER_SECONDS)
            self._waiting.setdefault(record.key, []).append(record)
            self._changed.notify_all()

    def flush(self, timeout: float | None = None) -> bool:
        """Wait, at most so many seconds, until all is written or refused; tell whether it is."""
        with self._changed:
            self._not_before = 0.0
            self._changed.notify_all()
            return self._changed.wait_for(
                lambda: not self._waiting and self._in_hand is None, timeout
            )

    def close(self, timeout: float = 10.0) -> bool:
        """Flush, then end the thread; False if records were left that could not be written."""
        written = self.flush(timeout)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout)
        return written

    def _work(self) -> None:
        children: Children | None = None
        failures = 0
        attempts: dict[str, int] = {}
        while (taken := self._take()) is not None:
            key, records = taken
            try:
                children = children or Children(self.uri, self.experiment, self.parent)
                children.write(key, records)
                if not self._waiting:
                    children.reconcile()
                failures, self._away = 0, ""
                attempts.pop(key, None)
            except StoreAway as error:
                self._away = str(error)
                answers = children is not None and children.tracking.answers()
                attempts[key] = attempts.get(key, 0) + answers
                if attempts[key] < MOST_ATTEMPTS:
                    failures = 0 if answers else failures + 1
                    pause = min(2.0**failures, LONGEST_PAUSE)
                    self._put_back(key, records, pause, last=answers)
                else:
                    self.refused[key], self._away = str(error), ""
            except TrackingError as error:
                if children is None:  # not this record's fault
                    self._away = str(error)
                    self._put_back(key, records, LONGEST_PAUSE, last=False)
                else:
                    self.refused[key] = str(error)
            except Exception as error:  # the thread outlives whatever a record may hold
                self.refused[key] = f"{type(error).__name__}: {error}"
            self._done()

    def _take(self) -> tuple[str, list[RunRecord]] | None:
        with self._changed:
            while not self._closed:
                rest = self._not_before - time.monotonic()
                if self._waiting and rest <= 0:
                    self._in_hand = next(iter(self._waiting))
                    return self._in_hand, self._waiting.pop(self._in_hand)
                self._changed.wait(rest if self._waiting else None)
            return None

    def _put_back(self, key: str, records: list[RunRecord], pause: float, *, last: bool) -> None:
        with self._changed:
            both = {key: records + self._waiting.pop(key, [])}
            self._waiting = {**self._waiting, **both} if last else {**both, **self._waiting}
            self._not_before = time.monotonic() + pause

    def _done(self) -> None:
        with self._changed:
            self._in_hand = None
            self._changed.notify_all()
