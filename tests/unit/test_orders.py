"""Feedback and orders are read whole, or refused with every bad field."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.contract import (
    BadRequest,
    NewChallenger,
    NewThreshold,
    Promote,
    Rollback,
    read_body,
    read_feedback,
)
from serve_app.orders import MAX_FEEDBACK

KINDS = (Promote, Rollback, NewThreshold, NewChallenger)


@pytest.mark.parametrize(("given_", "label"), [(0, 0), (1, 1), (1.0, 1), (False, 0), (True, 1)])
def test_a_label_may_be_a_number_or_a_boolean(given_: Any, label: int) -> None:
    (feedback,) = read_feedback(json.dumps({"request_id": "a", "label": given_}).encode())

    assert type(feedback.label) is int
    assert (feedback.label, feedback.payment, feedback.at) == (label, 0, None)


@given(at=st.datetimes(timezones=st.none() | st.timezones()))
def test_a_time_is_told_with_its_zone_or_in_utc(at: datetime) -> None:
    (feedback,) = read_feedback(
        json.dumps({"request_id": "a", "label": 1, "at": at.isoformat()}).encode()
    )

    told = datetime.fromisoformat(at.isoformat())
    assert feedback.at == (told if at.tzinfo else told.replace(tzinfo=UTC))


def test_every_bad_label_of_a_list_is_named_with_its_place() -> None:
    labels = [
        {"request_id": "a", "label": 1},
        {"request_id": "two words", "label": 2, "payment": -1, "at": 5, "colour": "red"},
        7,
        {"label": "1", "at": "yesterday"},
    ]

    with pytest.raises(BadRequest) as caught:
        read_feedback(json.dumps(labels).encode())

    found = {(p["payment"], p["field"]): p["value"] for p in caught.value.problems}
    assert found == {
        (1, "request_id"): "two words", (1, "label"): 2, (1, "payment"): -1, (1, "at"): 5,
        (1, "colour"): "red", (2, ""): 7, (3, "request_id"): None, (3, "label"): "1",
        (3, "at"): "yesterday",
    }  # fmt: skip
    assert len(found) == len(caught.value.problems)


@pytest.mark.parametrize("count", [0, MAX_FEEDBACK + 1])
def test_too_few_and_too_many_labels_are_refused(count: int) -> None:
    with pytest.raises(BadRequest, match="1 to 10,000 labels"):
        read_feedback(json.dumps([{"request_id": "a", "label": 1}] * count).encode())


@pytest.mark.parametrize(
    ("kind", "body", "read"),
    [
        (Promote, {"version": "12"}, {"version": "12"}),
        (Rollback, {}, {}),
        (NewThreshold, {"threshold": 0.25}, {"threshold": 0.25, "policy": None}),
        (NewThreshold, {"policy": "recall >= 0.9"}, {"threshold": None, "policy": "recall>=0.9"}),
        (NewChallenger, {"version": None}, {"version": None, "mode": "shadow", "share": 0}),
        (NewChallenger, {"version": "3", "mode": "share", "share": 1},
         {"version": "3", "mode": "share", "share": 1}),
    ],
)  # fmt: skip
def test_an_order_is_read(kind: Any, body: dict[str, Any], read: dict[str, Any]) -> None:
    assert read_body(kind, json.dumps(body).encode()).model_dump() == read


@pytest.mark.parametrize(
    ("kind", "body", "message"),
    [
        (Promote, '{"version": 3}', 'version: a version as a text, such as "3", is 3'),
        (Promote, '{"version": "latest"}', "version: a version as a text"),
        (Promote, "{}", "version: a version as a text, such as \"3\"; the field is required"),
        (Promote, '{"version": "3", "version": "4"}', "version: the field once, is '4'"),
        (Promote, "[]", "the request: a JSON object with version, is '[]'"),
        (Promote, "", "the request: JSON ("),
        (Rollback, '{"version": "3"}', "version: no such field"),
        (Rollback, "null", "the request: a JSON object without fields"),
        (NewThreshold, "{}", "the request: either a threshold or a policy"),
        (NewThreshold, '{"threshold": 1.5}', "threshold: a number above 0 and at most 1, is 1.5"),
        (NewThreshold, '{"threshold": NaN}', "threshold: a number above 0 and at most 1, is 'nan'"),
        (NewThreshold, '{"threshold": 0.5, "policy": "max-f1"}', "the request: either a"),
        (NewThreshold, '{"policy": "best"}', "policy: no threshold policy 'best'; there are max"),
        (NewThreshold, '{"policy": "recall>=2"}', "policy: the number in the policy"),
        (NewThreshold, '{"policy": 2}', "policy: a policy such as max-f1"),
        (NewChallenger, "{}", "version: a version as a text, such as \"3\", or null; the field"),
        (NewChallenger, '{"version": "3", "mode": "best"}', "mode: shadow or share, is 'best'"),
        (NewChallenger, '{"version": "3", "mode": "share"}', "the request: a share above 0"),
        (NewChallenger, '{"version": "3", "share": 0.5}', "the request: a share above 0"),
        (NewChallenger, '{"version": "3", "share": 2}', "share: the challenger's part of"),
    ],
)  # fmt: skip
def test_a_bad_order_is_named(kind: Any, body: str, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read_body(kind, body.encode())

    (problem,) = caught.value.problems
    json.dumps(problem, allow_nan=False)
    assert str(caught.value).startswith(message)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
_names = st.sampled_from(["request_id", "label", "payment", "at", "version", "policy", "share"])


@given(junk=st.dictionaries(_names, _json) | _json | st.binary(), kind=st.sampled_from(KINDS))
def test_junk_is_read_or_refused_in_a_way_that_can_be_answered(junk: Any, kind: Any) -> None:
    body = junk if isinstance(junk, bytes) else json.dumps(junk).encode()
    for read in (lambda: read_body(kind, body), lambda: read_feedback(body)):
        try:
            read()
        except BadRequest as bad:
            json.dumps(bad.problems, allow_nan=False).encode()
