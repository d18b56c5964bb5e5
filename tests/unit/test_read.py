"""Files of any size are read in pieces, and nothing of how they are cut can be seen in the rows."""

from __future__ import annotations

import bz2
import csv
import gzip
import http.server
import io
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training import read
from training.data import load
from training.errors import DataRefused, FraudrayError, UsageError
from training.read import Header, begin, blocks, chunks, head, lines_of, parse
from training.rows import row_ends
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
        there = content[block.start :][: len(block.text)]
        assert block.text == (there if b"\n" in content else there.replace(b"\r", b"\n"))
        frames.append(parse(block, header, "x", missing=False))
        lines += lines_of(block, len(frames[-1])).tolist()
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


@given(text=st.text(st.sampled_from('",\n ab'), max_size=40), size=st.integers(1, 20))
def test_text_with_quotes_anywhere_is_cut_where_pandas_ends_a_row(text: str, size: int) -> None:
    content = f"x,y\n{text}".encode()
    try:
        whole = pd.read_csv(io.BytesIO(content), header=None, dtype=str, na_filter=False,
                            skipinitialspace=True)  # fmt: skip
    except pd.errors.ParserError:
        with pytest.raises(DataRefused):
            _cut(content, size)
        return

    frame, _ = _cut(content, size)

    assert frame.to_numpy().tolist() == whole[1:].to_numpy().tolist()


def test_the_line_of_a_row_that_is_too_long_is_that_of_the_file() -> None:
    content = b'x,y\n"1\n2",3\n\n4,5\n6,7,8\n'

    for size in (4, 1000):
        with pytest.raises(DataRefused, match="line 6"):
            _cut(content, size)


def test_a_quote_that_is_never_closed_is_refused_before_memory_is_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(read, "_LONGEST", 1000)
    content = b'x,y\n1,"2\n' + b"3,4\n" * 1000

    with pytest.raises(DataRefused, match=r"the row at line 2 is longer .* never closed"):
        _cut(content, 100)


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
    assert np.array_equal(lines_of(rest, 1), [3])
