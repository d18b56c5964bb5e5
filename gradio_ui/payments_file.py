"""A file of payments that somebody dropped: CSV or Parquet, read in pieces of bounded size.

Values are left as they are written: what they mean, and which of them are wrong, is for the graph
to say. So this reads CSV as text alone.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gradio_ui.desk import Trouble

MOST_ROWS = 1_000_000
"""Rows of one file; `fraudray score` takes any number."""
PIECE = 10_000
"""Rows in one question to the graph."""

_BLOCK = 1 << 20  # bytes of CSV read at a time
_MOST_UNPACKED = 1 << 30  # bytes that the columns of a Parquet file may take


@dataclass(frozen=True)
class Misfit:
    """A line of CSV with more or fewer values than the header has."""

    line: int
    text: str
    why: str


@dataclass(frozen=True)
class Piece:
    """Some rows of a file.

    Attributes
    ----------
    lines
        Where each row stands, shape (n,); the header is line 1, the first row line 2.
    misfits
        Lines before the next piece that are no rows.
    """

    rows: pa.Table
    lines: NDArray[np.int64]
    misfits: list[Misfit]


class PaymentsFile:
    """A file of payments.

    Attributes
    ----------
    columns
        Its names, in order.
    expected
        About how many rows it has.

    Raises
    ------
    Trouble
        If it cannot be read, in words for who dropped it. The same goes for `pieces`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parquet = path.suffix.lower() == ".parquet"
        if not self.parquet and path.suffix.lower() != ".csv":
            raise _unreadable("its name ends neither in .csv nor in .parquet")
        if path.stat().st_size == 0:
            raise _unreadable("it is empty")
        self.columns, self.expected = self._opened_parquet() if self.parquet else self._header()
        twice = sorted({name for name in self.columns if self.columns.count(name) > 1})
        if twice:
            raise _unreadable(f"it names {', '.join(twice)} twice")

    def pieces(self) -> Iterator[Piece]:
        """All rows, at most `PIECE` at a time."""
        rows = 0
        for piece in self._of_parquet() if self.parquet else self._of_csv():
            rows += len(piece.rows)
            if rows > MOST_ROWS:
                raise _too_long()
            yield piece

    def _opened_parquet(self) -> tuple[list[str], int]:
        from pyarrow import parquet

        try:
            about = parquet.read_metadata(self.path)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(f"it is no Parquet file ({_line(error)})") from None
        if about.num_rows > MOST_ROWS:
            raise _too_long()
        unpacked = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
        if unpacked > _MOST_UNPACKED:
            raise _unreadable("its columns take over 1 GB when they are unpacked")
        return about.schema.to_arrow_schema().names, about.num_rows

    def _of_parquet(self) -> Iterator[Piece]:
        from pyarrow import parquet

        line = 2
        try:
            with parquet.ParquetFile(self.path) as file:
                for batch in file.iter_batches(PIECE):
                    lines = np.arange(line, line + len(batch), dtype=np.int64)
                    line += len(batch)
                    yield Piece(pa.Table.from_batches([batch]), lines, [])
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(f"it is no Parquet file ({_line(error)})") from None

    def _header(self) -> tuple[list[str], int]:
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as text:
                first = text.readline()
            # Spreadsheets of some countries part values by semicolons.
            self._delimiter = ";" if first.count(";") > first.count(",") else ","
            names = next(csv.reader([first], delimiter=self._delimiter), [])
            with self.path.open("rb") as content:
                lines = sum(block.count(b"\n") for block in iter(lambda: content.read(_BLOCK), b""))
        except (UnicodeDecodeError, csv.Error) as error:
            raise _unreadable(f"it is no text in UTF-8 ({_line(error)})") from None
        if not any(name.strip() for name in names):
            raise _unreadable("its first line names no columns")
        self._raw = names
        return [name.strip() for name in names], max(lines - 1, 1)

    def _of_csv(self) -> Iterator[Piece]:
        from pyarrow import csv as arrow_csv

        wrong: list[Misfit] = []

        def misfit(row: Any) -> str:
            why = f"has {row.actual_columns} values, the header {row.expected_columns}"
            wrong.append(Misfit(int(row.number), row.text, why))
            return "skip"

        options: dict[str, Any] = {
            # Only one thread knows the numbers of rows.
            "read_options": arrow_csv.ReadOptions(use_threads=False, block_size=_BLOCK),
            "parse_options": arrow_csv.ParseOptions(
                delimiter=self._delimiter, newlines_in_values=True, invalid_row_handler=misfit
            ),
            "convert_options": arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(self._raw, pa.string()),
                null_values=[""], strings_can_be_null=True,
            ),
        }  # fmt: skip
        line, told, bad = count(2), 0, set[int]()
        try:
            with arrow_csv.open_csv(self.path, **options) as stream:
                for batch in stream:
                    bad |= {m.line for m in wrong[told:]}
                    table = pa.Table.from_batches([batch]).rename_columns(self.columns)
                    for start in range(0, len(table), PIECE):
                        part = table.slice(start, PIECE)
                        places = (place for place in line if place not in bad)
                        lines = np.fromiter(places, np.int64, len(part))
                        yield Piece(part, lines, wrong[told:])
                        told = len(wrong)
            if told < len(wrong):
                none = pa.table({name: pa.array([], pa.string()) for name in self.columns})
                yield Piece(none, np.zeros(0, np.int64), wrong[told:])
        except pa.ArrowException as error:
            if "Empty CSV" in str(error) or "no data" in str(error).lower():
                return
            raise _unreadable(f"it is no CSV in UTF-8 ({_line(error)})") from None


def _unreadable(why: str) -> Trouble:
    return Trouble(
        "This file cannot be read",
        f"It seems that {why}. Drop a CSV file with a header line, or a Parquet file.",
    )


def _too_long() -> Trouble:
    return Trouble(
        "This file is too long for the page",
        f"It has over {MOST_ROWS:,} rows. `fraudray score FILE --out SCORED` takes any number.",
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
