"""A file to score as numbered pieces: how it is cut, and what a worker does with a piece.

Nothing but numbers goes to a worker: it reads its piece from the file itself. A piece of Parquet
is a range of rows. Row groups are often larger than a piece, so a worker keeps its place in one
and skips what others score; to decode a row takes a tenth of the time that scoring it does.
"""

from __future__ import annotations

import resource
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import IO, Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from serve_app.formats import to_csv, to_ipc
from serve_app.versions import Reference
from training.convert import convert
from training.csv_rows import line_breaks
from training.data import require_columns
from training.errors import DataRefused, FraudrayError
from training.read import MISSING, Block, Chunk, Header, begin, blocks, frame_of, parse
from training.source import Source
from training.spec import DatasetSpec

ROWS = 100_000
"""Rows of a piece of Parquet; a piece of CSV is `training.read.BLOCK` bytes."""
ADDED = ("probability", "decision", "threshold", "model_version")
"""Columns that scoring adds."""


@dataclass(frozen=True)
class Piece:
    """Rows of one file: bytes `start` to `stop` of CSV, rows `start` to `stop` of Parquet.

    Attributes
    ----------
    part
        Which file, where a folder is scored.
    line
        Where its first row begins; `training.read.Chunk` says how rows are counted.
    rows
        Lines of CSV, which may be a little more than rows.
    """

    part: int
    start: int
    stop: int
    line: int
    rows: int


