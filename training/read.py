"""Read CSV and Parquet of any size, piece by piece.

CSV is cut into blocks of bytes that end where a row ends, so that memory holds one block's text,
blocks can be read apart, and the line of a row is counted only where a problem has to be named.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.csv_rows import (
    Misfit,
    all_rows_have,
    fitting,
    line_breaks,
    lines_of,
    row_ends,
    rows_of,
)
from training.errors import DataRefused
from training.source import Source

BLOCK = 8 << 20
"""Bytes of CSV read at a time: about 80,000 payments."""
ROWS = 100_000
"""Rows of Parquet read at a time."""
MISSING = ["", "NA", "N/A", "NaN", "nan", "NULL", "null", "None"]
"""Texts that mean there is no value."""

_LONGEST = 64 << 20  # bytes of one row; beyond it a quote was opened and never closed
_BOM = b"\xef\xbb\xbf"
_NAMELESS = re.compile(r"__index_level_\d+__")  # pandas' own numbering of rows
_NULLABLE = {f"{sign.lower()}int{bits}": f"{sign}Int{bits}"
             for sign in ("", "U") for bits in (8, 16, 32, 64)}  # fmt: skip

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
    source
        The file that they are from.
    misfits
        What is not in the frame because it has too many or too few values.
    """

    frame: pd.DataFrame
    lines: Callable[[], Lines]
    source: str = ""
    misfits: tuple[Misfit, ...] = ()


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
                for frame in _parquet(file, part.name):
                    yield Chunk(frame, _from(line, len(frame)), part.name)
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
    yield parse(first, header, source)
    for block in stream:
        yield parse(block, header, source)


def read_csv(text: IO[str], *, source: str) -> pd.DataFrame:
    """Read CSV with a header line whole, every value as text so that a problem can quote it.

    Raises
    ------
    DataRefused
        If it is no such text, or a row has another length than the header.
    """
    frames = []
    for chunk in csv_chunks(io.BytesIO(text.read().encode()), source):
        for line, values, wanted in chunk.misfits:
            raise DataRefused(f"{source}: line {line} has {values} values, the header {wanted}")
        frames.append(chunk.frame)
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
        require_distinct(file.schema_arrow.names, part.name)
        groups = file.metadata.num_row_groups
        spread = sorted(set(np.linspace(0, groups - 1, min(groups, 8)).astype(int).tolist()))
        each = -(-rows // max(len(spread), 1))
        taken = [
            next(file.iter_batches(min(each, ROWS), row_groups=[group]), None) for group in spread
        ]
        frames = [frame_of(t) for t in taken if t is not None]
    frame = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    return frame.head(rows)


def blocks(file: IO[bytes], source: str, size: int | None = None) -> Iterator[Block]:
    """Cut CSV where rows end, into blocks of about `size` bytes.

    Raises
    ------
    DataRefused
        If a quote is opened and never closed.
    """
    rest, start, line = b"", 0, 1
    while more := file.read(size or BLOCK):
        if start == 0 and not rest and more.startswith(_BOM):
            more, start = more[len(_BOM) :], len(_BOM)
        text = rest + more
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
        stops = rows_of(block.text).stops
        if not len(stops):
            continue
        cut = int(stops[0])
        text = block.text[:cut]
        # The header is read as a row: pandas would rename a column that is there twice.
        names = _rows(text, source, missing=False).iloc[0].str.strip()
        require_distinct(names, source)
        rest = Block(block.text[cut:], block.start + cut, block.line + line_breaks(text))
        return Header(text.rstrip(b"\r\n") + b"\n", tuple(names)), rest
    raise DataRefused(f"{source}: is not CSV with a header line: it has only blank lines")


def require_distinct(names: Iterable[Any], source: str) -> None:
    """Check that no name is there twice.

    Raises
    ------
    DataRefused
        If any is; all of them are named.
    """
    found = pd.Series([str(name) for name in names], dtype=object)
    if twice := sorted(set(found[found.duplicated()])):
        raise DataRefused(f"{source}: names {', '.join(map(repr, twice))} twice")


def parse(block: Block, header: Header, source: str, *, missing: bool = True) -> Chunk:
    """Read the rows of a block, every value as text.

    Parameters
    ----------
    missing
        NaN for the texts of `MISSING`; False leaves them as they are.

    Raises
    ------
    DataRefused
        If they are no text, or a quote is opened and never closed.
    """
    wanted, text = len(header.names), block.text
    misfits: tuple[Misfit, ...] = ()
    if not all_rows_have(wanted, text):
        try:
            text.decode()  # rows that are left out must be text as well
            text, misfits = fitting(text, wanted, block.line)
        except ValueError as error:
            raise DataRefused(f"{source}: is not CSV: {error}") from None
    frame = _rows(header.text + text, source, missing=missing)[1:]
    frame = frame.set_axis(list(header.names), axis=1).reset_index(drop=True)
    return Chunk(frame, lambda: lines_of(block.text, wanted, block.line), source, misfits)


def _from(line: int, rows: int) -> Callable[[], Lines]:
    return lambda: line + np.arange(rows)


def _parquet(file: Any, source: str) -> Iterator[pd.DataFrame]:
    from pyarrow import Table, parquet

    opened = parquet.ParquetFile(file)
    require_distinct(opened.schema_arrow.names, source)
    empty = True
    for batch in opened.iter_batches(ROWS):
        empty = False
        yield frame_of(batch)
    if empty:
        yield frame_of(Table.from_batches([], opened.schema_arrow))


def frame_of(rows: Any) -> pd.DataFrame:
    """An Arrow table as a frame; what pandas kept as an index, a timestamp say, is a column.

    Whole numbers stay whole where some are missing, so that those of a category or an identity
    are the same text in every batch.
    """
    frame: pd.DataFrame = rows.to_pandas(ignore_metadata=True, types_mapper=_whole)
    return frame.loc[:, [not _NAMELESS.fullmatch(str(name)) for name in frame]]


def _whole(kind: Any) -> Any:
    """The pandas type of whole numbers with gaps; None leaves any other type as it is."""
    return pd.api.types.pandas_dtype(_NULLABLE[str(kind)]) if str(kind) in _NULLABLE else None


def _rows(text: bytes, source: str, *, missing: bool = True) -> pd.DataFrame:
    """Parse rows of one length without a header."""
    try:
        return pd.read_csv(io.BytesIO(text), header=None, dtype=str, keep_default_na=False,
                           na_values=MISSING if missing else None, na_filter=missing,
                           skipinitialspace=True)  # fmt: skip
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        told = " ".join(str(error).split())[:200]
        raise DataRefused(f"{source}: is not CSV with a header line: {told}") from None
