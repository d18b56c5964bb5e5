"""What follows from an attempt to reach the graph: an answer, an error, or another attempt."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import httpx
import pydantic_core

from serve_app.contract import BadRequest, Problem, problem_text
from serve_app.exchange import Exchange
from training.errors import FraudrayError, printable

FIRST_PAUSE = 0.1
"""Seconds before the second attempt, at most; each further pause is twice as long."""

PART = 0.4
"""Of the time for an answer, what an attempt may take while others are left: a machine that has
vanished says nothing, and by default the graph gives up after a third of it."""

LONGEST_WAIT = 10.0
"""Seconds of a Retry-After that are waited, at most."""

# Nobody listens (a restart, say), or what listened went away. What has no time left is tried no
# more, but says likewise that the service is away.
_AWAY = (httpx.NetworkError, httpx.RemoteProtocolError, httpx.TimeoutException)

T = TypeVar("T")


class ServiceError(FraudrayError):
    """The service did not answer, or not as it should.

    Attributes
    ----------
    status : int or None
        Of the answer, if there was one.
    problems : list of Problem
        What the service found wrong, where it said so.
    """

    def __init__(
        self, message: str, status: int | None = None, problems: Sequence[Problem] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.problems = list(problems)


class Unauthorised(ServiceError):
    """The service wants a key (401), or one that allows more (403)."""


@dataclass(frozen=True)
class Done(Generic[T]):
    """The end of an exchange."""

    answer: T


class Attempts(Generic[T]):
    """One exchange, attempt by attempt, whoever sends them.

    Asked again is what may be, where the service is overloaded or away (503, 502, no connection),
    too late (504) or a proxy fails (a 500 that is none of ours), after a pause: what Retry-After
    says, and a random part of one that doubles.

    Parameters
    ----------
    url
        Where the service listens, for messages.
    timeout
        Seconds from now until there must be an answer.
    retries
        Attempts after the first.
    """

    def __init__(self, asked: Exchange[T], url: str, timeout: float, retries: int) -> None:
        self._asked, self._url, self._timeout = asked, url, timeout
        self._left = retries if asked.repeatable else 0
        self._pause = FIRST_PAUSE
        self._deadline = time.monotonic() + timeout

    def request(self) -> dict[str, Any]:
        """The next attempt, as httpx takes it."""
        asked, left = self._asked, self._deadline - time.monotonic()
        if self._left:
            left = min(left, PART * self._timeout)
        return {
            "method": asked.method, "url": asked.path, "content": asked.body,
            "headers": asked.headers, "timeout": max(left, 0.001),
        }  # fmt: skip

    def judge(self, outcome: httpx.Response | httpx.HTTPError) -> Done[T] | float:
        """What follows from an attempt: the answer, or seconds to wait before the next.

        Raises
        ------
        BadRequest
            If the service refused what was sent, with every problem.
        ServiceError
            If there is no answer and will be none.
        """
        wait = 0.0
        if isinstance(outcome, httpx.HTTPError):
            failure, away = self._silence(outcome), isinstance(outcome, _AWAY)
        elif outcome.status_code == 200:
            return Done(self._read(outcome))
        else:
            failure, ours = self._refusal(outcome)
            away = outcome.status_code in (502, 503, 504) or (
                outcome.status_code == 500 and not ours
            )
            wait = _retry_after(outcome)
        wait += self._pause * random.uniform(0.5, 1)
        if away and self._left and time.monotonic() + wait < self._deadline:
            self._left -= 1
            self._pause *= 2
            return wait
        if away and self._asked.instead is not None:
            return Done(self._asked.instead)
        raise failure

    def _read(self, response: httpx.Response) -> T:
        try:
            return self._asked.read(response.content)
        except (ValueError, LookupError, TypeError, OverflowError) as error:
            told = self._told(response, f"{response.text[:200]} (expected {error})")
            raise ServiceError(told, 200) from None

    def _silence(self, error: httpx.HTTPError) -> ServiceError:
        why = (
            f"none within {self._timeout:g} seconds"
            if isinstance(error, httpx.TimeoutException)
            else printable(str(error)) or type(error).__name__
        )
        return ServiceError(
            f"no answer from {self._url} ({why}); is it running? Start it with `fraudray serve`"
        )

    def _refusal(self, response: httpx.Response) -> tuple[ServiceError, bool]:
        """What is to be raised, and whether the service itself refused, not a proxy before it."""
        status, problems = response.status_code, _problems(response)
        if status == 422 and problems:
            raise BadRequest(problems)
        said = "; ".join(map(problem_text, problems))
        message = self._told(response, said)
        if status in (401, 403):
            hint = "give an operator's" if status == 403 else "give one as `key` or $FRAUDRAY_KEY"
            return Unauthorised(f"{message} (key: {hint})", status, problems), bool(problems)
        return ServiceError(message, status, problems), bool(problems)

    def _told(self, response: httpx.Response, said: str) -> str:
        about = said or response.text[:200]
        place = f"{self._asked.method} {self._url}{self._asked.path}"
        known = response.headers.get("x-request-id")  # what its log calls it
        request = f" (request {known})" if known else ""
        return printable(f"{place} answered {response.status_code}: {about}{request}")


def _problems(response: httpx.Response) -> list[Problem]:
    """The problems that the service named; none where the answer is not one of its refusals."""
    try:
        problems = list(pydantic_core.from_json(response.content)["detail"])
        known = all(problem.keys() >= Problem.__required_keys__ for problem in problems)
    except (ValueError, LookupError, TypeError, AttributeError):
        return []
    return problems if known else []


def _retry_after(response: httpx.Response) -> float:
    given = response.headers.get("retry-after", "")
    # A date, which it may be too, comes from nothing of ours.
    return min(float(given), LONGEST_WAIT) if re.fullmatch("[0-9]{1,9}", given) else 0.0
