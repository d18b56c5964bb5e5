"""Both clients against a server of sockets and threads that misbehaves as told."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from serve_app import exchange
from serve_app.attempts import FIRST_PAUSE, LONGEST_WAIT, Attempts, Done
from serve_app.client import (
    DEFAULT_URL,
    AsyncClient,
    BadRequest,
    Client,
    ServiceError,
    Unauthorised,
)
from serve_app.keys import Keys
from training.bundle import ModelBundle
from training.data import Dataset, records_of
from training.errors import DataRefused, UsageError

SECRET = "fraudray_do-not-show-me"
PAYMENT = {"accountAgeDays": 29.0}
ANSWER = {"request_id": "r", "decision": 0, "probability": 0.1 + 0.2, "threshold": 0.5,
          "model_version": "3"}  # fmt: skip
PROBLEM = {"payment": 0, "field": "numItems", "expectation": "a number", "value": "x"}

Behaviour = Callable[[BaseHTTPRequestHandler], None]


def answers(status: int, body: Any, **headers: str) -> Behaviour:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    def behave(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    return behave


def refuses(status: int, **headers: str) -> Behaviour:
    """As the service itself does."""
    return answers(status, {"detail": [PROBLEM], "request_id": "r"}, **headers)


def resets(request: BaseHTTPRequestHandler) -> None:
    """End the connection in the middle of an answer, without a goodbye."""
    request.send_response(200)
    request.send_header("Content-Length", "1000")
    request.end_headers()
    request.wfile.write(b'{"request_id": ')
    request.wfile.flush()
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    request.connection.close()


def hangs_up(request: BaseHTTPRequestHandler) -> None:
    request.connection.shutdown(socket.SHUT_RDWR)


def talks_nonsense(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"\x00\x01 what is HTTP?\r\n\r\n")


def dawdles(request: BaseHTTPRequestHandler) -> None:
    time.sleep(1)
    answers(200, ANSWER)(request)


def says_nothing(request: BaseHTTPRequestHandler) -> None:
    cast(Server, request.server).over.wait(30)


class Server(ThreadingHTTPServer):
    """Behaves as told, the last way for ever, and keeps what it was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviours: list[Behaviour] = []
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.times: list[float] = []
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Be silent: connections are broken on purpose."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def _behave(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        server = self.server
        server.times.append(time.monotonic())
        headers = {name.lower(): value for name, value in self.headers.items()}
        server.requests.append((f"{self.command} {self.path}", headers, body))
        behave = server.behaviours.pop(0) if len(server.behaviours) > 1 else server.behaviours[0]
        behave(self)
        if behave not in PERSISTENT:
            self.close_connection = True

    do_GET = do_POST = _behave  # noqa: N815

    def log_message(self, *args: Any) -> None:
        pass


PERSISTENT: list[Behaviour] = []


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()


Ask = Callable[..., Any]


@pytest.fixture(params=["waiting", "awaited"])
def ask(request: pytest.FixtureRequest, server: Server) -> Ask:
    """Ask the server, that behaves in these ways, by one client or the other."""

    def waiting(name: str, *args: Any, settings: dict[str, Any], **kwargs: Any) -> Any:
        with Client(**settings) as client:
            return getattr(client, name)(*args, **kwargs)

    def awaited(name: str, *args: Any, settings: dict[str, Any], **kwargs: Any) -> Any:
        async def asking() -> Any:
            async with AsyncClient(**settings) as client:
                return await getattr(client, name)(*args, **kwargs)

        return asyncio.run(asking())

    def ask(behaviours: list[Behaviour], name: str, *args: Any, **kwargs: Any) -> Any:
        server.behaviours = behaviours
        settings = {"url": server.url, "timeout": 10.0} | kwargs.pop("settings", {})
        return (waiting if request.param == "waiting" else awaited)(
            name, *args, settings=settings, **kwargs
        )

    return ask


