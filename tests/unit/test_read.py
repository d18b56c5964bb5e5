"""Files of any size are read in pieces, and nothing of how they are cut can be seen in the rows."""

from __future__ import annotations

import bz2
import csv
import gzip
import http.server
import io
import re
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from training import read
from training.csv_rows import all_rows_have, row_ends, rows_of
from training.data import load
from training.errors import DataRefused, FraudrayError, UsageError
from training.read import Header, begin, blocks, chunks, head, parse, read_csv
from training.source import Source
from training.spec import DatasetSpec

FIELDS = st.lists(st.sampled_from([*'",\n abNA\té', "\r\n"]), max_size=6).map("".join)
TABLES = st.lists(st.lists(FIELDS, min_size=3, max_size=3), min_size=1, max_size=12)


def _written(rows: list[list[str]], ending: str) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator=ending).writerows([["x", "y", "z"], *rows])
    return text.getvalue().encode()


def _cut(content: bytes, size: int) -> tuple[pd.DataFrame, list[int]]:
    """Read in blocks of the given size: all rows as they are, and their lines."""
    stream = blocks(io.BytesIO(content), "x", size)
    header, first = begin(stream, "x")
    frames, lines = [], []
    for block in (first, *stream):
        assert block.text == content[block.start :][: len(block.text)]
        chunk = parse(block, header, "x", missing=False)
        assert not chunk.misfits
        frames.append(chunk.frame)
        lines += chunk.lines().tolist()
    return pd.concat(frames, ignore_index=True), lines


@given(rows=TABLES, size=st.integers(1, 60), ending=st.sampled_from(["\n", "\r\n"]))
def test_a_table_is_the_same_however_it_is_cut(
    rows: list[list[str]], size: int, ending: str
) -> None:
    frame, lines = _cut(_written(rows, ending), size)

    assert frame.to_numpy().tolist() == [
        # Blanks before a value are not part of it, in quotes they are.
        [v if set(v) & set('",\n') else v.lstrip(" ") for v in row] for row in rows
    ]  # fmt: skip
    assert len(lines) == len(rows)


@given(rows=TABLES, size=st.integers(1, 60))
def test_lines_are_those_that_a_csv_reader_counts(rows: list[list[str]], size: int) -> None:
    content = _written(rows, "\n")
    reader = csv.reader(io.StringIO(content.decode(), newline=""))
    begins, expected = 1, []
    for _ in reader:
        expected.append(begins)
        begins = reader.line_num + 1

    assert _cut(content, size)[1] == expected[1:]


@given(text=st.text(st.sampled_from('",\n\r ab'), max_size=40), size=st.integers(1, 20))
@settings(max_examples=300)
def test_rows_begin_and_have_as_many_values_as_a_parser_finds(text: str, size: int) -> None:
    assume(not re.search(r"(^|[\n\r]) *\r(?!\n)", text))  # where pandas loses a value
    content = f"x,y\n{text}".encode()
    try:  # with names to spare no row is too long
        padded = pd.read_csv(io.BytesIO(b"," * 40 + b"\n" + content), header=None, dtype=str,
                             na_filter=False, skipinitialspace=True)  # fmt: skip
    except pd.errors.ParserError:
        with pytest.raises(DataRefused):
            _parsed(content, size)
        return
    rows = padded.iloc[2:].to_numpy().tolist()
    counts = rows_of(text.encode()).values

    frame, misfits = _parsed(content, size)

    assert len(counts) == len(rows)
    assert all(set(row[n:]) <= {""} for row, n in zip(rows, counts, strict=True))
    fitting = [row[:2] for row, n in zip(rows, counts, strict=True) if n == 2]
    assert frame.to_numpy().tolist() == fitting
    assert misfits >= (counts != 2).sum()
    if all_rows_have(2, text.encode()):
        assert (counts == 2).all()


def _parsed(content: bytes, size: int) -> tuple[pd.DataFrame, int]:
    """Read in blocks of the given size: the rows of the right length, the lines of the others."""
    stream = blocks(io.BytesIO(content), "x", size)
    header, first = begin(stream, "x")
    parts = [parse(block, header, "x", missing=False) for block in (first, *stream)]
    lines = [line for part in parts for line in part.lines().tolist()]
    assert len(set(lines)) == len(lines) == sum(len(part.frame) for part in parts)
    assert not set(lines) & {misfit.line for part in parts for misfit in part.misfits}
    frame = pd.concat([part.frame for part in parts], ignore_index=True)
    return frame, sum(len(part.misfits) for part in parts)


