"""What every server of the benchmark gets: a registry, a model, payments and their scores."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from page import Broken

from fraudray import runtime
from fraudray.pipeline import Audited, audited, publish
from training.bundle import ModelBundle
from training.data import Columns, Dataset, check, records_of
from training.fit import Recipe, train
from training.home import bundle_folder
from training.simulate import simulate, write
from training.spec import DatasetSpec
from training.tracking import Tracking
from tuning.select import Promotion

MODEL: Final = "fraudray-payments"
SAME: Final = 1e-6
"""Probabilities that differ by less are the same model's; both compute in 32-bit floats."""


@contextmanager
def own_home() -> Iterator[Path]:
    """A home with all state in it; whatever the block leaves running is ended."""
    with TemporaryDirectory() as home:
        os.environ["FRAUDRAY_HOME"] = home
        for name in ("MLFLOW_TRACKING_URI", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
            os.environ.pop(name, None)
        runtime.prepare()
        with runtime.stoppable():
            yield Path(home)


@dataclass(frozen=True)
class Case:
    """Two versions of an XGBoost model in a registry of their own, and payments neither has seen.

    The versions are fitted on different payments, and the second sees no derived feature, so that
    stages of different versions together give a score that is neither's.

    Attributes
    ----------
    folder
        The home, `$FRAUDRAY_HOME` of every process.
    bundles
        By version; "1" is the champion.
    material
        What version 1 was made from.
    payments
        To be sent.
    """

    folder: Path
    bundles: dict[str, ModelBundle]
    files: dict[str, str]
    material: Audited
    payments: Dataset

    @classmethod
    def make(cls, folder: Path, *, rows: int, sent: int) -> Case:
        """Simulate `rows` payments for each version, fit, register; `sent` others to be sent."""
        spec = DatasetSpec.load("payments")
        tracking = Tracking()
        bundles, files, materials = {}, {}, []
        plans: list[tuple[int, Promotion]] = [(0, "always"), (1, "never")]
        for seed, promote in plans:
            path = folder / f"train-{seed}.parquet"
            write(simulate(rows, seed=seed), path)
            material = audited(path, spec)
            recipe = Recipe("xgboost", seed=seed, derived=seed == 0)
            bundle = train(material.dataset, material.parts, recipe, material.report, threads=2)
            with tracking.run("bench-serving", f"seed {seed}") as run:
                version = publish(tracking, run, MODEL, bundle, material, promote=promote).version
            bundles[version.version] = tracking.fetch(version)
            files[version.version] = version.files
            materials.append(material)
        payments = check(simulate(sent, seed=2), spec, source="sent", labelled=False)
        return cls(folder, bundles, files, materials[0], payments)

    @property
    def champion(self) -> ModelBundle:
        """The version that every server serves."""
        return self.bundles["1"]

    @property
    def champion_folder(self) -> Path:
        """Where its bundle lies."""
        return bundle_folder(self.files["1"])

    @property
    def environment(self) -> dict[str, str]:
        """Of every server: one home, and one thread for libraries that would take all cores."""
        threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        return (
            os.environ
            | dict.fromkeys(threads, "1")
            | {
                "BENCH_BUNDLE": str(self.champion_folder),
                "BENCH_PIPELINE": str(self.folder / "pipeline.joblib"),
            }
        )

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """The payments as callers write them."""
        return list(records_of(self.payments, list(self.payments.spec.inputs)))

    @cached_property
    def bodies(self) -> list[bytes]:
        """One request of one payment each."""
        return [json.dumps(record).encode() for record in self.records]

    @cached_property
    def columns(self) -> Columns:
        """The payments as the bundle scores them, shape (n,)."""
        inputs = self.payments.spec.inputs
        return {n: v for n, v in self.payments.columns.items() if n in inputs}

    @cached_property
    def expected(self) -> dict[str, NDArray[np.float64]]:
        """The offline probabilities of every version, shape (n,)."""
        return {version: b.score(self.columns) for version, b in self.bundles.items()}

    def require(self, got: list[float], who: str) -> float:
        """The largest difference of a server's first answers from the offline ones.

        Raises
        ------
        Broken
            If it is no rounding error.
        """
        apart = float(np.abs(np.array(got) - self.expected["1"][: len(got)]).max())
        if not apart <= SAME:
            raise Broken(f"{who}: its probabilities are {apart:.2g} from the offline ones")
        return apart


def lists(bodies: list[bytes], rows: int) -> list[bytes]:
    """Requests of one payment put together to JSON lists of `rows`; what is left over is not sent.

    >>> lists([b"1", b"2", b"3"], 2)
    [b'[1,2]']
    """
    starts = range(0, len(bodies) - rows + 1, rows)
    return [b"[" + b",".join(bodies[i : i + rows]) + b"]" for i in starts]