GOOD = answers(200, ANSWER)
EXCHANGES: list[tuple[str, tuple[Any, ...], dict[str, Any], Any, str, Any]] = [
    ("predict", ([PAYMENT, PAYMENT],), {}, [ANSWER, ANSWER], "POST /v1/predict/batch",
     [PAYMENT, PAYMENT]),
    ("predict_one", (PAYMENT,), {}, ANSWER, "POST /v1/predict", PAYMENT),
    ("explain", (PAYMENT,), {}, ANSWER | {"reasons": []}, "POST /v1/explain", PAYMENT),
    ("model", (), {}, {"version": "3"}, "GET /v1/model", None),
    ("stats", (), {}, {"seconds": 900}, "GET /v1/stats", None),
    ("promote", ("3",), {}, {"version": "3"}, "POST /v1/admin/promote", {"version": "3"}),
    ("rollback", (), {}, {"version": "2"}, "POST /v1/admin/rollback", {}),
    ("threshold", (), {"threshold": 0.0}, {}, "POST /v1/admin/threshold", {"threshold": 0.0}),
    ("threshold", (), {"policy": "max-f1"}, {}, "POST /v1/admin/threshold", {"policy": "max-f1"}),
    ("challenger", ("4",), {"mode": "share", "share": 0.1}, {}, "POST /v1/admin/challenger",
     {"version": "4", "mode": "share", "share": 0.1}),
    ("challenger", (None,), {}, {}, "POST /v1/admin/challenger",
     {"version": None, "mode": "shadow", "share": 0.0}),
    ("history", (), {}, [{"version": "3"}], "GET /v1/admin/history", None),
]  # fmt: skip
ORDERS = [e for e in EXCHANGES if "POST /v1/admin" in e[4]]
REPEATED = [e for e in EXCHANGES if e not in ORDERS]
AWAY = {
    "503": refuses(503, Retry_After="0"), "503 of a proxy": answers(503, b"<html>busy"),
    "504": refuses(504), "502": answers(502, b"Bad Gateway"),
    "500 of a proxy": answers(500, b"Internal Server Error"),
    "reset": resets, "hung up": hangs_up, "nonsense": talks_nonsense,
}  # fmt: skip


def test_every_client_has_every_method_that_is_checked_here_and_both_the_same() -> None:
    methods = {n for n in vars(Client) if not n.startswith("_")}

    assert methods == {n for n in vars(AsyncClient) if not n.startswith("_")}
    assert methods == {e[0] for e in EXCHANGES} | {
        "predict_table", "feedback", "feedback_many", "health", "ready", "close",
    }  # fmt: skip
    for name in methods:
        ours, theirs = getattr(Client, name), getattr(AsyncClient, name)
        assert next(iter(inspect.signature(ours).parameters)) == "self"
        shown = (inspect.signature(f).parameters for f in (ours, theirs))
        assert next(shown) == next(shown)
        assert not inspect.iscoroutinefunction(ours)
        assert inspect.iscoroutinefunction(theirs)
        assert ours.__doc__


@pytest.mark.parametrize("asked", EXCHANGES, ids=lambda e: e[0])
def test_what_is_asked_is_sent_and_what_is_answered_returned(
    asked: Any, ask: Ask, server: Server
) -> None:
    name, args, kwargs, answer, line, sent = asked

    assert ask([answers(200, answer)], name, *args, **kwargs, settings={"key": SECRET}) == answer

    ((got, headers, body),) = server.requests
    assert got == line
    assert (json.loads(body) if body else None) == sent
    assert headers.get("content-type") == (None if sent is None else "application/json")
    assert headers["authorization"] == f"Bearer {SECRET}"


def test_labels_are_told_one_or_many_at_once(ask: Ask, server: Server) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    recorded = [answers(200, {"recorded": 1, "request_id": "r"})]

    assert ask(recorded, "feedback", "r", True, payment=2, at=at) == 1
    assert ask(recorded, "feedback_many", [{"request_id": "q", "label": 0}]) == 1
    told = [json.loads(body) for _, _, body in server.requests]
    assert told == [
        [{"request_id": "r", "label": True, "payment": 2, "at": "2026-01-02T03:04:05+00:00"}],
        [{"request_id": "q", "label": 0}],
    ]
    with pytest.raises(ServiceError, match="numItems: a number") as caught:
        ask([refuses(404, X_Request_ID="r-9")], "feedback", "unknown", 0)
    assert str(caught.value).endswith("(request r-9)")
    assert (caught.value.status, caught.value.problems) == (404, [PROBLEM])


