"""Read CSV and Parquet of any size, piece by piece.

CSV is cut into blocks of bytes that end where a row ends, so that memory holds one block's text,
blocks can be read apart, and the line of a row is counted only where a problem has to be named.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.errors import DataRefused
from training.rows import line_breaks, row_ends, row_starts
from training.source import Source

BLOCK = 8 << 20
"""Bytes of CSV read at a time: about 80,000 payments."""
ROWS = 100_000
"""Rows of Parquet read at a time."""
MISSING = ["", "NA", "N/A", "NaN", "nan", "NULL", "null", "None"]
"""Texts that mean there is no value."""

_LONGEST = 64 << 20  # bytes of one row; beyond it a quote was opened and never closed
_BOM = b"\xef\xbb\xbf"
_LINE = re.compile(r"(?<=line )\d+")

Lines = NDArray[np.int64]


@dataclass(frozen=True)
class Chunk:
    """Some rows as they were read.

    Attributes
    ----------
    frame
        Every value of CSV as text, NaN where it is missing; the types of Parquet.
    lines
        Counts the line that each row begins at, shape (n,); the header is line 1.
    """

    frame: pd.DataFrame
    lines: Callable[[], Lines]


@dataclass(frozen=True)
class Block:
    """Whole rows of a CSV file.

    Attributes
    ----------
    text
        The rows.
    start, line
        Byte of the file and line that they begin at.
    """

    text: bytes
    start: int
    line: int


@dataclass(frozen=True)
class Header:
    """The first row of a CSV file that is not blank: its text and the names in it."""

    text: bytes
    names: tuple[str, ...]


def chunks(source: Source) -> Iterator[Chunk]:
    """Read a file, or the Parquet files of a folder, in order and in bounded memory.

    Yields at least one chunk, without rows if the file has none.

    Raises
    ------
    FraudrayError
        If the file cannot be reached.
    DataRefused
        If it is not what its ending says.
    """
    line = 2
    for part in source.parts():
        with part.open() as file:
            if part.parquet:
                for frame in _parquet(file):
                    yield Chunk(frame, _from(line, len(frame)))
                    line += len(frame)
            else:
                yield from csv_chunks(file, part.name)


def csv_chunks(file: IO[bytes], source: str) -> Iterator[Chunk]:
    """Read CSV with a header line from an open file.

    Raises
    ------
    DataRefused
        If it is no such text.
    """
    stream = blocks(file, source)
    header, first = begin(stream, source)
    yield _chunk(first, header, source)
    for block in stream:
        yield _chunk(block, header, source)


def read_csv(text: Path | IO[str], *, source: str) -> pd.DataFrame:
    """Read CSV with a header line whole, every value as text so that a problem can quote it.

    Raises
    ------
    DataRefused
        If it is no such text.
    """
    content = text.read_bytes() if isinstance(text, Path) else text.read().encode()
    frames = [chunk.frame for chunk in csv_chunks(io.BytesIO(content), source)]
    return pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]


def head(path: str | Path, rows: int) -> pd.DataFrame:
    """A raw sample: rows of row groups spread over a Parquet file, the first rows of CSV."""
    source = Source(str(path))
    part = source.parts()[0]
    if not part.parquet:
        frames, found = [], 0
        for chunk in chunks(source):
            frames.append(chunk.frame.head(rows - found))
            found += len(frames[-1])
            if found >= rows:
                break
        return pd.concat(frames, ignore_index=True)
    from pyarrow import parquet

    with part.open() as opened:
        file = parquet.ParquetFile(opened)
        groups = file.metadata.num_row_groups
        spread = sorted(set(np.linspace(0, groups - 1, min(groups, 8)).astype(int).tolist()))
        each = -(-rows // max(len(spread), 1))
        taken = [
            next(file.iter_batches(min(each, ROWS), row_groups=[group]), None) for group in spread
        ]
        frames = [t.to_pandas() for t in taken if t is not None]
    frame = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    return frame.head(rows)


def blocks(file: IO[bytes], source: str, size: int | None = None) -> Iterator[Block]:
    """Cut CSV where rows end, into blocks of about `size` bytes.

    Raises
    ------
    DataRefused
        If a quote is opened and never closed.
    """
    rest, start, line, old_mac = b"", 0, 1, False
    while more := file.read(size or BLOCK):
        if start == 0 and not rest:
            if more.startswith(_BOM):
                more, start = more[len(_BOM) :], len(_BOM)
            old_mac = b"\n" not in more and b"\r" in more.rstrip(b"\r")
        text = rest + (more.replace(b"\r", b"\n") if old_mac else more)
        ends = row_ends(text)
        cut = int(ends[-1]) + 1 if len(ends) else 0
        if cut:
            yield Block(text[:cut], start, line)
            start, line = start + cut, line + line_breaks(text[:cut])
        rest = text[cut:]
        if len(rest) > _LONGEST:
            raise DataRefused(
                f"{source}: is not CSV: the row at line {line} is longer than "
                f"{_LONGEST >> 20} MB; is a quote never closed?"
            )
    if rest:
        yield Block(rest, start, line)


def begin(stream: Iterator[Block], source: str) -> tuple[Header, Block]:
    """The header and the rest of the first block.

    Raises
    ------
    DataRefused
        If there is no header, or it names a column twice.
    """
    for block in stream:
        rows = row_starts(block.text)
        if not len(rows):
            continue
        ends = row_ends(block.text)
        after = ends[ends >= rows[0]]
        cut = int(after[0]) + 1 if len(after) else len(block.text)
        text = block.text[:cut]
        # The header is read as a row: pandas would rename a column that is there twice.
        names = _rows(text, source).iloc[0].fillna("").str.strip()
        if twice := sorted(set(names[names.duplicated()])):
            raise DataRefused(f"{source}: the header names {', '.join(map(repr, twice))} twice")
        rest = Block(block.text[cut:], block.start + cut, block.line + line_breaks(text))
        return Header(text.rstrip(b"\r\n") + b"\n", tuple(names)), rest
    raise DataRefused(f"{source}: is not CSV with a header line: it has only blank lines")


def parse(block: Block, header: Header, source: str, *, missing: bool = True) -> pd.DataFrame:
    """Read the rows of a block, every value as text.

    Parameters
    ----------
    missing
        NaN for the texts of `MISSING`; False leaves them as they are.

    Raises
    ------
    DataRefused
        If a row has more values than the header.
    """
    # With the header before it each block is read by the same rule about the number of columns.
    before = line_breaks(header.text)
    rows = _rows(header.text + block.text, source, missing=missing, skew=block.line - 1 - before)
    return rows[1:].set_axis(list(header.names), axis=1).reset_index(drop=True)


def lines_of(block: Block, rows: int) -> Lines:
    """The line that each row of a block begins at, shape (rows,)."""
    starts = row_starts(block.text)
    if len(starts) != rows:  # not to be trusted: the count of rows is the best there is
        return block.line + np.arange(rows)
    raw = np.frombuffer(block.text, np.uint8)
    breaks = np.flatnonzero((raw == 10) | ((raw == 13) & (np.r_[raw[1:], 0] != 10)))
    return np.asarray(block.line + np.searchsorted(breaks, starts))


def _line_of(text: bytes, row: int) -> int:
    """The line that a row begins at, blank rows counted, as pandas' errors count them."""
    ends = row_ends(text)[: max(row - 1, 0)]
    return 1 + (line_breaks(text[: int(ends[-1]) + 1]) if len(ends) else 0)


