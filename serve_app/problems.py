"""What is wrong with a request, problem by problem."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from reprlib import Repr
from typing import Any

import pydantic_core
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from training.errors import FraudrayError

MAX_FIELDS = 100
"""Fields in one payment."""

MAX_PROBLEMS = 1000
"""Problems named in one answer."""

_repr = Repr()  # a value may be megabytes of lists
_repr.maxlist = _repr.maxdict = 20
_repr.maxstring = _repr.maxlong = 100

REFUSED = "refused"
"""The type of a pydantic error whose message says what was expected."""


class Problem(TypedDict):
    """One thing wrong with a request: which payment of a list, which field, and what was wanted."""

    payment: int
    field: str
    expectation: str
    value: Any


class BadRequest(FraudrayError):
    """A request that breaks the contract, with the first `MAX_PROBLEMS` of its problems."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__()
        self.problems = list(problems[:MAX_PROBLEMS])

    def __str__(self) -> str:
        return "; ".join(map(problem_text, self.problems))


def problem(payment: int, field: str, expectation: str, value: Any) -> Problem:
    """One problem, cut to what an answer can carry."""
    return Problem(payment=payment, field=field[:100], expectation=expectation, value=_short(value))


def problem_text(problem: Problem) -> str:
    """One problem in a line for people."""
    held = "" if problem["value"] is None else f", is {problem['value']!r}"
    return f"{problem['field'] or 'the request'}: {problem['expectation']}{held}"


def in_fields(
    place: int, errors: Sequence[Any], expectations: Mapping[str, str]
) -> dict[str, Problem]:
    """The errors that pydantic found in one object as problems, one a field.

    Parameters
    ----------
    place
        Of the object in its list.
    errors
        As `pydantic.ValidationError.errors` gives them, with places inside the object.
    expectations
        Of all fields there are.
    """
    found = {}
    for error in errors:
        name = str(error["loc"][0]) if error["loc"] else ""
        value, wanted = error["input"], expectations.get(name)
        if error["type"] == REFUSED:
            wanted = error["msg"]
        elif wanted is None:
            wanted = f"no such field; there are {', '.join(expectations)}"
        elif error["type"] == "missing":
            wanted, value = f"{wanted}; the field is required", None
        # A field that may be of two types is refused once for each.
        found[name] = problem(place, name, wanted, value)
    return found


def parsed(body: bytes) -> Any:
    """The content of a JSON body; of a field that is there twice, the last.

    Raises
    ------
    BadRequest
        If it is no JSON: broken, no UTF-8, with half of a surrogate pair, or nested too deeply.
    """
    try:
        return pydantic_core.from_json(body)
    except ValueError as error:
        raise BadRequest([problem(0, "", f"JSON ({error})", None)]) from None


def repeated(body: bytes) -> dict[int, dict[str, Problem]]:
    """The fields that are there twice in a body that `parsed` has read.

    Returns
    -------
    dict
        Problems by field, by the place of the object in the list; one object is at 0.
    """
    content = json.loads(body.decode(), object_pairs_hook=_object)
    several = content if isinstance(content, list) else [content]
    return {
        place: {
            name: problem(place, name, "the field once", found[name]) for name in found.repeated
        }
        for place, found in enumerate(several)
        if isinstance(found, _Repeating)
    }


class _Repeating(dict[str, Any]):
    """An object with names that are there twice."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.repeated = [n for n, count in Counter(n for n, _ in pairs).items() if count > 1]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    return content if len(content) == len(pairs) else _Repeating(pairs)


def refused(reason: str) -> pydantic_core.PydanticCustomError:
    """What a validator raises to say in its own words what was expected."""
    return pydantic_core.PydanticCustomError(REFUSED, "{reason}", {"reason": reason})


def _short(value: Any) -> Any:
    """A value as an answer can carry it: not at length, and NaN, which JSON lacks, as text."""
    if isinstance(value, str):
        return value[:100]
    if value is None or (isinstance(value, int | float) and abs(value) < 1e18):
        return value
    return _repr.repr(value)[:100]