@dataclass(frozen=True)
class Plan:
    """How a file is cut.

    Attributes
    ----------
    schema
        Of the file; every column of CSV is text.
    header
        Of CSV; None for Parquet.
    identity
        Of the files, to know them again.
    """

    parts: tuple[Source, ...]
    pieces: tuple[Piece, ...]
    schema: pa.Schema
    header: Header | None
    identity: list[dict[str, Any]] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Rows of the file; of CSV perhaps a few blank lines more."""
        return sum(piece.rows for piece in self.pieces)


def plan(source: Source, spec: DatasetSpec) -> Plan:
    """Cut a file into pieces: by the footer of Parquet, by one scan for line breaks of CSV.

    Raises
    ------
    FraudrayError
        If the file cannot be read.
    DataRefused
        If it has no rows, lacks required inputs, or files of a folder differ in their columns.
    """
    parts = tuple(source.parts())
    cut = _plan_parquet(parts) if parts[0].parquet else _plan_csv(parts[0])
    names = cut.schema.names
    require_columns(names, spec.inputs, spec, source.name)
    if not cut.rows:
        raise DataRefused(f"{source.name}: the file has a header but no rows")
    return cut


def _plan_csv(part: Source) -> Plan:
    with part.open() as file:
        stream = blocks(file, part.name)
        header, first = begin(stream, part.name)
        pieces = [
            Piece(0, b.start, b.start + len(b.text), b.line, line_breaks(b.text) or 1)
            for b in (first, *stream)
            if b.text
        ]
    schema = pa.schema([(name, pa.large_string()) for name in header.names])
    return Plan((part,), tuple(pieces), schema, header, [part.identity()])


def _plan_parquet(parts: tuple[Source, ...]) -> Plan:
    from pyarrow import parquet

    pieces: list[Piece] = []
    schema, line = None, 2
    for number, part in enumerate(parts):
        with part.open() as opened:
            file = parquet.ParquetFile(opened)
            found, rows = file.schema_arrow.remove_metadata(), file.metadata.num_rows
        if schema is not None and found != schema:
            raise DataRefused(f"{part.name}: has other columns than {parts[0].name}")
        schema = found
        for start in range(0, rows, ROWS):
            stop = min(start + ROWS, rows)
            pieces.append(Piece(number, start, stop, line + start, stop - start))
        line += rows
    return Plan(parts, tuple(pieces), schema, None, [part.identity() for part in parts])


class _Reader(Protocol):
    def read(self, piece: Piece) -> tuple[pa.Table, Chunk]:
        """The rows as they are to be written, and their inputs as they are to be checked."""


class _Csv:
    def __init__(self, file: IO[bytes], source: Source, header: Header, spec: DatasetSpec) -> None:
        self._file, self._name, self._header = file, source.name, header
        self._inputs = [name for name in spec.inputs if name in header.names]

    def read(self, piece: Piece) -> tuple[pa.Table, Chunk]:
        self._file.seek(piece.start)
        block = Block(self._file.read(piece.stop - piece.start), piece.start, piece.line)
        chunk = parse(block, self._header, self._name, missing=False)
        frame = chunk.frame
        table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata()
        inputs = frame[self._inputs]
        inputs = inputs.mask(inputs.isin(MISSING))
        return table, replace(chunk, frame=inputs)


class _Parquet:
    def __init__(self, file: IO[bytes], plan: Plan, spec: DatasetSpec) -> None:
        from pyarrow import parquet

        self._file = parquet.ParquetFile(file)
        groups = range(self._file.metadata.num_row_groups)
        sizes = [self._file.metadata.row_group(group).num_rows for group in groups]
        self._begins = np.cumsum([0, *sizes])
        self._inputs = [name for name in spec.inputs if name in plan.schema.names]
        self._at, self._batches = -1, iter(())
        self._rest: pa.RecordBatch | None = None

    def read(self, piece: Piece) -> tuple[pa.Table, Chunk]:
        group = int(np.searchsorted(self._begins, piece.start, side="right")) - 1
        if not self._begins[group] <= self._at <= piece.start:
            rest = range(group, len(self._begins) - 1)
            self._at, self._rest = int(self._begins[group]), None
            self._batches = self._file.iter_batches(
                ROWS, row_groups=list(rest), use_threads=False
            )  # fmt: skip
        taken = []
        while self._at < piece.stop:
            batch = next(self._batches) if self._rest is None else self._rest
            skip = max(piece.start - self._at, 0)
            keep = batch.slice(skip, piece.stop - self._at - skip)
            used = min(len(batch), piece.stop - self._at)
            self._rest = batch.slice(used) if used < len(batch) else None
            self._at += used
            if len(keep):
                taken.append(keep)
        table = pa.Table.from_batches(taken).replace_schema_metadata()
        inputs = frame_of(table.select(self._inputs))
        return table, Chunk(inputs, lambda: piece.line + np.arange(len(inputs)))


class Scorer:
    """Reads, checks and scores pieces; one in each worker, with the bundle loaded once.

    Parameters
    ----------
    reference
        The version that scores.
    plan
        Of the whole file.
    as_csv
        Whether the result is to be CSV; else Parquet.
    """

    def __init__(self, reference: Reference, plan: Plan, *, as_csv: bool) -> None:
        # Workers share the cores by their number, not by threads of their own.
        pa.set_cpu_count(1)
        self.bundle = reference.load()
        self.version = reference.version
        self.plan = plan
        self.encode = to_csv if as_csv else to_ipc
        self._open: tuple[int, _Reader] | None = None
        self._stack = ExitStack()

    def __call__(self, batch: dict[str, NDArray[Any]]) -> pa.Table:
        """Score the piece whose number is given; Ray Data calls it."""
        begun = time.time()
        number = int(batch["number"][0])
        try:
            done = self.score(self.plan.pieces[number])
        except FraudrayError as error:
            done = {"error": str(error)}
        unit = 2**20 if sys.platform == "darwin" else 2**10
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
        whole = {
            "number": number, "error": "", "content": b"", "rejected": b"", "rows": 0, "bad": 0,
            "alerts": 0, "begun": begun, "peak_mb": peak,
        } | done  # fmt: skip
        large = {"content", "rejected"}
        return pa.table(
            {k: pa.array([v], pa.large_binary() if k in large else None) for k, v in whole.items()}
        )

    def score(self, piece: Piece) -> dict[str, Any]:
        """The piece's rows with the columns of `ADDED`, encoded, and its rejected rows as CSV."""
        table, chunk = self._read(piece)
        values, broken, problems = convert(chunk, self.bundle.spec)
        columns = {name: np.asarray(v) for name, v in values.items()}
        if broken.any():
            columns = {name: v[~broken] for name, v in columns.items()}
            table = table.filter(pa.array(~broken))
        probability = self.bundle.score(columns) if len(table) else np.empty(0)
        decision = self.bundle.decide(probability)
        added: tuple[Any, ...] = (
            probability, decision,
            np.full(len(table), self.bundle.choice.threshold),
            pa.repeat(pa.scalar(self.version), len(table)),
        )  # fmt: skip
        for name, column in zip(ADDED, added, strict=True):
            table = table.append_column(name, pa.array(column))
        rejected = problems.to_csv(index=False, header=False) if len(problems) else ""
        return {
            "content": self.encode(table), "rejected": rejected.encode(), "rows": len(table),
            "bad": int(broken.sum()) + len(chunk.misfits), "alerts": int(decision.sum()),
        }  # fmt: skip

    def _read(self, piece: Piece) -> tuple[pa.Table, Chunk]:
        source = self.plan.parts[piece.part]
        if self._open is None or self._open[0] != piece.part:
            self._stack.close()
            file = self._stack.enter_context(source.open())
            spec, header = self.bundle.spec, self.plan.header
            reader: _Reader = (
                _Parquet(file, self.plan, spec) if header is None
                else _Csv(file, source, header, spec)
            )  # fmt: skip
            self._open = (piece.part, reader)
        try:
            return self._open[1].read(piece)
        except (OSError, EOFError, pa.ArrowInvalid, StopIteration) as error:
            told = " ".join(str(error).split())[:200]
            raise DataRefused(f"{source.name}: cannot be read any more: {told}") from None
