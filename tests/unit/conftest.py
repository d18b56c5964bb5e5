"""One simulated file and the small models made from it, shared by every test of this folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import settings

from training.audit import Audit, audit
from training.bundle import ModelBundle
from training.data import Dataset, check
from training.fit import Recipe, train
from training.models import FAMILIES
from training.simulate import simulate
from training.spec import DatasetSpec
from training.split import Split, split

# The same examples on every machine: a failure here is never a matter of luck.
settings.register_profile("unit", deadline=None, derandomize=True, max_examples=40)
settings.load_profile("unit")

SMALL = {
    "logistic-regression": {"C": 0.5},
    "random-forest": {"n_estimators": 20, "max_depth": 6},
    "xgboost": {"n_estimators": 20, "max_depth": 3},
}


@pytest.fixture(scope="session")
def spec() -> DatasetSpec:
    return DatasetSpec.load("payments")


@pytest.fixture(scope="session")
def payments() -> pd.DataFrame:
    """6,000 simulated payments in order of time, 61 of them frauds."""
    return simulate(6_000, seed=3)


@pytest.fixture(scope="session")
def dataset(payments: pd.DataFrame, spec: DatasetSpec) -> Dataset:
    """The payments with their timestamps: split by time."""
    return check(payments, spec, source="payments")


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
def parts(dataset: Dataset) -> Split:
    return split(dataset)


@pytest.fixture(scope="session")
def report(dataset: Dataset, parts: Split) -> Audit:
    return audit(dataset, parts)


@pytest.fixture(scope="session")
def recipe() -> Callable[..., Recipe]:
    """Make the recipe of a family's small model."""

    def make(family: str, *, smote: float = 0.1, seed: int = 1, policy: str = "max-f1") -> Recipe:
        return Recipe(family, SMALL[family], smote=smote, seed=seed, policy=policy)

    return make


@pytest.fixture(scope="session")
def bundles(
    dataset: Dataset, parts: Split, report: Audit, recipe: Callable[..., Recipe]
) -> dict[str, ModelBundle]:
    """A small model of every family."""
    return {name: train(dataset, parts, recipe(name), report) for name in FAMILIES}


@pytest.fixture(scope="session")
def bundle(bundles: dict[str, ModelBundle]) -> ModelBundle:
    return bundles["xgboost"]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of the real files, which state no licence and so are not ours to commit."""
    root = Path(__file__).parents[2]
    folder = (root / os.environ.get("FRAUDRAY_SHARED", "../shared") / "data").resolve()
    if not (folder / "payment_fraud.csv").exists():
        pytest.skip(f"no payment_fraud.csv in {folder}; set FRAUDRAY_SHARED to have it")
    return folder
