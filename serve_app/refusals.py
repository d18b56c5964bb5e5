"""What a request is refused with: which status says what went wrong, and in which words."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from serve_app.calls import Overloaded, TooLate
from serve_app.contract import BadRequest, Problem
from serve_app.decisions import StoreAway
from serve_app.graph import NotReady, Outcome

_log = logging.getLogger("ray.serve")


class Refused(Exception):
    """An answer that is no 200."""

    def __init__(
        self, status: int, problems: list[Problem], headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status)
        self.status = status
        self.problems = problems
        self.headers = dict(headers or {})

    @classmethod
    def because(cls, status: int, expectation: str, **headers: str) -> Refused:
        """With one reason that is about no field."""
        problem = Problem(payment=0, field="", expectation=expectation, value=None)
        return cls(status, [problem], {n.replace("_", "-"): v for n, v in headers.items()})


def refusal(error: Exception, request_id: str) -> Refused:
    """What the caller is told of an error."""
    match error:
        case Refused():
            return error
        case BadRequest():
            return Refused(422, error.problems)
        case Overloaded():
            return Refused.because(503, f"less to do: {error}", Retry_After="1")
        case NotReady():
            return Refused.because(503, f"a graph that is ready: {error}", Retry_After="2")
        case StoreAway():
            return Refused.because(503, "a decision log that answers", Retry_After="2")
        case TooLate() | TimeoutError():
            return Refused.because(504, "an answer in time; there was none")
    _log.error("request %s failed", request_id, exc_info=error)
    return Refused.because(500, "an internal error; the log has it under the request id")


def undone(outcome: Outcome) -> Refused:
    """What an operator is told of an order that was not carried out."""
    headers = {"Retry_After": "2"} if outcome.status == 503 else {}
    return Refused.because(outcome.status, outcome.reason, **headers)


def reason(error: Exception, status: int) -> str:
    """The refusal in a word, one of `REASONS`, for counting."""
    match error:
        case BadRequest():
            return "invalid"
        case Overloaded():
            return "overload"
        case NotReady():
            return "not-ready"
        case StoreAway():
            return "decision-log"
    return _BY_STATUS.get(status, "error")


_BY_STATUS = {
    400: "broken", 401: "key", 403: "key", 404: "unknown", 405: "method", 408: "slow",
    409: "order", 413: "too-large", 415: "content-type", 503: "order", 504: "deadline",
}  # fmt: skip
