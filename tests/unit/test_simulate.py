"""The simulated payments are what the spec says, repeatable, and neither trivial nor hopeless."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier

from training.data import check
from training.errors import UsageError
from training.scenarios import NEW_PATTERN, NEW_SHARE, SCENARIOS, befall
from training.simulate import FRIENDLY, PATTERNS, simulate, write
from training.spec import DatasetSpec

ORDER = [
    "timestamp",
    "customerId",
    "accountAgeDays",
    "numItems",
    "localTime",
    "paymentMethod",
    "paymentMethodAgeDays",
    "Category",
    "isWeekend",
    "amount",
    "label",
    "fraudPattern",
]
ENDINGS = [".csv", ".parquet"]


@pytest.fixture(scope="module")
def payments() -> pd.DataFrame:
    return simulate(100_000, seed=1)


def _moments(frame: pd.DataFrame) -> pd.Series:
    return pd.to_datetime(frame["timestamp"], format="%Y-%m-%dT%H:%M:%SZ", utc=True)


def _read(path: Path) -> pd.DataFrame:
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    return pd.read_csv(path).assign(fraudPattern=lambda f: f["fraudPattern"].fillna(""))


@given(rows=st.integers(1, 400), seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_any_size_and_seed_fits_the_spec(rows: int, seed: int) -> None:
    frame = simulate(rows, seed=seed)
    spec = DatasetSpec.load("payments")

    assert list(frame.columns) == ORDER
    assert set(spec.columns) | {spec.label} == set(ORDER)
    assert len(frame) == rows
    assert frame["timestamp"].is_monotonic_increasing
    assert frame["label"].isin([0, 1]).all()
    assert frame["numItems"].ge(1).all()
    assert frame["amount"].gt(0).all()
    assert (frame["paymentMethodAgeDays"] <= frame["accountAgeDays"] + 1).all()
    for name, column in spec.columns.items():
        values = frame[name]
        if column.required or column.type == "text":
            assert values.notna().all(), name
        known = values.dropna()
        if column.type == "number":
            assert known.between(
                -np.inf if column.minimum is None else column.minimum,
                np.inf if column.maximum is None else column.maximum,
            ).all(), name
        if column.integer:
            assert values.dtype == np.int64, name
        if column.type == "category":
            assert set(known) <= set(column.categories), name
        if column.type == "boolean":
            assert set(known) <= {0, 1}, name


@given(rows=st.integers(1, 300), seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_same_rows_and_seed_give_the_same_payments(rows: int, seed: int) -> None:
    pd.testing.assert_frame_equal(simulate(rows, seed=seed), simulate(rows, seed=seed))


@pytest.mark.parametrize("ending", ENDINGS)
def test_same_seed_same_bytes_and_another_seed_others(tmp_path: Path, ending: str) -> None:
    paths = [tmp_path / f"{name}{ending}" for name in ("one", "again", "other")]
    for path, seed in zip(paths, (5, 5, 6), strict=True):
        write(simulate(2_000, seed=seed), path)
    one, again, other = (path.read_bytes() for path in paths)
    assert one == again
    assert one != other


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_reads_back_to_the_same_values(tmp_path: Path, ending: str) -> None:
    frame = simulate(20_000, seed=2)
    path = tmp_path / f"payments{ending}"
    path.write_text("an older file")
    write(frame, path)
    pd.testing.assert_frame_equal(_read(path), frame, check_exact=True)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_csv_is_small(tmp_path: Path) -> None:
    write(simulate(5_000), tmp_path / "payments.csv")
    assert (tmp_path / "payments.csv").stat().st_size < 100 * 5_000


@pytest.mark.parametrize(("rows", "seed", "told"), [(0, 0, "rows"), (-3, 0, "-3"), (1, -1, "seed")])
def test_a_number_too_small_is_refused(rows: int, seed: int, told: str) -> None:
    with pytest.raises(UsageError, match="or more") as refused:
        simulate(rows, seed=seed)
    assert told in str(refused.value)


@pytest.mark.parametrize("name", ["payments.xlsx", "payments", "payments.csv.gz"])
def test_another_ending_is_refused_and_writes_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"\.csv or \.parquet"):
        write(simulate(3), tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_missing_folder_is_one_line(tmp_path: Path, ending: str) -> None:
    with pytest.raises(UsageError, match="folder") as refused:
        write(simulate(3), tmp_path / "nowhere" / f"payments{ending}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_write_that_fails_leaves_no_half_file(tmp_path: Path, ending: str) -> None:
    target = tmp_path / f"payments{ending}"
    target.mkdir()  # a folder is in the way of the file
    with pytest.raises(UsageError, match="cannot be written"):
        write(simulate(3), target)
    assert list(tmp_path.iterdir()) == [target]


def test_about_one_percent_is_fraud_of_all_four_patterns(payments: pd.DataFrame) -> None:
    assert 0.008 < payments["label"].mean() < 0.012
    shares = payments["fraudPattern"].value_counts(normalize=True).drop("")
    assert set(shares.index) == {*PATTERNS, FRIENDLY}
    assert shares.min() > 0.0005


@pytest.mark.parametrize("seed", range(5))
def test_a_small_file_has_all_patterns_too(seed: int) -> None:
    frame = simulate(1_000, seed=seed)
    assert 6 <= frame["label"].sum() <= 14
    assert set(frame["fraudPattern"]) == {"", *PATTERNS, FRIENDLY}


def test_frauds_are_spread_over_the_whole_period(payments: pd.DataFrame) -> None:
    rates = [payments["label"].iloc[i : i + 10_000].mean() for i in range(0, 100_000, 10_000)]
    assert min(rates) > 0.006
    assert max(rates) < 0.015


def test_labels_are_a_little_wrong_both_ways(payments: pd.DataFrame) -> None:
    fraud = payments["fraudPattern"].ne("")
    assert 0.02 < 1 - payments.loc[fraud, "label"].mean() < 0.09
    assert 0 < payments.loc[~fraud, "label"].mean() < 0.0005


def test_time_is_fixed_and_local_columns_agree_with_it(payments: pd.DataFrame) -> None:
    moments = _moments(payments)
    assert moments.min() >= pd.Timestamp("2025-07-04T22:00Z")
    assert pd.Timestamp("2025-12-31T20:00Z") < moments.max() < pd.Timestamp("2026-01-01T00:00Z")

    utc = moments.dt.hour + moments.dt.minute / 60 + moments.dt.second / 3600
    offset = (payments["localTime"] - utc).round(3) % 24
    assert set(offset) == {0, 1, 2}
    assert offset.groupby(payments["customerId"]).nunique().max() == 1
    weekend = (moments + pd.to_timedelta(offset, unit="h")).dt.dayofweek >= 5
    known = payments["isWeekend"].notna()
    assert (payments["isWeekend"][known] == weekend[known]).all()


def test_people_sleep(payments: pd.DataFrame) -> None:
    hours = payments.loc[payments["label"].eq(0), "localTime"]
    assert hours.between(2, 6).mean() < 0.5 * hours.between(12, 16).mean()


def test_an_account_grows_older_by_a_day_a_day(payments: pd.DataFrame) -> None:
    """Joining day = local day - age: one for each customer, so age is consistent and grows."""
    moments = _moments(payments)
    midnight = (moments - pd.to_timedelta(payments["localTime"], unit="h")).dt.round("h")
    offset_free = (midnight + pd.Timedelta(hours=12)).dt.floor("D")
    joined = offset_free - pd.to_timedelta(payments["accountAgeDays"], unit="D")
    assert joined.groupby(payments["customerId"]).nunique().max() == 1
    assert payments["accountAgeDays"].max() < 2_000
    assert payments["customerId"].value_counts().max() > 10


@pytest.mark.parametrize(("column", "share"), [("isWeekend", 0.005), ("Category", 0.01)])
def test_what_is_missing_tells_nothing_of_the_label(
    payments: pd.DataFrame, column: str, share: float
) -> None:
    missing = payments[column].isna()
    assert missing.mean() == pytest.approx(share, rel=0.25)
    # About 1000 frauds: three standard errors round the overall share.
    among_frauds = missing[payments["label"].eq(1)].mean()
    assert among_frauds == pytest.approx(share, abs=3 * np.sqrt(share / 1000))


def test_only_two_columns_have_missing_values(payments: pd.DataFrame) -> None:
    missing = payments.isna().any()
    assert set(missing[missing].index) == {"Category", "isWeekend"}


def test_customer_numbers_do_not_tell_the_label(payments: pd.DataFrame) -> None:
    number = payments["customerId"].str[1:].astype(int)
    assert _stump(payments["label"], number) < 0.03


def test_honest_customers_do_what_frauds_do(payments: pd.DataFrame) -> None:
    """Each sign of a fraud alone is shown by more honest payments than frauds."""
    honest = payments["fraudPattern"].eq("")
    signs = {
        "first day": payments["accountAgeDays"].eq(0),
        "method just added": payments["paymentMethodAgeDays"].eq(0),
        "night": payments["localTime"].lt(5),
        "high amount": payments["amount"].gt(300),
        "tiny amount": payments["amount"].lt(4),
    }
    for sign, shown in signs.items():
        assert honest[shown].mean() > 0.5, sign


def _stump(label: pd.Series, values: pd.Series) -> float:
    filled = values.fillna(values.median()).to_numpy(float)
    return max(average_precision_score(label, sign * filled) for sign in (1, -1))


def test_no_column_alone_finds_the_frauds(payments: pd.DataFrame) -> None:
    for name, column in DatasetSpec.load("payments").inputs.items():
        if column.type == "category":
            for value in column.categories:
                assert _stump(payments["label"], payments[name].eq(value)) < 0.5, (name, value)
        else:
            assert _stump(payments["label"], payments[name]) < 0.5, name


@pytest.mark.parametrize("seed", [0, 1])
def test_a_good_model_finds_most_frauds_and_not_all(seed: int) -> None:
    frame = simulate(60_000, seed=seed)
    label = frame["label"].to_numpy()
    spec = DatasetSpec.load("payments")
    names = [n for n, c in spec.inputs.items() if c.type != "category"]
    numbers = frame[names].astype(float)
    days = numbers["accountAgeDays"]
    numbers["ratio"] = (numbers["paymentMethodAgeDays"] / days.where(days > 0)).fillna(0)
    dummies = pd.get_dummies(frame[["paymentMethod", "Category"]], dtype=float)
    fit, test = slice(0, 42_000), slice(51_000, None)  # 70/15/15 by time

    trees = XGBClassifier(n_estimators=200, max_depth=4, learning_rate=0.1, n_jobs=1)
    X = pd.concat([numbers, dummies], axis=1).to_numpy()
    trees.fit(X[fit], label[fit])
    score = average_precision_score(label[test], trees.predict_proba(X[test])[:, 1])
    assert 0.6 < score < 0.9

    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    X = pd.concat([np.log1p(numbers.fillna(0)), dummies], axis=1).to_numpy()
    linear.fit(X[fit], label[fit])
    linear_score = average_precision_score(label[test], linear.predict_proba(X[test])[:, 1])
    assert 0.4 < linear_score < score


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_scenario_changes_what_it_is_about_and_fits_the_spec(
    scenario: str, payments: pd.DataFrame
) -> None:
    before = payments.copy()
    frame = befall(payments, scenario, seed=1)

    pd.testing.assert_frame_equal(payments, before)
    pd.testing.assert_frame_equal(frame, befall(payments, scenario, seed=1))
    assert check(frame, DatasetSpec.load("payments"), source=scenario).rejected.empty
    if scenario == "broken-field":
        assert frame["amount"].isna().all()
        pd.testing.assert_frame_equal(frame.drop(columns="amount"), before.drop(columns="amount"))
    else:
        new = frame["fraudPattern"] == NEW_PATTERN
        assert new.mean() == pytest.approx(NEW_SHARE, abs=0.01)
        pd.testing.assert_frame_equal(frame[~new], before[~new])
        assert not frame[new].equals(before[new])
