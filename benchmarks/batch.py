"""A file of millions scored by `fraudray score`, beside XGBoost alone on a prepared matrix."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import pyarrow as pa
from many_rows import run
from page import met, table
from pyarrow import parquet

from training.bundle import ModelBundle
from training.data import check
from training.models import BoosterModel
from training.simulate import simulate, write
from training.spec import DatasetSpec

LEAST_SHARE: Final = 0.25
"""Of the rows a second of XGBoost alone on the same cores."""
FLAT: Final = 1.3
"""Peak memory of a worker on the larger file over that on the smaller one, at most."""
CHUNK: Final = 1_000_000  # payments made, and predicted, at a time
FITTED_ON: Final = 50_000


@dataclass(frozen=True)
class Scored:
    """What `fraudray score` says of one file; peak is that of the largest worker."""

    rows: int
    rows_per_second: float
    startup_seconds: float
    peak_worker_mb: float

    @classmethod
    def of(cls, result: dict[str, Any]) -> Scored:
        """Read the command's JSON."""
        return cls(
            rows=int(result["rows"]),
            rows_per_second=float(result["rows_per_second"]),
            startup_seconds=float(result["startup_seconds"]),
            peak_worker_mb=float(result["peak_worker_mb"]),
        )


@dataclass(frozen=True)
class Batch:
    """One run.

    Attributes
    ----------
    bare
        Rows a second of XGBoost alone, before and after `scored`; the faster one counts.
    memory
        The same command on files of other sizes, the smallest first.
    """

    model: str
    scored: Scored
    bare: tuple[float, float]
    memory: tuple[Scored, ...]

    @property
    def share(self) -> float:
        """Of XGBoost alone."""
        return self.scored.rows_per_second / max(self.bare)

    @property
    def growth(self) -> float:
        """Peak of a worker on the largest file over that on the smallest."""
        return self.memory[-1].peak_worker_mb / self.memory[0].peak_worker_mb


def batch(rows: int, memory_rows: tuple[int, ...]) -> Batch:
    """Train an XGBoost in a home of its own, score files of the given sizes with it.

    Raises
    ------
    Broken
        If a command fails.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        environment = os.environ | {"FRAUDRAY_HOME": str(folder / "home")}
        environment.pop("MLFLOW_TRACKING_URI", None)
        bundle = _champion(folder, environment)
        files = {size: _payments(folder / f"{size}.parquet", size) for size in {rows, *memory_rows}}
        before = bare(bundle, rows)
        scored = {rows: _score(files[rows], environment)}
        after = bare(bundle, rows)
        for size in memory_rows:
            if size not in scored:
                scored[size] = _score(files[size], environment)
        params = bundle.card["params"]
        model = f"{params['n_estimators']:g} trees of depth {params['max_depth']:g}"
        memory = tuple(scored[size] for size in sorted(memory_rows))
        return Batch(model, scored[rows], (before, after), memory)


def batch_block(found: Batch) -> str:
    """The two tables."""
    scored = found.scored
    speed = [
        ["XGBoost alone, prepared matrix", f"{max(found.bare):,.0f}", "1.00", ""],
        ["`fraudray score`, Parquet to Parquet", f"{scored.rows_per_second:,.0f}",
         f"{found.share:.2f}", met(found.share >= LEAST_SHARE, f"{LEAST_SHARE:g}")],
    ]  # fmt: skip
    memory = [
        [f"{s.rows:,}", f"{s.peak_worker_mb:,.0f}", f"{s.rows_per_second:,.0f}"]
        for s in found.memory
    ]
    return "\n\n".join(
        [
            f"{scored.rows:,} payments, {found.model}, {os.cpu_count()} cores; from the first "
            f"block read to the last written, after {scored.startup_seconds:.0f} s of start-up:",
            table(["", "rows a second", "share", "at least"], speed),
            f"Memory: the largest worker grows {found.growth:.2f}-fold from the smallest file to "
            f"the largest, {met(found.growth <= FLAT, f'at most {FLAT:g}')}.",
            table(["payments", "peak of a worker, MB", "rows a second"], memory),
        ]
    )


def bare(bundle: ModelBundle, rows: int) -> float:
    """Rows a second of `inplace_predict` on float32 rows that lie ready, on all cores."""
    columns = check(simulate(min(rows, CHUNK), seed=0), bundle.spec, source="simulated").columns
    matrix = bundle.features.transform(columns).astype(np.float32)
    model = BoosterModel.from_bytes(bundle.model.to_bytes())
    model.booster.set_param({"nthread": os.cpu_count() or 1})
    model.booster.inplace_predict(matrix[:1000])
    begin, done = time.perf_counter(), 0
    while done < rows:
        model.booster.inplace_predict(matrix)
        done += len(matrix)
    return done / (time.perf_counter() - begin)


def _champion(folder: Path, environment: dict[str, str]) -> ModelBundle:
    """Train and register by the command line, then find the bundle in the home it made."""
    path = folder / "train.parquet"
    write(simulate(FITTED_ON, seed=1), path)
    run([sys.executable, "-m", "fraudray", "train", str(path), "--model", "xgboost"], environment)
    os.environ["FRAUDRAY_HOME"] = environment["FRAUDRAY_HOME"]
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    from fraudray.pipeline import champion, registered_model
    from training.tracking import Tracking

    tracking = Tracking()
    model = registered_model(tracking, DatasetSpec.load("payments"), None)
    return champion(tracking, model)[1]


def _payments(path: Path, rows: int) -> Path:
    """A Parquet file of any size in little memory: each million is a seed of its own."""
    writer = None
    for seed, begin in enumerate(range(0, rows, CHUNK)):
        made = pa.Table.from_pandas(
            simulate(min(CHUNK, rows - begin), seed=seed), preserve_index=False
        )
        writer = writer or parquet.ParquetWriter(path, made.schema)
        writer.write_table(made, row_group_size=100_000)
    if writer:
        writer.close()
    return path


def _score(path: Path, environment: dict[str, str]) -> Scored:
    out = path.with_suffix(".scored.parquet")
    command = [sys.executable, "-m", "fraudray", "score", str(path), "--out", str(out), "--json"]
    try:
        return Scored.of(json.loads(run(command, environment)))
    finally:
        out.unlink(missing_ok=True)
