"""What a worker does with a piece does not depend on which pieces it had before."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from serve_app import pieces
from serve_app.formats import csv_refuses, to_csv
from serve_app.pieces import Scorer, plan
from serve_app.stages import Reference
from training import read
from training.bundle import ModelBundle
from training.data import check
from training.errors import DataRefused
from training.home import bundle_folder
from training.source import Source


@pytest.fixture
def reference(bundle: ModelBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reference:
    """The bundle where a worker finds it, and files cut small."""
    monkeypatch.setenv("FRAUDRAY_HOME", str(tmp_path / "home"))
    bundle.save(bundle_folder("key"))
    monkeypatch.setattr(pieces, "ROWS", 700)
    monkeypatch.setattr(read, "BLOCK", 30_000)
    return Reference("model", "7", "key")


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.parquet", "folder"])
@pytest.mark.parametrize("step", [1, -1, 3])
def test_pieces_give_the_rows_of_the_file_in_whatever_order_they_come(
    name: str, step: int, reference: Reference, bundle: ModelBundle, payments: pd.DataFrame,
    tmp_path: Path,
) -> None:  # fmt: skip
    path = tmp_path / name
    match name:
        case "x.parquet":
            payments.to_parquet(path, row_group_size=1500)
        case "folder":
            path.mkdir()
            payments.iloc[:2000].to_parquet(path / "0.parquet", index=False)
            payments.iloc[2000:].to_parquet(path / "1.parquet", index=False)
        case _:
            text = payments.to_csv(index=False).encode()
            path.write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    cut = plan(Source(str(path)), bundle.spec)
    assert len(cut.pieces) > 5
    order = [i for start in range(abs(step)) for i in range(start, len(cut.pieces), abs(step))]
    scorer = Scorer(reference, cut, as_csv=False)

    contents = {i: scorer.score(cut.pieces[i])["content"] for i in order[:: np.sign(step)]}

    tables = [pa.ipc.open_stream(contents[i]).read_all() for i in range(len(cut.pieces))]
    whole = pa.concat_tables(tables).to_pandas()
    assert whole["customerId"].tolist() == payments["customerId"].tolist()
    expected = bundle.score(check(payments, bundle.spec, source="x").columns)
    np.testing.assert_allclose(whole["probability"], expected, atol=1e-12)
    assert set(whole["model_version"]) == {"7"}


def test_a_piece_without_a_good_row_is_empty_and_all_of_it_is_listed(
    reference: Reference, bundle: ModelBundle, payments: pd.DataFrame, tmp_path: Path
) -> None:
    bad = payments.astype({"localTime": float})
    bad.loc[700:1399, "localTime"] = 99.0
    bad.to_parquet(tmp_path / "x.parquet")
    cut = plan(Source(str(tmp_path / "x.parquet")), bundle.spec)
    scorer = Scorer(reference, cut, as_csv=True)

    done = scorer.score(cut.pieces[1])

    assert (done["rows"], done["bad"], done["content"]) == (0, 700, b"")
    lines = [int(line.split(b",")[0]) for line in done["rejected"].splitlines()]
    assert lines == list(range(702, 1402))


def test_a_row_that_is_too_long_is_set_aside_with_its_line(
    reference: Reference, bundle: ModelBundle, payments: pd.DataFrame, tmp_path: Path
) -> None:
    lines = payments.to_csv(index=False).splitlines()
    lines[3000] += ",more"
    (tmp_path / "x.csv").write_text("\n".join(lines))
    cut = plan(Source(str(tmp_path / "x.csv")), bundle.spec)
    scorer = Scorer(reference, cut, as_csv=True)

    answers = [scorer({"number": np.array([i])}) for i in range(len(cut.pieces))]

    assert {a.column("error")[0].as_py() for a in answers} == {""}
    assert sum(a.column("rows")[0].as_py() for a in answers) == len(payments) - 1
    assert sum(a.column("bad")[0].as_py() for a in answers) == 1
    wanted = lines[0].count(",") + 1
    assert b"".join(a.column("rejected")[0].as_py() for a in answers).decode() == (
        f"3001,the row,{wanted} values,{wanted + 1} values\n"
    )


def test_files_of_a_folder_must_have_the_same_columns(
    bundle: ModelBundle, payments: pd.DataFrame, tmp_path: Path
) -> None:
    payments.to_parquet(tmp_path / "0.parquet", index=False)
    payments.drop(columns="amount").to_parquet(tmp_path / "1.parquet", index=False)

    with pytest.raises(DataRefused, match=r"1\.parquet: has other columns"):
        plan(Source(str(tmp_path)), bundle.spec)


def test_csv_quotes_only_what_needs_it_and_says_what_it_cannot_hold() -> None:
    plain = pa.table({"a": [1.5, None, 1e-9], "b": ["x", None, "é"]})
    quoted = pa.table({"a": [1.5], "b": ['x "y", z']})

    assert to_csv(plain).decode() == "1.5,x\n,\n1e-9,é\n"
    assert to_csv(quoted).decode() == '1.5,"x ""y"", z"\n'
    assert csv_refuses(pa.schema([("a", pa.int8()), ("b", pa.list_(pa.int8()))])) == [
        "b (list<item: int8>)"
    ]
