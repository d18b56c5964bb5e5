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
    MAX_FIELDS,
    MAX_PAYMENTS,
    MAX_PROBLEMS,
    BadRequest,
    PaymentContract,
    Problem,
    answer_json,
    answers_json,
    form_fields,
    problem_text,
)
from training.data import Columns, Dataset, columns_of, records_of
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


def _read(contract: PaymentContract, body: bytes) -> Columns:
    return contract.many(body) if body.lstrip()[:1] == b"[" else contract.one(body)


def _same(left: Columns, right: Columns) -> None:
    assert list(left) == list(right)
    for name in left:
        assert left[name].dtype == right[name].dtype
        assert left[name].shape == right[name].shape
        np.testing.assert_array_equal(left[name], right[name])


def _problems(contract: PaymentContract, body: str | bytes) -> list[Problem]:
    with pytest.raises(BadRequest) as caught:
        _read(contract, body.encode() if isinstance(body, str) else body)
    problems = caught.value.problems
    json.dumps(problems, allow_nan=False).encode()  # an answer can carry it
    assert str(caught.value) == "; ".join(map(problem_text, problems))
    return problems


@given(payments=st.lists(PAYMENT, min_size=1, max_size=4), plain=st.booleans())
def test_every_payment_that_keeps_the_spec_becomes_a_row(
    payments: list[dict[str, Any]], plain: bool, contract: PaymentContract
) -> None:
    many = contract.many(json.dumps(payments, ensure_ascii=plain).encode())
    one = contract.one(b" \n" + json.dumps(payments[0], ensure_ascii=plain, indent=1).encode())

    _same(many, columns_of(payments, SPEC.inputs))
    _same(one, {name: column[:1] for name, column in many.items()})


def test_payments_of_a_file_are_accepted_as_records(
    dataset: Dataset, contract: PaymentContract
) -> None:
    rows = dataset.take(np.arange(200))
    body = json.dumps(list(records_of(rows, list(SPEC.inputs)))).encode()

    _same(contract.many(body), {name: rows.columns[name] for name in SPEC.inputs})


@pytest.mark.parametrize("value", [0, 1, 0.0, 1.0, True, False, None])
def test_a_boolean_may_be_written_as_in_a_file(value: Any, contract: PaymentContract) -> None:
    read = contract.one(json.dumps(GOOD | {"isWeekend": value}).encode())

    np.testing.assert_array_equal(read["isWeekend"], np.array([value], float))


@pytest.mark.parametrize("value", ["", "  ", " paypal ", "NULL", "a: b", "\u003a \\u003a"])
def test_a_text_means_the_same_in_a_request_as_in_a_file(
    value: str, contract: PaymentContract
) -> None:
    read = contract.one(json.dumps(GOOD | {"paymentMethod": value}).encode())

    meant = value.strip()
    assert read["paymentMethod"].tolist() == [None if meant in ("", "NULL") else meant]


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
    read = contract.one(json.dumps(without | {field: None}).encode())
    assert read[field].tolist()[0] is None or np.isnan(read[field][0])


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
        ("5", "one payment as a JSON object", 5),
        ("null", "one payment as a JSON object", None),
        ('"payment"', "one payment as a JSON object", "payment"),
        ("[[]]", "one payment as a JSON object", "[]"),
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
        _read(contract, body)
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

    read = PaymentContract(spec).one(json.dumps(payment).encode())

    _same(read, {name: np.array([value]) for name, value in payment.items()})


@pytest.mark.parametrize("field", ["isWeekend", "numItems"])
def test_almost_whole_is_not_whole(field: str, contract: PaymentContract) -> None:
    (problem,) = _problems(contract, json.dumps(GOOD | {field: 0.9999999999}))

    assert problem["field"] == field


def test_one_is_no_list_and_a_list_is_not_one(contract: PaymentContract) -> None:
    good = json.dumps(GOOD).encode()

    with pytest.raises(BadRequest, match="the request: one payment as a JSON object, is"):
        contract.one(b"[" + good + b"]")
    with pytest.raises(BadRequest, match="the request: a JSON list of 1 to 10,000 payments, is"):
        contract.many(good)


TEXTS = st.sampled_from(["", ":", "a:b", '":', "\\", "\\u003a", "{}", '"'])


@given(
    place=st.integers(0, 2), field=st.sampled_from(["timestamp", "Category", "paymentMethod"]),
    first=TEXTS, second=TEXTS, other=TEXTS, escaped=st.booleans(),
)  # fmt: skip
def test_a_field_that_is_there_twice_is_named_whatever_the_texts_hold(
    place: int, field: str, first: str, second: str, other: str, escaped: bool,
    contract: PaymentContract,
) -> None:  # fmt: skip
    payment = GOOD | {"customerId": other, "fraudPattern": other}
    good = json.dumps({n: v for n, v in payment.items() if n != field})[:-1]

    def text(value: str) -> str:
        return json.dumps(value).replace(":", r"\u003a") if escaped else json.dumps(value)

    twice = f'{good}, "{field}": {text(first)}, "{field}": {text(second)}}}'
    once = f'{good}, "{field}": {text(first)}}}'

    (problem,) = _problems(contract, f"[{', '.join([once] * place + [twice])}]")

    assert (problem["payment"], problem["field"]) == (place, field)
    assert (problem["expectation"], problem["value"]) == ("the field once", second)
    contract.many(f"[{once}]".encode())


@pytest.mark.parametrize("digits", [25, 400])
def test_a_whole_number_of_any_length_is_read_or_refused(
    digits: int, contract: PaymentContract
) -> None:
    body = json.dumps(GOOD | {"amount": 10**digits}).encode()

    if digits == 25:
        assert contract.one(body)["amount"].tolist() == [1e25]
    else:
        (problem,) = _problems(contract, body)
        assert problem["field"] == "amount"


def test_more_fields_and_problems_than_anybody_means_are_counted_only(
    contract: PaymentContract,
) -> None:
    wide = json.dumps({f"x{i}": i for i in range(MAX_FIELDS + 1)})
    endless = json.dumps([{"x": 1}] * MAX_PAYMENTS)

    (problem,) = _problems(contract, wide)
    problems = _problems(contract, endless)

    assert problem["expectation"] == f"at most {MAX_FIELDS} fields"
    assert len(problems) == MAX_PROBLEMS


@given(
    scores=st.lists(st.floats(0, 1), min_size=1, max_size=5), threshold=st.floats(0, 1),
    request_id=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1),
)  # fmt: skip
def test_answers_read_back_exactly(scores: list[float], threshold: float, request_id: str) -> None:
    probability = np.array(scores)
    decision = (probability >= threshold).astype(np.int8)

    many = json.loads(answers_json(request_id, "12", threshold, probability, decision))

    assert many == [
        {"request_id": request_id, "decision": d, "probability": p, "threshold": threshold,
         "model_version": "12"}
        for p, d in zip(scores, decision.tolist(), strict=True)
    ]  # fmt: skip
    for answer, p, d in zip(many, scores, decision.tolist(), strict=True):
        assert json.loads(answer_json(request_id, "12", threshold, p, d)) == answer
