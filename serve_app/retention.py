"""What leaves the decision log, a little at a time, so that its writer need not wait."""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa

from serve_app.decision_tables import FEEDBACK, REQUESTS, SCORES

_REQUESTS = 1_000
"""Requests that leave in one transaction, a few hundredths of a second,"""

_PAYMENTS = 20_000
"""and how many payments they may have together; a request of more leaves alone."""

_LABELS = 10_000
"""Labels that leave in one transaction."""


class Pruned(NamedTuple):
    """What has left the log."""

    requests: int = 0
    payments: int = 0
    labels: int = 0

    def plus(self, other: Pruned) -> Pruned:
        """Both together."""
        return Pruned(*(a + b for a, b in zip(self, other, strict=True)))


class Old(NamedTuple):
    """The requests of a ledger that may leave: those before `until`, a sequence number."""

    ledger: str
    until: int
    requests: int
    payments: int


def old(connection: sa.Connection, before: float) -> list[Old]:
    """What was decided before a time, of every ledger, whose numbers go by the time.

    The last request of a ledger is never old: the log knows by it what the ledger has delivered,
    and by that how many decisions a killed ingress took along.
    """
    r = REQUESTS.c
    # What a ledger decided since then, or its last request where that is nothing.
    kept = sa.case((r.at >= before, r.first_seq))
    until = sa.func.coalesce(sa.func.min(kept), sa.func.max(r.first_seq))
    ends = sa.select(r.ledger, until.label("until")).group_by(r.ledger).subquery()
    counted = (
        sa.select(r.ledger, ends.c.until, sa.func.count(), sa.func.sum(r.payments))
        .join(ends, (ends.c.ledger == r.ledger) & (r.first_seq < ends.c.until))
        .group_by(r.ledger, ends.c.until)
        .order_by(r.ledger)
    )
    return [Old(*row) for row in connection.execute(counted)]


def prune_requests(connection: sa.Connection, found: Old) -> Pruned:
    """Remove the first of what is old, requests and scores; nothing when all of it is gone."""
    r, s = REQUESTS.c, SCORES.c
    first = (
        sa.select(r.first_seq, r.payments)
        .where(r.ledger == found.ledger, r.first_seq < found.until)
        .order_by(r.first_seq)
        .limit(_REQUESTS)
    )
    leaving: list[int] = []
    payments = end = 0
    for number, count in connection.execute(first).all():
        if leaving and payments + count > _PAYMENTS:
            break
        leaving.append(number)
        payments += count
        end = number + count
    if not leaving:
        return Pruned()
    connection.execute(sa.delete(SCORES).where(s.ledger == found.ledger, s.seq < end))
    connection.execute(
        sa.delete(REQUESTS).where(r.ledger == found.ledger, r.first_seq <= leaving[-1])
    )
    return Pruned(len(leaving), payments)


def prune_labels(connection: sa.Connection, before: float) -> Pruned:
    """Remove some labels that came before a time and whose decision is gone, until none are."""
    f = FEEDBACK.c
    decided = sa.exists().where(REQUESTS.c.request_id == f.request_id)
    without = sa.select(f.id).where(f.received < before, ~decided).limit(_LABELS)
    done = connection.execute(sa.delete(FEEDBACK).where(f.id.in_(without)))
    return Pruned(labels=done.rowcount)
