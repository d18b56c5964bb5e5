"""Payments and answers as Arrow streams: what ten thousand rows travel in.

Values are read as those of a Parquet file are, by `training.convert`. Columns are held to the
contract: one that the spec does not know is refused, and so is an absent one that it requires.
"""

from __future__ import annotations

import struct
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from serve_app.problems import MAX_FIELDS, MAX_PROBLEMS, BadRequest, Problem, problem
from training.convert import MOST, convert, text_or_none
from training.data import Columns
from training.read import Chunk, frame_of
from training.spec import TEXT_LIMIT, Column, DatasetSpec

MEDIA_TYPE: Final = "application/vnd.apache.arrow.stream"

MAX_ROWS: Final = 100_000
"""Rows of one request."""


def read(body: bytes, spec: DatasetSpec) -> Columns:
    """Read an Arrow stream of n payments: columns of shape (n,), one for every input of the spec.

    Raises
    ------
    BadRequest
        Naming the bad values of every column with their rows, what was expected and what they were.
    """
    table = _table(body, spec)
    columns = _quick(table, spec)
    if columns is None:
        columns = _converted(table, spec)
    for name, column in spec.inputs.items():
        if name not in columns:
            missing = None if column.type == "category" else np.nan
            columns[name] = np.full(len(table), missing)
    return columns


