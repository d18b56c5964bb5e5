"""Guard: who may open the page, and what a browser may do with it."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "::1")
USER, PASSWORD = "FRAUDRAY_UI_USER", "FRAUDRAY_UI_PASSWORD"

_POLICY = "; ".join(
    (
        # Gradio's own scripts and styles stand in the page, and it makes functions of texts.
        "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:",
        "connect-src 'self'",
        "object-src 'none'",
        "base-uri 'self'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    # A payment may stand in the address, which is for no other site to know.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


class Headers:
    """Tells browsers to ask no other host for anything and to let no other site frame the page."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, as ASGI has it."""

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, sent)


def middleware(host: str) -> list[Middleware]:
    """What every answer goes through, of a page that listens on `host`."""
    found = [Middleware(Headers)]
    if host in LOOPBACK:
        # Who has got a browser to take this machine for a site of theirs calls it by that name.
        hosts = ["127.0.0.1", "localhost", "["]  # the last is all that is looked at of [::1]
        found.insert(0, Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False))
    return found


def login(host: str, environment: Mapping[str, str]) -> tuple[str, str] | None:
    """User and password that the page asks for; None where it asks for none.

    Raises
    ------
    ValueError
        If other machines reach the page and nobody would be asked, or one of the two is missing.
    """
    user, password = (environment.get(name, "").strip() for name in (USER, PASSWORD))
    if user and password:
        return user, password
    if user or password:
        missing = PASSWORD if user else USER
        raise ValueError(f"{missing} is not set: the login of the page takes both, or neither")
    if host not in LOOPBACK:
        raise ValueError(
            f"--host {host} lets other machines in, and then the page asks who they are: "
            f"set {USER} and {PASSWORD}"
        )
    return None
