"""What is made of a dashboard that does not answer as it should."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from ray._raylet import AuthenticationTokenLoader

from fraudray import dashboard
from fraudray.dashboard import Dashboard
from fraudray.runtime import RuntimeProblem

VERSION = {"version": "4", "ray_version": "2.60.0", "ray_commit": "", "session_name": ""}
TRACEBACK = "Traceback (most recent call last):\n  File x\nTimeoutError: no proxy after 60 s\n"
Served = Callable[..., str]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A server of the dashboard's paths: of the applications, the answers given, the last again."""
    # Ray has read the mode as it was imported; where no cluster has left a token, it finds none.
    monkeypatch.setenv("RAY_AUTH_TOKEN", "ab" * 32)
    tokens = AuthenticationTokenLoader.instance()
    tokens.reset_cache()
    servers: list[ThreadingHTTPServer] = []

    def serve(*answers: tuple[int, str]) -> str:
        left = list(answers)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/api/ray/version":
                    status, text = 200, json.dumps(VERSION)
                else:
                    status, text = left.pop(0) if len(left) > 1 else left[0]
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()
    tokens.reset_cache()


def test_it_is_asked_again_until_it_has_what_it_needs(served: Served) -> None:
    address = served((500, TRACEBACK), (503, "later"), (200, '{"applications": {}}'))

    assert Dashboard(address).state().status == "NOT_DEPLOYED"


@pytest.mark.parametrize(
    ("status", "text", "cause"),
    [
        (500, TRACEBACK, "status 500, TimeoutError: no proxy after 60 s"),
        (400, "", "status 400, no reason given"),
        (200, "<html>", "Expecting value"),
        (401, "Unauthorized", "Authentication"),
    ],
)
def test_what_it_fails_with_is_told_in_a_line(
    status: int, text: str, cause: str, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dashboard, "PATIENCE", 0.0)

    with pytest.raises(RuntimeProblem, match="does not answer as it should") as refused:
        Dashboard(served((status, text))).state()

    assert cause in str(refused.value)
    assert "Traceback" not in str(refused.value)
    assert "\n" not in str(refused.value)
