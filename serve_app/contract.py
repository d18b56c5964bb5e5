"""What a request and an answer look like, derived from the DatasetSpec.

The same document serves validation, the OpenAPI page and the form of the page for people.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypedDict

import pydantic
from pydantic import ConfigDict, Field, TypeAdapter

from training.errors import FraudrayError
from training.spec import Column, DatasetSpec

MAX_PAYMENTS = 10_000
"""Payments in one request."""

Record = dict[str, Any]


class Answer(TypedDict):
    """What is said about one payment.

    `decision` is 1 where `probability`, the calibrated probability of fraud, reaches `threshold`.
    """

    request_id: str
    decision: int
    probability: float
    threshold: float
    model_version: str


class Problem(TypedDict):
    """One thing wrong with a request: which payment of a list, which field, and what was wanted."""

    payment: int
    field: str
    expectation: str
    value: Any


class BadRequest(FraudrayError):
    """A request that breaks the contract, with every problem found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(map(problem_text, self.problems)))


class PaymentContract:
    """Reads request bodies of one spec.

    Columns that are not features, such as a timestamp, may be sent and are not used; any other
    field is refused, since it is most likely a misspelt one.
    """

    def __init__(self, spec: DatasetSpec) -> None:
        self.spec = spec
        fields: dict[str, Any] = {name: _field(c) for name, c in spec.columns.items()}
        config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
        self.payment = pydantic.create_model("Payment", __config__=config, **fields)
        self._one = TypeAdapter(self.payment)
        self._many = TypeAdapter(
            Annotated[list[self.payment], Field(min_length=1, max_length=MAX_PAYMENTS)]  # type: ignore[name-defined]
        )

    def read(self, body: bytes) -> tuple[list[Record], bool]:
        """Check a JSON body.

        Returns
        -------
        records : list of dict
            The payments.
        many : bool
            Whether the body was a list.

        Raises
        ------
        BadRequest
            Naming every bad field, what was expected and what it held.
        """
        many = body.lstrip()[:1] == b"["
        try:
            if many:
                return [dict(p) for p in self._many.validate_json(body)], True
            return [dict(self._one.validate_json(body))], False
        except pydantic.ValidationError as error:
            raise BadRequest([self._problem(e, many) for e in error.errors()]) from None

    def _problem(self, error: Any, many: bool) -> Problem:
        place = list(error["loc"])
        payment = int(place.pop(0)) if many and place and isinstance(place[0], int) else 0
        name = str(place[0]) if place else ""
        value = error["input"]
        match error["type"]:
            case "missing":
                column = self.spec.columns[name]
                return Problem(payment=payment, field=name,
                               expectation=f"{column.expectation}; the field is required",
                               value=None)  # fmt: skip
            case "extra_forbidden":
                expectation = f"no such field; there are {', '.join(self.spec.columns)}"
            case "json_invalid":
                expectation, value = f"JSON ({error['ctx']['error']})", None
            case "too_short" | "too_long":
                expectation, value = f"1 to {MAX_PAYMENTS:,} payments", error["ctx"]["actual_length"]
            case _ if name:
                expectation = self.spec.columns[name].expectation
            case _:
                expectation = "one payment as a JSON object, or a list of them"
        return Problem(payment=payment, field=name, expectation=expectation, value=_short(value))


def form_fields(spec: DatasetSpec) -> list[dict[str, Any]]:
    """The inputs of a payment as a form needs them: name, type, range, unit, help, example."""
    return [
        {"name": name, **column.model_dump(mode="json", exclude={"role", "skewed"})}
        for name, column in spec.inputs.items()
    ]


def problem_text(problem: Problem) -> str:
    """One problem in a line for people."""
    held = "" if problem["value"] is None else f", is {problem['value']!r}"
    return f"{problem['field'] or 'the request'}: {problem['expectation']}{held}"


def _field(column: Column) -> tuple[Any, Any]:
    kind: Any
    match column.type:
        case "number":
            kind = Annotated[
                float,
                Field(
                    ge=column.minimum, le=column.maximum, multiple_of=1 if column.integer else None
                ),
            ]
        case "boolean":
            kind = Annotated[int, Field(ge=0, le=1)] | bool
        case _:
            kind = Annotated[str, Field(max_length=200)]
    unit = f" [{column.unit}]" if column.unit else ""
    about = Field(
        default=... if column.required else None,
        description=f"{column.description}{unit}",
        examples=None if column.example is None else [column.example],
    )
    return kind | None, about


def _short(value: Any) -> Any:
    if isinstance(value, str | int | float | bool | None):
        return value[:100] if isinstance(value, str) else value
    return repr(value)[:100]
