"""A request is read whole, or refused with every bad field, what it should be and what it is."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.contract import (
    MAX_PAYMENTS,
    BadRequest,
    PaymentContract,
    Problem,
    form_fields,
    problem_text,
)
from training.data import Dataset, columns_of, records_of
from training.spec import Column, DatasetSpec

SPEC = DatasetSpec.load("payments")
GOOD = {n: c.example for n, c in SPEC.inputs.items()}


def _value(column: Column) -> st.SearchStrategy[Any]:
    match column.type:
        case "number" if column.integer:
            whole = st.integers(int(column.minimum or 0), 10**15)
            return whole | whole.map(float)
        case "number":
            return st.floats(column.minimum, column.maximum, allow_nan=False, allow_infinity=False)
        case "boolean":
            return st.sampled_from([0, 1, False, True])
        case _:
            return st.sampled_from(column.categories or ("2025-01-01",)) | st.text(max_size=200)


PAYMENT = st.fixed_dictionaries(
    {n: st.none() | _value(c) for n, c in SPEC.columns.items() if c.required},
    optional={n: st.none() | _value(c) for n, c in SPEC.columns.items() if not c.required},
)


@pytest.fixture(scope="module")
def contract() -> PaymentContract:
    return PaymentContract(SPEC)


def _problems(contract: PaymentContract, body: str | bytes) -> list[Problem]:
    with pytest.raises(BadRequest) as caught:
        contract.read(body.encode() if isinstance(body, str) else body)
    problems = caught.value.problems
    json.dumps(problems, allow_nan=False).encode()  # an answer can carry it
    assert str(caught.value) == "; ".join(map(problem_text, problems))
    return problems


@given(payments=st.lists(PAYMENT, min_size=1, max_size=4))
def test_every_payment_that_keeps_the_spec_is_accepted_unchanged(
    payments: list[dict[str, Any]], contract: PaymentContract
) -> None:
    records, many = contract.read(json.dumps(payments).encode())
    one, single = contract.read(b" \n" + json.dumps(payments[0], ensure_ascii=False).encode())

    assert many
    assert not single
    assert [{k: r[k] for k in p} for r, p in zip(records, payments, strict=True)] == payments
    assert all(r[k] is None for r, p in zip(records, payments, strict=True) for k in r.keys() - p)
    assert one == records[:1]


def test_payments_of_a_file_are_accepted_as_records(
    dataset: Dataset, contract: PaymentContract
) -> None:
    rows = dataset.take(np.arange(200))
    body = json.dumps(list(records_of(rows, list(SPEC.inputs)))).encode()

    records, _ = contract.read(body)

    read = columns_of(records, SPEC.inputs)
    for name in SPEC.inputs:
        np.testing.assert_array_equal(read[name], rows.columns[name])


@pytest.mark.parametrize("value", [0, 1, 0.0, 1.0, True, False, None])
def test_a_boolean_may_be_written_as_in_a_file(value: Any, contract: PaymentContract) -> None:
    records, _ = contract.read(json.dumps(GOOD | {"isWeekend": value}).encode())

    assert records[0]["isWeekend"] == value


@pytest.mark.parametrize("value", ["", "  ", " paypal "])
def test_a_text_means_the_same_in_a_request_as_in_a_file(
    value: str, contract: PaymentContract
) -> None:
    records, _ = contract.read(json.dumps(GOOD | {"paymentMethod": value}).encode())

    method = columns_of(records, SPEC.inputs)["paymentMethod"][0]

    assert method == (value.strip() or None)


WHOLE, HOUR, NUMBER = (
    "a whole number of 0 or more",
    "a number from 0 to 24",
    "a number of 0 or more",
)
BAD_VALUES = [
    ("accountAgeDays", "-1", WHOLE, -1),
    ("accountAgeDays", "1.5", WHOLE, 1.5),
    ("accountAgeDays", '"29"', WHOLE, "29"),
    ("accountAgeDays", "true", WHOLE, True),
    ("accountAgeDays", "[]", WHOLE, "[]"),
    ("accountAgeDays", "{}", WHOLE, "{}"),
    ("numItems", "NaN", WHOLE, "nan"),
    ("numItems", "-Infinity", WHOLE, "-inf"),
    ("paymentMethodAgeDays", "Infinity", NUMBER, "inf"),
    ("paymentMethodAgeDays", "1e999", NUMBER, "inf"),
    ("localTime", "24.5", HOUR, 24.5),
    ("localTime", "-0.001", HOUR, -0.001),
    ("localTime", '{"hour": [1, {"x": null}]}', HOUR, "{'hour': [1, {'x': None}]}"),
    ("paymentMethod", "5", "a text", 5),
    ("paymentMethod", "false", "a text", False),
    ("paymentMethod", '["paypal"]', "a text", "['paypal']"),
    ("Category", f'"{"x" * 201}"', "a text", "x" * 100),
    ("isWeekend", "2", "0 or 1", 2),
    ("isWeekend", "0.5", "0 or 1", 0.5),
    ("isWeekend", '"1"', "0 or 1", "1"),
    ("timestamp", "5", "a text", 5),
    ("nmuItems", "1", "no such field; there are timestamp, ", 1),
]


@pytest.mark.parametrize(("field", "text", "expectation", "value"), BAD_VALUES)
@pytest.mark.parametrize("place", [None, 0, 2])
def test_a_bad_field_is_named_once_with_expectation_and_value(
    field: str, text: str, expectation: str, value: Any, place: int | None,
    contract: PaymentContract,
) -> None:  # fmt: skip
    good, bad = json.dumps(GOOD), json.dumps(GOOD | {field: 0}).replace(
        f'"{field}": 0', f'"{field}": {text}'
    )  # fmt: skip
    body = bad if place is None else f"[{', '.join([good] * place + [bad, good])}]"

    (problem,) = _problems(contract, body)

    assert (problem["payment"], problem["field"]) == (place or 0, field)
    assert problem["expectation"].startswith(expectation)
    assert type(problem["value"]) is type(value)
    assert problem["value"] == value


def test_every_bad_field_of_every_payment_is_named_at_once(contract: PaymentContract) -> None:
    bad = {"accountAgeDays": -1, "numItems": "x", "localTime": 25, "Category": 7, "colour": "red"}

    problems = _problems(contract, json.dumps([GOOD, bad, GOOD, bad]))

    wanted = {*bad, "paymentMethod", "paymentMethodAgeDays"}
    for place in (1, 3):
        assert {p["field"] for p in problems if p["payment"] == place} == wanted
    assert len(problems) == 2 * len(wanted)


@pytest.mark.parametrize("field", [n for n, c in SPEC.columns.items() if c.required])
def test_a_required_field_must_be_there_but_may_be_null(
    field: str, contract: PaymentContract
) -> None:
    without = {k: v for k, v in GOOD.items() if k != field}

    (problem,) = _problems(contract, json.dumps(without))

    assert problem["field"] == field
    assert problem["expectation"].endswith("; the field is required")
    assert problem["value"] is None
    assert contract.read(json.dumps(without | {field: None}).encode())[0][0][field] is None


@pytest.mark.parametrize(
    ("body", "expectation", "value"),
    [
        ("", "JSON (", None),
        ("{", "JSON (", None),
        (json.dumps(GOOD)[:-1], "JSON (", None),
        (json.dumps(GOOD) + "}", "JSON (", None),
        (b'{"numItems": "\xff"}', "JSON (", None),
        ('{"numItems": "\\ud800"}', "JSON (", None),
        ("[" * 100_000, "JSON (", None),
        ('{"a":' * 100_000, "JSON (", None),
        ("1" * 5_000, "JSON (", None),
        ("5", "one payment as a JSON object, or a list", 5),
        ("null", "one payment as a JSON object, or a list", None),
        ('"payment"', "one payment as a JSON object, or a list", "payment"),
        ("[[]]", "one payment as a JSON object, or a list", "[]"),
        ("[]", "1 to 10,000 payments", 0),
        (json.dumps([{}] * (MAX_PAYMENTS + 1)), "1 to 10,000 payments", MAX_PAYMENTS + 1),
    ],
    ids=range(15),
)
def test_what_is_no_payment_at_all_is_refused_as_a_whole(
    body: str | bytes, expectation: str, value: Any, contract: PaymentContract
) -> None:
    (problem,) = _problems(contract, body)

    assert problem["field"] == ""
    assert problem["expectation"].startswith(expectation)
    assert problem["value"] == value


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@given(junk=st.dictionaries(st.sampled_from([*SPEC.columns, "x"]), _json) | _json | st.binary())
def test_junk_is_accepted_or_refused_in_a_way_that_can_be_answered(
    junk: Any, contract: PaymentContract
) -> None:
    body = junk if isinstance(junk, bytes) else json.dumps(junk).encode()

    try:
        contract.read(body)
    except BadRequest:
        problems = _problems(contract, body)
        fields = [(p["payment"], p["field"]) for p in problems]
        assert len(set(fields)) == len(fields) > 0


def test_a_problem_reads_as_a_line() -> None:
    problem = Problem(payment=0, field="localTime", expectation=HOUR, value=99)

    assert problem_text(problem) == "localTime: a number from 0 to 24, is 99"
    assert problem_text(problem | {"field": "", "value": None}) == (  # type: ignore[typeddict-item]
        "the request: a number from 0 to 24"
    )


def test_a_form_is_told_everything_about_the_inputs_and_nothing_about_the_rest() -> None:
    fields = form_fields(SPEC)

    assert [f["name"] for f in fields] == list(SPEC.inputs)
    assert json.loads(json.dumps(fields)) == fields
    (time,) = [f for f in fields if f["name"] == "localTime"]
    assert (time["type"], time["minimum"], time["maximum"]) == ("number", 0, 24)
    assert math.isclose(time["example"], 14.5)


def test_a_column_may_be_named_like_anything_of_pydantics() -> None:
    names = ["_x", "model_dump", "model_config", "json", "copy"]
    spec = DatasetSpec.from_dict({"name": "odd", "label": "y", "columns": {n: {} for n in names}})
    payment = {name: float(i) for i, name in enumerate(names)}

    records, _ = PaymentContract(spec).read(json.dumps(payment).encode())

    assert records == [payment]


@pytest.mark.parametrize("field", ["isWeekend", "numItems"])
def test_almost_whole_is_not_whole(field: str, contract: PaymentContract) -> None:
    (problem,) = _problems(contract, json.dumps(GOOD | {field: 0.9999999999}))

    assert problem["field"] == field
