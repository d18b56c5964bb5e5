"""A row's part follows from the row; nothing leaks between parts or folds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from training.data import Columns, Dataset, check
from training.errors import DataRefused, UsageError
from training.identity import fingerprint, row_hashes, row_identities
from training.spec import DatasetSpec
from training.split import PARTS, Split, SplitPlan, folds, split


def _part(dataset: Dataset) -> NDArray[np.intp]:
    """0, 1 or 2 for every row."""
    part = np.full(len(dataset), -1)
    for number, (_, rows) in enumerate(split(dataset).items()):
        assert (part[rows] == -1).all()
        part[rows] = number
    assert (part >= 0).all()
    return part


def _tiny(label: list[int], **columns: Any) -> Dataset:
    spec = DatasetSpec.from_dict(
        {
            "name": "tiny",
            "label": "y",
            "columns": {"when": {"role": "timestamp", "type": "text"}, "x": {}},
        }
    )
    frame = {"x": np.arange(len(label)).astype(float)} | columns | {"y": label}
    return check(pd.DataFrame(frame), spec, source="tiny.csv")


def _days(days: list[int]) -> list[str]:
    return [str(np.datetime64("2025-01-01") + day) for day in days]


@given(seed=st.integers(0, 2**32), share=st.floats(0.6, 1.0))
@settings(max_examples=8)
def test_other_rows_have_no_say_in_a_rows_part(seed: int, share: float, undated: Dataset) -> None:
    rng = np.random.default_rng(seed)
    kept = rng.permutation(len(undated))[: int(share * len(undated))]

    np.testing.assert_array_equal(_part(undated.take(kept)), _part(undated)[kept])


def test_labels_have_no_say_in_a_rows_part(undated: Dataset) -> None:
    turned = undated.frame.assign(label=1 - undated.label)

    np.testing.assert_array_equal(_part(replace(undated, frame=turned)), _part(undated))


def test_about_70_15_15_percent_go_to_the_parts(dataset: Dataset, undated: Dataset) -> None:
    for rows, method in ((dataset, "time"), (undated, "hash")):
        parts = split(rows)

        assert parts.method == method
        assert [name for name, _ in parts.items()] == list(PARTS)
        shares = [len(r) / len(rows) for _, r in parts.items()]
        assert shares == pytest.approx([0.7, 0.15, 0.15], abs=0.02)


def test_twins_share_a_part_and_a_fold(undated: Dataset) -> None:
    hashes = row_identities(undated)
    parts = split(undated)
    for _, rows in parts.items():
        assert not np.isin(hashes[rows], np.delete(hashes, rows)).any()
    for fit, held_out in folds(undated, parts, 4):
        assert not np.isin(hashes[fit], hashes[held_out]).any()


def test_time_decides_and_equal_times_stay_together(payments: pd.DataFrame, spec: Any) -> None:
    by_day = payments.assign(timestamp=payments["timestamp"].str[:10])
    shuffled = by_day.sample(frac=1, random_state=0)
    dataset = check(shuffled, spec, source="days")

    times = dataset.timestamp
    assert times is not None
    parts = [times[rows] for _, rows in split(dataset).items()]

    for earlier, later in pairwise(parts):
        assert earlier.max() < later.min()


def test_hash_folds_hold_out_every_row_once_with_the_frauds_dealt_evenly(undated: Dataset) -> None:
    parts = split(undated)
    pairs = folds(undated, parts, 4)

    held_out = np.concatenate([rows for _, rows in pairs])
    np.testing.assert_array_equal(np.sort(held_out), parts.train)
    for fit, rows in pairs:
        np.testing.assert_array_equal(np.sort(np.append(fit, rows)), parts.train)
    frauds = [int(undated.label[rows].sum()) for _, rows in pairs]
    assert max(frauds) - min(frauds) <= 3  # twins go together


@pytest.mark.parametrize("count", [1, 3, 5])
def test_time_folds_are_held_out_after_all_rows_they_are_judged_by(
    count: int, dataset: Dataset
) -> None:
    times = dataset.timestamp
    assert times is not None

    pairs = folds(dataset, split(dataset), count)

    assert len(pairs) == count
    for fit, held_out in pairs:
        assert times[fit].max() < times[held_out].min()
    for (fit, held_out), (later, _) in pairwise(pairs):
        np.testing.assert_array_equal(later, np.sort(np.append(fit, held_out)))


# What a hash sees


@given(
    numbers=st.lists(st.none() | st.floats(allow_nan=False), min_size=1, max_size=20),
    texts=st.lists(st.none() | st.text(max_size=5), min_size=20, max_size=20),
)
def test_a_hash_sees_neither_the_order_of_columns_nor_absent_ones(
    numbers: list[float | None], texts: list[str | None]
) -> None:
    columns: Columns = {
        "number": np.array(numbers, np.float64),
        "text": np.array(texts[: len(numbers)], object),
    }
    more = columns | {
        "gone": np.full(len(numbers), np.nan),
        "gone_too": np.full(len(numbers), None, object),
    }

    hashes = row_hashes(columns)

    np.testing.assert_array_equal(row_hashes(dict(reversed(columns.items()))), hashes)
    np.testing.assert_array_equal(row_hashes(more), hashes)
    one_by_one = [row_hashes({n: v[i : i + 1] for n, v in columns.items()})[0]
                  for i in range(len(numbers))]  # fmt: skip
    np.testing.assert_array_equal(one_by_one, hashes)


def test_every_difference_in_content_is_another_hash() -> None:
    def row(**content: Any) -> int:
        columns = {
            n: np.array([v], object if isinstance(v, str | None) else np.float64)
            for n, v in content.items()
        }
        return int(row_hashes(columns)[0])

    different = [
        row(a=1.0, b="x"), row(a=2.0, b="x"), row(a=1.0, b="y"), row(a=1.0, b=None),
        row(a=np.nan, b="x"), row(a=np.nan, b=None), row(a="x", b=1.0), row(a=1.0, c="x"),
        row(a="1.0", b="x"), row(a=np.nextafter(1.0, 2), b="x"), row(a=1.0, b="xx"),
    ]  # fmt: skip

    assert len(set(different)) == len(different)


def test_minus_zero_is_zero() -> None:
    hashes = row_hashes({"x": np.array([0.0, -0.0])})

    assert hashes[0] == hashes[1]


def test_a_hash_is_the_same_on_every_machine_and_in_every_release() -> None:
    hashes = row_hashes({"x": np.array([1.5, np.nan]), "c": np.array(["a", "ü"], object)})

    assert [f"{h:016x}" for h in hashes] == ["33238e5bee94525e", "b77d39c02a290cd1"]


@given(seed=st.integers(0, 2**32))
@settings(max_examples=5)
def test_a_fingerprint_does_not_see_the_order_of_rows(seed: int, dataset: Dataset) -> None:
    order = np.random.default_rng(seed).permutation(len(dataset))

    assert fingerprint(dataset.take(order)) == fingerprint(dataset)


@given(row=st.integers(0, 5_999))
@settings(max_examples=8)
def test_a_fingerprint_changes_with_any_label_and_any_value(row: int, dataset: Dataset) -> None:
    prints = {fingerprint(dataset)}
    for column, change in (("label", lambda v: 1 - v), ("amount", lambda v: v + 1)):
        frame = dataset.frame.copy()
        frame.loc[row, column] = change(frame.loc[row, column])
        prints.add(fingerprint(replace(dataset, frame=frame)))
    prints.add(fingerprint(dataset.take(np.arange(len(dataset)) != row)))

    assert len(prints) == 4
    assert all(len(p) == 16 for p in prints)


def test_rows_that_all_have_one_time_are_parted_by_their_content() -> None:
    parts = split(_tiny([1, 0] * 200, when=_days([7] * 400)))

    assert parts.method == "hash"
    assert min(len(rows) for _, rows in parts.items()) > 20


def test_copies_of_a_payment_are_known_whatever_digits_and_optional_columns_a_file_keeps(
    dataset: Dataset,
) -> None:
    fewer = dataset.frame.drop(columns=["Category", "isWeekend", "amount"])
    fewer["paymentMethodAgeDays"] *= 1 + 1e-10
    copy = replace(dataset, frame=fewer)

    same = row_identities(copy) == row_identities(dataset)

    assert same.mean() > 0.99


# Gaps and payers


@pytest.mark.parametrize("days", [3.0, 0.5])
def test_a_gap_keeps_rows_whose_labels_would_not_be_known_yet_out_of_earlier_parts(
    days: float, dataset: Dataset
) -> None:
    times = dataset.timestamp
    assert times is not None
    gap = np.timedelta64(int(days * 86_400), "s")
    whole, parts = split(dataset), split(dataset, SplitPlan(gap_days=days))

    for before, after in (("train", "validation"), ("validation", "test")):
        begins = times[getattr(parts, after)].min()
        kept, all_of_it = getattr(parts, before), getattr(whole, before)
        assert times[kept].max() < begins - gap
        left_out = np.setdiff1d(all_of_it, kept)
        assert len(left_out)
        assert (times[left_out] >= begins - gap).all()
    np.testing.assert_array_equal(parts.test, whole.test)
    for fit, held_out in folds(dataset, parts, 3):
        assert times[fit].max() < times[held_out].min() - gap


def test_all_payments_of_a_payer_lie_on_one_side_where_that_is_asked_for(dataset: Dataset) -> None:
    payer = dataset.frame["customerId"].to_numpy()
    parts = split(dataset, SplitPlan(by="entity"))

    assert parts.method == "entity"
    assert sum(len(rows) for _, rows in parts.items()) == len(dataset)
    seen = [set(payer[rows]) for _, rows in parts.items()]
    assert sum(map(len, seen)) == len(set.union(*seen))
    for fit, held_out in folds(dataset, parts, 3):
        assert not set(payer[fit]) & set(payer[held_out])


def test_payments_without_a_payer_are_not_taken_for_one_payers(dataset: Dataset) -> None:
    nobody = replace(dataset, frame=dataset.frame.assign(customerId=None))

    parts = split(nobody, SplitPlan(by="entity"))

    assert min(len(rows) for _, rows in parts.items()) > 500


def test_a_split_is_told_from_another_by_its_fingerprint(dataset: Dataset) -> None:
    plans = [SplitPlan(), SplitPlan(gap_days=1), SplitPlan(by="hash"), SplitPlan(by="entity")]

    prints = {split(dataset, plan).fingerprint for plan in plans}

    assert len(prints) == 4
    assert split(dataset).fingerprint == split(dataset, SplitPlan(by="time")).fingerprint


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (SplitPlan(by="time"), "split by time, or a gap, needs a timestamp"),
        (SplitPlan(gap_days=2), "split by time, or a gap, needs a timestamp"),
        (SplitPlan(by="entity"), "needs a column with the role 'entity'"),
    ],
)
def test_a_plan_that_the_file_cannot_follow_is_refused(plan: SplitPlan, message: str) -> None:
    with pytest.raises(DataRefused, match=message):
        split(_tiny([1, 0] * 50), plan)


@pytest.mark.parametrize(
    "plan", [{"gap_days": -1.0}, {"gap_days": float("inf")}, {"by": "hash", "gap_days": 1.0}]
)
def test_a_plan_that_cannot_be_meant_is_refused(plan: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="gap"):
        SplitPlan(**plan)


# What is refused


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (lambda: _tiny([0] * 40), r"the train rows .* hold 0 frauds in \d+ rows.*0 frauds in 40"),
        (lambda: _tiny([1] * 40), r"the train rows .* hold (\d+) frauds in \1 rows"),
        (lambda: _tiny([1] * 5 + [0] * 95, when=_days(list(range(100)))),
         r"the validation rows \(split by time\) hold 0 frauds in 15 rows.*5 frauds in 100 rows"),
        (lambda: _tiny([1]), "both classes are needed"),
    ],
)  # fmt: skip
def test_a_part_without_both_classes_is_refused_with_the_counts(
    dataset: Callable[[], Dataset], message: str
) -> None:
    with pytest.raises(DataRefused, match=message):
        split(dataset())


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (lambda: _tiny([1, 1] + [0] * 50), "2 frauds in the training rows are too few for 3 folds"),
        (lambda: _tiny([1] * 6 + [0] * 50, when=_days(list(range(56)))), "held out of fold 1 of 3"),
        (lambda: _tiny([1] * 6 + [0] * 50, x=[1.0] * 6 + [2.0] * 50), "fold"),
    ],
)  # fmt: skip
def test_folds_that_would_lack_a_class_are_refused(
    dataset: Callable[[], Dataset], message: str
) -> None:
    rows = dataset()
    everything = np.arange(len(rows))
    method: Any = "hash" if rows.timestamp is None else "time"
    with pytest.raises(DataRefused, match=message):
        folds(rows, Split(everything, everything, everything, method), 3)