def test_the_line_of_a_row_of_another_length_is_that_of_the_file() -> None:
    content = b'x,y\n"1\n2",3\n\n4,5\n6,7,8\n"9\r\n1"\n2,3\r4\r5,6'

    for size in (4, 1000):
        stream = blocks(io.BytesIO(content), "x", size)
        header, first = begin(stream, "x")
        parts = [parse(block, header, "x") for block in (first, *stream)]
        found = [tuple(misfit) for part in parts for misfit in part.misfits]
        assert found == [(6, 3, 2), (7, 1, 2), (8, 1, 2), (10, 1, 2)]
        assert [n for part in parts for n in part.lines().tolist()] == [2, 5, 9, 11]
    with pytest.raises(DataRefused, match="x: line 6 has 3 values, the header 2"):
        read_csv(io.StringIO(content.decode()), source="x")


def test_a_quote_that_is_never_closed_is_refused_before_memory_is_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(read, "_LONGEST", 1000)
    content = b'x,y\n1,"2\n' + b"3,4\n" * 1000

    with pytest.raises(DataRefused, match=r"the row at line 2 is longer .* never closed"):
        _cut(content, 100)


def test_an_empty_old_line_takes_no_value_along() -> None:
    frame, lines = _cut(b"x,y\r\r,1\r2,\r", 1000)

    assert frame.to_numpy().tolist() == [["", "1"], ["2", ""]]
    assert lines == [3, 4]


def test_old_line_ends_and_a_byte_order_mark_are_read() -> None:
    frame, lines = _cut("\ufeffx,y\r1,2\r3,4\r".encode(), 1000)

    assert frame.to_dict("list") == {"x": ["1", "3"], "y": ["2", "4"]}
    assert lines == [2, 3]


def test_row_ends_of_text_without_rows() -> None:
    assert row_ends(b"").tolist() == []
    assert row_ends(b'"\n"').tolist() == []


# Whole files


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "BLOCK", 5000)
    monkeypatch.setattr(read, "ROWS", 300)


@pytest.fixture
def frame(payments: pd.DataFrame) -> pd.DataFrame:
    return payments.head(2000)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_file_of_many_chunks_is_one_dataset(
    ending: str, frame: pd.DataFrame, spec: DatasetSpec, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    bad = frame.astype({"localTime": object})
    bad.loc[[7, 1234, 1999], "localTime"] = 77.0
    path = tmp_path / f"payments.{ending}"
    typed = bad.astype({"localTime": float})
    typed.to_csv(path, index=False) if ending == "csv" else typed.to_parquet(path)
    assert len(list(chunks(Source(str(path))))) > 5

    dataset = load(path, spec)

    monkeypatch.undo()
    whole = load(path, spec)
    assert dataset.rejected["line"].tolist() == [9, 1236, 2001]
    pd.testing.assert_frame_equal(dataset.frame, whole.frame)
    pd.testing.assert_frame_equal(dataset.rejected, whole.rejected)


@pytest.mark.usefixtures("small_chunks")
def test_a_timestamp_is_absent_if_the_file_has_none_and_missing_if_a_part_has_none(
    frame: pd.DataFrame, spec: DatasetSpec, tmp_path: Path
) -> None:
    path = tmp_path / "payments.csv"
    frame.assign(timestamp="").to_csv(path, index=False)

    undated = load(path, spec)

    assert undated.timestamp is None
    assert len(undated) == len(frame)
    frame.assign(timestamp=frame["timestamp"].where(frame.index < 1500, "")).to_csv(path)
    half = load(path, spec, max_bad_share=0.5)
    assert half.rejected["line"].tolist() == list(range(1502, 2002))
    assert set(half.rejected["expectation"]) == {"an ISO 8601 date and time"}
    assert len(half) == 1500


@pytest.mark.parametrize(("ending", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress)])
def test_a_packed_file_is_unpacked(
    ending: str, pack: object, frame: pd.DataFrame, spec: DatasetSpec, tmp_path: Path
) -> None:
    path = tmp_path / f"payments.csv.{ending}"
    content = frame.to_csv(index=False).replace(",creditcard,", ",creditcard,", 1)
    path.write_bytes(pack((content + "bad\n").encode()))  # type: ignore[operator]

    dataset = load(path, spec)

    assert len(dataset) == len(frame)
    assert dataset.rejected_file == tmp_path / "payments.rejected.csv"


