"""The tables of the decision log; decisions and feedback are only ever added to."""

from __future__ import annotations

import sqlalchemy as sa

METADATA = sa.MetaData()
DECISIONS = sa.Table(
    "decisions",
    METADATA,
    sa.Column("ledger", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("request_id", sa.Text, nullable=False),
    sa.Column("payment", sa.Integer, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("probability", sa.Double, nullable=False),
    sa.Column("threshold", sa.Double, nullable=False),
    sa.Column("decision", sa.SmallInteger, nullable=False),
    sa.Index("decisions_request", "request_id", "payment"),
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
