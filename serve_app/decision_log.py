"""The one writer of the decision log: takes what ledgers deliver, and knows what was lost."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from serve_app.decisions import DecisionLogError, DecisionStore, Feedback, Loss, Quality, StoreAway
from serve_app.delivery import Delivery
from serve_app.drift import DriftWindow
from serve_app.ledger import forget, left_behind
from serve_app.statistics import Totals, Window
from training.drift import Drift

PAUSE = 1.0
"""Seconds without another attempt after the database was away; nobody waits for it then."""

UNDERWAY = 15.0
"""Seconds that the last delivery of an ended ledger may take; then what is missing is lost."""

DAYS = 30
"""Labels, which come late, and losses count for so long."""

QUALITY_AGE = 15.0
"""Seconds after which quality is read anew without new labels."""

DRIFT_AGE = 5.0
"""Seconds after which drift is measured anew."""

_log = logging.getLogger("ray.serve")


class State(NamedTuple):
    """How a decision log fares."""

    pending: int
    """Rows that ingresses hold, as far as they told, and the database does not."""
    written: int
    """Rows, since this writer began."""
    dropped: int
    """Rows that found no place at an ingress, since this writer began."""
    lost: list[Loss]
    """Of the last 30 days."""
    away: str | None
    """Why the database is away; None where it is not."""


class DecisionLog:
    """Writes decisions to the database before it acknowledges them, so that none is here alone.

    While the database is away what happens is counted all the same; the ledgers keep their
    decisions, up to their capacity, and deliver them again. Decisions are lost only with a process
    that ends before the database has them; its ledger's file says how many.

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
        self.totals = Totals()
        """All that was delivered since this writer began."""
        self.drift = DriftWindow()
        self.drifted: Drift | None = None
        self.labels: Counter[int] = Counter()
        self.quality: list[Quality] = []
        self._window = Window()
        self._counted: dict[str, int] = {}  # number of the last delivery in the statistics
        self._dropped: Counter[str] = Counter()  # rows, by ledger
        self._pending: dict[str, int] = {}  # rows held by a ledger and not written
        self._written = 0
        self._away = ""
        self._again = 0.0
        self._ended: dict[str, float] = {}  # when a ledger was first seen to have ended
        self._settled = 0.0
        self._losses: list[Loss] = []
        self._measured = self._quality_read = self._quality_took = 0.0
        self._labelled = False  # since quality was read

    def deliver(self, delivery: Delivery) -> bool:
        """Count one delivery and write it; a repeated one is written and counted once.

        Returns
        -------
        bool
            Whether the database holds it, so that the ledger may forget it. If not, the database
            is away or refuses it: the ledger must bring its decisions again.
        """
        ledger, now = delivery.ledger, time.time()
        if self._counted.get(ledger, 0) < delivery.number:
            self._counted[ledger] = delivery.number
            self._dropped[ledger] += delivery.dropped
            totals = Totals.of(delivery)
            self._window.add(totals, now)
            self.totals.merge(totals)
            self.drift.add(delivery, now)
        rows = len(delivery.probability)
        if not rows:
            return True
        newest = delivery.number == self._counted[ledger]  # else it was written long since
        if newest:
            self._pending[ledger] = delivery.held
        try:
            with self._reached() as store:
                self._written += store.append(self.model, delivery)
                if newest:
                    self._pending[ledger] -= rows
                    self._pending = {name: n for name, n in self._pending.items() if n}
                if now - self._settled > UNDERWAY:
                    self._settle(store, now)
        except DecisionLogError:
            return False
        return True

    def feedback(self, feedback: Sequence[Feedback]) -> list[Feedback]:
        """Add labels; returns those of decisions that the log does not hold, or not yet.

        Raises
        ------
        StoreAway
            If the database cannot be reached now.
        """
        with self._reached() as store:
            unknown = store.label(feedback)
        known = Counter(f.label for f in feedback)
        known.subtract(f.label for f in unknown)
        self.labels.update(known)
        self._labelled |= known.total() > 0
        return unknown

    @property
    def state(self) -> State:
        """How the log fares."""
        return State(
            pending=sum(self._pending.values()),
            written=self._written,
            dropped=self._dropped.total(),
            lost=self._losses,
            away=self._away or None,
        )

    def refresh(self) -> None:
        """Measure drift, losses and quality anew where they are old.

        It finds out, too, if the database is away. Quality takes a twentieth of the time at most,
        however many labels there are.
        """
        now = time.time()
        if now - self._measured > DRIFT_AGE:
            self.drifted, self._measured = self.drift.measure(now), now
        with suppress(DecisionLogError), self._reached() as store:
            if now - self._settled > UNDERWAY:
                self._settle(store, now)
            rest = 20 * self._quality_took
            if now - self._quality_read > (rest if self._labelled else max(QUALITY_AGE, rest)):
                self._read_quality(store, now)

    def stats(self) -> dict[str, Any]:
        """The last 15 minutes, quality over 30 days, and the state of the log, fit for JSON.

        Returns
        -------
        dict
            What `Window.summary` gives; `drift`, what `DriftWindow.summary` gives; `quality`, a
            list of `Quality`; and `log`, the `State`. While the database is away, quality and
            losses are those last read.
        """
        now = time.time()
        try:
            with self._reached() as store:
                self._settle(store, now)
                if self._labelled or now - self._quality_read > QUALITY_AGE:
                    self._read_quality(store, now)
        except DecisionLogError:
            pass  # it is told as such below
        return {
            **self._window.summary(now),
            "drift": self.drift.summary(now),
            "quality": [q._asdict() for q in self.quality],
            "log": self.state._asdict() | {"lost": [loss._asdict() for loss in self._losses]},
        }

    def close(self) -> None:
        """Let go of the database."""
        self._store.close()

    def _read_quality(self, store: DecisionStore, now: float) -> None:
        began = time.monotonic()
        self.quality = store.quality(self.model, now - DAYS * 86400, now)
        self._quality_read, self._quality_took = now, time.monotonic() - began
        self._labelled = False

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