def _from(line: int, rows: int) -> Callable[[], Lines]:
    return lambda: line + np.arange(rows)


def _chunk(block: Block, header: Header, source: str) -> Chunk:
    frame = parse(block, header, source)
    return Chunk(frame, lambda: lines_of(block, len(frame)))


def _parquet(file: Any) -> Iterator[pd.DataFrame]:
    from pyarrow import Table, parquet

    opened = parquet.ParquetFile(file)
    empty = True
    for batch in opened.iter_batches(ROWS):
        empty = False
        yield batch.to_pandas().reset_index(drop=True)
    if empty:
        yield Table.from_batches([], opened.schema_arrow).to_pandas().reset_index(drop=True)


def _rows(text: bytes, source: str, *, missing: bool = True, skew: int = 0) -> pd.DataFrame:
    """Parse rows without a header; `skew` is added to the line that an error names."""
    try:
        return pd.read_csv(io.BytesIO(text), header=None, dtype=str, keep_default_na=False,
                           na_values=MISSING if missing else None, na_filter=missing,
                           skipinitialspace=True)  # fmt: skip
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        told = " ".join(str(error).split())[:200]
        told = _LINE.sub(lambda found: str(_line_of(text, int(found[0])) + skew), told)
        raise DataRefused(f"{source}: is not CSV with a header line: {told}") from None
