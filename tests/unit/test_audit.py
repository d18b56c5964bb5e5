"""The audit says what is wrong with a file, and says nothing where nothing is."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from training.audit import Audit, Finding, audit
from training.data import Dataset, check
from training.spec import DatasetSpec
from training.split import split


def _changed(dataset: Dataset, **columns: object) -> Audit:
    return audit(replace(dataset, frame=dataset.frame.assign(**columns)))


def _only(report: Audit, code: str) -> Finding:
    (finding,) = [f for f in report.findings if f.code == code]
    return finding


def test_ordinary_payments_raise_no_suspicion(report: Audit, dataset: Dataset) -> None:
    assert report.findings == ()
    assert report.excluded == ()
    assert report.rows == len(dataset) == sum(p["rows"] for p in report.parts.values())
    assert report.frauds == dataset.label.sum() == sum(p["frauds"] for p in report.parts.values())
    assert report.split_by == "time"


def test_a_column_that_is_the_label_in_disguise_is_an_error_but_stays_in(dataset: Dataset) -> None:
    report = _changed(dataset, accountAgeDays=np.where(dataset.label == 1, 1.0, 50.0))

    finding = _only(report, "separates")
    assert (finding.column, finding.severity) == ("accountAgeDays", "error")
    assert "every row up to 1 is fraud, every other one is not" in finding.message
    assert report.errors == (finding,)
    assert report.excluded == ()


def test_a_category_can_separate_too(dataset: Dataset) -> None:
    method = np.where(dataset.label == 1, "stolen", dataset.columns["paymentMethod"])

    assert _only(_changed(dataset, paymentMethod=method), "separates").column == "paymentMethod"


@pytest.mark.parametrize(
    ("missing_on", "words"),
    [
        (1, "missing exactly on the frauds"),
        (0, "missing exactly on the legitimate rows"),
    ],
)
def test_missingness_that_gives_the_label_away_excludes_the_column(
    missing_on: int, words: str, dataset: Dataset
) -> None:
    report = _changed(dataset, amount=np.where(dataset.label == missing_on, np.nan, 5.0))

    finding = _only(report, "missingness-tells")
    assert words in finding.message
    assert report.excluded == ("amount",)


def test_missingness_that_nearly_gives_the_label_away_is_told_in_shares(dataset: Dataset) -> None:
    gaps = (dataset.label == 1) & (np.arange(len(dataset)) % 5 > 0)

    finding = _only(
        _changed(dataset, amount=np.where(gaps, np.nan, dataset.columns["amount"])),
        "missingness-tells",
    )

    assert "% of the frauds and 0.0% of the legitimate rows" in finding.message


@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_missingness_at_random_tells_nothing_at_any_share_of_frauds(
    share: float, undated: Dataset
) -> None:
    rng = np.random.default_rng(5)
    frame = undated.frame.assign(
        label=(rng.random(len(undated)) < share).astype(np.int8),
        amount=np.where(rng.random(len(undated)) < 0.3, np.nan, undated.columns["amount"]),
    )

    assert audit(replace(undated, frame=frame)).errors == ()


def test_columns_are_judged_on_the_training_rows_alone(dataset: Dataset) -> None:
    rest = np.concatenate([rows for _, rows in split(dataset).items()[1:]])
    amount = dataset.columns["amount"].copy()
    amount[rest] = np.where(dataset.label[rest] == 1, np.nan, 5.0)

    assert _changed(dataset, amount=amount).findings == ()


def test_columns_without_use_are_named(dataset: Dataset) -> None:
    report = _changed(dataset, amount=np.nan, numItems=3.0)

    assert _only(report, "empty").column == "amount"
    assert "numItems is always 3.0" in _only(report, "constant").message
    assert report.errors == ()


def test_an_hour_of_the_day_that_spans_few_hours_is_no_clock(dataset: Dataset) -> None:
    finding = _only(_changed(dataset, localTime=dataset.columns["localTime"] / 6), "not-a-clock")

    assert finding.severity == "warning"
    assert "distinct values, all between 0.00 and 4.00" in finding.message


def test_absent_columns_are_noted(payments: pd.DataFrame, spec: DatasetSpec) -> None:
    dataset = check(payments.drop(columns=["amount", "Category"]), spec, source="x")

    assert "lacks Category, amount;" in _only(audit(dataset), "columns-absent").message


def test_rejected_rows_are_counted_once_each(payments: pd.DataFrame, spec: DatasetSpec) -> None:
    bad = payments.assign(
        localTime=payments["localTime"].where(payments.index > 2, 99),
        amount=payments["amount"].where(payments.index > 1, -1),
    )

    finding = _only(audit(check(bad, spec, source="x")), "rows-rejected")

    assert finding.message.startswith("3 rows")


def test_twins_are_counted_and_found_across_the_parts(dataset: Dataset) -> None:
    frame = dataset.frame.copy()
    for name in (*dataset.spec.inputs, "label"):
        frame.loc[5_990:, name] = frame.loc[0:9, name].to_numpy()  # ten test rows
    frame.loc[5_990, "label"] = 1 - frame.loc[0, "label"]

    report = audit(replace(dataset, frame=frame))

    assert _only(report, "duplicates").message.startswith("10 rows")
    assert _only(report, "label-conflicts").message.startswith("1 group")
    assert _only(report, "twins").message.startswith("10 of 900 test rows")


def test_the_worst_comes_first(dataset: Dataset) -> None:
    frame = dataset.frame.assign(
        localTime=1.0 + dataset.columns["localTime"] / 30,
        amount=np.where(dataset.label == 1, np.nan, 5.0),
    ).drop(columns="Category")

    severities = [f.severity for f in audit(replace(dataset, frame=frame)).findings]

    assert severities == sorted(severities, key=["error", "warning", "note"].index)
    assert set(severities) == {"error", "warning", "note"}


def test_a_report_can_be_written_as_json(dataset: Dataset) -> None:
    report = _changed(dataset, amount=np.where(dataset.label == 1, np.nan, 5.0))

    content = json.loads(json.dumps(report.to_dict(), allow_nan=False))

    assert content["excluded"] == ["amount"]
    assert content["findings"][0]["code"] == "missingness-tells"
    assert content["parts"]["train"]["rows"] == 4_200