def write(
    probability: NDArray[np.float64],
    decision: NDArray[np.int8],
    request_id: str,
    version: str,
    threshold: float,
) -> bytes:
    """An Arrow stream of answers: columns `decision` and `probability`, the rest as metadata.

    Parameters
    ----------
    probability, decision
        Shape (n,).
    """
    metadata = {"request_id": request_id, "threshold": repr(threshold), "model_version": version}
    batch = pa.RecordBatch.from_arrays(
        [pa.array(decision, pa.int8()), pa.array(probability, pa.float64())],
        schema=pa.schema({"decision": pa.int8(), "probability": pa.float64()}, metadata),
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _table(body: bytes, spec: DatasetSpec) -> pa.Table:
    """The inputs of a stream, as safe to use as their sender may be hostile."""
    wanted = f"1 to {MAX_ROWS:,} rows"
    try:
        _refuse_compression(body)
        with pa.ipc.open_stream(pa.py_buffer(body)) as stream:
            names = _inputs(stream.schema, spec)
            batches, rows = [], 0
            for batch in stream:
                rows += len(batch)
                if rows > MAX_ROWS:
                    raise BadRequest([problem(0, "", wanted, rows)])
                inputs = batch.select(names)
                inputs.validate(full=True)
                batches.append(inputs)
    except (pa.ArrowException, struct.error, ValueError, OSError, EOFError, MemoryError) as error:
        told = " ".join(str(error).split())[:200]
        raise BadRequest([problem(0, "", f"an Arrow stream ({told})", None)]) from None
    if not rows:
        raise BadRequest([problem(0, "", wanted, 0)])
    return pa.Table.from_batches(batches)


def _inputs(schema: pa.Schema, spec: DatasetSpec) -> list[str]:
    """The names of the inputs in a stream, in its order."""
    if len(schema) > MAX_FIELDS:
        raise BadRequest([problem(0, "", f"at most {MAX_FIELDS} fields", len(schema))])
    problems: dict[str, Problem] = {}
    for field in schema:
        column, name = spec.columns.get(field.name), field.name
        if column is None:
            wanted = f"no such field; there are {', '.join(spec.columns)}"
            problems[name] = problem(0, name, wanted, str(field.type))
        elif schema.names.count(name) > 1:
            problems[name] = problem(0, name, "the field once", str(field.type))
        elif name in spec.inputs and not _readable(field.type, column):
            wanted = f"{column.expectation}, in an Arrow column of such values"
            problems[name] = problem(0, name, wanted, str(field.type))
    for name, column in spec.columns.items():
        if column.required and name not in schema.names:
            wanted = f"{column.expectation}; the field is required"
            problems[name] = problem(0, name, wanted, None)
    if problems:
        raise BadRequest(list(problems.values()))
    return [name for name in schema.names if name in spec.inputs]


def _readable(kind: pa.DataType, column: Column) -> bool:
    """Whether values of an Arrow type may be read for a column, as from a Parquet file."""
    if column.type == "category" and pa.types.is_dictionary(kind):
        kind = kind.value_type
    types = pa.types
    allowed = [types.is_null, types.is_string, types.is_large_string, types.is_integer]
    if column.type != "category":
        allowed += [types.is_floating, types.is_decimal]
    if column.type == "boolean":
        allowed += [types.is_boolean]
    return any(known(kind) for known in allowed)


def _converted(table: pa.Table, spec: DatasetSpec) -> Columns:
    """The columns by the way that finds every problem."""
    chunk = Chunk(frame_of(table), lambda: np.arange(len(table)))
    values, _, found = convert(chunk, spec)
    if len(found):
        rows: Any = found.head(MAX_PROBLEMS).itertuples(index=False, name=None)
        raise BadRequest(
            [problem(int(row), name, wanted, _plain(value)) for row, name, wanted, value in rows]
        )
    return {name: np.asarray(column) for name, column in values.items()}


def _quick(table: pa.Table, spec: DatasetSpec) -> Columns | None:
    """The same, without frames; None if a column needs a closer look, as those with problems do."""
    columns: Columns = {}
    for name in table.column_names:
        column, array = spec.columns[name], table[name].unify_dictionaries().combine_chunks()
        read = _texts(array) if column.type == "category" else _numbers(array, column)
        if read is None:
            return None
        columns[name] = read
    return columns


def _texts(array: pa.Array) -> NDArray[Any] | None:
    coded = array if pa.types.is_dictionary(array.type) else array.dictionary_encode()
    distinct = coded.dictionary
    if not (pa.types.is_string(distinct.type) or pa.types.is_large_string(distinct.type)):
        return None
    meant = [text_or_none(text) for text in distinct.to_pylist()]
    if any(len(text) > TEXT_LIMIT for text in meant if text):
        return None
    codes = coded.indices.cast(pa.int64()).fill_null(len(meant)).to_numpy()
    texts: NDArray[Any] = np.array([*meant, None], object)[codes]
    return texts


def _numbers(array: pa.Array, column: Column) -> NDArray[np.float64] | None:
    if not (pa.types.is_integer(array.type) or pa.types.is_floating(array.type)):
        return None
    values: NDArray[np.float64] = array.cast(pa.float64(), safe=False).to_numpy(
        zero_copy_only=False
    )
    if column.type == "boolean":
        right = ((values == 0) & ~np.signbit(values)) | (values == 1)
    else:
        right = np.abs(values) <= MOST
        if column.minimum is not None:
            right &= values >= column.minimum
        if column.maximum is not None:
            right &= values <= column.maximum
        if column.integer:
            right &= values == np.floor(values)
    return values if np.all(right | np.isnan(values)) else None


def _plain(value: Any) -> Any:
    """A value of a frame as JSON may carry it."""
    if isinstance(value, np.generic):
        return value.item()
    return float(value) if isinstance(value, Decimal) else value


# pyarrow sets aside whatever room a compressed buffer claims to need, so 32 MiB might fill the
# memory of the machine. It does not say whether a message is compressed: its header is read here.


def _refuse_compression(body: bytes) -> None:
    for message in pa.ipc.MessageReader.open_stream(pa.py_buffer(body)):
        header = message.metadata.to_pybytes()
        table = _table_at(header, _field(header, _table_at(header, 0), 2))
        if message.type == "dictionary":
            table = _table_at(header, _field(header, table, 1))
        if message.type != "schema" and _field(header, table, 3):
            raise ValueError("compressed buffers are not read")


def _table_at(header: bytes, place: int) -> int:
    """Where the table begins that a flatbuffer points to."""
    (offset,) = struct.unpack_from("<I", header, place)
    return int(place + offset)


def _field(header: bytes, table: int, number: int) -> int:
    """Where a field of a flatbuffer's table is; 0 if it is absent."""
    (back,) = struct.unpack_from("<i", header, table)
    (size,) = struct.unpack_from("<H", header, table - back)
    if 4 + 2 * number >= size:
        return 0
    (offset,) = struct.unpack_from("<H", header, table - back + 4 + 2 * number)
    return table + offset if offset else 0
