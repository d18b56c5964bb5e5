"""Clients of the graph's HTTP interface: one that waits for an answer, one that awaits it."""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import ssl
import time
from collections.abc import Callable, Coroutine
from functools import update_wrapper
from types import TracebackType
from typing import Any, ClassVar, Concatenate, ParamSpec, Self, TypeVar

import httpx

from serve_app import exchange
from serve_app.attempts import Attempts, Done, ServiceError, Unauthorised
from serve_app.contract import BadRequest
from serve_app.exchange import Exchange

__all__ = ["DEFAULT_URL", "AsyncClient", "BadRequest", "Client", "ServiceError", "Unauthorised"]

DEFAULT_URL = "http://127.0.0.1:8000"

P = ParamSpec("P")
T = TypeVar("T")


def _waits(build: Callable[P, Exchange[T]]) -> Callable[Concatenate[Client, P], T]:
    """Make a method that asks and waits."""

    def method(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._ask(build(*args, **kwargs))

    _as_method(method, build)
    return method


def _awaits(
    build: Callable[P, Exchange[T]],
) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]]:
    """Make a method that asks and is awaited."""

    async def method(self: AsyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._ask(build(*args, **kwargs))

    _as_method(method, build)
    return method


def _as_method(method: Callable[..., Any], build: Callable[..., Any]) -> None:
    """Let `help` show what `build` says and takes, and not that it makes an Exchange."""
    update_wrapper(method, build)
    taken = inspect.signature(build)
    first = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    shown = taken.replace(
        parameters=[first, *taken.parameters.values()], return_annotation=inspect.Signature.empty
    )
    vars(method)["__signature__"] = shown


class _Session:
    """What both clients are made with."""

    _opens: ClassVar[type[httpx.Client | httpx.AsyncClient]]

    def __init__(
        self, url: str = DEFAULT_URL, *, key: str | None = None, timeout: float = 30.0,
        retries: int = 4,
    ) -> None:  # fmt: skip
        self.url = _checked(url)
        self._timeout, self._retries = timeout, retries
        key = (key or os.environ.get("FRAUDRAY_KEY") or "").strip()
        # httpx would refuse it too, with a message that shows it.
        if not re.fullmatch(r"[\x21-\x7e]*", key):
            raise ServiceError("the key is none: expected visible ASCII characters, no spaces")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # To read the certificates of all authorities takes longer than most answers. Without TLS
        # nobody needs them, and this trusts none.
        nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._http: Any = self._opens(
            base_url=self.url, headers=headers, verify=self.url.startswith("https:") or nobody,
            trust_env=False,  # loopback or a cluster's own network: no web proxy is for us
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def _attempts(self, asked: Exchange[T]) -> Attempts[T]:
        return Attempts(asked, self.url, self._timeout, self._retries)


def _checked(url: str) -> str:
    shown = re.sub(r"//.*@", "//", url)  # a password is not for messages
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ServiceError(f"{shown!r} is no URL: {error}") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ServiceError(f"{shown!r} is no URL: expected one such as {DEFAULT_URL}")
    if parsed.userinfo:
        raise ServiceError(f"{shown!r} was given with a user: give a key instead")
    return url.rstrip("/")


class Client(_Session):
    """Talks to a running graph and waits for its answers; threads may share one.

    Every method raises BadRequest where what is sent breaks the contract, with every problem;
    Unauthorised without the right key; else ServiceError where the service cannot be reached or
    fails. Predictions, explanations, feedback and questions are asked again where that may help;
    orders (`promote`, `rollback`, `threshold`, `challenger`) never.

    Parameters
    ----------
    url
        Where the graph listens.
    key
        What `fraudray keys add` wrote; by default `$FRAUDRAY_KEY`, else none.
    timeout
        Seconds until an answer must begin to come, retries included.
    retries
        Attempts after the first, at most.

    Examples
    --------
    >>> with Client("http://127.0.0.1:8000") as client:  # doctest: +SKIP
    ...     client.predict([{"accountAgeDays": 29, ...}])[0]["decision"]
    0
    """

    _opens = httpx.Client

    predict = _waits(exchange.predict)
    predict_one = _waits(exchange.predict_one)
    predict_table = _waits(exchange.predict_table)
    explain = _waits(exchange.explain)
    model = _waits(exchange.model)
    stats = _waits(exchange.stats)
    feedback = _waits(exchange.feedback)
    feedback_many = _waits(exchange.feedback_many)
    health = _waits(exchange.health)
    ready = _waits(exchange.ready)
    promote = _waits(exchange.promote)
    rollback = _waits(exchange.rollback)
    threshold = _waits(exchange.threshold)
    challenger = _waits(exchange.challenger)
    history = _waits(exchange.history)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def _ask(self, asked: Exchange[T]) -> T:
        attempts = self._attempts(asked)
        while True:
            outcome: httpx.Response | httpx.HTTPError
            try:
                outcome = self._http.request(**attempts.request())
            except httpx.HTTPError as error:
                outcome = error
            verdict = attempts.judge(outcome)
            if isinstance(verdict, Done):
                return verdict.answer
            time.sleep(verdict)


class AsyncClient(_Session):
    """Talks to a running graph from one event loop; `Client`, with every method awaited.

    Examples
    --------
    >>> async with AsyncClient("http://127.0.0.1:8000") as client:  # doctest: +SKIP
    ...     answers = await client.predict([{"accountAgeDays": 29, ...}])
    """

    _opens = httpx.AsyncClient

    predict = _awaits(exchange.predict)
    predict_one = _awaits(exchange.predict_one)
    predict_table = _awaits(exchange.predict_table)
    explain = _awaits(exchange.explain)
    model = _awaits(exchange.model)
    stats = _awaits(exchange.stats)
    feedback = _awaits(exchange.feedback)
    feedback_many = _awaits(exchange.feedback_many)
    health = _awaits(exchange.health)
    ready = _awaits(exchange.ready)
    promote = _awaits(exchange.promote)
    rollback = _awaits(exchange.rollback)
    threshold = _awaits(exchange.threshold)
    challenger = _awaits(exchange.challenger)
    history = _awaits(exchange.history)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def _ask(self, asked: Exchange[T]) -> T:
        attempts = self._attempts(asked)
        while True:
            outcome: httpx.Response | httpx.HTTPError
            try:
                outcome = await self._http.request(**attempts.request())
            except httpx.HTTPError as error:
                outcome = error
            verdict = attempts.judge(outcome)
            if isinstance(verdict, Done):
                return verdict.answer
            await asyncio.sleep(verdict)