def test_a_table_goes_and_comes_as_arrow(ask: Ask, server: Server) -> None:
    table = pa.table({"numItems": [1, 2]})
    answer = pa.table({"decision": pa.array([0, 1], "int8"), "probability": [0.1, 0.9]})
    answer = answer.replace_schema_metadata({"model_version": "3"})

    got = ask([answers(200, _stream(answer))], "predict_table", table, request_id="mine")

    assert got.equals(answer, check_metadata=True)
    ((line, headers, body),) = server.requests
    assert line == "POST /v1/predict/batch"
    assert headers["content-type"] == "application/vnd.apache.arrow.stream"
    assert headers["x-request-id"] == "mine"
    assert pa.ipc.open_stream(body).read_all().equals(table)

    for wrong in (b"", b"junk", _stream(answer)[:-40], _stream(answer[:1]), _stream(table)):
        with pytest.raises(ServiceError, match="answered 200"):
            ask([answers(200, wrong)], "predict_table", table)
    with pytest.raises(BadRequest):
        ask([refuses(422)], "predict_table", table)


def _stream(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def test_an_id_and_a_sticky_key_travel_as_headers_and_bad_ones_do_not(
    ask: Ask, server: Server
) -> None:
    ask([GOOD], "predict_one", PAYMENT, request_id="order-17", sticky_key="payer-3")

    headers = server.requests[0][1]
    assert (headers["x-request-id"], headers["x-sticky-key"]) == ("order-17", "payer-3")
    for bad in ("", "a b", "é", "a\r\nX: y", "x" * 129):
        with pytest.raises(UsageError, match="expected 1 to 128"):
            ask([GOOD], "predict", [PAYMENT], request_id=bad)
    assert len(server.requests) == 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), {1, 2}, "\ud800"])
def test_what_is_no_json_is_not_sent(bad: Any, ask: Ask, server: Server) -> None:
    with pytest.raises(DataRefused, match="cannot be sent as JSON"):
        ask([GOOD], "predict", [{"numItems": bad}])
    assert server.requests == []


@pytest.mark.parametrize("away", AWAY)
def test_a_service_that_is_away_for_a_moment_is_asked_again(
    away: str, ask: Ask, server: Server
) -> None:
    assert ask([AWAY[away], GOOD], "predict_one", PAYMENT) == ANSWER
    assert len(server.requests) == 2
    assert len({body for _, _, body in server.requests}) == 1


@pytest.mark.parametrize("asked", REPEATED, ids=lambda e: e[0])
def test_every_question_is_asked_again(asked: Any, ask: Ask, server: Server) -> None:
    name, args, kwargs, answer, *_ = asked

    assert ask([AWAY["502"], answers(200, answer)], name, *args, **kwargs) == answer
    assert len(server.requests) == 2


@pytest.mark.parametrize("away", AWAY)
@pytest.mark.parametrize("asked", ORDERS[:1], ids=lambda e: e[0])
def test_an_order_is_given_once(asked: Any, away: str, ask: Ask, server: Server) -> None:
    with pytest.raises(ServiceError):
        ask([AWAY[away], GOOD], asked[0], *asked[1], **asked[2])
    assert len(server.requests) == 1


@pytest.mark.parametrize("asked", ORDERS, ids=lambda e: e[0])
def test_every_order_is_given_once(asked: Any, ask: Ask, server: Server) -> None:
    with pytest.raises(ServiceError, match="503"):
        ask([AWAY["503"], GOOD], asked[0], *asked[1], **asked[2])
    assert len(server.requests) == 1


def test_there_are_so_many_attempts_and_no_more(ask: Ask, server: Server) -> None:
    with pytest.raises(ServiceError, match="answered 502: Bad Gateway") as caught:
        ask([AWAY["502"]], "model", settings={"retries": 2})

    assert caught.value.status == 502
    assert len(server.requests) == 3
    first, second = (b - a for a, b in zip(server.times, server.times[1:], strict=False))
    assert first >= 0.05
    assert second >= 0.1


