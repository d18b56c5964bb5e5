"""A client of the graph's HTTP interface."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import httpx

from serve_app.contract import Answer, BadRequest, Record
from training.errors import FraudrayError

DEFAULT_URL = "http://127.0.0.1:8000"


class ServiceError(FraudrayError):
    """The service did not answer, or not as it should."""


class Client:
    """Talks to a running graph.

    Parameters
    ----------
    url
        Where it listens.
    timeout
        Seconds to wait for an answer.

    Examples
    --------
    >>> with Client("http://127.0.0.1:8000") as client:  # doctest: +SKIP
    ...     client.predict([{"accountAgeDays": 29, ...}])[0]["decision"]
    0
    """

    def __init__(self, url: str = DEFAULT_URL, *, timeout: float = 30.0) -> None:
        self.url = url.rstrip("/")
        try:
            # Loopback or a cluster's own network: an environment's web proxy is not for us.
            self._http = httpx.Client(base_url=self.url, timeout=timeout, trust_env=False)
        except httpx.InvalidURL as error:
            raise ServiceError(f"{url!r} is no URL: {error}") from None

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

    def predict(self, payments: Sequence[Record], *, request_id: str | None = None) -> list[Answer]:
        """Score payments, in order.

        Raises
        ------
        BadRequest
            If payments break the contract; every problem is listed.
        ServiceError
            If the service cannot be reached or fails.
        """
        headers = {"X-Request-ID": request_id} if request_id else {}
        answers: list[Answer] = self._call("POST", "/predict", json=list(payments), headers=headers)
        return answers

    def model(self) -> dict[str, Any]:
        """The model in service."""
        about: dict[str, Any] = self._call("GET", "/model")
        return about

    def _call(self, method: str, path: str, **content: Any) -> Any:
        try:
            response = self._http.request(method, path, **content)
        except httpx.HTTPError as error:
            raise ServiceError(
                f"no answer from {self.url} ({str(error) or type(error).__name__}); "
                f"is it running? Start it with `fraudray serve`"
            ) from None
        try:
            answer = response.json()
            if response.status_code == 422:
                raise BadRequest(answer["detail"])
        except (ValueError, KeyError, TypeError):
            answer = None
        if response.status_code != 200 or answer is None:
            raise ServiceError(
                f"{method} {self.url}{path} answered {response.status_code}: {response.text[:200]}"
            )
        return answer
