"""Hypothesis, and files for every test of this folder; its small models are in `in_process`."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import settings

from training.data import Dataset, check
from training.simulate import simulate
from training.spec import DatasetSpec

# The same examples on every machine, for the same code: some are made of the constants in it.
settings.register_profile("unit", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("unit")


@pytest.fixture(scope="session")
def undated(payments: pd.DataFrame, spec: DatasetSpec) -> Dataset:
    """The payments without timestamps, the first 300 of them twice: split by hash."""
    twice = pd.concat([payments, payments.head(300)])
    return check(twice.drop(columns="timestamp"), spec, source="undated")


@pytest.fixture(scope="session")
def fresh(spec: DatasetSpec) -> Dataset:
    """Payments of another seed, which no model of these tests is made from."""
    return check(simulate(4_000, seed=77), spec, source="fresh")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of the real files, which state no licence and so are not ours to commit."""
    root = Path(__file__).parents[2]
    folder = (root / os.environ.get("FRAUDRAY_SHARED", "../shared") / "data").resolve()
    if not (folder / "payment_fraud.csv").exists():
        pytest.skip(f"no payment_fraud.csv in {folder}; set FRAUDRAY_SHARED to have it")
    return folder