def test_pauses_double(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_app.attempts.random.uniform", lambda _, most: most)
    attempts = Attempts[Any](exchange.predict([PAYMENT]), "http://h", 30, 3)
    pauses = [attempts.judge(httpx.Response(503)) for _ in range(3)]
    assert pauses == [0.1, 0.2, 0.4]


def test_retry_after_is_honoured_where_there_is_time(ask: Ask, server: Server) -> None:
    assert ask([refuses(503, Retry_After="1"), GOOD], "predict_one", PAYMENT) == ANSWER
    assert server.times[1] - server.times[0] >= 1

    begun = time.monotonic()
    with pytest.raises(ServiceError, match="503"):
        ask([refuses(503, Retry_After="999")], "predict_one", PAYMENT, settings={"timeout": 9})
    assert time.monotonic() - begun < 8  # waiting would lead nowhere
    assert len(server.requests) == 3


@pytest.mark.parametrize("given", ["-1", "soon", "1e9", "Wed, 21 Oct 2026 07:28:00 GMT", "nan"])
def test_a_retry_after_that_says_nothing_is_passed_over(
    given: str, ask: Ask, server: Server
) -> None:
    assert ask([refuses(503, Retry_After=given), GOOD], "predict_one", PAYMENT) == ANSWER
    assert server.times[1] - server.times[0] < 10


def test_a_slow_answer_is_not_waited_for_longer_than_asked(ask: Ask) -> None:
    begun = time.monotonic()
    with pytest.raises(ServiceError, match=r"none within 0\.1 seconds") as caught:
        ask([says_nothing], "predict_one", PAYMENT, settings={"timeout": 0.1})

    assert time.monotonic() - begun < 4  # httpx's own patience is five seconds
    assert caught.value.status is None
    assert ask([dawdles], "predict_one", PAYMENT) == ANSWER


def test_who_says_nothing_is_left_for_another_in_time(ask: Ask, server: Server) -> None:
    settings = {"timeout": 2.4}
    assert ask([says_nothing, GOOD], "predict_one", PAYMENT, settings=settings) == ANSWER
    assert len(server.requests) == 2
    # An order is given once, so it has all the time there is.
    assert ask([dawdles], "promote", "3", settings=settings) == ANSWER


def test_where_nobody_listens_it_says_how_to_start_the_service(ask: Ask) -> None:
    nobody = {"url": "http://127.0.0.1:9", "retries": 1}
    with pytest.raises(ServiceError, match=r"no answer from http://127\.0\.0\.1:9 .* serve"):
        ask([GOOD], "model", settings=nobody)
    assert ask([GOOD], "ready", settings=nobody) is False
    assert ask([GOOD], "health", settings=nobody) is False


@pytest.mark.parametrize("name", ["health", "ready"])
def test_health_is_asked_once_and_is_yes_or_no(name: str, ask: Ask, server: Server) -> None:
    assert ask([answers(200, b"ok")], name) is True
    for away in AWAY.values():
        assert ask([away], name) is False
    assert ask([says_nothing], name, settings={"timeout": 0.1}) is False
    give_up = time.monotonic() + 30
    while len(server.requests) < len(AWAY) + 2:  # the last was given up, perhaps before it came
        assert time.monotonic() < give_up
        time.sleep(0.01)
    assert {line for line, *_ in server.requests} == {f"GET /{name}"}
    assert len(server.requests) == len(AWAY) + 2
    with pytest.raises(ServiceError, match="404"):
        ask([answers(404, b"no such page")], name)


def test_what_the_service_refuses_is_told_problem_by_problem(ask: Ask, server: Server) -> None:
    with pytest.raises(BadRequest, match="numItems: a number, is 'x'") as caught:
        ask([refuses(422)], "predict", [PAYMENT])
    assert caught.value.problems == [PROBLEM]
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [301, 400, 404, 409, 413, 415, 500])
def test_what_asking_again_does_not_mend_is_told_at_once(
    status: int, ask: Ask, server: Server
) -> None:
    with pytest.raises(ServiceError, match=f"answered {status}: numItems: a number") as caught:
        ask([refuses(status, Location="/elsewhere"), GOOD], "predict", [PAYMENT])

    assert type(caught.value) is ServiceError
    assert (caught.value.status, caught.value.problems) == (status, [PROBLEM])
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "detail", [None, [], "no", [None], {"field": "x"}, [{"field": "x"}], [[1]], [PROBLEM, 3]]
)
def test_a_422_of_another_shape_is_a_failure(detail: Any, ask: Ask) -> None:
    with pytest.raises(ServiceError, match="answered 422"):
        ask([answers(422, {"detail": detail})], "predict", [PAYMENT])


