"""Writer: the one actor that keeps the decision log of all ingresses, and the way to it."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import ray
from prometheus_client import Metric
from ray import serve
from ray.exceptions import RayActorError, RayTaskError
from ray.serve.config import DeploymentActorConfig

from serve_app.decision_log import DecisionLog
from serve_app.decisions import Feedback, StoreAway
from serve_app.delivery import Delivery
from serve_app.metrics.bridge import Bridge
from serve_app.metrics.log import of_log
from training.home import home

CPUS: Final = 0.1
"""Of the actor."""
_NAME: Final = "decisions"


@ray.remote
class Decisions:
    """The one writer of the decision log, for all ingresses; it outlives each of them."""

    def __init__(self, model: str) -> None:
        self._log = DecisionLog(model, store_url(), ledgers(model))
        self._thread = ThreadPoolExecutor(1)
        application = serve.get_deployment_actor_context().app_name
        Bridge(application, lambda: self._thread.submit(self._metrics).result()).start()

    async def deliver(self, delivery: Delivery) -> bool:
        """Count and write what a ledger brings; whether the database holds it."""
        return bool(await self._run(self._log.deliver, delivery))

    async def feedback(self, labels: list[Feedback]) -> list[Feedback]:
        """Write labels; those of decisions that are not known."""
        return list(await self._run(self._log.feedback, labels))

    async def stats(self) -> dict[str, Any]:
        """The last minutes of the whole graph."""
        return dict(await self._run(self._log.stats))

    def _metrics(self) -> list[Metric]:
        self._log.refresh()
        return list(of_log(self._log))

    async def _run(self, work: Any, *given: Any) -> Any:
        # One thread: one writer, and the event loop stays free to answer health checks.
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *given)


class Log:
    """The way to the decision log; its writer is looked up again where it has been restarted.

    Every method raises `StoreAway` while it is.
    """

    def __init__(self) -> None:
        self._writer: Any = None

    async def deliver(self, delivery: Delivery) -> bool:
        """Count and write what a ledger brings; whether the database holds it."""
        kept: bool = await self._ask("deliver", delivery)
        return kept

    async def feedback(self, labels: list[Feedback]) -> list[Feedback]:
        """Write labels; those of decisions that are not known."""
        unknown: list[Feedback] = await self._ask("feedback", labels)
        return unknown

    async def stats(self) -> dict[str, Any]:
        """The last minutes of the whole graph."""
        stats: dict[str, Any] = await self._ask("stats")
        return stats

    async def _ask(self, method: str, *given: Any) -> Any:
        try:
            if self._writer is None:
                self._writer = serve.get_deployment_actor(_NAME)
            return await getattr(self._writer, method).remote(*given)
        except RayTaskError:
            raise
        except (RayActorError, ValueError) as error:  # Ray knows no actor of that name: ValueError
            self._writer = None
            raise StoreAway("the writer of decisions is being restarted") from error


def writer(model: str) -> DeploymentActorConfig:
    """The actor of a model's graph, as the ingress deployment takes it."""
    return DeploymentActorConfig(
        name=_NAME,
        actor_class=Decisions,
        init_kwargs={"model": model},
        actor_options={"num_cpus": CPUS, "max_concurrency": 100},
    )


def store_url() -> str:
    """Where decisions are kept: `$FRAUDRAY_DECISIONS`, or a SQLite file in the home folder."""
    return os.environ.get("FRAUDRAY_DECISIONS") or f"sqlite:///{home() / 'decisions.db'}"


def ledgers(model: str) -> Path:
    """Where the ledgers of a model have their files."""
    return home() / "ledgers" / model
