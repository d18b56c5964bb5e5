"""Cells of a file that somebody will open in a spreadsheet: as text, and none of them a formula."""

from __future__ import annotations

from typing import Final

import pyarrow as pa
from pyarrow import compute

# Arrow's \s knows fewer spaces than a spreadsheet may pass over.
_SPACE: Final = r"[\s\x{0B}\x{1C}-\x{1F}\x{85}\p{Z}]"
_FORMULA: Final = r"^" + _SPACE + r"*[=+\-@\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}]|^[\t\r\n]"
_NUMBER: Final = r"^\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*$"


def as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Any column as texts, missing values staying missing."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_string(kind):
        return column
    if not (pa.types.is_nested(kind) or pa.types.is_binary(kind)):
        try:
            return column.cast(pa.string())
        except pa.ArrowException:
            pass  # Arrow has no text for some types; Python has
    texts = [None if value is None else _plain(value) for value in column.to_pylist()]
    return pa.chunked_array([pa.array(texts, pa.string())])


def harmless(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts as a spreadsheet may open them: before what would start a formula stands a quote.

    A number with a sign is no formula and stays as it is.

    >>> harmless(pa.chunked_array([["=1+1", "-5", "plain"]])).to_pylist()
    ["'=1+1", '-5', 'plain']
    """
    starts = compute.match_substring_regex(column, _FORMULA)
    numbers = compute.match_substring_regex(column, _NUMBER)
    quoted = compute.binary_join_element_wise(pa.scalar("'"), column, "")
    risky = compute.and_(starts, compute.invert(numbers))
    return compute.if_else(risky, quoted, column)


def sheet(rows: pa.Table) -> pa.Table:
    """All columns as harmless texts; so are their names."""
    columns = [harmless(as_text(column)) for column in rows.columns]
    return pa.table(columns, names=harmless(pa.chunked_array([rows.column_names])).to_pylist())


def _plain(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