def test_a_file_that_is_not_packed_as_it_says_is_refused(spec: DatasetSpec, tmp_path: Path) -> None:
    path = tmp_path / "payments.csv.gz"
    path.write_bytes(b"a,b\n1,2\n")
    with pytest.raises(DataRefused, match=r"payments\.csv\.gz: is not a readable CSV file"):
        load(path, spec)
    path.write_bytes(gzip.compress(b"a,b\n1,2\n" * 10_000)[:-20])
    with pytest.raises(DataRefused, match=r"payments\.csv\.gz: is not a readable CSV file"):
        load(path, spec)


def test_a_folder_stands_for_its_parquet_files_in_order(
    frame: pd.DataFrame, spec: DatasetSpec, tmp_path: Path
) -> None:
    frame.iloc[:900].to_parquet(tmp_path / "part-0.parquet")
    frame.iloc[900:].to_parquet(tmp_path / "part-1.parquet")
    (tmp_path / "_SUCCESS").touch()

    assert load(tmp_path, spec).frame["amount"].equals(frame["amount"])


def test_files_of_a_folder_with_other_columns_of_the_spec_are_refused_by_name(
    frame: pd.DataFrame, spec: DatasetSpec, tmp_path: Path
) -> None:
    frame.iloc[:900].to_parquet(tmp_path / "0.parquet")
    for column in ("localTime", "label", "timestamp", "amount"):
        frame.iloc[900:].drop(columns=column).to_parquet(tmp_path / "1.parquet")
        with pytest.raises(DataRefused, match=rf"1\.parquet: lacks {column}, other than .*0\.par"):
            load(tmp_path, spec)
    frame.iloc[:900].drop(columns="amount").to_parquet(tmp_path / "0.parquet")
    frame.iloc[900:].to_parquet(tmp_path / "1.parquet")
    with pytest.raises(DataRefused, match=r"1\.parquet: has amount, other than .*0\.parquet"):
        load(tmp_path, spec)
    frame.iloc[:900].drop(columns="label").to_parquet(tmp_path / "0.parquet")
    frame.iloc[900:].to_parquet(tmp_path / "1.parquet")
    assert len(load(tmp_path, spec, labelled=False)) == len(frame)


@pytest.mark.parametrize("empty", [0, 1])
def test_a_file_without_rows_has_no_say(
    empty: int, frame: pd.DataFrame, spec: DatasetSpec, tmp_path: Path
) -> None:
    frame.head(0).to_parquet(tmp_path / f"{empty}.parquet")
    for undated in (False, True):
        rows = frame.assign(timestamp=None) if undated else frame
        rows.to_parquet(tmp_path / f"{1 - empty}.parquet")

        dataset = load(tmp_path, spec)

        assert len(dataset) == len(frame)
        assert dataset.label.dtype == np.int8
        times = dataset.timestamp
        assert (times is None) if undated else (times is not None and not np.isnat(times).any())


def test_folders_of_parquet_files_below_are_refused_but_what_programs_leave_is_not(
    frame: pd.DataFrame, spec: DatasetSpec, tmp_path: Path
) -> None:
    frame.to_parquet(tmp_path / "part.PARQUET")
    for private in ("_log", ".cache"):
        (tmp_path / private).mkdir()
        frame.to_parquet(tmp_path / private / "x.parquet")
    assert len(load(tmp_path, spec)) == len(frame)

    (tmp_path / "year=2025").mkdir()
    frame.to_parquet(tmp_path / "year=2025" / "x.parquet")
    for place in (str(tmp_path), tmp_path.as_uri()):
        with pytest.raises(FraudrayError, match=r"folders below it, such as year=2025/x\.parquet"):
            load(place, spec)


def test_whole_numbers_are_the_same_text_in_every_batch(
    monkeypatch: pytest.MonkeyPatch, frame: pd.DataFrame, spec: DatasetSpec, tmp_path: Path
) -> None:
    monkeypatch.setattr(read, "ROWS", 300)
    whole = pd.array((np.arange(len(frame)) % 3 + 2**60).tolist(), dtype="Int64")
    whole[1000] = pd.NA
    typed = frame.assign(
        Category=whole, customerId=whole, paymentMethod=np.arange(len(frame)) % 2.0
    )
    typed.loc[7, "paymentMethod"] = np.nan
    typed.to_parquet(tmp_path / "x.parquet")

    dataset = load(tmp_path / "x.parquet", spec)

    wanted = [str(v) if v is not pd.NA else None for v in whole]
    assert dataset.frame["Category"].tolist() == wanted
    assert dataset.frame["customerId"].tolist() == wanted
    assert set(dataset.frame["paymentMethod"]) == {"0", "1", None}


