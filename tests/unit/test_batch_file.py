"""A file that somebody drops on the page is scored whole, and every row that is not says why."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gradio_ui.batch_run import EDGES, MOST_SHOWN, BatchRun
from gradio_ui.cells import as_text, harmless
from gradio_ui.desk import Desk, Trouble
from gradio_ui.payments_file import PaymentsFile, Piece
from serve_app.client import Client
from training.bundle import ModelBundle
from training.data import check
from training.simulate import simulate

FORMULA = re.compile(r"\s*[=+\-@]|[\t\r\n]")
NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


@pytest.fixture(scope="module")
def desk(
    make_graph: Callable[..., Any],
    listening: Callable[[Any], Any],
    bundle: ModelBundle,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Desk]:
    """A desk in front of a whole graph, which answers over a real socket."""
    folder = tmp_path_factory.mktemp("graph")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FRAUDRAY_HOME", str(folder))
        graph = make_graph(folder / "ledgers")
        graph.add("1", bundle)
        graph.want("1")
        with listening(graph) as url, Client(url) as client:
            yield Desk(client)


@pytest.fixture(scope="module")
def others() -> pd.DataFrame:
    """Payments that no model of these tests was made from, without label or time."""
    return simulate(3_000, seed=91).drop(columns=["label", "timestamp"], errors="ignore")


def run(desk: Desk, path: Path) -> BatchRun:
    found = BatchRun(desk, PaymentsFile(path), path.parent, "out")
    for _ in found.run():
        pass
    return found


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def written(frame: pd.DataFrame, folder: Path, kind: str) -> Path:
    path = folder / f"payments.{kind}"
    if kind == "csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)
    return path


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_rows_get_what_the_model_says_and_the_others_every_reason(
    desk: Desk, bundle: ModelBundle, others: pd.DataFrame, tmp_path: Path, kind: str
) -> None:
    broken = others.copy()
    broken.loc[[3, 700, 2999], "accountAgeDays"] = -1
    broken.loc[[3, 41], "localTime"] = 99
    dataset = check(broken, bundle.spec, source="broken", labelled=False)
    expected = bundle.score(dataset.columns)

    found = run(desk, written(broken, tmp_path, kind))

    scored, rejected = read(found.scored_file), read(found.rejected_file)
    np.testing.assert_allclose([float(r["probability"]) for r in scored], expected, atol=1e-12)
    assert [int(r["decision"]) for r in scored] == bundle.decide(expected).tolist()
    assert list(scored[0]) == [*others.columns, "probability", "decision", "threshold",
                               "model_version"]  # fmt: skip
    assert {r["model_version"] for r in scored} == {"1"}
    assert [int(r["line"]) for r in rejected] == [5, 43, 702, 3001]
    assert sorted(dataset.rejected["line"].unique()) == [5, 43, 702, 3001]
    assert rejected[0]["problem"].count("; ") == 1  # both fields are named
    assert rejected[0]["problem"].startswith("accountAgeDays: a whole number of 0 or more")
    assert float(rejected[1]["localTime"]) == 99
    assert (found.scored, found.rejected) == (2_996, 4)
    assert found.alerts == bundle.decide(expected).sum()
    assert found.counts.tolist() == np.histogram(expected, EDGES)[0].tolist()
    assert found.expected == pytest.approx(expected.sum())
    assert found.shown is not None
    shown = found.shown["probability"].to_numpy()
    np.testing.assert_allclose(shown, np.sort(expected)[::-1][:MOST_SHOWN], atol=1e-12)


def test_more_problems_than_one_answer_names_are_all_found(
    desk: Desk, others: pd.DataFrame, tmp_path: Path
) -> None:
    broken = others.copy()
    bad = np.arange(len(broken)) % 3 != 0
    broken.loc[bad, ["accountAgeDays", "localTime"]] = -1

    found = run(desk, written(broken, tmp_path, "csv"))

    rejected = read(found.rejected_file)
    assert [int(r["line"]) for r in rejected] == (np.flatnonzero(bad) + 2).tolist()
    assert all(r["problem"].count("; ") == 1 for r in rejected)
    assert found.scored == (~bad).sum()


def test_lines_of_another_length_are_rejected_with_their_text(
    desk: Desk, others: pd.DataFrame, tmp_path: Path
) -> None:
    path = written(others.head(4), tmp_path, "csv")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], "1,2", *lines[3:], "too,few"]) + "\n")

    found = run(desk, path)

    rejected = read(found.rejected_file)
    assert [(r["line"], r["problem"]) for r in rejected] == [
        ("4", f"has 2 values, the header {len(others.columns)}: 1,2"),
        ("7", f"has 2 values, the header {len(others.columns)}: too,few"),
    ]
    assert found.scored == 4
    assert found.shown is not None
    assert sorted(found.shown["line"].to_pylist()) == [2, 3, 5, 6]


def test_a_file_without_a_needed_column_is_refused_by_its_name(
    desk: Desk, others: pd.DataFrame, tmp_path: Path
) -> None:
    path = written(others.drop(columns="localTime"), tmp_path, "csv")

    with pytest.raises(Trouble, match="Missing: localTime"):
        run(desk, path)


def test_a_column_of_the_wrong_kind_is_refused_once_and_not_row_by_row(
    desk: Desk, others: pd.DataFrame, tmp_path: Path
) -> None:
    moments = pd.date_range("2026-01-01", periods=len(others), freq="min")
    path = written(others.assign(localTime=moments), tmp_path, "parquet")

    with pytest.raises(Trouble, match="localTime must be"):
        run(desk, path)


def test_what_a_spreadsheet_would_run_is_only_text_in_the_results(
    desk: Desk, others: pd.DataFrame, tmp_path: Path
) -> None:
    noted = others.head(3).assign(**{"=note": ["=1+1", "@x", "-5"], "probability": "+mine"})
    noted.loc[0, "accountAgeDays"] = -7

    found = run(desk, written(noted, tmp_path, "csv"))

    (rejected,), scored = read(found.rejected_file), read(found.scored_file)
    assert rejected["'=note"] == "'=1+1"
    assert rejected["accountAgeDays"] == "-7"  # a number is no formula
    assert [r["'=note"] for r in scored] == ["'@x", "-5"]
    assert [r["probability"] for r in scored] == ["'+mine", "'+mine"]  # the file's own column
    assert all(0 <= float(r["fraudray_probability"]) <= 1 for r in scored)


@given(st.lists(st.none() | st.text(max_size=12), min_size=1, max_size=20))
@example([f"{space}=1" for space in map(chr, range(sys.maxunicode + 1)) if space.isspace()])
def test_no_text_starts_a_formula_and_nothing_else_changes(texts: list[str | None]) -> None:
    safe = harmless(pa.chunked_array([pa.array(texts, pa.string())])).to_pylist()

    for before, after in zip(texts, safe, strict=True):
        assert after in (before, f"'{before}")
        if after is not None and not NUMBER.fullmatch(after):
            assert not FORMULA.match(after)


def test_values_of_any_kind_become_text() -> None:
    table = pa.table({
        "bytes": [b"\xff", None], "list": [[1], None],
        "coded": pa.array(["a", None]).dictionary_encode(), "number": [0.1, None],
        "time": pa.array([0, None], pa.timestamp("s")),
    })  # fmt: skip

    texts = {name: as_text(table[name]).to_pylist() for name in table.column_names}

    assert texts == {
        "bytes": ["\N{REPLACEMENT CHARACTER}", None], "list": ["[1]", None], "coded": ["a", None],
        "number": ["0.1", None], "time": ["1970-01-01 00:00:00", None],
    }  # fmt: skip


def pieces(path: Path, content: bytes) -> list[Piece]:
    path.write_bytes(content)
    return list(PaymentsFile(path).pieces())


def test_csv_is_read_as_spreadsheets_write_it(tmp_path: Path) -> None:
    content = '\N{ZERO WIDTH NO-BREAK SPACE}a; b\r\n1;"x\r\ny"\r\n;"say ""no"""\r\n'.encode()

    (piece,) = pieces(tmp_path / "a.csv", content)

    assert piece.rows.to_pylist() == [{"a": "1", "b": "x\r\ny"}, {"a": None, "b": 'say "no"'}]
    assert piece.lines.tolist() == [2, 3]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", b"", "it is empty"),
        ("a.xlsx", b"PK", "neither in .csv nor in .parquet"),
        ("a.csv", b"a,b\n1,\xff\n", "UTF-8"),
        ("a.csv", b"\xff\xfe", "UTF-8"),
        ("a.csv", b"a,a\n1,2\n", "names a twice"),
        ("a.csv", b",\n1,2\n", "names no columns"),
        ("a.parquet", b"a,b\n1,2\n", "no Parquet file"),
    ],
)
def test_what_cannot_be_read_is_said_in_words(
    tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    with pytest.raises(Trouble, match=re.escape(told)):
        pieces(tmp_path / name, content)


def test_a_header_alone_has_no_rows(tmp_path: Path) -> None:
    assert sum(len(piece.rows) for piece in pieces(tmp_path / "a.csv", b"a,b\n")) == 0
