"""What a request and an answer look like, derived from the DatasetSpec.

The same document serves validation, the OpenAPI page and the form of the page for people.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import pydantic
import pydantic_core
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from training.errors import FraudrayError
from training.spec import TEXT_LIMIT, Column, DatasetSpec

MAX_PAYMENTS = 10_000
"""Payments in one request."""

MAX_FIELDS = 100
"""Fields in one payment."""

MAX_PROBLEMS = 1000
"""Problems named in one answer."""

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
        super().__init__()
        self.problems = list(problems)

    def __str__(self) -> str:
        return "; ".join(map(problem_text, self.problems))


class PaymentContract:
    """Reads request bodies of one spec.

    Columns that are not features, such as a timestamp, may be sent and are not used; any other
    field is refused, since it is most likely a misspelt one.
    """

    def __init__(self, spec: DatasetSpec) -> None:
        self.spec = spec
        # The models of pydantic have attributes of their own, which a column may be named like.
        fields: dict[str, Any] = {
            f"column_{i}": _field(name, c) for i, (name, c) in enumerate(spec.columns.items())
        }
        config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
        self.payment = pydantic.create_model("Payment", __config__=config, **fields)
        self._adapter: TypeAdapter[Any] = TypeAdapter(self.payment)

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
        try:
            content = pydantic_core.from_json(body)
        except ValueError as error:
            raise BadRequest([_problem(0, "", f"JSON ({error})", None)]) from None
        many = isinstance(content, list)
        payments = content if many else [content]
        if not 1 <= len(payments) <= MAX_PAYMENTS:
            wanted = f"1 to {MAX_PAYMENTS:,} payments"
            raise BadRequest([_problem(0, "", wanted, len(payments))])
        records, problems = [], []
        for number, payment in enumerate(payments):
            try:
                records.append(self._adapter.validate_python(payment).model_dump(by_alias=True))
            except pydantic.ValidationError as error:
                problems += self._problems(number, payment, error)
                if len(problems) > MAX_PROBLEMS:
                    break  # a caller who sends this is not helped by more
        if problems:
            raise BadRequest(problems[:MAX_PROBLEMS])
        return records, many

    def _problems(
        self, number: int, payment: Any, error: pydantic.ValidationError
    ) -> list[Problem]:
        if not isinstance(payment, dict):
            wanted = "one payment as a JSON object, or a list of them"
            return [_problem(number, "", wanted, payment)]
        if len(payment) > MAX_FIELDS:
            return [_problem(number, "", f"at most {MAX_FIELDS} fields", len(payment))]
        # A field that may be of two types is refused once for each.
        found = {}
        for e in error.errors(include_url=False):
            name = str(e["loc"][0])
            column = self.spec.columns.get(name)
            value = e["input"]
            if column is None:
                wanted = f"no such field; there are {', '.join(self.spec.columns)}"
            elif e["type"] == "missing":
                wanted, value = f"{column.expectation}; the field is required", None
            else:
                wanted = column.expectation
            found[name] = _problem(number, name, wanted, value)
        return list(found.values())


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


def _field(name: str, column: Column) -> tuple[Any, Any]:
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
        default=... if column.required else None,
        alias=name,
        description=f"{column.description}{unit}",
        examples=None if column.example is None else [column.example],
    )
    return kind | None, about


def _whole(value: float) -> float:
    # multiple_of, which the OpenAPI document shows, forgives what is off by a little.
    if value != int(value):
        raise ValueError("not whole")
    return value


def _problem(payment: int, field: str, expectation: str, value: Any) -> Problem:
    return Problem(payment=payment, field=field[:100], expectation=expectation, value=_short(value))


def _short(value: Any) -> Any:
    """A value as an answer can carry it: not at length, and NaN, which JSON lacks, as text."""
    if isinstance(value, str):
        return value[:100]
    if value is None or (isinstance(value, int | float) and abs(value) < 1e18):
        return value
    return repr(value)[:100]
