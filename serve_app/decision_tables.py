"""The tables of the decision log; nothing in them changes, and only what is old leaves."""

from __future__ import annotations

import sqlalchemy as sa

METADATA = sa.MetaData()
REQUESTS = sa.Table(
    "requests",
    METADATA,
    sa.Column("ledger", sa.Text, primary_key=True),
    sa.Column("first_seq", sa.BigInteger, primary_key=True),
    sa.Column("payments", sa.Integer, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("request_id", sa.Text, nullable=False, index=True),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("threshold", sa.Double, nullable=False),
    sqlite_with_rowid=False,
)
"""What all payments of a request share: their `payments` scores begin at `first_seq`."""
SCORES = sa.Table(
    "scores",
    METADATA,
    sa.Column("ledger", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True),
    sa.Column("probability", sa.Double, nullable=False),
    sa.Column("decision", sa.SmallInteger, nullable=False),
    sqlite_with_rowid=False,
)
FEEDBACK = sa.Table(
    "feedback",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("payment", sa.Integer, nullable=False),
    sa.Column("label", sa.SmallInteger, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("received", sa.Double, nullable=False, index=True),
)
LOSSES = sa.Table(
    "losses",
    METADATA,
    sa.Column("ledger", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("decisions", sa.BigInteger, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
)
_VIEW = """VIEW decisions_made AS
SELECT r.ledger, s.seq, r.at, r.request_id, s.seq - r.first_seq AS payment, r.model, r.version,
       r.role, s.probability, r.threshold, s.decision
FROM requests r
JOIN scores s ON s.ledger = r.ledger AND s.seq >= r.first_seq AND s.seq < r.first_seq + r.payments
"""
"""A row for each payment, for people who read the log."""


@sa.event.listens_for(METADATA, "after_create")
def _create_view(_: sa.MetaData, connection: sa.Connection, **__: object) -> None:
    if "decisions_made" not in sa.inspect(connection).get_view_names():
        connection.execute(sa.text(f"CREATE {_VIEW}"))
