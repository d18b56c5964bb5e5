"""Hop: a call from one deployment to the next, which tells a lost call from a stage's own error."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ray.exceptions import RayError, RayTaskError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from training.errors import FraudrayError


class Interrupted(FraudrayError):
    """A call was lost on its way from stage to stage; sent again, it may arrive."""


def hop(method: DeploymentHandle) -> Callable[..., Awaitable[Any]]:
    """A stage's method; where the way to it fails, not the stage itself, `Interrupted` says so."""

    async def ask(*given: Any) -> Any:
        try:
            return await method.remote(*given)
        except Exception as error:
            cause: BaseException = error
            while isinstance(cause, RayTaskError):
                cause = cause.cause
            if isinstance(cause, Interrupted):  # further down the way
                raise Interrupted(str(cause)) from None
            passing = (RayError, RayServeException, RuntimeError, OSError)
            if cause is error and isinstance(error, passing):
                raise Interrupted(type(error).__name__) from error
            raise

    return ask
