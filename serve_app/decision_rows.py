"""How the decisions of a delivery get into their table, many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from serve_app.decision_tables import DECISIONS
from serve_app.delivery import Delivery

_PART_ROWS = 10_000
"""Rows written to PostgreSQL by one statement, some megabytes of text."""


def append(connection: sa.Connection, model: str, delivery: Delivery) -> int:
    """Insert the rows that are not there yet; returns how many those are."""
    columns = _columns(model, delivery)
    if connection.dialect.name == "sqlite":
        return _append_sqlite(connection, columns)
    return _append_postgresql(connection, columns)


def _columns(model: str, delivery: Delivery) -> list[list[Any]]:
    """The decisions of a delivery by column of the table."""
    count = len(delivery.probability)

    def each(values: Sequence[Any] | np.ndarray) -> list[Any]:
        repeated: list[Any] = np.repeat(np.asarray(values, object), delivery.rows).tolist()
        return repeated

    return [
        [delivery.ledger] * count,
        list(range(delivery.first, delivery.first + count)),
        each(delivery.at),
        each(delivery.request_id),
        delivery.payment.tolist(),
        [model] * count,
        each(delivery.version),
        each(delivery.role),
        delivery.probability.tolist(),
        each(delivery.threshold),
        delivery.decision.tolist(),
    ]


def _append_sqlite(connection: sa.Connection, columns: list[list[Any]]) -> int:
    # Rows go to the driver as they are, more than twice as fast as by their names.
    statement = sqlite.insert(DECISIONS).on_conflict_do_nothing()
    sql = str(statement.compile(dialect=connection.dialect))
    return connection.exec_driver_sql(sql, list(zip(*columns, strict=True))).rowcount


def _append_postgresql(connection: sa.Connection, columns: list[list[Any]]) -> int:
    # An array for each column takes a fifth of the time that rows of values take.
    arrays = [
        sa.bindparam(column.name, type_=postgresql.ARRAY(column.type)) for column in DECISIONS.c
    ]
    rows = sa.func.unnest(*arrays).table_valued(*DECISIONS.c.keys()).render_derived()
    statement = (
        postgresql.insert(DECISIONS)
        .from_select(DECISIONS.c.keys(), sa.select(rows))
        .on_conflict_do_nothing()
    )
    new = 0
    for i in range(0, len(columns[0]), _PART_ROWS):
        part = (values[i : i + _PART_ROWS] for values in columns)
        named = dict(zip(DECISIONS.c.keys(), part, strict=True))
        new += connection.execute(statement, named).rowcount
    return new
