"""The graph as Ray Serve deployments: ingress -> FeatureEngineering -> Model -> Threshold.

Each is a deployment that scales by itself; how far is said in `serve.yaml` alone. Beside them stand
one Rollout, which every replica follows, and one writer of decisions for all ingresses.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from prometheus_client import Metric
from pydantic import BaseModel, ConfigDict
from ray import serve
from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from serve_app import stages
from serve_app.graph import Graph, Outcome
from serve_app.hop import Interrupted, hop
from serve_app.ingress import Http
from serve_app.keys import Keys
from serve_app.ledger import Ledger
from serve_app.member import Follow, Member
from serve_app.metrics.bridge import Bridge
from serve_app.metrics.replicas import Work, of_ingress, of_rollout
from serve_app.rollout import Rollout as Logic
from serve_app.rollout import Wanted
from serve_app.versions import Plan, Reference, Report
from serve_app.writer import Log, ledgers, writer

CONFIG: Final = Path(__file__).with_name("serve.yaml")
NAME: Final = "fraudray"
"""The Serve application."""
LOOK: Final = 1.0
"""Seconds between two looks at the registry."""
PATIENCE: Final = 20.0
"""Seconds that an order may take until every replica follows."""

_log = logging.getLogger("ray.serve")


class Arguments(BaseModel):
    """What `serve.yaml` passes: a model's name and an alias, never a version.

    Attributes
    ----------
    keys
        Whether callers need one.
    deadline_s
        Seconds within which a request is answered.
    """

    model_config = ConfigDict(extra="forbid")

    model: str
    alias: Literal["champion"]
    keys: bool = True
    deadline_s: float = 10.0


@serve.deployment
class Rollout:
    """Watches the registry's alias and tells every replica what to hold and what to stamp."""

    async def __init__(self, model: str) -> None:  # type: ignore[misc]
        from serve_app.watch import Watch  # MLflow: seconds to import, and here alone needed

        self._watch = Watch(model)
        self._logic = Logic()
        self._changed = asyncio.Condition()
        self._looked = asyncio.Event()
        self._ordering = asyncio.Lock()
        self._away = False
        self._kept: Reference | None = None
        Bridge(_application(), self._metrics).start()
        self._task = asyncio.create_task(self._keep_looking())

    async def __del__(self) -> None:
        """Stop looking."""
        self._task.cancel()

    async def follow(self, report: Report) -> Plan:
        """Take a replica's report; the next plan, or its own again after a second."""
        try:
            async with asyncio.timeout(LOOK):
                await self._looked.wait()
        except TimeoutError:
            return report.plan  # there is none yet
        self._logic.heard(report)
        await self._tell()
        known = report.plan.generation
        async with self._changed:
            try:
                async with asyncio.timeout(LOOK):
                    await self._changed.wait_for(lambda: self._logic.plan.generation != known)
            except TimeoutError:
                pass  # the same plan says that nothing has changed
        return self._logic.plan

    async def left(self, member: str) -> None:
        """Forget a replica that leaves."""
        self._logic.left(member)
        await self._tell()

    async def order(self, kind: str, what: dict[str, Any]) -> Outcome:
        """Carry out an operator's order; return when the graph follows, or why it does not."""
        from serve_app.watch import Refused

        async with self._ordering:
            try:
                wanted = await asyncio.to_thread(self._watch.carry_out, kind, what)
            except Refused as refused:
                return Outcome(refused.status, str(refused), self._logic.plan)
            await self._want(wanted)
        deadline = time.monotonic() + PATIENCE
        while not self._logic.settled(wanted):
            reason = self._logic.refusal(wanted)
            if reason is not None:
                return Outcome(409, reason, self._logic.plan)
            if time.monotonic() > deadline:
                waiting = f"not every replica follows after {PATIENCE:g} s: {self._logic.lacking}"
                return Outcome(503, waiting, self._logic.plan)
            if self._logic.wanted != wanted:
                return Outcome(409, "another order came after this one", self._logic.plan)
            await asyncio.sleep(0.02)
        return Outcome(200, "", self._logic.plan)

    async def history(self) -> list[dict[str, Any]] | Outcome:
        """Changes of the champion, the newest first; else why they cannot be told."""
        from serve_app.watch import Refused

        try:
            return await asyncio.to_thread(self._watch.history)
        except Refused as refused:
            return Outcome(refused.status, str(refused), self._logic.plan)

    def _metrics(self) -> Iterator[Metric]:
        return of_rollout(self._logic, registry_up=not self._away)

    async def _keep_looking(self) -> None:
        while True:
            try:
                async with self._ordering:
                    await self._want(await asyncio.to_thread(self._watch.wanted))
                self._away = False
            except Exception as error:  # the registry is away: what serves goes on
                if not self._away:
                    _log.error("the registry does not answer, what serves goes on: %s", error)
                self._away = True
                if not self._looked.is_set():
                    await self._want(self._watch.last_good())
            await asyncio.sleep(LOOK)

    async def _want(self, wanted: Wanted) -> None:
        found = {
            reference: await asyncio.to_thread(self._watch.test, reference)
            for reference in self._logic.untested(wanted)
        }
        for reference, reason in found.items():
            if reason is not None:
                _log.error("version %s must not serve: %s", reference.version, reason)
        self._logic.want(wanted, found)
        last = self._watch.last_good()
        if self._logic.plan.champion is None and self._logic.refusal(wanted) and wanted != last:
            # What is named cannot serve and nothing else does: the last good one can.
            await self._want(last)
        self._looked.set()
        await self._tell()

    async def _tell(self) -> None:
        champion = self._logic.plan.champion
        if champion is not None and champion != self._kept:
            _log.warning("version %s is in service", champion.version)
            self._kept = champion
            await asyncio.to_thread(self._watch.keep, champion)
        async with self._changed:
            self._changed.notify_all()


