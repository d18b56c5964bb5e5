"""What a request and an answer look like, derived from the DatasetSpec.

The same document serves validation, the OpenAPI page and the form of the page for people.

A body that is right goes straight from JSON to columns, one call of pydantic's parser for all of
it. Only one that is not is read again, payment by payment, to name everything wrong with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, NotRequired

import numpy as np
import pydantic
from pydantic import AfterValidator, ConfigDict, FailFast, Field, TypeAdapter, with_config
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from serve_app.answers import Answer, Change, Explained, Reason, answer_json, answers_json
from serve_app.orders import (
    Feedback,
    NewChallenger,
    NewThreshold,
    Promote,
    Rollback,
    read_body,
    read_feedback,
)
from serve_app.problems import (
    MAX_FIELDS,
    MAX_PROBLEMS,
    BadRequest,
    Problem,
    in_fields,
    parsed,
    problem,
    problem_text,
    repeated,
)
from training.spec import TEXT_LIMIT, Column, DatasetSpec

if TYPE_CHECKING:
    from training.data import Columns

__all__ = [
    "MAX_FIELDS", "MAX_PAYMENTS", "MAX_PROBLEMS", "Answer", "BadRequest", "Change", "Explained",
    "Feedback", "NewChallenger", "NewThreshold", "PaymentContract", "Problem", "Promote", "Reason",
    "Record", "Rollback", "answer_json", "answers_json", "form_fields", "problem_text", "read_body",
    "read_feedback",
]  # fmt: skip

MAX_PAYMENTS = 10_000
"""Payments in one request of JSON."""

Record = dict[str, Any]

_ONE = "one payment as a JSON object"
_LIST = f"a JSON list of 1 to {MAX_PAYMENTS:,} payments"


class PaymentContract:
    """Reads request bodies of one spec.

    Columns that are not features, such as a timestamp, may be sent and are not used; any other
    field is refused, since it is most likely a misspelt one. So is a field that is there twice.

    Attributes
    ----------
    payment
        The type of one payment, for pydantic.
    """

    def __init__(self, spec: DatasetSpec) -> None:
        from training.convert import text_or_none  # pandas comes with it, and clients need none

        self.spec = spec
        self.payment = _payment(spec, exact=True)
        self._exact: TypeAdapter[Record] = TypeAdapter(self.payment)
        # What is missing or unknown is found by counting: a hostile body may have a million of it,
        # and pydantic makes a problem of each.
        quick = _payment(spec, exact=False)
        self._one: TypeAdapter[Record] = TypeAdapter(quick)
        several = Field(min_length=1, max_length=MAX_PAYMENTS)
        self._many: TypeAdapter[list[Record]] = TypeAdapter(
            Annotated[list[quick], FailFast(), several]  # type: ignore[arg-type,valid-type]
        )
        self._expectations = {name: c.expectation for name, c in spec.columns.items()}
        self._inputs = [(name, c.type == "category") for name, c in spec.inputs.items()]
        self._required = {name for name, column in spec.columns.items() if column.required}
        self._text_or_none = text_or_none

    def one(self, body: bytes) -> Columns:
        """Read a JSON object: columns of shape (1,), one for every input of the spec.

        Raises
        ------
        BadRequest
            Naming every bad field, what was expected and what it held.
        """
        return self._columns(self._records(body, many=False))

    def many(self, body: bytes) -> Columns:
        """Read a JSON list of n payments: columns of shape (n,), one for every input of the spec.

        Raises
        ------
        BadRequest
            Naming every bad field, what was expected and what it held.
        """
        return self._columns(self._records(body, many=True))

    def _records(self, body: bytes, *, many: bool) -> list[Record]:
        try:
            read = self._many.validate_json(body) if many else [self._one.validate_json(body)]
        except pydantic.ValidationError:
            return self._one_by_one(body, many=many)
        if _nothing_passed_over(body, read) and all(map(self._required.issubset, read)):
            return read
        return self._one_by_one(body, many=many)

    def _one_by_one(self, body: bytes, *, many: bool) -> list[Record]:
        """Read a body in the way that finds every problem."""
        content = parsed(body)
        if isinstance(content, list) is not many:
            raise BadRequest([problem(0, "", _LIST if many else _ONE, content)])
        payments = content if many else [content]
        if not 1 <= len(payments) <= MAX_PAYMENTS:
            number = f"1 to {MAX_PAYMENTS:,} payments"
            raise BadRequest([problem(0, "", number, len(payments))])
        twice = repeated(body)
        records: list[Record] = []
        problems: list[Problem] = []
        for place, payment in enumerate(payments):
            if not isinstance(payment, dict):
                problems.append(problem(place, "", _ONE, payment))
            elif len(payment) > MAX_FIELDS:
                fields = f"at most {MAX_FIELDS} fields"
                problems.append(problem(place, "", fields, len(payment)))
            else:
                found = twice.get(place, {})
                try:
                    records.append(self._exact.validate_python(payment))
                except pydantic.ValidationError as error:
                    found |= in_fields(place, error.errors(include_url=False), self._expectations)
                problems += found.values()
            if len(problems) > MAX_PROBLEMS:
                break  # a caller who sends this is not helped by more
        if problems:
            raise BadRequest(problems)
        return records

    def _columns(self, records: list[Record]) -> Columns:
        """What `training.data.columns_of` gives, but quick: each text is looked at once."""
        columns: Columns = {}
        for name, textual in self._inputs:
            values = [record.get(name) for record in records]
            if textual:
                meant = {value: self._text_or_none(value) for value in set(values)}
                columns[name] = np.array([meant[value] for value in values], object)
            else:
                columns[name] = np.array(values, np.float64)  # None becomes NaN, True becomes 1
        return columns


def form_fields(spec: DatasetSpec) -> list[dict[str, Any]]:
    """The inputs of a payment as a form needs them: name, type, range, unit, help, example."""
    return [
        {"name": name, **column.model_dump(mode="json", exclude={"role", "skewed"})}
        for name, column in spec.inputs.items()
    ]


def _payment(spec: DatasetSpec, *, exact: bool) -> Any:
    """The type of a payment; not exact, it lets fields be absent and passes over unknown ones."""
    fields = {
        name: _field(c) if exact and c.required else NotRequired[_field(c)]
        for name, c in spec.columns.items()
    }
    config = ConfigDict(extra="forbid" if exact else "ignore", strict=True, allow_inf_nan=False)
    return with_config(config)(TypedDict("Payment", fields))  # type: ignore[operator]


def _field(column: Column) -> Any:
    kind: Any
    match column.type:
        case "number":
            limits = Field(
                ge=column.minimum, le=column.maximum, multiple_of=1 if column.integer else None
            )
            exact = AfterValidator(_whole) if column.integer else None
            kind = Annotated[float, limits, exact]
        case "boolean":
            kind = Annotated[float, Field(ge=0, le=1, multiple_of=1), AfterValidator(_whole)] | bool
        case _:
            kind = Annotated[str, Field(max_length=TEXT_LIMIT)]
    unit = f" [{column.unit}]" if column.unit else ""
    about = Field(
        description=f"{column.description}{unit}",
        examples=None if column.example is None else [column.example],
    )
    return Annotated[kind | None, about]


def _whole(value: float) -> float:
    # multiple_of, which the OpenAPI document shows, forgives what is off by a little.
    if not value.is_integer():
        raise ValueError("not whole")
    return value


def _nothing_passed_over(body: bytes, records: list[Record]) -> bool:
    """Whether it is sure that no field is unknown or there twice.

    Every field has a colon. If there are no more colons than fields that were read, and in their
    texts, none was passed over.
    """
    more = body.count(b":") - sum(map(len, records))
    if more and b"\\" not in body:
        texts = (v for record in records for v in record.values() if isinstance(v, str))
        more -= sum(text.count(":") for text in texts)
    return not more