# Places


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """A web server that shows the folder of the test."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_file_is_read_from_any_place_that_fsspec_knows(
    frame: pd.DataFrame, spec: DatasetSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = frame.to_csv(index=False) + "bad\n"
    (tmp_path / "payments.csv").write_text(content)
    fsspec.filesystem("memory").pipe("/in/payments.csv", content.encode())

    for url in ("memory://in/payments.csv", (tmp_path / "payments.csv").as_uri()):
        dataset = load(url, spec)

        assert len(dataset) == len(frame)
        assert dataset.source == url
        assert dataset.rejected_file == Path("payments.rejected.csv")


def test_a_folder_may_be_in_any_place(
    frame: pd.DataFrame, spec: DatasetSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "in"
    folder.mkdir()
    memory = fsspec.filesystem("memory")
    for number, rows in enumerate((frame.iloc[:900], frame.iloc[900:])):
        rows.to_parquet(folder / f"{number}.parquet")
        memory.pipe(f"/folder/{number}.parquet", (folder / f"{number}.parquet").read_bytes())

    for url in ("memory://folder", "memory://folder/", "simplecache::memory://folder",
                folder.as_uri()):  # fmt: skip
        assert load(url, spec).frame["amount"].equals(frame["amount"])


@pytest.mark.parametrize("name", ["in::memory.csv", "x::y/payments.csv", "PAYMENTS.CSV", "x.CSV.GZ",
                                  "x.PARQUET"])  # fmt: skip
def test_a_path_is_what_it_is_whatever_its_letters(
    name: str, frame: pd.DataFrame, spec: DatasetSpec, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    if name.endswith("PARQUET"):
        frame.to_parquet(path)
    else:
        text = frame.to_csv(index=False).encode()
        path.write_bytes(gzip.compress(text) if name.endswith("GZ") else text)

    assert len(load(name, spec)) == len(frame)
    assert Source("x.CSV.GZ").rejected_name == "x.rejected.csv"


def test_a_file_is_read_over_http(
    served: str, frame: pd.DataFrame, spec: DatasetSpec, tmp_path: Path
) -> None:
    pytest.importorskip("aiohttp")
    frame.to_csv(tmp_path / "payments.csv", index=False)

    assert len(load(f"{served}/payments.csv?sig=1", spec)) == len(frame)
    with pytest.raises(FraudrayError, match=r"nothing\.csv: no such file"):
        load(f"{served}/nothing.csv", spec)


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hunter2@127.0.0.1:9/payments.csv?token=hunter2",
        "ftp://user:hunter2@127.0.0.1:9/payments.csv",
        "nowhere://user:hunter2@host/payments.csv",
        "s3://user:hunter2@bucket/payments.csv?secret=hunter2",
    ],
)
def test_a_place_that_cannot_be_reached_is_one_line_without_credentials(
    url: str, spec: DatasetSpec
) -> None:
    with pytest.raises(FraudrayError) as caught:
        load(url, spec)

    told = str(caught.value)
    assert "payments.csv: " in told
    assert "hunter2" not in told
    assert "\n" not in told


def test_an_unknown_kind_of_place_is_wrong_usage_and_a_missing_package_is_named(
    spec: DatasetSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        load("nowhere://host/payments.csv", spec)
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(FraudrayError, match="s3fs"):
        load("s3://bucket/payments.csv", spec)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_sample_is_raw_rows_of_the_file(ending: str, frame: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / f"payments.{ending}"
    if ending == "csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, row_group_size=100)

    sample = head(path, 300)

    assert list(sample) == list(frame)
    assert len(sample) == 300
    assert len(head(path, 10**6)) <= len(frame)
    known = set(frame["paymentMethodAgeDays"].astype(float))
    assert set(sample["paymentMethodAgeDays"].astype(float)) <= known
    if ending == "parquet":
        assert sample["timestamp"].max() > frame["timestamp"][1500]  # from all over the file


def test_a_header_keeps_its_text() -> None:
    header, rest = begin(blocks(io.BytesIO(b'\n "x y", z \r\n1,2\n'), "x"), "x")

    assert header == Header(b'\n "x y", z \n', ("x y", "z"))
    assert (rest.text, rest.line) == (b"1,2\n", 3)
    assert np.array_equal(parse(rest, header, "x").lines(), [3])
