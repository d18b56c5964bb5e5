"""Scored rows as bytes: encoded by workers, kept as they are, appended to the output in order."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa


def to_ipc(table: pa.Table) -> bytes:
    """As an Arrow stream, packed with lz4."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def to_csv(table: pa.Table) -> bytes:
    """As CSV without a header; only values that need it are quoted, missing ones are empty."""
    from pyarrow import csv as arrow_csv

    texts = table.cast(pa.schema([(name, pa.large_string()) for name in table.schema.names]))
    plain = arrow_csv.WriteOptions(include_header=False, quoting_style="none")
    sink = pa.BufferOutputStream()
    try:
        arrow_csv.write_csv(texts, sink, plain)
    except pa.ArrowInvalid:  # a value holds a comma, a quote or a line break
        text = io.StringIO()
        columns = [column.to_pylist() for column in texts.columns]
        csv.writer(text, lineterminator="\n").writerows(zip(*columns, strict=True))
        return text.getvalue().encode()
    return bytes(sink.getvalue())


def names_as_csv(names: list[str]) -> bytes:
    """The header line."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(names)
    return text.getvalue().encode()


def csv_refuses(schema: pa.Schema) -> list[str]:
    """Columns whose type has no text."""
    refused = []
    for column in schema:
        try:
            pa.array([], column.type).cast(pa.large_string())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            refused.append(f"{column.name} ({column.type})")
    return refused


class Sink(Protocol):
    """An open output; pieces are appended to it in order."""

    def __enter__(self) -> Sink: ...

    def __exit__(self, *error: object) -> None: ...

    def append(self, content: Any) -> None:
        """Write the rows of the next piece."""


class CsvSink:
    """A CSV file with a header; pieces are what `to_csv` gave."""

    def __init__(self, path: Path, names: list[str]) -> None:
        self._path, self._names = path, names

    def __enter__(self) -> CsvSink:
        self._file = self._path.open("wb")
        self._file.write(names_as_csv(self._names))
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def append(self, content: Any) -> None:
        """Write the rows of the next piece."""
        self._file.write(content)


class ParquetSink:
    """A Parquet file; pieces are what `to_ipc` gave, and each becomes a row group."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Any = None

    def __enter__(self) -> ParquetSink:
        return self

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def append(self, content: Any) -> None:
        """Write the rows of the next piece."""
        from pyarrow import parquet

        with pa.ipc.open_stream(content) as stream:
            table = stream.read_all()
        if self._writer is None:
            self._writer = parquet.ParquetWriter(self._path, table.schema, compression="lz4")
        self._writer.write_table(table, row_group_size=max(len(table), 1))
