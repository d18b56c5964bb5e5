"""`fraudray score` at its real boundary: files in, files out, stopped and gone on with."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pytest
from surroundings import bare

from fraudray import runtime
from fraudray.cli import main
from serve_app.batch import Scored, prepare, score_file
from serve_app.stages import Reference
from training.audit import audit
from training.bundle import ModelBundle
from training.data import check, load
from training.errors import DataRefused
from training.fit import Recipe, train
from training.simulate import simulate, write
from training.source import Source
from training.spec import DatasetSpec
from training.split import split
from training.tracking import Tracking

pytestmark = pytest.mark.slow

ROWS = 850_000  # so many pieces that a run is stopped twice long before its end
ADDED = ["probability", "decision", "threshold", "model_version"]


@dataclass(frozen=True)
class Place:
    """A folder with files to score and a home with a champion."""

    folder: Path
    home: Path
    bundle: ModelBundle
    reference: Reference

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "fraudray", "score", *arguments], cwd=self.folder,
            env=bare(FRAUDRAY_HOME=self.home),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def score(self, file: str, out: str, **settings: Any) -> Scored:
        """Score on the cluster that runs."""
        tell = settings.pop("tell", print)
        source = Source(str(self.folder / file))
        job = prepare(source, self.folder / out, self.bundle.spec, **settings)
        return score_file(job, self.reference, workers=2, tell=tell)

    def stop(self, number: int, piece: int, *arguments: str) -> tuple[int, str, int]:
        """Start, wait for a piece to be kept, send a signal.

        Its exit code, what it said, and how many pieces are kept then.
        """
        process = self.start(*arguments)
        out = self.folder / arguments[arguments.index("--out") + 1]
        unfinished = out.with_name(f".{out.name}.unfinished")
        deadline = time.monotonic() + 120
        while not (unfinished / f"{piece:08}.json").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGSTOP)  # it must not finish while we look around
        below = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        _, err = process.communicate(timeout=120)
        kept = len(list(unfinished.glob("0*.json")))
        _, alive = psutil.wait_procs(below, timeout=0 if number == signal.SIGKILL else 10)
        if number == signal.SIGKILL:  # nobody is left to end Ray's agents
            for process_below in alive:
                with suppress(psutil.NoSuchProcess):
                    process_below.kill()
        else:
            assert not alive, (process.returncode, err)
        assert not out.exists()
        return process.returncode, err, kept

    def names(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}


@pytest.fixture(scope="module")
def payments() -> pd.DataFrame:
    return simulate(ROWS, seed=5)


@pytest.fixture(scope="module")
def place(
    payments: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory,
    empty_store: Callable[[Path], Path],
) -> Iterator[Place]:  # fmt: skip
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("score")
    dataset = check(simulate(12_000, seed=3), DatasetSpec.load("payments"), source="x")
    parts = split(dataset)
    bundle = train(dataset, parts, Recipe("xgboost", smote=0.1, seed=1), audit(dataset, parts))
    write(payments, folder / "payments.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FRAUDRAY_HOME", str(home))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        empty_store(home)
        tracking = Tracking()
        with tracking.run("test", "test") as run:
            version = tracking.register(run, "fraudray-payments", bundle)
        tracking.promote(version.model, version.version, "a test")
        tracking.fetch(version)
        yield Place(
            folder, home, bundle, Reference(version.model, version.version, version.key)
        )  # fmt: skip


@pytest.fixture(scope="module")
def cluster(place: Place) -> Iterator[None]:
    """Ray in this process, whose workers find the bundle in the home of the test."""
    del place
    runtime.prepare()
    runtime.start_ray()
    yield
    runtime.stop_ray()


@pytest.fixture(scope="module")
def scored(place: Place, cluster: None) -> Scored:
    """The Parquet file scored in one go."""
    del cluster
    return place.score("payments.parquet", "whole.parquet")


def test_parquet_is_scored_as_the_bundle_does_with_columns_and_order_kept(
    place: Place, scored: Scored, payments: pd.DataFrame
) -> None:
    out = pd.read_parquet(place.folder / "whole.parquet")

    assert list(out) == [*payments, *ADDED]
    pd.testing.assert_frame_equal(
        out[list(payments)], pd.read_parquet(place.folder / "payments.parquet")
    )
    expected = place.bundle.score(check(payments, place.bundle.spec, source="x").columns)
    np.testing.assert_allclose(out["probability"], expected, atol=1e-12)
    assert out["decision"].tolist() == place.bundle.decide(out["probability"].to_numpy()).tolist()
    assert set(out["threshold"]) == {place.bundle.choice.threshold}
    assert set(out["model_version"]) == {"1"}
    assert (scored.rows, scored.bad, scored.resumed) == (ROWS, 0, 0)
    assert scored.alerts == int(out["decision"].sum()) > 0
    assert scored.peak_worker_mb > 0
    assert not [name for name in place.names() if "unfinished" in name or "rejected" in name]


@pytest.mark.usefixtures("cluster")
def test_csv_keeps_its_text_and_bad_rows_are_set_aside_with_their_lines(
    place: Place, payments: pd.DataFrame
) -> None:
    few = payments.head(250_000)
    lines = few.to_csv(index=False).splitlines()
    bad = {500: "localTime", 120_000: "numItems", 249_999: "localTime"}
    for row, column in bad.items():
        values = lines[row + 1].split(",")
        values[list(few).index(column)] = "-1"
        lines[row + 1] = ",".join(values)
    values = lines[8].split(",")
    values[list(few).index("Category")] = '"food, ""and"" drink"'
    values[list(few).index("amount")] = "NA"
    lines[8] = ",".join(values)
    lines.insert(5, "")
    path = place.folder / "payments.csv"
    path.write_text("\n".join(lines) + "\n")

    result = place.score("payments.csv", "scored.csv")

    assert (result.rows, result.bad) == (len(few) - 3, 3)
    assert result.rejected_file == str(place.folder / "payments.rejected.csv")
    rejected = pd.read_csv(result.rejected_file)
    assert rejected["line"].tolist() == [row + 3 for row in bad]
    assert rejected["column"].tolist() == list(bad.values())
    loaded = load(path, place.bundle.spec, labelled=False)
    assert rejected["line"].tolist() == loaded.rejected["line"].tolist()
    # The lines of the file, word for word, with four values more.
    given = [line for n, line in enumerate(line for line in lines if line) if n - 1 not in bad]
    out = (place.folder / "scored.csv").read_text().splitlines()
    assert out[0] == ",".join([given[0], *ADDED])
    assert all(o.startswith(f"{g},") for o, g in zip(out, given, strict=True))
    probability = np.array([float(line.rsplit(",", 4)[1]) for line in out[1:]])
    np.testing.assert_allclose(probability, place.bundle.score(loaded.columns), atol=1e-12)


@pytest.mark.usefixtures("cluster")
def test_too_many_bad_rows_refuse_the_file_and_are_listed(place: Place) -> None:
    frame = simulate(2000, seed=8)
    frame.loc[:99, "localTime"] = 99.0
    frame.to_parquet(place.folder / "bad.parquet")

    with pytest.raises(DataRefused, match="100 of 2,000 rows") as caught:
        place.score("bad.parquet", "refused.csv")

    assert "break the spec 'payments' (line 2: localTime should be a number" in str(caught.value)
    assert len(pd.read_csv(place.folder / "bad.rejected.csv")) == 100
    assert not [name for name in place.names() if "refused.csv" in name]


@pytest.mark.usefixtures("cluster")
def test_what_a_run_with_another_model_left_is_not_gone_on_with(place: Place) -> None:
    frame = simulate(2000, seed=8)
    frame.loc[:99, "localTime"] = 99.0
    frame.to_parquet(place.folder / "more.parquet")
    left = place.folder / ".more.csv.unfinished"
    left.mkdir()
    (left / "about.json").write_text(json.dumps({"model": "another", "format": 1}))
    (left / "00000000.json").write_text('{"rows": 3000}')
    (left / "00000000.rows").write_text("nonsense")
    told: list[str] = []

    result = place.score("more.parquet", "more.csv", max_bad_share=0.05, tell=told.append)

    assert re.search(r"not used: another .*model", told[0])
    assert (result.rows, result.bad) == (1900, 100)
    good = frame.iloc[100:].reset_index(drop=True)
    found = pd.read_csv(place.folder / "more.csv").fillna({"fraudPattern": ""})
    pd.testing.assert_frame_equal(found[list(good)], good, check_dtype=False)


def test_a_run_killed_and_then_stopped_by_ctrl_c_ends_in_the_same_bytes(
    place: Place, scored: Scored
) -> None:
    # As the cluster's: what is gone on with must be called the same.
    arguments = (str(place.folder / "payments.parquet"), "--out", "again.parquet")
    code, _, kept = place.stop(signal.SIGKILL, 0, *arguments)
    assert code == -signal.SIGKILL
    code, told, more = place.stop(signal.SIGINT, kept, *arguments)
    assert code == 130
    assert f"Going on with an earlier run: {kept * 100_000:,} rows" in told
    assert "the same command goes on from here" in told

    result = place.score("payments.parquet", "again.parquet")

    assert result.resumed >= more * 100_000 > kept * 100_000
    assert (result.rows, result.alerts) == (ROWS, scored.alerts)
    whole = (place.folder / "whole.parquet").read_bytes()
    assert (place.folder / "again.parquet").read_bytes() == whole
    assert not [name for name in place.names() if "unfinished" in name]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["nowhere.csv", "--out", "x.csv"], 1, "no such file"),
        (["tiny.csv", "--out", "x.txt"], 2, "ends in .csv or .parquet"),
        (["tiny.csv", "--out", "nowhere/x.csv"], 2, "an existing folder"),
        (["tiny.csv", "--out", "tiny.csv"], 2, "is the file to be scored"),
        (["tiny.csv", "--out", "there.csv"], 2, "there already"),
        (["clash.csv", "--out", "x.csv"], 2, "columns that scoring adds: decision"),
        (["lacking.csv", "--out", "x.csv"], 3, "the column numItems"),
        (["header.csv", "--out", "x.csv"], 3, "a header but no rows"),
        (["tiny.csv", "--out", "x.csv", "--registered-model", "other"], 1, "no registered model"),
    ],
)
def test_what_cannot_be_scored_is_refused_before_ray_starts(
    arguments: list[str], code: int, told: str, place: Place, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    frame = simulate(100, seed=8)
    monkeypatch.chdir(place.folder)
    monkeypatch.setenv("FRAUDRAY_HOME", str(place.home))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(runtime, "start_ray", lambda: pytest.fail("Ray was started"))
    frame.to_csv("tiny.csv", index=False)
    frame.assign(decision=1).to_csv("clash.csv", index=False)
    frame.drop(columns="numItems").to_csv("lacking.csv", index=False)
    frame.head(0).to_csv("header.csv", index=False)
    Path("there.csv").write_text("mine")

    with pytest.raises(SystemExit) as left:
        main(["score", *arguments])

    assert left.value.code == code
    assert told in capsys.readouterr().err
    assert not Path("x.csv").exists()
    assert Path("there.csv").read_text() == "mine"
