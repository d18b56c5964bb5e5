"""The database of decisions and of the labels that come later; SQLite or PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from serve_app.decision_rows import append
from serve_app.decision_tables import FEEDBACK, LOSSES, METADATA, REQUESTS, SCORES
from serve_app.delivery import Delivery
from serve_app.retention import Old, Pruned, old, prune_labels, prune_requests
from training.errors import FraudrayError

_PATIENCE = 2
"""Seconds to wait for a server or a lock; those who deliver keep what they have, and try again."""

_PART = 500
"""Requests looked up by one statement; SQLite takes some 32,000 values."""


class DecisionLogError(FraudrayError):
    """The decision log cannot do what it was asked."""


class StoreAway(DecisionLogError):
    """The database cannot be reached or is locked; it is worth trying again."""


@dataclass(frozen=True)
class Feedback:
    """The true label of a past decision: `payment` is its place in the request.

    `at` is when the truth became known, in seconds since 1970; None for now.
    """

    request_id: str
    label: int
    payment: int = 0
    at: float | None = None


class Quality(NamedTuple):
    """What labels say about the decisions of one version in one role."""

    version: str
    role: str
    labelled: int
    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int
    label_delay: float
    """Mean seconds from decision to label."""

    @property
    def alerts(self) -> int:
        """Alerts that have a label."""
        return self.true_positive + self.false_positive

    @property
    def precision(self) -> float | None:
        """Share of alerts that are fraud; None without alerts."""
        return self.true_positive / self.alerts if self.alerts else None

    @property
    def recall(self) -> float | None:
        """Share of frauds that were alerted on; None without frauds."""
        frauds = self.true_positive + self.false_negative
        return self.true_positive / frauds if frauds else None


class Loss(NamedTuple):
    """Decisions made by an ingress that ended before the log held them."""

    ledger: str
    decisions: int
    at: float
    """When that was found, seconds since 1970."""


class DecisionStore:
    """Decisions and labels, both only ever added until they are old enough to leave.

    Parameters
    ----------
    url
        `sqlite:///path` or `postgresql://...`; tables are made when first needed, so that the
        database may be away now.

    Raises
    ------
    DecisionLogError
        If the URL is not one of these or cannot be used. Every method raises `StoreAway` where
        the database cannot be reached, and `DecisionLogError` where it refuses.
    """

    def __init__(self, url: str) -> None:
        try:
            address = sa.make_url(url)
        except sa.exc.ArgumentError:
            raise _unusable("a URL that cannot be read") from None
        self._name = address.render_as_string(hide_password=True)
        self._tables = False
        match address.get_backend_name():
            case "sqlite" if address.database:
                try:
                    Path(address.database).parent.mkdir(parents=True, exist_ok=True)
                except OSError as error:
                    message = f"{self._name}: its folder cannot be made: {error.strerror}"
                    raise DecisionLogError(message) from None
                self._engine = sa.create_engine(address, connect_args={"timeout": _PATIENCE})
                sa.event.listen(self._engine, "connect", _set_up_sqlite)
                self._insert: Any = sqlite.insert
            case "postgresql":
                if address.drivername == "postgresql":
                    # The default differs between versions of SQLAlchemy; this one we pin.
                    address = address.set(drivername="postgresql+psycopg2")
                try:
                    self._engine = sa.create_engine(
                        address, pool_pre_ping=True, connect_args={"connect_timeout": _PATIENCE}
                    )
                except ModuleNotFoundError as error:
                    message = f"{self._name}: needs the package {error.name}"
                    raise DecisionLogError(message) from None
                self._insert = postgresql.insert
            case _:
                raise _unusable(repr(self._name))

    def append(self, model: str, delivery: Delivery) -> int:
        """Add the decisions of a delivery, all or none; those held already are left as they are.

        Returns
        -------
        int
            Rows that are new.
        """
        if len(delivery.probability) == 0:
            return 0
        with self._connection() as connection:
            return append(connection, model, delivery)

    def received(self, ledger: str) -> int:
        """One more than the highest sequence number held of a ledger."""
        highest = sa.select(sa.func.max(SCORES.c.seq)).where(SCORES.c.ledger == ledger)
        with self._connection() as connection:
            held = connection.execute(highest).scalar()
        return 0 if held is None else held + 1

    def label(self, feedback: Sequence[Feedback]) -> list[Feedback]:
        """Add labels; returns those that no decision is known for, which are not added."""
        now = time.time()
        asked = list(dict.fromkeys(f.request_id for f in feedback))
        payments: dict[str, int] = {}  # of each request that is known
        with self._connection() as connection:
            for i in range(0, len(asked), _PART):
                part = (
                    sa.select(REQUESTS.c.request_id, sa.func.max(REQUESTS.c.payments))
                    .where(REQUESTS.c.request_id.in_(asked[i : i + _PART]))
                    .group_by(REQUESTS.c.request_id)
                )
                payments.update((row[0], row[1]) for row in connection.execute(part))
            unknown = [f for f in feedback if f.payment >= payments.get(f.request_id, 0)]
            labels = [
                {
                    "request_id": f.request_id,
                    "payment": f.payment,
                    "label": f.label,
                    "at": now if f.at is None else f.at,
                    "received": now,
                }
                for f in feedback
                if f.payment < payments.get(f.request_id, 0)
            ]
            if labels:
                connection.execute(sa.insert(FEEDBACK), labels)
        return unknown

    def quality(self, model: str, since: float, now: float) -> list[Quality]:
        """What the labels received in since < t <= now say, by version and role.

        The last label of a payment counts, and of several decisions under one request id, as a
        caller's retries make, the last one.
        """
        r, s, f = REQUESTS.c, SCORES.c, FEEDBACK.c
        place = sa.func.row_number().over(
            partition_by=(r.request_id, f.payment, r.version, r.role),
            order_by=(f.id.desc(), r.at.desc(), r.ledger, r.first_seq.desc()),
        )
        joined = (
            sa.select(
                r.version, r.role, s.decision, f.label, (f.at - r.at).label("delay"),
                place.label("place"),
            )
            .join_from(
                FEEDBACK,
                REQUESTS,
                (r.request_id == f.request_id) & (r.payments > f.payment),
            )
            .join(SCORES, (s.ledger == r.ledger) & (s.seq == r.first_seq + f.payment))
            .where(f.received > since, f.received <= now, r.model == model)
            .subquery()
        )  # fmt: skip
        j = joined.c

        def rows(decision: int, label: int) -> sa.ColumnElement[int]:
            hit = (j.decision == decision) & (j.label == label)
            return sa.func.sum(sa.case((hit, 1), else_=0))

        counted = (
            sa.select(
                j.version, j.role, sa.func.count(),
                rows(1, 1), rows(1, 0), rows(0, 1), rows(0, 0), sa.func.avg(j.delay),
            )
            .where(j.place == 1)
            .group_by(j.version, j.role)
            .order_by(j.version, j.role)
        )  # fmt: skip
        with self._connection() as connection:
            return [Quality(*row) for row in connection.execute(counted)]

    def lose(self, model: str, loss: Loss) -> None:
        """Note that decisions are lost; once for each ledger."""
        statement = self._insert(LOSSES).on_conflict_do_nothing()
        with self._connection() as connection:
            connection.execute(statement, loss._asdict() | {"model": model})

    def losses(self, model: str, since: float) -> list[Loss]:
        """The losses found since a time, the latest first."""
        columns = LOSSES.c
        noted = (
            sa.select(columns.ledger, columns.decisions, columns.at)
            .where(columns.model == model, columns.at > since)
            .order_by(columns.at.desc(), columns.ledger)
        )
        with self._connection() as connection:
            return [Loss(*row) for row in connection.execute(noted)]

    def old(self, before: float) -> list[Old]:
        """What `prune` would remove of each ledger; without the labels, which follow."""
        with self._connection() as connection:
            return old(connection, before)

    def prune(self, before: float) -> Pruned:
        """Remove decisions made before a time, and labels that came before it for what is gone.

        The last request of each ledger stays, and so do losses. It goes in many transactions with
        pauses as long as themselves, so that the writer finds its place; what an interrupted call
        has removed is gone.
        """
        pruned = Pruned()
        steps = [partial(prune_requests, found=found) for found in self.old(before)]
        for step in [*steps, partial(prune_labels, before=before)]:
            while True:
                began = time.monotonic()
                with self._connection() as connection:
                    gone = step(connection)
                if gone == Pruned():
                    break
                pruned = pruned.plus(gone)
                time.sleep(time.monotonic() - began)
        return pruned

    def __str__(self) -> str:
        return self._name

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    @contextmanager
    def _connection(self) -> Iterator[sa.Connection]:
        """A transaction; errors of the database as our own."""
        try:
            if not self._tables:
                METADATA.create_all(self._engine)
                self._tables = True
            with self._engine.begin() as connection:
                yield connection
        except sa.exc.SQLAlchemyError as error:
            self._tables = False  # another database may have come in its place
            message = f"{self._name}: {_reason(error)}"
            away = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError)
            raise (StoreAway if isinstance(error, away) else DecisionLogError)(message) from None


def _set_up_sqlite(connection: Any, _: Any) -> None:
    # Large pages and 64 MB of memory for them suit an index on ids that come in no order.
    for setting in (
        "page_size = 16384", "cache_size = -65536", "journal_mode = WAL", "synchronous = NORMAL",
    ):  # fmt: skip
        connection.execute(f"PRAGMA {setting}")


def _unusable(found: str) -> DecisionLogError:
    return DecisionLogError(
        f"decision log: expected sqlite:///path or postgresql://user@host/database, is {found}"
    )


def _reason(error: sa.exc.SQLAlchemyError) -> str:
    """What the driver said, without the statement and its values, in one line."""
    said = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    return str(said).strip().partition("\n")[0]