@pytest.mark.parametrize(("status", "told"), [(401, "FRAUDRAY_KEY"), (403, "operator")])
def test_without_the_right_key_it_says_which_is_needed(
    status: int, told: str, ask: Ask, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FRAUDRAY_KEY", raising=False)
    for behaviour in (refuses(status), answers(status, b"nope")):
        with pytest.raises(Unauthorised, match=told) as caught:
            ask([behaviour, GOOD], "predict", [PAYMENT])
        assert caught.value.status == status
    assert len(server.requests) == 2
    assert "authorization" not in server.requests[0][1]


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[", b"\xff\xfe", b"[" * 5000, b"3", b"null", b"[]", b"[1, 2]", b"{}"],
    ids=repr,
)  # fmt: skip
def test_an_answer_that_is_none_is_a_failure_in_one_line(body: bytes, ask: Ask) -> None:
    with pytest.raises(ServiceError, match=r"answered 200: .*expected") as caught:
        ask([answers(200, body)], "predict", [PAYMENT] * 3)
    assert "\n" not in str(caught.value)
    if body != b"{}":
        with pytest.raises(ServiceError, match=r"answered 200: .*expected"):
            ask([answers(200, body)], "model")
    with pytest.raises(ServiceError, match=r"answered 200: .*expected"):
        ask([answers(200, body)], "feedback", "r", 1)


def test_a_body_that_cannot_be_unpacked_or_that_a_terminal_obeys_is_a_failure(ask: Ask) -> None:
    with pytest.raises(ServiceError):
        ask([answers(200, b"no gzip", Content_Encoding="gzip")], "model")
    with pytest.raises(ServiceError, match=r"500: \\x1b\[2Jboo\\nmore") as caught:
        ask([answers(500, b"\x1b[2Jboo\nmore")], "model", settings={"retries": 0})
    assert str(caught.value).isprintable()


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["detail", "recorded", "payment", "field"]) | st.text(), inner
    ),
)  # fmt: skip


@example(200, b'{"recorded": Infinity}', "", "feedback")
@given(
    status=st.integers(200, 599),
    body=st.binary() | JSON_VALUES.map(lambda value: json.dumps(value).encode()),
    wait=st.text(st.characters(max_codepoint=126, min_codepoint=32)),
    name=st.sampled_from(["predict", "model", "feedback", "ready"]),
)
def test_whatever_is_answered_is_an_answer_a_pause_or_an_error_in_one_line(
    status: int, body: bytes, wait: str, name: str
) -> None:
    args: Any = {"predict": ([PAYMENT],), "feedback": ("r", 1)}.get(name, ())
    attempts = Attempts[Any](getattr(exchange, name)(*args), "http://h", 30, 4)
    response = httpx.Response(status, content=body, headers={"Retry-After": wait})
    verdict: Any
    try:
        verdict = attempts.judge(response)
    except ServiceError as error:
        verdict = error

    if isinstance(verdict, ServiceError):
        assert verdict.status == status
        assert str(verdict).isprintable()
    else:
        assert isinstance(verdict, Done) or 0 < verdict <= FIRST_PAUSE + LONGEST_WAIT


