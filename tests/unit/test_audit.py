"""The audit says what is wrong with a file, and says nothing where nothing is."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from fraudray.reports import audit_report
from training.audit import Audit, audit, audit_html
from training.audit.absence import absence
from training.audit.findings import Finding, later
from training.audit.pictures import column_picture
from training.audit.profiles import BARS
from training.audit.profiles import profile as profiles_of
from training.audit.skill import dealt, level_edges, number_levels
from training.data import Dataset, check
from training.spec import DatasetSpec
from training.split import SplitPlan, split


def _audited(dataset: Dataset, plan: SplitPlan | None = None) -> Audit:
    return audit(dataset, split(dataset, plan))


def _changed(dataset: Dataset, **columns: object) -> Audit:
    return _audited(replace(dataset, frame=dataset.frame.assign(**columns)))


def _with(dataset: Dataset, kind: str, **columns: object) -> Audit:
    """With inputs that the spec of the payments lacks."""
    content = dataset.spec.to_dict()
    content["columns"] |= {name: {"type": kind} for name in columns}
    spec = DatasetSpec.from_dict(content)
    return _audited(replace(dataset, frame=dataset.frame.assign(**columns), spec=spec))


def _codes(report: Audit, column: str | None = None) -> set[str]:
    return {f.code for f in report.findings if column is None or f.column == column}


def _only(report: Audit, code: str) -> Finding:
    (finding,) = [f for f in report.findings if f.code == code]
    return finding


def test_ordinary_payments_raise_no_suspicion(report: Audit, dataset: Dataset) -> None:
    # Accounts get older and payers come back: that is so in every file split by time.
    assert _codes(report) <= {"drift", "entities", "twins"}
    assert report.errors == ()
    assert report.excluded == report.separating == ()
    assert report.probe is not None
    assert [trial.without for trial in report.probe.trials] == [()]
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
    assert report.separating == ("accountAgeDays",)


def test_what_a_separating_column_is_worth_is_shown(dataset: Dataset) -> None:
    amount = np.where(dataset.label == 1, 9.0, 3.0)
    report = _changed(
        dataset,
        accountAgeDays=np.where(dataset.label == 1, 1.0, 50.0),
        amount=amount,
        isWeekend=np.where(dataset.label == 1, np.nan, 1.0),
    )

    found = report.probe
    assert found is not None
    assert [t.without for t in found.trials] == [
        (), ("accountAgeDays",), ("amount",), ("accountAgeDays", "amount"),
    ]  # fmt: skip
    assert found.left_out == ("isWeekend",)
    full, one, _, without = found.trials
    assert (full.pr_auc, one.pr_auc) == (1, 1)  # the other column tells as well
    assert without.pr_auc < 0.7
    assert 0 <= without.recall <= 1
    assert 0 < found.frauds < report.parts["train"]["frauds"]
    assert found.fitted + found.rows <= report.parts["train"]["rows"]


def test_the_probe_sees_training_rows_alone(dataset: Dataset) -> None:
    age = np.where(dataset.label == 1, 1.0, 50.0)
    parts = split(dataset)
    rest = np.concatenate([parts.validation, parts.test])
    amount = dataset.columns["amount"].copy()
    amount[rest] = 1e6

    assert (
        _changed(dataset, accountAgeDays=age, amount=amount).probe
        == _changed(dataset, accountAgeDays=age).probe
    )


def test_a_column_that_separates_with_too_few_frauds_to_fit_is_still_told(
    dataset: Dataset,
) -> None:
    label = np.zeros(len(dataset), np.int8)
    label[[100, 150, 200, 4_500, 5_500]] = 1  # three in training, in its first days

    report = _changed(dataset, label=label, amount=label * 5.0)

    assert report.separating == ("amount",)
    assert report.probe is None
    assert "any model will look perfect" in _only(report, "separates").message


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

    assert _audited(replace(undated, frame=frame)).errors == ()


def test_a_number_that_tells_by_single_values_separates(undated: Dataset) -> None:
    rng = np.random.default_rng(4)
    codes = np.where(undated.label == 1, 51.0, rng.choice([0, 5, 12, 54, 91], len(undated)))

    report = _with(undated, "number", responseCode=codes)

    assert report.separating == ("responseCode",)
    assert report.excluded == ()
    assert report.probe is not None
    assert report.probe.trials[0].pr_auc == 1


def test_a_number_that_tells_by_a_range_in_the_middle_is_told(undated: Dataset) -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=len(undated))
    x = np.where(undated.label == 1, rng.uniform(0.5, 0.6, len(undated)), x)
    x = np.where((undated.label == 0) & (x >= 0.5) & (x <= 0.6), 3, x)

    assert _codes(_with(undated, "number", x=x), "x") & {"separates", "strong"}


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=900))
def test_levels_keep_the_order_of_numbers(numbers: list[float]) -> None:
    values = np.array(numbers)

    levels = number_levels(values)

    assert (np.diff(level_edges(values)) > 0).all()
    assert (np.diff(levels[np.argsort(values, kind="stable")]) >= 0).all()
    assert all(len(set(levels[values == v])) == 1 for v in numbers[:20])


def test_a_value_met_often_has_a_level_of_its_own_among_many() -> None:
    values = np.random.default_rng(1).lognormal(3, 1, 50_000)
    values[::1_000] = 49.99

    levels = number_levels(values)

    assert set(values[levels == levels[0]]) == {49.99}
    assert len(np.unique(levels)) <= 300


def test_two_columns_that_tell_only_together_are_found_by_the_quick_model(
    undated: Dataset,
) -> None:
    rng = np.random.default_rng(6)
    one, other = rng.random((2, len(undated)))
    label = ((one > 0.8) & (other > 0.8)).astype(np.int8)
    content = replace(undated, frame=undated.frame.assign(label=label))

    told = _with(content, "number", one=one, other=other)
    apart = _with(content, "number", one=one)

    assert told.separating == ()
    assert "known before a payment is decided" in _only(told, "near-perfect").message
    assert "near-perfect" not in _codes(apart)


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_copies_of_rows_do_not_make_a_category_at_random_tell(
    copies: int, dataset: Dataset
) -> None:
    rng = np.random.default_rng(8)
    shop = np.array([f"shop {i}" for i in rng.integers(0, 4_000, len(dataset))], object)
    label = (rng.random(len(dataset)) < 0.02).astype(np.int8)
    frame = dataset.frame.assign(label=label, shop=shop)
    content = dataset.spec.to_dict()
    content["columns"] |= {"shop": {"type": "category"}}
    many = replace(
        dataset,
        frame=pd.concat([frame] * copies).sort_values("timestamp"),
        spec=DatasetSpec.from_dict(content),
    )

    (found,) = [c for c in _audited(many).columns if c.name == "shop"]

    assert found.skill < 0.1


def test_folds_keep_equal_rows_together_and_both_classes_even() -> None:
    rng = np.random.default_rng(2)
    label = np.repeat((rng.random(3_000) < 0.1).astype(np.int8), 2)
    groups = np.repeat(np.arange(3_000, dtype=np.uint64), 2)

    fold = dealt(label, groups)

    assert (fold[::2] == fold[1::2]).all()
    for kind in (0, 1):
        counts = np.bincount(fold[label == kind], minlength=5)
        assert counts.max() - counts.min() <= 2
    # Where all frauds are one group the columns say too little for copies to be known.
    same = np.where(label == 1, np.uint64(9_999), groups)
    assert len(np.unique(dealt(label, same)[label == 1])) == 5


@pytest.mark.parametrize(
    ("frauds", "legitimate", "expected"),
    [
        ((280, 280), (400, 20_000), "tells"),  # on all frauds and a few others
        ((134, 280), (0, 20_000), "tells"),  # on half of the frauds and nowhere else
        ((20, 42), (0, 3_000), "tells"),
        ((0, 280), (20_000, 20_000), "tells"),
        ((3, 3), (0, 4_000), "tells"),
        ((84, 280), (2_000, 20_000), "differs"),
        ((30, 280), (100, 20_000), "differs"),
        ((1, 40), (0, 4_000), ""),
        ((60, 280), (4_000, 20_000), ""),
        ((0, 280), (0, 20_000), ""),
        ((280, 280), (20_000, 20_000), ""),
        ((0, 14), (300, 4_000), ""),
    ],
)
def test_absence_is_judged_by_class_at_any_prevalence(
    frauds: tuple[int, int], legitimate: tuple[int, int], expected: str
) -> None:
    assert absence(frauds, legitimate) == expected
    assert absence(legitimate, frauds) == expected


def test_a_column_missing_on_all_frauds_and_a_few_others_is_excluded(undated: Dataset) -> None:
    rng = np.random.default_rng(3)
    gone = (undated.label == 1) | (rng.random(len(undated)) < 0.02)

    report = _changed(undated, amount=np.where(gone, np.nan, undated.columns["amount"]))

    assert report.excluded == ("amount",)


def test_columns_missing_on_half_of_the_frauds_alone_are_all_excluded(undated: Dataset) -> None:
    rng = np.random.default_rng(3)
    noise = {
        f"n{i}": np.where(
            (undated.label == 1) & (rng.random(len(undated)) < 0.48),
            np.nan,
            rng.normal(size=len(undated)),
        )
        for i in range(3)
    }

    assert _with(undated, "number", **noise).excluded == ("n0", "n1", "n2")


def test_missingness_that_differs_is_a_warning_and_the_column_stays(undated: Dataset) -> None:
    rng = np.random.default_rng(3)
    share = np.where(undated.label == 1, 0.6, 0.1)
    gone = rng.random(len(undated)) < share

    report = _changed(undated, amount=np.where(gone, np.nan, undated.columns["amount"]))

    assert _only(report, "missingness-differs").severity == "warning"
    assert report.excluded == ()


def test_columns_are_judged_on_the_training_rows_alone(dataset: Dataset) -> None:
    rest = np.concatenate([rows for _, rows in split(dataset).items()[1:]])
    amount = dataset.columns["amount"].copy()
    amount[rest] = np.where(dataset.label[rest] == 1, np.nan, 5.0)

    report = _changed(dataset, amount=amount)

    assert report.errors == ()
    assert _codes(report, "amount") == {"drift"}


def test_columns_without_use_are_named(dataset: Dataset) -> None:
    report = _changed(dataset, amount=np.nan, numItems=3.0)

    assert _only(report, "empty").column == "amount"
    assert "numItems is always 3:" in _only(report, "constant").message
    assert report.errors == ()


def test_an_hour_of_the_day_that_spans_few_hours_is_no_clock(dataset: Dataset) -> None:
    finding = _only(_changed(dataset, localTime=dataset.columns["localTime"] / 6), "not-a-clock")

    assert finding.severity == "warning"
    assert "distinct values, all between 0.00 and 4.00" in finding.message


def test_absent_columns_are_noted(payments: pd.DataFrame, spec: DatasetSpec) -> None:
    dataset = check(payments.drop(columns=["amount", "Category"]), spec, source="x")

    assert "lacks Category, amount;" in _only(_audited(dataset), "columns-absent").message


def test_rejected_rows_are_counted_once_each(payments: pd.DataFrame, spec: DatasetSpec) -> None:
    bad = payments.assign(
        localTime=payments["localTime"].where(payments.index > 2, 99),
        amount=payments["amount"].where(payments.index > 1, -1),
    )

    finding = _only(_audited(check(bad, spec, source="x")), "rows-rejected")

    assert finding.message.startswith("3 rows")


def test_twins_are_counted_and_found_across_the_parts(dataset: Dataset) -> None:
    frame = dataset.frame.copy()
    for name in (*dataset.spec.inputs, "label"):
        frame.loc[5_990:, name] = frame.loc[0:9, name].to_numpy()  # ten test rows
    frame.loc[5_990, "label"] = 1 - frame.loc[0, "label"]

    report = _audited(replace(dataset, frame=frame))

    assert _only(report, "duplicates").message.startswith("10 rows")
    assert _only(report, "label-conflicts").message.startswith("1 group")
    assert "in all inputs, none of them in every column" in _only(report, "duplicates").message
    assert _only(report, "twins").message.startswith("10 of 900 test rows, and ")


def test_the_frauds_among_the_twins_are_told(dataset: Dataset) -> None:
    parts, frame = split(dataset), dataset.frame.copy()
    seen = frame.index[parts.train[dataset.label[parts.train] == 1]]
    test = frame.index[parts.test[dataset.label[parts.test] == 1]]
    for name in dataset.spec.inputs:
        frame.loc[test, name] = frame.loc[seen[: len(test)], name].to_numpy()

    report = _audited(replace(dataset, frame=frame))

    n = len(test)
    assert any(
        f"{n} of 900 test rows, and {n} of the {n} frauds among these" in f.message
        for f in report.findings
        if f.code == "twins"
    )


@pytest.mark.parametrize(
    ("share", "severity"), [(0.97, "warning"), (0.3, "note"), (0.1, None), (0.02, None)]
)
def test_many_frauds_are_told(share: float, severity: str | None, undated: Dataset) -> None:
    label = (np.random.default_rng(1).random(len(undated)) < share).astype(np.int8)

    found = [f for f in _changed(undated, label=label).findings if f.code == "fraud-share"]

    assert [f.severity for f in found] == ([severity] if severity else [])


def test_a_time_that_the_split_does_not_use_is_told(dataset: Dataset) -> None:
    constant = replace(
        dataset, frame=dataset.frame.assign(timestamp=dataset.frame["timestamp"].iloc[0])
    )

    report = _audited(constant)

    assert report.split_by == "hash"
    assert "in every row" in _only(report, "timestamp-unused").message
    assert "the split is by hash" in _only(
        _audited(dataset, SplitPlan("hash")), "timestamp-unused"
    ).message  # fmt: skip
    assert "timestamp-unused" not in _codes(_audited(dataset))


@pytest.mark.parametrize("year", ["1970-01-01", "2261-06-01"])
def test_times_far_from_all_others_are_told(year: str, dataset: Dataset) -> None:
    times = dataset.frame["timestamp"].copy()
    times.iloc[:3] = pd.Timestamp(year)

    finding = _only(_changed(dataset, timestamp=times), "time-outliers")

    assert "of 3 rows" in finding.message
    assert year in finding.message


def test_repeated_rows_do_not_make_the_fraud_rate_of_a_split_by_hash_change(
    undated: Dataset,
) -> None:
    parts = split(undated)
    fraud = int(parts.test[undated.label[parts.test] == 1][0])
    frame = pd.concat([undated.frame, *[undated.frame.iloc[[fraud]]] * 40])

    assert "fraud-rate" not in _codes(_audited(replace(undated, frame=frame)))


def test_the_worst_comes_first(dataset: Dataset) -> None:
    frame = dataset.frame.assign(
        localTime=1.0 + dataset.columns["localTime"] / 30,
        amount=np.where(dataset.label == 1, np.nan, 5.0),
    ).drop(columns="Category")

    severities = [f.severity for f in _audited(replace(dataset, frame=frame)).findings]

    assert severities == sorted(severities, key=["error", "warning", "note"].index)
    assert set(severities) == {"error", "warning", "note"}


def test_a_report_can_be_written_as_json(dataset: Dataset) -> None:
    report = _changed(dataset, amount=np.where(dataset.label == 1, np.nan, 5.0))

    content = json.loads(json.dumps(report.to_dict(), allow_nan=False))

    assert Audit.from_dict(content) == report
    assert content["excluded"] == ["amount"]
    assert content["split_fingerprint"] == split(dataset).fingerprint
    assert content["findings"][0]["code"] == "missingness-tells"
    assert content["parts"]["train"]["rows"] == 4_200


def test_a_category_of_names_does_not_separate_though_each_value_has_one_label(
    dataset: Dataset,
) -> None:
    names = np.array([f"p{i:05}" for i in range(len(dataset))], object)

    report = _with(dataset, "category", reference=names)

    (profile,) = [c for c in report.columns if c.name == "reference"]
    assert profile.skill < 0.1
    finding = _only(report, "identifier")
    assert (finding.column, finding.severity) == ("reference", "warning")
    assert "4,200 different texts" in finding.message
    assert "role annotation" in finding.message


@pytest.mark.parametrize("share", [0.01, 0.3])
def test_a_category_of_many_values_at_random_has_no_skill(share: float, dataset: Dataset) -> None:
    rng = np.random.default_rng(8)
    label = (rng.random(len(dataset)) < share).astype(np.int8)
    shop = np.array([f"shop {i}" for i in rng.integers(0, 1_500, len(dataset))], object)
    content = replace(dataset, frame=dataset.frame.assign(label=label))

    (profile,) = [c for c in _with(content, "category", shop=shop).columns if c.name == "shop"]

    assert profile.skill < 0.1
    assert not profile.identifier


def test_a_category_of_many_values_that_does_tell_has_skill(dataset: Dataset) -> None:
    rng = np.random.default_rng(8)
    number = rng.integers(0, 300, len(dataset))
    label = (number < 9).astype(np.int8)  # the frauds all happen in nine shops
    shop = np.array([f"shop {i}" for i in number], object)
    content = replace(dataset, frame=dataset.frame.assign(label=label))

    assert "shop" in _with(content, "category", shop=shop).separating


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        (lambda n: np.arange(n) * 7.0, True),
        (lambda n: -np.arange(n) * 7.0, True),
        (lambda n: np.random.default_rng(1).permutation(n) * 1.0, True),
        (lambda n: np.random.default_rng(1).permutation(n) * 7.0, False),
        (lambda n: np.arange(n) * 0.1, False),
        (lambda n: np.arange(n) // 2 * 1.0, False),
    ],
)
def test_whole_numbers_that_count_the_rows_are_identifiers(
    numbers: Callable[[int], NDArray[np.float64]], expected: bool, dataset: Dataset
) -> None:
    report = _changed(dataset, amount=numbers(len(dataset)))

    assert ("identifier" in _codes(report, "amount")) == expected


@pytest.mark.parametrize(
    ("name", "suspicious"),
    [
        ("chargeback_date", True), ("daysToRefund", True), ("isFlaggedFraud", True),
        ("SETTLED", True), ("isfraudulentflag", True), ("numchargebacks", True),
        ("chargedBack", True), ("CB_FLAG", True), ("decision", True), ("declined", True),
        ("blocked", True), ("final_status", True), ("writeoff_amount", True), ("write_off", True),
        ("recovered", True), ("closed_at", True), ("loss_amount", True), ("hoursAfter", True),
        ("screen_resolution", False), ("reviews_count", False), ("refundable_fare", False),
        ("product_label", False), ("infra_udp", False), ("glossary", False),
        ("charge back", True), ("review-state", True), ("labelled", True),
        ("preview", False), ("amount", False), ("unsettling", False), ("V12", False),
    ],
)  # fmt: skip
def test_names_that_speak_of_later_are_told(name: str, suspicious: bool, dataset: Dataset) -> None:
    columns = {name: dataset.columns["amount"]}

    report = _with(dataset, "number", **columns) if name != "amount" else _audited(dataset)

    assert ("future" in _codes(report, name)) == later(name) == suspicious


def test_a_column_that_nearly_tells_is_worth_a_second_look(dataset: Dataset) -> None:
    fraud = dataset.label == 1
    miss = fraud & (np.arange(len(dataset)) % 6 == 0)

    report = _changed(dataset, amount=np.where(fraud & ~miss, 500.0, 5.0))

    finding = _only(report, "strong")
    assert (finding.column, finding.severity) == ("amount", "warning")
    assert report.errors == ()


def test_drift_is_told_with_its_parts_and_is_large_or_moderate(undated: Dataset) -> None:
    parts = split(undated)
    weekend, amount = (undated.columns[n].copy() for n in ("isWeekend", "amount"))
    weekend[parts.test] = 1
    amount[parts.validation] *= 1.5

    report = _changed(undated, isWeekend=weekend, amount=amount)

    large, moderate = ([f for f in report.findings if f.code == "drift"] + [None] * 2)[:2]
    assert large is not None
    assert moderate is not None
    assert (large.column, large.severity) == ("isWeekend", "warning")
    assert "the test rows" in large.message
    assert "validation" not in large.message
    assert (moderate.column, moderate.severity) == ("amount", "note")
    assert "the validation rows" in moderate.message


def test_values_never_seen_in_training_are_told(undated: Dataset) -> None:
    bought = undated.columns["Category"].copy()
    test = split(undated).test
    bought[test[::4]] = "gold"

    report = _changed(undated, Category=bought)

    assert _only(report, "unknown-values").message == (
        "Category has values that are rare or absent in training in 25.1% of the test rows, "
        "against 0.0% of the training rows"
    )


def test_a_change_of_the_fraud_rate_is_told_with_its_counts(dataset: Dataset) -> None:
    label = dataset.label.copy()
    late = split(dataset).test
    label[late[::10]] = 1

    finding = _only(_changed(dataset, label=label), "fraud-rate")

    frauds = int(label[late].sum())
    assert f"of the test rows ({frauds} of 900)" in finding.message
    assert finding.severity == "note"


def test_payers_on_both_sides_are_told_unless_split_by_them(dataset: Dataset) -> None:
    parts = split(dataset)
    payer = dataset.frame["customerId"].to_numpy(object)
    known = np.isin(payer[parts.test], payer[parts.train]).sum()

    finding = _only(_audited(dataset), "entities")

    assert finding.message.startswith(f"{known} of 900 test rows")
    assert "entities" not in _codes(_audited(dataset, SplitPlan("entity")))


def test_profiles_hold_what_the_training_rows_hold(dataset: Dataset, report: Audit) -> None:
    train = dataset.take(split(dataset).train)
    frauds = int(train.label.sum())

    for profile in report.columns:
        values = train.columns[profile.name]
        missing = pd.isna(values)
        assert profile.missing == missing.sum()
        assert profile.missing_fraud == pytest.approx(missing[train.label == 1].mean())
        assert profile.missing_legitimate == pytest.approx(missing[train.label == 0].mean())
        assert profile.distinct == pd.Series(values).nunique()
        shown = profile.histogram
        assert sum(shown.fraud) == frauds - missing[train.label == 1].sum()
        assert sum(shown.legitimate) + sum(shown.fraud) == len(train) - profile.missing
        assert len(shown.fraud) == max(len(shown.edges) - 1, len(shown.labels)) <= BARS
        if profile.quartiles:
            assert profile.quartiles[0] == np.nanmin(values)
            assert profile.quartiles[2] == pytest.approx(np.nanmedian(values), rel=0.01)
            assert profile.quartiles[4] == np.nanmax(values)


def test_skill_is_average_precision_above_prevalence(dataset: Dataset, report: Audit) -> None:
    train = dataset.take(split(dataset).train)
    base = train.label.mean()

    for profile in report.columns:
        if profile.type == "number":
            values = train.columns[profile.name]
            best = max(average_precision_score(train.label, sign * values) for sign in (1, -1))
            alone = (best - base) / (1 - base)
            # Read by ranges a number can tell more than by higher or lower, never less.
            assert alone - 1e-9 <= profile.skill < 0.5


_WILD = st.one_of(
    st.floats(allow_infinity=False, allow_nan=False),
    st.sampled_from([0.0, -0.0, 1.0, 1e308, -1e308, 5e-324, np.nan]),
    st.floats(0, 1),
)


@given(st.lists(_WILD, min_size=30, max_size=60), st.booleans())
def test_a_picture_holds_every_known_value_of_any_numbers(values: list[float], log: bool) -> None:
    column: dict[str, object] = {"skewed": True, "minimum": 0} if log else {}
    spec = DatasetSpec.from_dict({"name": "tiny", "label": "y", "columns": {"x": column}})
    x = np.abs(values) if log else np.array(values)
    label = (np.arange(len(x)) % 3 == 0).astype(np.int8)
    train = Dataset(pd.DataFrame({"x": x, "y": label}), spec, "tiny", pd.DataFrame({"line": []}))

    (found,) = profiles_of(train, {})

    shown, known = found.histogram, ~np.isnan(x)
    assert sum(shown.fraud) == label[known].sum()
    assert sum(shown.legitimate) == (1 - label[known]).sum()
    assert list(shown.edges) == sorted(set(shown.edges))
    assert np.isfinite(shown.edges).all()
    assert not (shown.edges and shown.labels)
    assert 0 <= found.skill <= 1


def test_the_page_shows_every_finding_and_column_and_escapes_texts(dataset: Dataset) -> None:
    wild = np.where(dataset.label == 1, "<script>$x$</script>", "a" * 150)
    report = _changed(dataset, paymentMethod=wild, amount=np.nan)

    page = audit_html(Audit.from_dict(json.loads(json.dumps(report.to_dict()))))

    assert column_picture(report.columns[0]) in page  # the same every time
    assert page.count("data:image/svg+xml") == len(report.columns)
    for finding in report.findings:
        assert html.escape(finding.message, quote=True).replace("&#x27;", "&#39;") in page
    for column in report.columns:
        assert f">{column.name}<" in page
    assert "<script" not in page
    assert "without paymentMethod" in page
    assert page.count("Skill of absence") == len(report.columns)
    assert "http" not in page.replace("http-equiv", "")


def test_of_very_many_columns_the_most_telling_have_a_picture(
    report: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.audit.report.MOST_PICTURES", 3)
    (best,) = [c for c in report.columns if c.name == "amount"]
    many = [replace(best, name=f"V{i}", skill=i / 100) for i in range(65)]

    page = audit_html(replace(report, columns=tuple(many)))

    assert page.count("data:image/svg+xml") == 3
    assert "The 3 columns with the highest skill have a picture; the other\n62 are listed" in page
    assert page.index(">V64<") < page.index(">V62<") < page.index(">V61<") < page.index(">V0<")
    assert ">V61</td>" in page


def test_the_terminal_has_one_page_and_less_of_it_before_another_result(
    dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    report = _changed(dataset, amount=np.where(dataset.label == 1, 9.0, 3.0))

    audit_report(report)
    page = capsys.readouterr()
    audit_report(report, brief=True)
    brief = capsys.readouterr()

    assert page.err == brief.out == ""
    for finding in report.findings:
        assert f"{finding.severity}: {finding.message}." in page.out
    assert page.out.startswith(brief.err)
    told = page.out.removeprefix(brief.err)
    assert all(column.name in told for column in report.columns)
    assert "without amount" in told
    assert max(map(len, told.splitlines())) <= 100


def test_the_terminal_says_what_no_quick_model_saw_and_obeys_no_text_of_the_file(
    dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    report = _changed(
        dataset,
        isWeekend=np.where(dataset.label == 1, np.nan, 1.0),
        Category=np.array(["\x1b[31mred\n"] * len(dataset), object),
    )

    audit_report(replace(report, source="a\x1b]0;b"))

    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "Category is always \\x1b[31mred\\n: no signal" in out
    assert "all columns but isWeekend" in out
    assert "100.0%" in out


def test_the_threshold_of_a_separating_number_is_written_out(dataset: Dataset) -> None:
    report = _changed(dataset, amount=np.where(dataset.label == 1, 1234567.5, 1234568.5))

    assert "every row up to 1234567.5 is fraud" in _only(report, "separates").message
