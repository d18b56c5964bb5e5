"""What may be asked of the graph: the request that each question makes, how its answer is read.

Nothing here sends anything. `serve_app.client` makes a method of each of these functions: they
return there, once the answer has come, what is read from it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import pydantic_core

from serve_app.contract import Answer, Explained, Record
from training.errors import DataRefused, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

ARROW = "application/vnd.apache.arrow.stream"
JSON = "application/json"

T = TypeVar("T")


@dataclass(frozen=True)
class Exchange(Generic[T]):
    """One request and what its answer means.

    Attributes
    ----------
    read
        The body of an answer 200 as a value. Where that is not what it should be it raises
        ValueError, LookupError or TypeError, saying what was expected.
    repeatable
        Whether it does no harm to ask again when no answer came.
    instead
        What is returned if the service is away; None: that is an error.
    """

    method: Literal["GET", "POST"]
    path: str
    read: Callable[[bytes], T]
    body: bytes | None = field(default=None, repr=False)  # payments are nobody's business
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True
    instead: T | None = None


def predict(
    payments: Sequence[Record], *, request_id: str | None = None, sticky_key: str | None = None
) -> Exchange[list[Answer]]:
    """Score 1 to 10,000 payments; the answers stand in their order.

    Parameters
    ----------
    payments
        Each with a value for every field the model wants; see `inputs` of `model()`.
    request_id
        Stands in the answers and the logs; by default the service makes one.
    sticky_key
        Where a challenger shares the traffic, equal keys always meet the same version.
    """
    headers = _headers(request_id, sticky_key)
    read = _list(len(payments))
    return Exchange("POST", "/v1/predict/batch", read, _json(list(payments)), headers)


def predict_one(
    payment: Record, *, request_id: str | None = None, sticky_key: str | None = None
) -> Exchange[Answer]:
    """Score one payment; the parameters are those of `predict`."""
    headers = _headers(request_id, sticky_key)
    return Exchange("POST", "/v1/predict", _object, _json(payment), headers)


def predict_table(
    table: pa.Table, *, request_id: str | None = None, sticky_key: str | None = None
) -> Exchange[pa.Table]:
    """Score 1 to 100,000 payments as an Arrow table, the quickest way for many.

    Returns
    -------
    pyarrow.Table
        Columns `decision` (int8) and `probability` (float64), a row for each of `table`;
        `request_id`, `threshold` and `model_version` are metadata of its schema.
    """
    import pyarrow as pa

    def read(content: bytes) -> pa.Table:
        try:
            answer = pa.ipc.open_stream(content).read_all()
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"an Arrow stream: {error}") from None
        if len(answer) != len(table) or {"decision", "probability"} - set(answer.column_names):
            raise ValueError(f"{len(table):,} rows of decision and probability")
        return answer

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    headers = _headers(request_id, sticky_key, ARROW)
    return Exchange("POST", "/v1/predict/batch", read, sink.getvalue().to_pybytes(), headers)


def explain(
    payment: Record, *, request_id: str | None = None, sticky_key: str | None = None
) -> Exchange[Explained]:
    """Score one payment and say why: with `reasons`, and with `changes` that would turn it."""
    headers = _headers(request_id, sticky_key)
    return Exchange("POST", "/v1/explain", _object, _json(payment), headers)


def model() -> Exchange[dict[str, Any]]:
    """Describe the model in service, the fields it wants, and its challenger."""
    return Exchange("GET", "/v1/model", _object)


def stats() -> Exchange[dict[str, Any]]:
    """Sum up the last 15 minutes: requests, decisions, latency, scores, what labels say."""
    return Exchange("GET", "/v1/stats", _object)


def feedback(
    request_id: str, label: bool | int, *, payment: int = 0, at: datetime | str | None = None
) -> Exchange[int]:
    """Tell whether a payment that was decided on was fraud. The last label told counts.

    Parameters
    ----------
    request_id
        Of the answer.
    label
        1 or True: it was fraud.
    payment
        The payment's place in its request, from 0.
    at
        When that became known: a time or one in ISO 8601, UTC where it names no zone.

    Returns
    -------
    int
        How many labels were recorded.
    """
    return feedback_many([{"request_id": request_id, "label": label, "payment": payment, "at": at}])


def feedback_many(labels: Sequence[Record]) -> Exchange[int]:
    """Tell 1 to 10,000 labels at once, each as a dict of the parameters of `feedback`.

    If some name a request that is not known, the others are recorded all the same, and the
    `problems` of the ServiceError (404) say which.
    """
    return Exchange("POST", "/v1/feedback", _recorded, _json(list(labels)), _headers())


def health() -> Exchange[bool]:
    """Ask once whether the service is alive; False where nothing answers."""
    return Exchange("GET", "/health", _yes, repeatable=False, instead=False)


def ready() -> Exchange[bool]:
    """Ask once whether the graph can score payments now; False where nothing answers."""
    return Exchange("GET", "/ready", _yes, repeatable=False, instead=False)


def promote(version: str) -> Exchange[dict[str, Any]]:
    """Make a version the champion. As every order it needs an operator's key where keys are used.

    Orders are sent once: where no answer comes, `model()` tells whether it was carried out.
    """
    return _order("promote", {"version": version})


def rollback() -> Exchange[dict[str, Any]]:
    """Make the version that was champion before champion again."""
    return _order("rollback", {})


def threshold(
    *, threshold: float | None = None, policy: str | None = None
) -> Exchange[dict[str, Any]]:
    """Let the champion decide at another threshold, or at the one that a policy chooses.

    Parameters
    ----------
    threshold, policy
        One of the two: a probability from 0 to 1, or a policy such as "recall>=0.9".
    """
    given = {"threshold": threshold, "policy": policy}
    return _order("threshold", {name: value for name, value in given.items() if value is not None})


def challenger(
    version: str | None, *, mode: Literal["shadow", "share"] = "shadow", share: float = 0.0
) -> Exchange[dict[str, Any]]:
    """Let a version score beside the champion, or with None none.

    Parameters
    ----------
    mode
        "shadow": it scores everything and answers nothing. "share": it answers `share` of it.
    share
        The challenger's part of the traffic, from 0 to 1.
    """
    return _order("challenger", {"version": version, "mode": mode, "share": share})


def history() -> Exchange[list[dict[str, Any]]]:
    """List what became of the champions: time, version, action and reason, newest first."""
    return Exchange("GET", "/v1/admin/history", _list(None))


def _order(name: str, content: Record) -> Exchange[dict[str, Any]]:
    path = f"/v1/admin/{name}"
    return Exchange("POST", path, _object, _json(content), _headers(), repeatable=False)


def _headers(
    request_id: str | None = None, sticky_key: str | None = None, kind: str = JSON
) -> dict[str, str]:
    headers = {"Content-Type": kind}
    for name, value in (("X-Request-ID", request_id), ("X-Sticky-Key", sticky_key)):
        if value is None:
            continue
        # The service would put an id of its own in the place of one that it cannot take.
        if not re.fullmatch(r"[\x21-\x7e]{1,128}", value):
            raise UsageError(f"{name} {value!r}: expected 1 to 128 visible ASCII characters")
        headers[name] = value
    return headers


def _json(content: Any) -> bytes:
    try:
        return json.dumps(
            content, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_time
        ).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise DataRefused(f"this cannot be sent as JSON: {error}") from None


def _time(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{value!r} is a {type(value).__name__}")


def _object(content: bytes) -> Any:
    answer = _parsed(content)
    if not isinstance(answer, dict):
        raise TypeError("a JSON object")
    return answer


def _list(count: int | None) -> Callable[[bytes], list[Any]]:
    def read(content: bytes) -> list[Any]:
        answer = _parsed(content)
        if not isinstance(answer, list) or (count is not None and len(answer) != count):
            raise TypeError(f"a JSON list{'' if count is None else f' of {count:,}'}")
        return answer

    return read


def _parsed(content: bytes) -> Any:
    try:
        return pydantic_core.from_json(content)
    except ValueError:
        raise ValueError("JSON") from None


def _recorded(content: bytes) -> int:
    return int(_object(content)["recorded"])


def _yes(content: bytes) -> bool:
    del content
    return True
