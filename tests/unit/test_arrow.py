"""Arrow streams are read as files are, refused as requests are, and cannot harm their reader."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serve_app import arrow
from serve_app.contract import MAX_PROBLEMS, BadRequest, PaymentContract, Problem
from training.data import Columns, Dataset, check, records_of
from training.errors import DataRefused
from training.spec import DatasetSpec

SPEC = DatasetSpec.load("payments")
GOOD = {n: c.example for n, c in SPEC.inputs.items()}
LOOSE = DatasetSpec.from_dict(
    {"name": "loose", "label": "y", "columns": {
        "number": {"minimum": -5, "maximum": 1e101}, "whole": {"integer": True},
        "flag": {"type": "boolean"}, "text": {"type": "category"},
        "when": {"role": "timestamp", "type": "text"},
    }}
)  # fmt: skip


def _stream(table: pa.Table, rows: int | None = None, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as stream:
        stream.write_table(table, max_chunksize=rows)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _problems(body: bytes, spec: DatasetSpec = SPEC) -> list[Problem]:
    with pytest.raises(BadRequest) as caught:
        arrow.read(body, spec)
    json.dumps(caught.value.problems, allow_nan=False)  # an answer can carry it
    return caught.value.problems


def _same(left: Columns, right: Columns) -> None:
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].dtype == right[name].dtype
        np.testing.assert_array_equal(left[name], right[name])


def _table(rows: int = 1, **columns: Any) -> pa.Table:
    good = {name: pa.array([value] * rows) for name, value in GOOD.items()}
    return pa.table(good | columns)


@pytest.mark.parametrize("chunk", [7, 1000])
@pytest.mark.parametrize("coded", [False, True])
def test_a_stream_means_what_the_same_payments_mean_as_json(
    chunk: int, coded: bool, dataset: Dataset
) -> None:
    rows = dataset.take(np.arange(200))
    names = [name for name in SPEC.inputs if name != "isWeekend"]
    table = pa.Table.from_pandas(rows.frame[names], preserve_index=False)
    for name in ("Category", "paymentMethod") if coded else ():
        place = table.column_names.index(name)
        table = table.set_column(place, name, table[name].dictionary_encode())
    body = json.dumps(list(records_of(rows, names))).encode()

    read = arrow.read(_stream(table, chunk), SPEC)

    _same(read, PaymentContract(SPEC).many(body))


_number = st.none() | st.floats() | st.sampled_from([0.0, -0.0, 1.0, 1e100, 1.1e100, -5.0])
_whole = st.none() | st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 2)
_TYPES: dict[str, tuple[pa.DataType, Any]] = {
    "double": (pa.float64(), _number),
    "float": (pa.float32(), st.none() | st.floats(width=32)),
    "int64": (pa.int64(), _whole),
    "uint8": (pa.uint8(), st.none() | st.integers(0, 255) | st.sampled_from([0, 1])),
    "bool": (pa.bool_(), st.none() | st.booleans()),
    "null": (pa.null(), st.none()),
    "string": (
        pa.string(),
        st.none() | st.text(max_size=5) | st.sampled_from([" NA", "x ", "1", "0.5", "x" * 201]),
    ),
}
_TYPES["dictionary"] = (pa.dictionary(pa.int8(), pa.string()), _TYPES["string"][1])
_FITTING = {
    "number": ("double", "float", "int64", "uint8", "null", "string"),
    "whole": ("double", "float", "int64", "uint8", "null", "string"),
    "flag": ("double", "float", "int64", "uint8", "bool", "null", "string"),
    "text": ("string", "dictionary", "int64", "null"),
}


@st.composite
def _tables(draw: st.DrawFn) -> pa.Table:
    rows = draw(st.integers(1, 4))
    names = draw(st.lists(st.sampled_from([*_FITTING]), min_size=1, unique=True))
    columns = {}
    for name in names:
        kind, values = _TYPES[draw(st.sampled_from(_FITTING[name]))]
        columns[name] = pa.array(draw(st.lists(values, min_size=rows, max_size=rows)), kind)
    return pa.table(columns)


@given(table=_tables())
@example(table=pa.table({"flag": [-0.0]}))
@example(table=pa.table({"whole": [2**53 + 1, -(2**63)]}))
def test_rows_are_taken_and_refused_as_those_of_a_file_are(table: pa.Table) -> None:
    frame = table.to_pandas(types_mapper=lambda t: pd.Int64Dtype() if t == pa.int64() else None)
    try:
        checked = check(frame, LOOSE, source="file")
    except DataRefused:
        checked = check(pd.concat([frame, frame.iloc[:0]]), LOOSE, source="file")
    wrong = set(zip(checked.rejected["line"] - 2, checked.rejected["column"], strict=True))

    if wrong:
        problems = _problems(_stream(table), LOOSE)
        assert {(p["payment"], p["field"]) for p in problems} == wrong
        return
    read = arrow.read(_stream(table), LOOSE)

    missing = {n: np.full(len(table), None if n == "text" else np.nan) for n in LOOSE.inputs}
    _same(read, missing | checked.columns)


@pytest.mark.parametrize(
    ("field", "values", "expectation", "value"),
    [
        ("numItems", [1, -1, 2], "a whole number of 0 or more", -1),
        ("numItems", [1, 1.5, 2], "a whole number of 0 or more", 1.5),
        ("amount", [1, float("inf"), 2], "a number of 0 or more", "inf"),
        ("localTime", [1.0, 24.5, 2], "a number from 0 to 24", 24.5),
        ("amount", ["1", "much", None], "a number of 0 or more", "much"),
        ("amount", [True] * 3, "a number of 0 or more, in an Arrow column", "bool"),
        ("isWeekend", [0, 2, 1], "0 or 1", 2),
        ("Category", ["a", "x" * 201, "b"], "a text of at most 200", "x" * 100),
        ("Category", [0.5, 0.5, 0.5], "a text of at most 200", "double"),
        ("amount", [[1], [2], [3]], "a number of 0 or more, in an Arrow", "list<item: int64>"),
        ("colour", ["red"] * 3, "no such field; there are timestamp, ", "string"),
        ("label", [0] * 3, "no such field; there are timestamp, ", "int64"),
    ],
)  # fmt: skip
def test_a_bad_value_is_named_with_its_row(
    field: str, values: list[Any], expectation: str, value: Any
) -> None:
    problem, *others = _problems(_stream(_table(3, **{field: pa.array(values)})))

    about_the_column = value == str(pa.array(values).type)
    assert not others
    assert (problem["payment"], problem["field"]) == (0 if about_the_column else 1, field)
    assert problem["expectation"].startswith(expectation)
    assert problem["value"] == value


def test_every_bad_row_is_named_up_to_a_limit() -> None:
    problems = _problems(_stream(_table(2000, amount=pa.array([-1.0] * 2000))))

    assert [p["payment"] for p in problems] == list(range(MAX_PROBLEMS))


def test_a_required_column_must_be_there_and_no_column_twice() -> None:
    table = _table().drop_columns(["numItems", "amount"])

    (absent,) = _problems(_stream(table))
    (twice,) = _problems(_stream(_table().append_column("amount", pa.array([1.0]))))

    assert (absent["field"], absent["value"]) == ("numItems", None)
    assert absent["expectation"] == "a whole number of 0 or more; the field is required"
    assert (twice["field"], twice["expectation"]) == ("amount", "the field once")


def test_columns_that_are_no_inputs_may_be_there_and_are_not_read() -> None:
    when = pa.array([0], pa.timestamp("us"))

    _same(arrow.read(_stream(_table(timestamp=when)), SPEC), arrow.read(_stream(_table()), SPEC))


def test_without_any_input_every_one_is_missing() -> None:
    read = arrow.read(_stream(pa.table({"when": ["2025-01-01"] * 3})), LOOSE)

    assert read.keys() == LOOSE.inputs.keys()
    assert all(pd.isna(column).all() and column.shape == (3,) for column in read.values())


@pytest.mark.parametrize("rows", [0, arrow.MAX_ROWS + 1])
def test_too_few_and_too_many_rows_are_refused(rows: int) -> None:
    (problem,) = _problems(_stream(_table(rows), 60_000))

    assert problem["expectation"] == "1 to 100,000 rows"
    assert problem["value"] == rows


def test_rows_that_take_no_room_are_counted_before_they_are_read() -> None:
    told = struct.pack("<q", 77_777)
    body = _stream(pa.table({"text": pa.nulls(77_777)}))

    (problem,) = _problems(body.replace(told, struct.pack("<q", 2**50)), LOOSE)

    assert body.count(told) == 3
    assert problem["value"] == 2**50


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_a_compressed_stream_is_refused_before_it_is_unpacked(compression: str) -> None:
    bomb = _table(1000, Category=pa.array(["x"] * 1000).dictionary_encode())

    (problem,) = _problems(_stream(bomb, compression=compression))

    assert "compressed buffers are not read" in problem["expectation"]


@given(junk=st.binary(max_size=300))
def test_junk_is_refused(junk: bytes) -> None:
    (problem,) = _problems(junk)

    assert problem["expectation"].startswith("an Arrow stream (")


@given(data=st.data())
def test_a_damaged_stream_is_refused_or_read_and_harms_nobody(data: st.DataObject) -> None:
    whole = bytearray(_stream(_table(3, Category=pa.array(["a", "b", "a"]).dictionary_encode())))
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    body = bytes(whole[: data.draw(st.integers(0, len(whole)) | st.just(len(whole)))])

    try:
        read = arrow.read(body, SPEC)
    except BadRequest as bad:
        json.dumps(bad.problems, allow_nan=False)
    else:
        assert read.keys() == SPEC.inputs.keys()


@given(
    probability=st.lists(st.floats(0, 1), min_size=1, max_size=5),
    threshold=st.floats(0, 1),
)
def test_answers_read_back_as_they_were_written(probability: list[float], threshold: float) -> None:
    scores = np.array(probability)
    decisions = (scores >= threshold).astype(np.int8)

    table = pa.ipc.open_stream(arrow.write(scores, decisions, "r-1", "12", threshold)).read_all()

    assert table.schema.names == ["decision", "probability"]
    assert table.schema.types == [pa.int8(), pa.float64()]
    np.testing.assert_array_equal(table["probability"], scores)
    np.testing.assert_array_equal(table["decision"], decisions)
    metadata = {k.decode(): v.decode() for k, v in table.schema.metadata.items()}
    assert float(metadata.pop("threshold")) == threshold
    assert metadata == {"request_id": "r-1", "model_version": "12"}
