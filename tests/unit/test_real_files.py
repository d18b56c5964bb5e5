"""What is known of the real payments file is found, and the hold-outs are met by every family."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from training.audit import Audit, audit
from training.bundle import ModelBundle
from training.data import Dataset, load
from training.evaluate import Metrics
from training.fit import Recipe, train
from training.identity import row_identities
from training.models import FAMILIES
from training.spec import DatasetSpec
from training.split import Split, folds, split

each_family = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(scope="module")
def real(shared_data: Path, spec: DatasetSpec) -> Dataset:
    return load(shared_data / "payment_fraud.csv", spec)


@pytest.fixture(scope="module")
def holdouts(shared_data: Path, spec: DatasetSpec) -> Dataset:
    return load(shared_data / "combined_holdout.csv", spec)


@pytest.fixture(scope="module")
def real_parts(real: Dataset) -> Split:
    return split(real)


@pytest.fixture(scope="module")
def real_report(real: Dataset, real_parts: Split) -> Audit:
    return audit(real, real_parts)


@pytest.fixture(scope="module")
def real_bundles(
    real: Dataset, real_parts: Split, real_report: Audit, recipe: Callable[..., Recipe]
) -> dict[str, ModelBundle]:
    return {
        name: train(real, real_parts, recipe(name), real_report, threads=2) for name in FAMILIES
    }


def test_every_row_of_the_file_keeps_the_spec(real: Dataset, holdouts: Dataset) -> None:
    assert (len(real), int(real.label.sum())) == (39_221, 560)
    assert len(holdouts) == 300
    assert real.rejected.empty
    assert holdouts.rejected.empty


def test_the_account_age_separates_alone(real_report: Audit) -> None:
    (finding,) = [f for f in real_report.findings if f.code == "separates"]

    assert finding.column == "accountAgeDays"
    assert "every row up to 1 is fraud" in finding.message
    assert finding in real_report.errors


def test_the_weekend_is_missing_exactly_on_the_frauds_and_is_left_out(real_report: Audit) -> None:
    (finding,) = [f for f in real_report.findings if f.code == "missingness-tells"]

    assert "isWeekend is missing exactly on the frauds" in finding.message
    assert real_report.excluded == ("isWeekend",)


def test_the_local_time_is_no_clock(real_report: Audit) -> None:
    (finding,) = [f for f in real_report.findings if f.code == "not-a-clock"]

    assert (finding.column, finding.severity) == ("localTime", "warning")
    assert "all between 0.42 and 5.04" in finding.message


def test_its_duplicates_are_counted(real_report: Audit) -> None:
    (finding,) = [f for f in real_report.findings if f.code == "duplicates"]

    assert finding.message.startswith("3,0")


def test_the_file_of_six_columns_holds_the_same_payments(
    real: Dataset, shared_data: Path, spec: DatasetSpec
) -> None:
    six = load(shared_data / "payment_fraud_6col.csv", spec)

    assert len(six.columns) == 5
    for name, values in six.columns.items():
        same = values == real.columns[name] if values.dtype == object else np.isclose(
            values, real.columns[name], rtol=0, atol=1e-6)  # fmt: skip
        assert same.all(), name
    report = audit(six, split(six))
    assert report.excluded == ()
    (absent,) = [f for f in report.findings if f.code == "columns-absent"]
    assert "Category, isWeekend, amount" in absent.message


def test_no_twin_crosses_a_part_or_a_fold(real: Dataset) -> None:
    hashes, parts = row_identities(real), split(real)

    assert len(np.unique(hashes)) < len(hashes)
    assert not np.isin(hashes[parts.test], hashes[parts.train]).any()
    assert not np.isin(hashes[parts.validation], hashes[parts.train]).any()
    for fit, held_out in folds(real, parts, 3):
        assert not np.isin(hashes[fit], hashes[held_out]).any()


@each_family
@pytest.mark.parametrize(
    ("name", "accuracy", "recall", "precision"),
    [("A", 0.97, 1.0, 0.25), ("B", 0.99, 1.0, 0.5), ("C", 0.98, 0.98, 0.98)],
)
def test_the_holdouts_are_met(
    family: str,
    name: str,
    accuracy: float,
    recall: float,
    precision: float,
    real_bundles: dict[str, ModelBundle],
    holdouts: Dataset,
) -> None:
    bundle = real_bundles[family]
    rows = holdouts.take((holdouts.frame["dataset"] == name).to_numpy())

    found = Metrics.of(
        rows.label, bundle.score(rows.columns), bundle.choice.threshold,
        missed=np.zeros(len(rows)), alarm=0,
    )  # fmt: skip

    assert found.accuracy >= accuracy
    assert found.recall is not None
    assert found.recall >= recall
    assert found.precision is not None
    assert found.precision >= precision


@each_family
@pytest.mark.parametrize("weekend", [0.0, 1.0, np.nan])
def test_the_weekend_changes_no_decision(
    family: str, weekend: float, real_bundles: dict[str, ModelBundle], real: Dataset,
    real_parts: Split, holdouts: Dataset,
) -> None:  # fmt: skip
    bundle = real_bundles[family]
    for rows in (real.take(real_parts.test), holdouts):
        columns = rows.columns
        changed = np.where(rows.label == 1, weekend, columns["isWeekend"])

        score = bundle.score(columns | {"isWeekend": changed})

        np.testing.assert_array_equal(score, bundle.score(columns))
