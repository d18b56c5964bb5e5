"""What callers tell and operators order: bodies of feedback and of the admin routes.

The description of a field is what a problem with it is told to have expected.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from serve_app.problems import (
    MAX_PROBLEMS,
    BadRequest,
    Problem,
    in_fields,
    parsed,
    problem,
    refused,
    repeated,
)
from training.errors import UsageError

MAX_FEEDBACK = 10_000
"""Labels in one request."""

_Kind = TypeVar("_Kind", bound="_Body")

_POLICY = (
    r"^(max-f1|max-fbeta=([1-9][0-9]{0,2}(\.[0-9]+)?|0?\.[0-9]*[1-9])|min-cost"
    r"|((recall|precision)>=|alert-rate<=)(0?\.[0-9]*[1-9]|1)|min-cost=.+:[0-9]{1,9})$"
)  # in the description only: what the numbers may be is more than a pattern can say


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


def _integer(value: Any) -> Any:
    # In JSON 1.0 is the same number as 1.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _time(text: Any) -> datetime:
    if not isinstance(text, str):
        raise ValueError(text)
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _policy(text: str) -> str:
    from training.threshold import Policy  # pandas comes with it, and clients need none

    try:
        return Policy.parse(text).text
    except UsageError as error:
        raise refused(str(error)) from None


_Version = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,8}$")]


class Feedback(_Body):
    """The true label of a payment that was decided on.

    Attributes
    ----------
    at
        When it became known, with its time zone; UTC if it was given without one.
    """

    request_id: str = Field(
        pattern=r"^[\x21-\x7e]{1,128}$",
        description="the request_id of an answer: 1 to 128 printable characters",
    )
    label: Annotated[Literal[0, 1] | bool, BeforeValidator(_integer), AfterValidator(int)] = Field(
        description="0 or false if it was legitimate, 1 or true if it was fraud"
    )
    payment: Annotated[int, BeforeValidator(_integer)] = Field(
        default=0, ge=0, lt=100_000,
        description="the payment's place in its request, a whole number from 0 to 99999",
    )  # fmt: skip
    at: Annotated[datetime, BeforeValidator(_time)] | None = Field(
        default=None, description="an ISO 8601 date and time, when the label became known, or null"
    )


class Promote(_Body):
    """Which version is to be the champion."""

    version: _Version = Field(description='a version as a text, such as "3"')


class Rollback(_Body):
    """Nothing: the version before takes over again."""


class NewThreshold(_Body):
    """A threshold, or the policy that is to choose it: one of the two."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {
                    "required": ["threshold"],
                    "properties": {"threshold": {"type": "number"}, "policy": {"type": "null"}},
                },
                {
                    "required": ["policy"],
                    "properties": {"policy": {"type": "string"}, "threshold": {"type": "null"}},
                },
            ]
        }
    )

    threshold: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="a number above 0 and at most 1"
    )
    policy: (
        Annotated[str, AfterValidator(_policy), Field(json_schema_extra={"pattern": _POLICY})]
        | None
    ) = Field(default=None, description="a policy such as max-f1, recall>=0.9 or min-cost=200:5")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.threshold is None) is (self.policy is None):
            raise refused("either a threshold or a policy")
        return self


class NewChallenger(_Body):
    """Which version scores beside the champion, and how; None for none."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"properties": {"mode": {"const": "shadow"}, "share": {"const": 0}}},
                {
                    "required": ["mode", "share"],
                    "properties": {"mode": {"const": "share"}, "share": {"exclusiveMinimum": 0}},
                },
            ]
        }
    )

    version: _Version | None = Field(description='a version as a text, such as "3", or null')
    mode: Literal["shadow", "share"] = Field(default="shadow", description="shadow or share")
    share: float = Field(
        default=0.0, ge=0, le=1, description="the challenger's part of the traffic, from 0 to 1"
    )

    @model_validator(mode="after")
    def _share(self) -> Self:
        if (self.mode == "share") is not (self.share > 0):
            raise refused("a share above 0 with the mode share, and none with the mode shadow")
        return self


def read_body(kind: type[_Kind], body: bytes) -> _Kind:
    """Read one of the bodies above.

    Raises
    ------
    BadRequest
        Naming every bad field, what was expected and what it held.
    """
    return _read(kind, body, [parsed(body)])[0]


def read_feedback(body: bytes) -> list[Feedback]:
    """Read one label, or a list of 1 to `MAX_FEEDBACK` of them.

    Raises
    ------
    BadRequest
        Naming every bad field, what was expected and what it held; `payment` of a problem is the
        place in the list.
    """
    content = parsed(body)
    several = content if isinstance(content, list) else [content]
    if not 1 <= len(several) <= MAX_FEEDBACK:
        raise BadRequest([problem(0, "", f"1 to {MAX_FEEDBACK:,} labels", len(several))])
    return _read(Feedback, body, several)


def _read(kind: type[_Kind], body: bytes, several: list[Any]) -> list[_Kind]:
    wanted = {name: field.description or "" for name, field in kind.model_fields.items()}
    twice = repeated(body)
    read: list[_Kind] = []
    problems: list[Problem] = []
    for place, content in enumerate(several):
        if not isinstance(content, dict):
            fields = f"with {', '.join(wanted)}" if wanted else "without fields"
            problems.append(problem(place, "", f"a JSON object {fields}", content))
            continue
        found = twice.get(place, {})
        try:
            read.append(kind.model_validate(content))
        except ValidationError as error:
            found |= in_fields(place, error.errors(include_url=False), wanted)
        problems += found.values()
        if len(problems) > MAX_PROBLEMS:
            break
    if problems:
        raise BadRequest(problems)
    return read
