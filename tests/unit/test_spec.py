"""A spec is read, checked as a whole, and carried as JSON without loss."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.errors import UsageError
from training.spec import Column, DatasetSpec, SpecError, mistakes

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
        (_with(nmae="tiny"), "nmae: there is no such field; did you mean 'name'?"),
        (_with(zzz=1), "zzz: there is no such field; there are name, label, label_values"),
        (_with(name="No Capitals"), "name: should be 1 to 63 lower-case letters"),
        (_with(label=3), "label: should be a text, is 3; write it in quotes: \"3\""),
        (_with(label=""), "label: a name has 1 to 100 printable characters"),
        (_with(label="y\n"), "label: a name has 1 to 100 printable characters"),
        (_with(label_values=["", "1"]), "label_values: '' is never found"),
        (_with(label_values=["no ", "yes"]), "label_values: 'no ' is never found"),
        (_with(label_values=["no", "NULL"]), "label_values: 'NULL' is never found"),
        (_with(label="x"), "label: the label 'x' is listed among the columns"),
        (_with(label_values=["0"]), "label_values: should be two texts, is ['0']"),
        (_with(label_values=["a", "b", "c"]), "two texts, is ['a', 'b', 'c']"),
        (_with(label_values=["a", "a"]), "label_values: is 'a' for a legitimate payment and for"),
        (_with(columns={}), "columns: should hold at least one value, is empty"),
        (_with(columns=[]), "columns: should be a table, is []"),
        (_with(columns={"x": 5}), "columns.x: should be a table, is 5"),
        (_with(columns={"t": {"role": "annotation", "type": "text"}}), "no column has the role"),
        (_with(columns={"x": {}, " bad": {}}), 'columns." bad": a name has 1 to 100 printable'),
        (_with(columns={"x": {}, "two\nlines": {}}), 'columns."two\\nlines": a name has'),
        (_with(columns={"x": {}, "two\x7f": {}}), 'columns."two\\x7f": a name has'),
        (_with(columns={"x": {}, "two\x9b": {}}), 'columns."two\\x9b": a name has'),
        (_with(columns={"x": {}, "a\u202eb": {}}), 'columns."a\\u202eb": a name has'),
        (_with(columns={"x": {}, "": {}}), 'columns."": a name has 1 to 100'),
        (_with(columns={"x": {}, "n" * 101: {}}), "a name has 1 to 100 printable characters"),
        (_with(costs={"missed_fraud": -1}), "costs.missed_fraud: should be 0 or more, is -1"),
        (_with(costs={"amount": "d"}), "costs.amount: 'd' is no number among the inputs"),
        (_with(costs={"amount": "nobody"}), "costs.amount: 'nobody' is no column"),
        (_with(costs={"amonut": "x"}), "there is no such field; did you mean 'amount'?"),
        (_column(skwed=True), "columns.z.skwed: there is no such field; did you mean 'skewed'?"),
        (_column(role="featrue"), "is 'featrue'; did you mean 'feature'?"),
        (_column(type="date"), "'number', 'category', 'boolean' or 'text', is 'date'"),
        (_column(minimum="0"), "columns.z.minimum: should be a number, is '0'"),
        (_column(minimum=True), "columns.z.minimum: should be a number, is true"),
        (_column(required="yes"), "columns.z.required: should be true or false, is 'yes'"),
        (_column(example=[1]), "columns.z.example: should be a number or a text, is [1]"),
        (_column(example="zzz"), "columns.z.example: should be a number, is 'zzz'"),
        (_column(type="boolean", example="yes"), "columns.z.example: should be 0 or 1, is 'yes'"),
        (_column(type="boolean", example=5), "columns.z.example: should be 0 or 1, is 5"),
        (_column(type="category", example=5), 'write it in quotes: "5"'),
        (_column(type="category", categories=["a", " "]), "categories: holds an empty text"),
        (_column(type="category", categories=["a", "b", "a"]), "holds 'a' more than once"),
        (_column(type="text"), "columns.z.type: a feature is a number, a category or a boolean"),
        (_column(role="timestamp", type="category"), "columns.z.type: a timestamp is a text"),
        (_column(role="entity"), "columns.z.type: a column with the role 'entity' has the type"),
        (_column(type="boolean", skewed=True), "columns.z.skewed: is for numbers"),
        (_column(type="boolean", integer=True), "columns.z.integer: is for numbers"),
        (_column(type="category", minimum=0), "columns.z.minimum: is for numbers"),
        (_column(type="category", maximum=0), "columns.z.maximum: is for numbers"),
        (_column(categories=["a"]), "columns.z.categories: are for columns of type 'category'"),
        (_column(type="category", categories=["a", 7]), "columns.z.categories[1]: should be a"),
        (_column(skewed=True), "skewed: a skewed number needs a minimum of 0 or more and"),
        (_column(skewed=True, minimum=-1), "needs a minimum of 0 or more and has -1"),
        (_column(minimum=2, maximum=1), "columns.z.minimum: minimum 2 is above maximum 1"),
        (_column(maximum=float("inf")), "columns.z.maximum: should be a finite number, is inf"),
        (_feature(kind="cross", left="c", right="x"), "features.f.right: a cross needs a category"),
        (_feature(kind="cross", left="c", right="nobody"), "f.right: 'nobody' is no column"),
        (_feature(kind="cross", left="c", right="D"), "'D' is no column; did you mean 'd'?"),
        (_feature(kind="cross", left="c"), "features.f.right: is missing"),
        (_feature(kind="ratio", numerator="x", denominator="c"), "a ratio needs a number, and 'c'"),
        (_feature(kind="bins", input="x", edges=[2, 1], labels=["a", "b", "c"]), "edges must rise"),
        (_feature(kind="bins", input="x", edges=[1], labels=["a"]), "1 edges need 2 labels"),
        (_feature(kind="bins", input="x", edges=[float("nan")], labels=["a", "b"]), "edges[0]: sh"),
        (_feature(kind="bins", input="x", edges=[], labels=["a"]), "f.edges: should hold at"),
        (_feature(kind="rato"), "f.kind: should be 'cross', 'ratio' or 'bins', is 'rato'; did"),
        (_feature(left="c"), "features.f.kind: is missing, should be 'cross', 'ratio' or 'bins'"),
        (_with(features={"x": {"kind": "cross", "left": "c", "right": "d"}}), "name of a column"),
        (_with(features={"y": {"kind": "cross", "left": "c", "right": "d"}}), "name of the label"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_and_is_the_only_one(content: dict[str, Any], mistake: str) -> None:
    with pytest.raises(SpecError) as caught:
        DatasetSpec.from_dict(content)

    (found,) = caught.value.mistakes
    assert mistake in str(found)
    assert str(caught.value) == f"spec: {found}"


def test_an_example_may_lie_outside_the_range_as_in_models_made_before() -> None:
    assert mistakes(_column(minimum=0, maximum=1, integer=True, example=7.5)) == []


def test_a_feature_cannot_be_made_from_what_is_no_feature() -> None:
    note = {"role": "annotation", "type": "text"}
    content = _with(
        columns=TINY["columns"] | {"n": note},
        features={"f": {"kind": "cross", "left": "c", "right": "n"}},
    )

    assert [str(m) for m in mistakes(content)] == [
        "features.f.right: 'n' is no feature: it has the role 'annotation'"
    ]


def test_two_columns_cannot_both_order_the_rows() -> None:
    moment = {"role": "timestamp", "type": "text"}

    with pytest.raises(SpecError, match="more than one column has the role 'timestamp': a, b"):
        DatasetSpec.from_dict(_with(columns={"x": {}, "a": moment, "b": moment}))


def test_all_mistakes_are_told_at_once_and_no_wrong_field_is_held_against_another() -> None:
    entity = {"role": "entity", "type": "text"}
    found = mistakes(
        {
            "name": "tiny",
            "colour": "red",
            "label": "y",
            "costs": {"amount": "mean radus"},
            "columns": {
                "mean radius": {"type": "nummber", "minimum": 3, "maximum": 2, "skewed": "no"},
                "z": {"skewed": True, "categories": ["a"]},
                "who": entity,
                "whom": entity | {"unit": 7},
                "c": {"type": "category"},
            },
            "features": {
                "f": {"kind": "ratio", "numerator": "mean radius", "denominator": "c"},
                "g": {"kind": "bins", "input": "y", "edges": [2, 1], "labels": [1]},
                "h": 5,
            },
        }
    )

    assert {m.place for m in found} == {
        "colour",
        'columns."mean radius".type',
        'columns."mean radius".minimum',
        'columns."mean radius".skewed',
        "columns.z.skewed",
        "columns.z.categories",
        "columns.whom.unit",
        "columns",  # two entities
        "costs.amount",
        "features.f.denominator",
        "features.g.edges",
        "features.g.input",
        "features.g.labels[0]",
        "features.h",
    }
    assert len(found) == 14


_WORDS = st.sampled_from(
    ["name", "label", "columns", "features", "costs", "x", "c", "a b", "kind", "bins", "input",
     "edges", "labels", "type", "role", "number", "entity", "text", "amount", "minimum", "[key]",
     "example", "cross", "left", "label_values"]
)  # fmt: skip
_JARGON = ("Input should", "Value error", "Extra inputs", "valid ", "tag", "union", "str")
# A value is repeated as it was given, so it must not be one of those itself.
_TEXTS = st.text(max_size=4).filter(lambda text: not any(j in text for j in _JARGON))
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXTS | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=4),
    max_leaves=12,
)


@given(
    st.dictionaries(_WORDS, _ANYTHING),
    st.dictionaries(_WORDS, st.dictionaries(_WORDS, _ANYTHING, max_size=4), max_size=3),
    st.dictionaries(_WORDS, st.dictionaries(_WORDS, _ANYTHING, max_size=4), max_size=3),
)
def test_whatever_is_wrong_is_told_in_plain_words(
    top: dict[str, Any], columns: dict[str, Any], features: dict[str, Any]
) -> None:
    content = TINY | top | {"columns": {"x": {}} | columns, "features": features}

    found = mistakes(content)

    told = "\n".join(map(str, found))
    for jargon in _JARGON:
        assert jargon not in told
    assert len(set(found)) == len(found)
    if found:
        with pytest.raises(SpecError):
            DatasetSpec.from_dict(content)
    else:
        assert DatasetSpec.from_dict(content).to_dict()["name"] == content["name"]


@pytest.mark.parametrize("content", [[], "text", 5, None])
def test_what_is_no_table_is_no_spec(content: Any) -> None:
    (found,) = mistakes(content)

    assert str(found) == f"should be a table, is {content!r}"


def test_a_mistake_in_toml_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "broken.toml"
    file.write_text('name = "mine"\nlabel = y\n', encoding="utf-8")

    with pytest.raises(SpecError, match=r"broken\.toml.*line 2, column 9"):
        DatasetSpec.load(str(file))


def test_an_error_keeps_its_mistakes_on_the_way_between_processes() -> None:
    with pytest.raises(SpecError) as caught:
        DatasetSpec.from_dict(_with(nmae="tiny"))

    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
    assert str(again) == str(caught.value)
    assert again.mistakes == caught.value.mistakes


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
