"""Scoring many rows takes no more memory than scoring some, and stays near the bare model."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from surroundings import bare

from training.audit import audit
from training.bundle import ModelBundle
from training.data import check, load
from training.fit import Recipe, train
from training.models import BoosterModel
from training.simulate import simulate, write
from training.spec import DatasetSpec
from training.split import split
from training.tracking import Tracking

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

MILLION = 1_000_000


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def bundle(home: Path) -> ModelBundle:
    """The champion of the home: XGBoost with its default parameters."""
    dataset = check(simulate(50_000, seed=3), DatasetSpec.load("payments"), source="x")
    parts = split(dataset)
    made = train(
        dataset, parts, Recipe("xgboost", smote=0.1, seed=1), audit(dataset, parts), threads=2
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FRAUDRAY_HOME", str(home))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        tracking = Tracking()
        with tracking.run("test", "test") as run:
            version = tracking.register(run, "fraudray-payments", made)
        tracking.promote(version.model, version.version, "a test")
    return made


@pytest.fixture(scope="module")
def payments(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Payments of so many millions, a million different ones over and over."""
    folder = tmp_path_factory.mktemp("large")
    write(simulate(MILLION, seed=5), folder / "1.parquet")

    def make(millions: int) -> Path:
        path = folder / f"{millions}.parquet"
        if not path.exists():
            table = pq.read_table(folder / "1.parquet")
            with pq.ParquetWriter(path, table.schema) as writer:
                for _ in range(millions):
                    writer.write_table(table)
        return path

    return make


def _score(path: Path, home: Path) -> dict[str, Any]:
    out = path.with_name(f"{path.stem}.scored.parquet")
    done = subprocess.run(
        [sys.executable, "-m", "fraudray", "score", str(path), "--out", str(out), "--json"],
        env=bare(FRAUDRAY_HOME=home), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert pq.read_metadata(out).num_rows == pq.read_metadata(path).num_rows
    out.unlink()
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _bare(bundle: ModelBundle, path: Path) -> float:
    """Rows a second of the booster alone, on a matrix that is there already, on two cores."""
    assert isinstance(bundle.model, BoosterModel)
    columns = load(path, bundle.spec, labelled=False).columns
    matrix = bundle.features.transform(columns).astype(np.float32)
    booster = bundle.model.booster
    booster.set_param({"nthread": 2})
    best = min(_seconds(lambda: booster.inplace_predict(matrix)) for _ in range(3))
    booster.set_param({"nthread": 1})
    return len(matrix) / best


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def test_memory_is_flat_and_speed_a_quarter_of_the_bare_model(
    payments: Callable[[int], Path], home: Path, bundle: ModelBundle
) -> None:
    bare = _bare(bundle, payments(1))
    results = {millions: _score(payments(millions), home) for millions in (1, 5, 10)}

    print(f"\nbare inplace_predict, 2 threads: {bare:,.0f} rows/s")
    print("million rows  rows/s  of bare  start-up s  scoring s  peak worker MB")
    for millions, r in results.items():
        speed = r["rows_per_second"]
        print(f"{millions:12}  {speed:,.0f}  {speed / bare:.2f}  {r['startup_seconds']:.1f}  "
              f"{r['seconds']:.1f}  {r['peak_worker_mb']:.0f}")  # fmt: skip
    assert results[10]["peak_worker_mb"] < 1.3 * results[1]["peak_worker_mb"]
    assert results[5]["rows_per_second"] > bare / 4
