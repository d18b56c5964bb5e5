"""The change that is told turns the decision, is allowed by the spec, and none nearer was tried."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.along import Along
from training.bundle import ModelBundle
from training.changes import CATEGORY_DISTANCE, Change, nearest_changes
from training.data import Columns, Dataset
from training.models import FAMILIES
from training.spec import DatasetSpec

each_family = pytest.mark.parametrize("name", FAMILIES)


def row(fresh: Dataset, place: int) -> Columns:
    return fresh.take(np.array([place])).columns


def scored(bundle: ModelBundle, columns: Columns, **changed: Any) -> tuple[float, int]:
    varied = columns | {
        name: np.array([value], object if isinstance(value, str) else float)
        for name, value in changed.items()
    }
    probability = bundle.score(varied)
    return float(probability[0]), int(bundle.decide(probability)[0])


def rows_of_both_decisions(bundle: ModelBundle, fresh: Dataset, of_each: int = 6) -> list[int]:
    decisions = bundle.decide(bundle.score(fresh.columns))
    return [int(p) for d in (0, 1) for p in np.flatnonzero(decisions == d)[:of_each]]


@each_family
def test_what_is_told_is_true(name: str, bundles: dict[str, ModelBundle], fresh: Dataset) -> None:
    bundle, told = bundles[name], 0
    for place in rows_of_both_decisions(bundle, fresh):
        columns = row(fresh, place)
        _, before = scored(bundle, columns)
        changes = nearest_changes(bundle, columns)
        assert [c.distance for c in changes] == sorted(c.distance for c in changes)
        assert len({c.field for c in changes}) == len(changes)
        for change in changes:
            probability, after = scored(bundle, columns, **{change.field: change.value})
            assert after == change.decision == 1 - before
            assert probability == pytest.approx(change.probability, abs=1e-12)
            assert change.value != columns[change.field][0]
            assert change.field in change.text
            told += 1
    assert told


@each_family
def test_no_nearer_value_of_the_reference_turns_the_decision(
    name: str, bundles: dict[str, ModelBundle], fresh: Dataset
) -> None:
    bundle = bundles[name]
    for place in rows_of_both_decisions(bundle, fresh, 3):
        columns = row(fresh, place)
        _, before = scored(bundle, columns)
        told = {c.field: c for c in nearest_changes(bundle, columns)}
        for field, bins in bundle.reference.bins.items():
            if bins.kind != "number" or field not in bundle.features.inputs_:
                continue
            now = float(columns[field][0])
            if np.isnan(now) or bundle.spec.columns[field].integer:
                continue
            limit = abs(told[field].value - now) if field in told else np.inf
            for edge in bins.edges:
                turns = scored(bundle, columns, **{field: edge})[1] != before
                same_side = field not in told or (edge > now) == (told[field].value > now)
                if same_side and edge != now and abs(edge - now) < limit * 0.99:
                    assert not turns


@given(data=st.data())
def test_the_spec_is_kept_whatever_the_payment_is(
    bundle: ModelBundle, spec: DatasetSpec, data: st.DataObject
) -> None:
    columns: Columns = {}
    for name, column in spec.inputs.items():
        if column.type == "category":
            texts = st.none() | st.sampled_from([*column.categories, "never seen", ""])
            columns[name] = np.array([data.draw(texts)], object)
        elif column.type == "boolean":
            columns[name] = np.array([data.draw(st.sampled_from([0.0, 1.0, np.nan]))])
        else:
            low = -1e9 if column.minimum is None else column.minimum
            high = 1e9 if column.maximum is None else column.maximum
            number = st.integers(int(low), int(high)) if column.integer else st.floats(low, high)
            columns[name] = np.array([data.draw(number | st.just(np.nan))], float)
    _, before = scored(bundle, columns)
    for change in nearest_changes(bundle, columns):
        assert scored(bundle, columns, **{change.field: change.value})[1] != before
        assert change.distance >= 0
        column = spec.inputs[change.field]
        if isinstance(change.value, str):
            assert change.distance == CATEGORY_DISTANCE
            assert change.value in column.categories or column.categories == ()
        elif column.type == "number":
            assert column.minimum is None or change.value >= column.minimum
            assert column.maximum is None or change.value <= column.maximum
            assert not column.integer or float(change.value).is_integer()


@pytest.mark.parametrize("threshold", [1e-12, 1.0])
def test_where_nothing_turns_the_decision_the_list_is_empty(
    bundle: ModelBundle, fresh: Dataset, threshold: float
) -> None:
    stuck = bundle.with_choice(replace(bundle.choice, threshold=threshold))
    assert nearest_changes(stuck, row(fresh, 0)) == []


def test_a_field_that_is_absent_counts_as_missing(bundle: ModelBundle, fresh: Dataset) -> None:
    (place, *_) = rows_of_both_decisions(bundle, fresh)[::-1]
    columns = row(fresh, place)
    absent = {name: values for name, values in columns.items() if name != "paymentMethod"}
    empty = columns | {"paymentMethod": np.array([None], object)}
    assert nearest_changes(bundle, absent) == nearest_changes(bundle, empty)


def test_words_say_what_and_how_far(bundle: ModelBundle, fresh: Dataset) -> None:
    alerts = rows_of_both_decisions(bundle, fresh)[6:]
    changes: list[Change] = [c for p in alerts for c in nearest_changes(bundle, row(fresh, p))]
    assert changes
    for change in changes:
        assert change.text.startswith(f"if {change.field} were ")
        assert change.text.endswith(
            f"it would be let through (probability {change.probability:.2%})"
        )


finite = st.floats(-1e6, 1e6)


@given(
    now=finite, edges=st.lists(finite, max_size=9, unique=True),
    values=st.lists(finite, min_size=2, max_size=6),
    low=st.none() | st.floats(-1e7, -1e6), high=st.none() | st.floats(1e6, 1e7),
    counts=st.lists(st.integers(0, 100), min_size=10, max_size=10), whole=st.booleans(),
)  # fmt: skip
def test_ranks_rise_and_written_values_stay_on_their_side(
    now: float, edges: list[float], values: list[float], low: float | None, high: float | None,
    counts: list[int], whole: bool,
) -> None:  # fmt: skip
    known = np.array(counts[: len(edges) + 1], float)
    shares = np.cumsum(known)[:-1] / max(known.sum(), 1.0)
    axis = Along("x", now, np.array(sorted(edges)), shares, low, high, whole)
    ranks = [axis.rank(value) for value in sorted(values)]
    assert ranks == sorted(ranks)
    assert all(-1e-9 <= rank <= 1 + 1e-9 for rank in ranks)
    for value in axis.tried():
        for written in axis.rounded(float(value)):
            assert (written > now) == (value > now) or written == value
            assert axis.distance(written) <= axis.distance(float(value)) + 0.0101