def test_the_key_of_the_environment_is_shown(
    ask: Ask, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FRAUDRAY_KEY", f"{SECRET}\n")
    ask([GOOD], "predict_one", PAYMENT)
    ask([GOOD], "predict_one", PAYMENT, settings={"key": "another"})

    shown = [headers["authorization"] for _, headers, _ in server.requests]
    assert shown == [f"Bearer {SECRET}", "Bearer another"]


def test_the_key_is_told_nowhere(
    ask: Ask, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    told = [repr(Client(key=SECRET)), str(vars(AsyncClient(key=SECRET)))]
    for behaviour in (*AWAY.values(), refuses(401), refuses(422), answers(200, b"")):
        with pytest.raises((ServiceError, BadRequest)) as caught:
            ask([behaviour], "predict", [PAYMENT], settings={"key": SECRET, "retries": 0})
        told += traceback.format_exception(caught.value)
    for bad in (f"{SECRET}\nX: y", f"{SECRET} é"):
        with pytest.raises(ServiceError) as refused:
            Client(key=bad)
        told += traceback.format_exception(refused.value)

    assert all(headers["authorization"].endswith(SECRET) for _, headers, _ in server.requests)
    assert SECRET not in "".join(told) + caplog.text


@pytest.mark.parametrize(
    "url",
    ["", "nonsense", "127.0.0.1:8000", "ftp://h", "http://", "http://h:port", "http://h\n",
     "http://me:hunter2@h", "http://me:hunter2@h:port", "http://me:hun@ter2@h"],
)  # fmt: skip
def test_what_is_no_address_is_refused_without_its_password(url: str) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(ServiceError, match=r"is no URL|give a key") as caught:
            kind(url)
        assert "hun" not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_the_graph_itself_understands_both_clients(
    local_graph: Callable[..., Any],
    listening: Callable[[Any], Any],
    bundle: ModelBundle,
    fresh: Dataset,
    tmp_path: Path,
    ask: Ask,
) -> None:
    keys = Keys(tmp_path / "keys.json")
    graph = local_graph(keys=keys)
    for version in ("1", "2"):
        graph.add(version, bundle)
    graph.want("1")
    payments = list(records_of(fresh.take(np.arange(5)), list(fresh.spec.inputs)))
    caller, operator = ({"key": keys.add(role, role)} for role in ("caller", "operator"))

    with listening(graph) as url:
        caller["url"] = operator["url"] = url

        def to(settings: dict[str, str], name: str, *args: Any, **kwargs: Any) -> Any:
            return ask([GOOD], name, *args, **kwargs, settings=settings)

        scored = to(caller, "predict", payments, request_id="mine")
        assert [a["probability"] for a in scored] == [
            to(caller, "predict_one", payment)["probability"] for payment in payments
        ]
        table = to(caller, "predict_table", pa.Table.from_pylist(payments))
        assert table["probability"].to_pylist() == [a["probability"] for a in scored]
        assert to(caller, "explain", payments[0])["reasons"]
        assert to(caller, "model")["version"] == "1"
        assert to(caller, "health") is to(caller, "ready") is True
        with pytest.raises(BadRequest, match="numItems"):
            to(caller, "predict", [payments[0] | {"numItems": "two"}])

        to(caller, "stats")
        graph.known.add(("mine", 1))
        assert to(caller, "feedback", "mine", True, payment=1, at=datetime.now(UTC)) == 1
        with pytest.raises(ServiceError, match="nobody's") as unknown:
            to(caller, "feedback", "nobody's", False)
        assert unknown.value.status == 404

        with pytest.raises(Unauthorised, match="401"):
            to({"url": url, "key": "a-guess"}, "model")
        with pytest.raises(Unauthorised, match="403"):
            to(caller, "promote", "2")
        assert to(operator, "promote", "2")["version"] == "2"
        assert to(operator, "history") == []
        for wrong in ({}, {"threshold": 2.0}, {"threshold": 0.5, "policy": "max-f1"}):
            with pytest.raises(BadRequest):
                to(operator, "threshold", **wrong)
        with pytest.raises(BadRequest):
            to(operator, "challenger", "2", mode="share")


def test_several_are_asked_at_once_over_few_connections(server: Server) -> None:
    server.behaviours = [GOOD]
    PERSISTENT.append(GOOD)

    async def asking() -> list[Any]:
        async with AsyncClient(server.url) as client:
            return await asyncio.gather(*(client.predict_one(PAYMENT) for _ in range(20)))

    assert asyncio.run(asking()) == [ANSWER] * 20


def test_the_package_has_both_and_imports_them_when_they_are_asked_for() -> None:
    code = (
        "import sys, fraudray; assert 'httpx' not in sys.modules; "
        "from fraudray import Client, AsyncClient; import serve_app.client as c; "
        "assert (Client, AsyncClient) == (c.Client, c.AsyncClient); "
        f"assert Client().url == {DEFAULT_URL!r}; assert 'ray' not in sys.modules; "
        "assert 'pyarrow' not in sys.modules; assert not hasattr(fraudray, 'Nobody')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
