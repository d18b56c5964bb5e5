"""A lost call is told from a stage's own error, however many stages away it happened."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from ray.exceptions import ActorUnavailableError, RayTaskError
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle

from serve_app.hop import Interrupted, hop


class Method:
    """Fails as a handle does: with what happened on the way, or with a task's error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def remote(self) -> Any:
        raise self.error


def far(error: Exception) -> Exception:
    """What a caller gets where a replica raised this."""
    return RayTaskError("score", "trace", error).as_instanceof_cause()


def ask(error: Exception) -> None:
    asyncio.run(hop(cast(DeploymentHandle, Method(error)))())  # type: ignore[arg-type]


LOST = [
    ActorUnavailableError("gone", None),
    BackPressureError(1, 1),
    RuntimeError("the router is closed"),
    ConnectionResetError(),
    far(Interrupted("ActorUnavailableError")),
    far(far(Interrupted("ActorUnavailableError"))),
]


@pytest.mark.parametrize("error", LOST)
def test_a_call_that_was_lost_on_its_way_is_interrupted(error: Exception) -> None:
    with pytest.raises(Interrupted) as caught:
        ask(error)
    assert not isinstance(caught.value, RayTaskError)  # so that the next hop can pass it on


@pytest.mark.parametrize("error", [ValueError("x"), far(ValueError("x")), far(RuntimeError("x"))])
def test_what_a_stage_itself_raised_is_no_lost_call(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        ask(error)
    assert not isinstance(caught.value, Interrupted)
