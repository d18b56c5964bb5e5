"""Requests and replies over ASGI, as far as this service needs them."""

from __future__ import annotations

import asyncio
import mimetypes
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.types import Receive, Scope, Send

from serve_app import arrow
from serve_app.refusals import Refused

MAX_BODY: Final = 8 * 1024 * 1024
"""Bytes of a JSON body; 10,000 payments with every field take about 2 MB."""
MAX_ARROW: Final = 32 * 1024 * 1024
"""Bytes of an Arrow body."""
BODY_SECONDS: Final = 10.0
"""Seconds that a body may take to arrive."""

JSON: Final = "application/json"

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")


@dataclass
class Request:
    """One request, its body read."""

    id: str
    path: str
    headers: dict[str, str]
    body: bytes
    began: float

    @property
    def kind(self) -> str:
        """Its content type without parameters, in small letters; empty if none was given."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True)
class Reply:
    """An answer's body."""

    body: bytes
    kind: str = JSON


Handler = Callable[[Request], Awaitable[Reply]]


def begun(scope: Scope) -> Request:
    """A request before its body."""
    headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
    began = asyncio.get_running_loop().time()
    return Request(_request_id(headers), scope["path"], headers, b"", began)


async def body(receive: Receive, kind: str) -> bytes:
    """Read a body of a content type.

    Raises
    ------
    Refused
        If it is too large, too slow or cut off.
    """
    most = MAX_ARROW if kind == arrow.MEDIA_TYPE else MAX_BODY
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refused.because(400, "a whole body")
                chunk = message.get("body", b"")
                size += len(chunk)
                if size > most:
                    raise Refused.because(413, f"a body of at most {most:,} bytes")
                chunks.append(chunk)
                if not message.get("more_body", False):
                    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
    except TimeoutError:
        raise Refused.because(408, f"a whole body within {BODY_SECONDS:g} s") from None


async def respond(send: Send, reply: Reply, status: int, headers: Mapping[str, str]) -> None:
    """Send a reply. Ray Serve adds the request's id to its headers."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", reply.kind.encode()),
                (b"content-length", str(len(reply.body)).encode()),
                *((k.lower().encode(), v.encode()) for k, v in headers.items()),
            ],
        }
    )
    await send({"type": "http.response.body", "body": reply.body})


def file(path: Path) -> Handler:
    """A handler that answers with a file."""

    async def handler(request: Request) -> Reply:
        del request
        kind, _ = mimetypes.guess_type(path.name)
        return Reply(path.read_bytes(), kind or "application/octet-stream")

    return handler


async def lifespan(receive: Receive, send: Send) -> None:
    """Start and stop with the server; there is nothing to do."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _request_id(headers: Mapping[str, str]) -> str:
    """The caller's, if it is one that can stand in a log line; else a new one."""
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