class _Replica:
    """A stage's replica: it joins the rollout before it takes requests."""

    member: Member[Any]
    work: Work

    async def _join(self, rollout: DeploymentHandle) -> None:
        self._rollout = rollout
        await self.member.join()
        Bridge(_application(), self.work.metrics).start()

    async def __del__(self) -> None:
        """Say good-bye, so that no promotion waits for this replica."""
        await self.member.leave()
        await self._rollout.left.remote(_own_name())


@serve.deployment
class FeatureEngineering(_Replica, stages.FeatureEngineering):
    """Columns of payments to the model's feature matrix."""

    async def __init__(self, rollout: DeploymentHandle, model: DeploymentHandle) -> None:  # type: ignore[misc]
        super().__init__(_own_name(), _following(rollout), hop(model.score))
        await self._join(rollout)


@serve.deployment
class Model(_Replica, stages.Model):
    """Feature matrix to calibrated probabilities of fraud."""

    async def __init__(self, rollout: DeploymentHandle, threshold: DeploymentHandle) -> None:  # type: ignore[misc]
        super().__init__(_own_name(), _following(rollout), hop(threshold.decide))
        await self._join(rollout)


@serve.deployment
class Threshold(_Replica, stages.Threshold):
    """Probabilities to decisions."""

    async def __init__(self, rollout: DeploymentHandle) -> None:  # type: ignore[misc]
        super().__init__(_own_name(), _following(rollout))
        await self._join(rollout)


@serve.deployment
@serve.ingress()
class Ingress:
    """Answers HTTP; sends what waits down the graph together."""

    async def __init__(  # type: ignore[misc]
        self,
        arguments: dict[str, Any],
        features: DeploymentHandle,
        model: DeploymentHandle,
        rollout: DeploymentHandle,
    ) -> None:
        given = Arguments.model_validate(arguments)
        self._rollout = rollout

        self.graph = Graph(
            _own_name(),
            follow=_following(rollout),
            send=hop(features.score),
            lasting=lambda error: not isinstance(error, Interrupted),
            explain=hop(model.explain),
            orders=_Orders(rollout),
            log=Log(),
            ledger=Ledger(_own_name(), ledgers(given.model)),
        )
        self._http = Http(self.graph, Keys() if given.keys else None, given.deadline_s)
        await self.graph.start()
        Bridge(_application(), lambda: of_ingress(*self.graph.waiting)).start()

    def __serve_build_asgi_app__(self) -> Http:
        """Ray Serve asks for the application once the replica is made."""
        return self._http

    async def __del__(self) -> None:
        """Bring the last decisions to their log."""
        await self.graph.stop()
        await self._rollout.left.remote(_own_name())


class _Orders:
    """Orders, by way of the rollout."""

    def __init__(self, rollout: DeploymentHandle) -> None:
        self._rollout = rollout

    async def order(self, kind: str, what: dict[str, Any]) -> Outcome:
        outcome: Outcome = await self._rollout.order.remote(kind, what)
        return outcome

    async def history(self) -> list[dict[str, Any]] | Outcome:
        changes: list[dict[str, Any]] | Outcome = await self._rollout.history.remote()
        return changes


def build(args: dict[str, Any]) -> Application:
    """The graph of a registered model.

    Parameters
    ----------
    args
        The fields of `Arguments`, as `serve.yaml` gives them.
    """
    given = Arguments.model_validate(args)
    rollout = Rollout.bind(given.model)  # type: ignore[attr-defined]
    ingress = Ingress.options(deployment_actors=[writer(given.model)])  # type: ignore[attr-defined]
    threshold = Threshold.bind(rollout)  # type: ignore[attr-defined]
    model = Model.bind(rollout, threshold)  # type: ignore[attr-defined]
    features = FeatureEngineering.bind(rollout, model)  # type: ignore[attr-defined]
    return ingress.bind(given.model_dump(), features, model, rollout)


def configuration(model: str, *, host: str, port: int, keys: bool = True) -> dict[str, Any]:
    """`serve.yaml` for a model and an address, as `serve deploy` takes it.

    Parameters
    ----------
    keys
        Whether callers need one; only a loopback address may go without.
    """
    content: dict[str, Any] = yaml.safe_load(CONFIG.read_text("utf-8"))
    content["http_options"] |= {"host": host, "port": port}
    content["applications"][0]["args"] |= {"model": model, "keys": keys}
    return content


def _own_name() -> str:
    return str(serve.get_replica_context().replica_id.unique_id)


def _application() -> str:
    return str(serve.get_replica_context().app_name)


def _following(rollout: DeploymentHandle) -> Follow:
    async def follow(report: Report) -> Plan:
        plan: Plan = await rollout.follow.remote(report)
        return plan

    return follow
