"""The one writer of the decision log: takes what ledgers deliver, and knows what was lost."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serve_app.decisions import DecisionLogError, DecisionStore, Feedback, Loss, Quality, StoreAway
from serve_app.delivery import Delivery
from serve_app.ledger import forget, left_behind
from serve_app.statistics import Window

PAUSE = 1.0
"""Seconds without another attempt after the database was away; nobody waits for it then."""

UNDERWAY = 15.0
"""Seconds that the last delivery of an ended ledger may take; then what is missing is lost."""

DAYS = 30
"""Labels, which come late, and losses count for so long."""

QUALITY_AGE = 15.0
"""Seconds after which quality is read anew without new labels."""

_log = logging.getLogger("ray.serve")


class DecisionLog:
    """Writes decisions to the database before it acknowledges them, so that none is here alone.

    While the database is away the ledgers keep what they have, up to their capacity, and deliver
    it again. Decisions are lost only with a process that ends before the database has them; its
    ledger's file says how many.

    Parameters
    ----------
    model
        The registered model whose decisions these are.
    store_url
        See `DecisionStore`.
    folder
        Where the ledgers of this model have their files.
    """

    def __init__(self, model: str, store_url: str, folder: Path) -> None:
        self.model = model
        self._store = DecisionStore(store_url)
        self._folder = folder
        self._window = Window()
        self._counted: dict[str, int] = {}  # number of the last delivery in the statistics
        self._dropped: Counter[str] = Counter()  # rows, by ledger
        self._pending: dict[str, int] = {}  # rows delivered and not written, by ledger
        self._written = 0
        self._away = ""
        self._again = 0.0
        self._ended: dict[str, float] = {}  # when a ledger was first seen to have ended
        self._settled = 0.0
        self._losses: list[Loss] = []
        self._quality: list[Quality] = []
        self._quality_read: float | None = None

    def deliver(self, delivery: Delivery) -> int:
        """Write one delivery; a repeated one is written and counted once.

        Returns
        -------
        int
            Its number: the database holds it, and the ledger may forget it.

        Raises
        ------
        StoreAway
            If the database cannot be reached now: the ledger must deliver it again.
        DecisionLogError
            If the database refuses it.
        """
        ledger, now = delivery.ledger, time.time()
        if self._counted.get(ledger, 0) < delivery.number:
            self._counted[ledger] = delivery.number
            self._dropped[ledger] += delivery.dropped
            self._window.add(delivery, now)
        rows = len(delivery.probability)
        if rows:
            self._pending[ledger] = rows
            with self._reached() as store:
                self._written += store.append(self.model, delivery)
                del self._pending[ledger]
                if now - self._settled > UNDERWAY:
                    self._settle(store, now)
        return delivery.number

    def feedback(self, feedback: Sequence[Feedback]) -> list[Feedback]:
        """Add labels; returns those of decisions that the log does not hold, or not yet.

        Raises
        ------
        StoreAway
            If the database cannot be reached now.
        """
        with self._reached() as store:
            unknown = store.label(feedback)
        if len(unknown) < len(feedback):
            self._quality_read = None
        return unknown

    def stats(self) -> dict[str, Any]:
        """The last 15 minutes, quality over 30 days, and the state of the log, fit for JSON.

        Returns
        -------
        dict
            What `Window.summary` gives; `quality`, a list of `Quality`; and `log`: rows `pending`
            (delivered, not written), `written` and `dropped` since this writer began, `lost`, a
            list of `Loss` over 30 days, and why the database is `away`, else None. While it is
            away, quality and losses are those last read.
        """
        now = time.time()
        try:
            with self._reached() as store:
                self._settle(store, now)
                if self._quality_read is None or now - self._quality_read > QUALITY_AGE:
                    self._quality = store.quality(self.model, now - DAYS * 86400, now)
                    self._quality_read = now
        except DecisionLogError:
            pass  # it is told as such below
        return {
            **self._window.summary(now),
            "quality": [q._asdict() for q in self._quality],
            "log": {
                "pending": sum(self._pending.values()),
                "written": self._written,
                "dropped": self._dropped.total(),
                "lost": [loss._asdict() for loss in self._losses],
                "away": self._away or None,
            },
        }

    def close(self) -> None:
        """Let go of the database."""
        self._store.close()

    def _settle(self, store: DecisionStore, now: float) -> None:
        """Find what ended ledgers did not deliver; once nothing can be underway, note it."""
        self._settled = now
        missing = []
        for name, count in left_behind(self._folder).items():
            lost = count.numbered - store.received(name) + count.dropped - self._dropped[name]
            loss = Loss(name, lost, self._ended.setdefault(name, now))
            if now - loss.at <= UNDERWAY:
                missing += [loss] if lost else []
                continue
            if lost:
                _log.error("%d decisions of ingress %s are lost: it was killed", lost, name)
                store.lose(self.model, loss)
            forget(self._folder, name)
            self._pending.pop(name, None)
        self._losses = missing + store.losses(self.model, now - DAYS * 86400)

    @contextmanager
    def _reached(self) -> Iterator[DecisionStore]:
        """The store, unless it was away a moment ago; tells once that it is away, and back."""
        if self._away and time.monotonic() < self._again:
            raise StoreAway(self._away)
        try:
            yield self._store
        except DecisionLogError as away:
            if not self._away:
                _log.error("decision log: ingresses keep their decisions: %s", away)
            self._away, self._again = str(away), time.monotonic() + PAUSE
            raise
        # A database locked by another can be read all the while.
        if self._away and not self._pending:
            _log.warning("decision log: the database is back")
            self._away = ""
