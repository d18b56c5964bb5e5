"""A spec is read, checked as a whole, and carried as JSON without loss."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from training.errors import UsageError
from training.spec import Column, DatasetSpec, SpecError

TINY: dict[str, Any] = {
    "name": "tiny",
    "label": "y",
    "columns": {"x": {}, "c": {"type": "category"}, "d": {"type": "category"}},
}


def _with(**changes: Any) -> dict[str, Any]:
    return TINY | changes


def _column(**content: Any) -> dict[str, Any]:
    return _with(columns=TINY["columns"] | {"z": content})


def _feature(**content: Any) -> dict[str, Any]:
    return _with(features={"f": content})


def test_the_shipped_spec_survives_json(spec: DatasetSpec) -> None:
    assert DatasetSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_roles_say_which_columns_a_model_may_see(spec: DatasetSpec) -> None:
    assert spec.timestamp == "timestamp"
    assert set(spec.columns) - set(spec.inputs) == {"timestamp", "customerId", "fraudPattern"}


def test_a_spec_of_your_own_is_read_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('name = "mine"\nlabel = "y"\n[columns.x]\nminimum = 1\n', "utf-8")

    mine = DatasetSpec.load(str(file))

    assert mine.columns["x"].minimum == 1
    assert mine.timestamp is None


@pytest.mark.parametrize(
    ("column", "expectation"),
    [
        (Column(), "a number"),
        (Column(minimum=0), "a number of 0 or more"),
        (Column(maximum=9.5), "a number of 9.5 or less"),
        (Column(minimum=0, maximum=24, integer=True), "a whole number from 0 to 24"),
        (Column(type="boolean"), "0 or 1"),
        (Column(type="category"), "a text of at most 200 characters"),
        (Column(type="text", role="annotation"), "a text of at most 200 characters"),
    ],
)
def test_a_column_says_in_words_what_a_value_must_be(column: Column, expectation: str) -> None:
    assert column.expectation == expectation


@pytest.mark.parametrize(
    ("content", "mistake"),
    [
        (_with(nmae="tiny"), "nmae"),
        (_with(name="No Capitals"), "name"),
        (_with(label="x"), "'x' is listed among the columns"),
        (_with(columns={}), "columns"),
        (_with(columns={"t": {"role": "annotation", "type": "text"}}), "no column has the role"),
        (_with(columns={"bad name": {}}), "bad name"),
        (_column(type="text"), "not text"),
        (_column(role="entity"), "has type 'text'"),
        (_column(type="boolean", skewed=True), "skewed and integer are for numbers"),
        (_column(type="category", minimum=0), "minimum and maximum are for numbers"),
        (_column(categories=["a"]), "categories are for columns of type 'category'"),
        (_column(skewed=True), "needs minimum >= 0"),
        (_column(skewed=True, minimum=-1), "needs minimum >= 0"),
        (_column(minimum=2, maximum=1), "minimum 2 is above maximum 1"),
        (_column(maximum=float("inf")), "finite"),
        (_feature(kind="cross", left="c", right="x"), "needs 'x' to be a category"),
        (_feature(kind="cross", left="c", right="nobody"), "'nobody', not an input"),
        (_feature(kind="ratio", numerator="x", denominator="c"), "needs 'c' to be a number"),
        (_feature(kind="bins", input="x", edges=[2, 1], labels=["a", "b", "c"]), "edges must rise"),
        (_feature(kind="bins", input="x", edges=[1], labels=["a"]), "1 edges need 2 labels"),
        (_feature(kind="sum", left="x", right="x"), "sum"),
        (_with(features={"x": {"kind": "cross", "left": "c", "right": "d"}}), "name of a column"),
    ],
)
def test_a_mistake_is_named(content: dict[str, Any], mistake: str) -> None:
    with pytest.raises(SpecError) as caught:
        DatasetSpec.from_dict(content)

    assert mistake in str(caught.value)


def test_two_columns_cannot_both_order_the_rows() -> None:
    moment = {"role": "timestamp", "type": "text"}

    with pytest.raises(SpecError, match="more than one column has the role 'timestamp': a, b"):
        DatasetSpec.from_dict(_with(columns={"x": {}, "a": moment, "b": moment}))


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        DatasetSpec.from_dict(
            _with(colour="red", columns={"x": {"type": "date"}, "z": {"skewed": True}})
        )

    for mistake in ("colour", "columns.x.type", "columns.z"):
        assert mistake in str(caught.value)


@pytest.mark.parametrize("content", ["name = ", "\ud800".encode("utf-8", "surrogatepass")])
def test_a_file_that_is_no_toml_is_refused_with_its_path(
    content: str | bytes, tmp_path: Path
) -> None:
    file = tmp_path / "broken.toml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())

    with pytest.raises(SpecError, match=r"broken\.toml"):
        DatasetSpec.load(str(file))


@pytest.mark.parametrize("name", ["cards", "nowhere/cards.toml"])
def test_an_unknown_spec_names_those_there_are(name: str) -> None:
    with pytest.raises(UsageError, match="payments"):
        DatasetSpec.load(name)
