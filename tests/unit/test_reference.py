"""A reference counts rows the same way wherever they are counted, and tells a shift from chance."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.bins import MOST_VALUES
from training.data import Columns, Dataset
from training.reference import LARGE, Counts, Reference, chance, psi, score_psi
from training.spec import DatasetSpec

SPEC = DatasetSpec.from_dict(
    {
        "name": "tiny",
        "label": "y",
        "columns": {"x": {}, "c": {"type": "category"}, "b": {"type": "boolean"}},
    }
)

_ROW = st.tuples(
    st.one_of(st.just(np.nan), st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 3)),
    st.one_of(st.none(), st.sampled_from("abc"), st.text(max_size=3)),
    st.sampled_from([0.0, 1.0, np.nan]),
)


def _columns(rows: list[tuple[float, str | None, float]]) -> Columns:
    x, c, b = ([row[i] for row in rows] for i in range(3))
    texts = np.empty(len(rows), object)
    texts[:] = c
    return {"x": np.array(x, np.float64), "c": texts, "b": np.array(b, np.float64)}


rows = st.lists(_ROW, min_size=1, max_size=40).map(_columns)


def _numbers(values: object) -> Columns:
    return {"x": np.asarray(values, np.float64)}


@given(rows)
def test_a_reference_is_read_back_as_it_was(columns: Columns) -> None:
    reference = Reference.of(columns, SPEC).with_scores(np.linspace(0.01, 0.99, len(columns["x"])))

    text = json.dumps(reference.to_dict(), allow_nan=False)

    assert Reference.from_dict(json.loads(text)) == reference


@given(rows, rows)
def test_every_row_is_counted_once_in_every_column(train: Columns, other: Columns) -> None:
    counts = Reference.of(train, SPEC).count(other)

    assert counts.rows == len(other["x"])
    assert {sum(found) for found in counts.columns.values()} == {counts.rows}
    assert counts.columns["x"][-1] == np.isnan(other["x"]).sum()
    assert counts.columns["c"][-1] == sum(v is None for v in other["c"])


@given(rows, rows, st.data())
def test_counts_of_chunks_add_up_to_the_counts_of_all(
    train: Columns, other: Columns, data: st.DataObject
) -> None:
    reference = Reference.of(train, SPEC).with_scores(np.linspace(0.1, 0.9, len(train["x"])))
    score = np.linspace(0.0, 1.0, len(other["x"]))
    cut = data.draw(st.integers(0, len(score)))
    first, second = (
        reference.count({n: v[part] for n, v in other.items()}, score[part])
        for part in (slice(None, cut), slice(cut, None))
    )

    assert first + second == reference.count(other, score)
    assert reference.empty() + first == first


@given(rows, rows, st.integers(1, 1000))
def test_the_index_is_a_distance(one: Columns, other: Columns, times: int) -> None:
    reference = Reference.of(one, SPEC)
    counts = reference.count(other)

    there, back = psi(reference.counts, counts), psi(counts, reference.counts)

    assert there == pytest.approx(back)
    assert min(there.values()) >= 0
    assert set(psi(counts, counts).values()) == {0.0}
    many = Counts(
        counts.rows * times, {n: tuple(i * times for i in c) for n, c in counts.columns.items()}
    )
    assert psi(counts, many) == pytest.approx(dict.fromkeys(psi(counts, many), 0), abs=1e-12)


def test_the_index_is_the_one_of_the_textbooks() -> None:
    expected = Counts(100, {"x": (50, 30, 20, 0)})
    actual = Counts(1000, {"x": (200, 300, 500, 0)})

    found = psi(expected, actual)["x"]

    assert found == pytest.approx(0.3 * np.log(0.5 / 0.2) + 0.3 * np.log(0.5 / 0.2))


def test_an_empty_bin_or_no_rows_leave_the_index_finite() -> None:
    some, none = Counts(10, {"x": (10, 0)}), Counts(0, {"x": (0, 0)})

    assert psi(some, Counts(10, {"x": (0, 10)}))["x"] == pytest.approx(2 * 0.95 * np.log(20))
    assert psi(Counts(1000, {"x": (999, 1)}), some)["x"] < 0.001
    assert psi(some, none) == {"x": 0.0}
    assert chance(some, none)["x"] == np.inf


@pytest.mark.parametrize(
    ("usual", "other"),
    [(3.0, 4.0), (3.0, 2.0), (0.0, 5e-324), (0.0, -1e-9), (1.7976931348623157e308, 1e308)],
)
def test_a_constant_column_that_becomes_another_constant_is_a_shift(
    usual: float, other: float
) -> None:
    reference = Reference.of(_numbers(np.full(100, usual)), SPEC)

    shift = psi(reference.counts, reference.count(_numbers(np.full(100, other))))

    assert shift["x"] > LARGE


def test_a_column_that_is_mostly_zero_is_told_from_one_that_is_mostly_little() -> None:
    rng = np.random.default_rng(1)
    amounts = rng.lognormal(3, 1, 2_000)
    reference = Reference.of(_numbers(np.where(rng.random(2_000) < 0.6, 0, amounts)), SPEC)
    changed = np.where(rng.random(2_000) < 0.6, 0.01, amounts)

    assert psi(reference.counts, reference.count(_numbers(changed)))["x"] > LARGE


def test_numbers_are_counted_between_their_deciles() -> None:
    reference = Reference.of(_numbers(np.append(np.arange(1000.0), np.nan)), SPEC)

    *found, missing = reference.counts.columns["x"]

    assert missing == 1
    assert len(found) == 10
    assert max(found) - min(found) <= 2


def test_a_new_share_of_missing_values_is_a_shift_and_an_absent_column_is_all_missing() -> None:
    reference = Reference.of(_columns([(i, "abc"[i % 3], i % 2) for i in range(100)]), SPEC)
    holes = _columns([(i if i % 2 else np.nan, "abc"[i % 3], i % 2) for i in range(100)])

    shift = psi(reference.counts, reference.count(holes))
    absent = reference.count({"x": holes["x"]})

    assert shift["x"] > LARGE
    assert shift["c"] == 0
    assert absent.columns["c"] == (0, 0, 0, 0, 100)
    assert absent.columns["b"] == (0, 0, 0, 100)


def test_values_never_seen_are_counted_together_and_their_share_is_told() -> None:
    reference = Reference.of(_columns([(0, c, 0) for c in "aaabbc"]), SPEC)

    counts = reference.count(_columns([(0, c, 0) for c in ("a", "new", "newer", None)]))

    assert reference.bins["c"].values == ("a", "b", "c")  # type: ignore[union-attr]
    assert counts.columns["c"] == (1, 0, 0, 2, 1)
    assert reference.unknown(counts) == {"c": 0.5, "b": 0.0}


def test_rare_values_of_a_category_with_many_are_not_called_unknown() -> None:
    values = [(0.0, f"v{i % 200}", 0.0) for i in range(1000)]
    reference = Reference.of(_columns(values), SPEC)

    counts = reference.count(_columns(values))

    assert len(counts.columns["c"]) == MOST_VALUES + 2
    assert counts.columns["c"][-2] == 750
    assert reference.unknown(counts)["c"] == 0
    assert reference.other(counts)["c"] == 0.75


def test_scores_are_told_apart_where_decisions_are_made() -> None:
    rng = np.random.default_rng(2)
    usual = rng.beta(1, 60, 20_000)
    columns = _numbers(np.zeros(20_000))
    reference = Reference.of(columns, SPEC).with_scores(usual)
    attacked = np.where(rng.random(20_000) < 0.05, 0.9, usual)  # a twentieth of the payments

    same = reference.count(columns, rng.beta(1, 60, 20_000))
    shifted = reference.count(columns, attacked)

    assert (score_psi(reference.counts, same) or 0) < 0.01
    assert (score_psi(reference.counts, shifted) or 0) > 0.1
    assert score_psi(reference.counts, reference.count(columns)) is None


def test_counts_of_different_bins_are_not_added() -> None:
    one = Reference.of(_numbers([1, 2, 3]), SPEC)

    with pytest.raises(ValueError, match="different bins"):
        one.counts + Reference.of(_numbers([7, 7, 7]), SPEC).counts
    with pytest.raises(ValueError, match="different bins"):
        one.counts + one.with_scores(np.array([0.1, 0.2, 0.3])).counts


@pytest.mark.parametrize(("n", "m"), [(5_000, 5_000), (5_000, 200), (5_000, 50)])
def test_chance_is_hardly_ever_exceeded_by_rows_drawn_alike(n: int, m: int) -> None:
    rng = np.random.default_rng(3)
    reference = Reference.of(_numbers(rng.normal(size=n)), SPEC)
    exceeded = 0
    for _ in range(300):
        counts = reference.count(_numbers(rng.normal(size=m)))
        shift, limit = psi(reference.counts, counts)["x"], chance(reference.counts, counts)["x"]
        exceeded += shift > limit

    assert exceeded <= 6
    assert limit == pytest.approx((1 / n + 1 / m) * (9 + 4 * np.sqrt(18)), rel=0.2)


def test_the_payments_have_a_bin_for_every_input(dataset: Dataset) -> None:
    reference = Reference.of(dataset.columns, dataset.spec)

    assert list(reference.bins) == list(dataset.columns)
    assert set(psi(reference.counts, reference.count(dataset.columns)).values()) == {0.0}
