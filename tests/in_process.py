"""Small models, and a whole graph in this process, for the tests of every folder."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from serve_app.calls import Scores
from serve_app.decisions import Feedback
from serve_app.delivery import Delivery
from serve_app.graph import Graph, Outcome
from serve_app.ingress import Http
from serve_app.keys import Keys
from serve_app.ledger import Ledger
from serve_app.rollout import Rollout, Wanted
from serve_app.stages import FeatureEngineering, Model, Threshold
from serve_app.versions import Challenge, Plan, Reference, Report
from training.audit import Audit, audit
from training.bundle import ModelBundle
from training.data import Columns, Dataset, check
from training.fit import Recipe, train
from training.home import bundle_folder
from training.models import FAMILIES
from training.simulate import simulate
from training.spec import DatasetSpec
from training.split import Split, split
from training.threshold import Choice

_numbers = count()

SMALL = {
    "logistic-regression": {"C": 0.5},
    "random-forest": {"n_estimators": 20, "max_depth": 6},
    "xgboost": {"n_estimators": 20, "max_depth": 3},
}


@pytest.fixture(scope="session")
def spec() -> DatasetSpec:
    return DatasetSpec.load("payments")


@pytest.fixture(scope="session")
def payments() -> pd.DataFrame:
    """6,000 simulated payments in order of time, 61 of them frauds."""
    return simulate(6_000, seed=3)


@pytest.fixture(scope="session")
def dataset(payments: pd.DataFrame, spec: DatasetSpec) -> Dataset:
    """The payments with their timestamps: split by time."""
    return check(payments, spec, source="payments")


@pytest.fixture(scope="session")
def parts(dataset: Dataset) -> Split:
    return split(dataset)


@pytest.fixture(scope="session")
def report(dataset: Dataset, parts: Split) -> Audit:
    return audit(dataset, parts)


@pytest.fixture(scope="session")
def recipe() -> Callable[..., Recipe]:
    """Make the recipe of a family's small model."""

    def make(family: str, *, smote: float = 0.1, seed: int = 1, policy: str = "max-f1") -> Recipe:
        return Recipe(family, SMALL[family], smote=smote, seed=seed, policy=policy)

    return make


@pytest.fixture(scope="session")
def bundles(
    dataset: Dataset, parts: Split, report: Audit, recipe: Callable[..., Recipe]
) -> dict[str, ModelBundle]:
    """A small model of every family."""
    return {name: train(dataset, parts, recipe(name), report) for name in FAMILIES}


@pytest.fixture(scope="session")
def bundle(bundles: dict[str, ModelBundle]) -> ModelBundle:
    return bundles["xgboost"]


class LocalGraph:
    """A whole graph in this process: real stages, rollout and ingress, joined by plain calls.

    An ASGI application. What Ray Serve puts between its parts, handles and actors, is left out.
    """

    def __init__(self, folder: Path, keys: Keys | None = None, deadline: float = 10.0) -> None:
        self.rollout = Rollout()
        self.references: dict[str, Reference] = {}
        self.wanted = Wanted(None)
        self.deliveries: list[Delivery] = []
        self.known: set[tuple[str, int]] = set()
        threshold = Threshold("threshold", self.follow)
        model = Model("model", self.follow, threshold.decide)
        features = FeatureEngineering("features", self.follow, model.score)
        self.stages = (features, model, threshold)
        self.broken: Exception | None = None
        self.graph = Graph(
            "ingress",
            follow=self.follow,
            send=self.send,
            lasting=lambda error: not isinstance(error, ConnectionError),
            explain=model.explain,
            orders=self,
            log=self,
            ledger=Ledger("ingress", folder),
        )
        self.http = Http(self.graph, keys, deadline)

    def add(self, version: str, bundle: ModelBundle, choice: Choice | None = None) -> Reference:
        """Put a version where replicas find it."""
        # As in the registry, no other version ever has these: what is in memory is found by them.
        files = f"files-{next(_numbers)}"
        bundle.save(bundle_folder(files))
        self.references[version] = Reference("fraudray-payments", version, files, choice)
        return self.references[version]

    def want(self, champion: str, challenger: Challenge | None = None) -> None:
        """Name versions, as the registry would."""
        self.wanted = Wanted(self.references[champion], challenger)
        self.rollout.want(self.wanted, dict.fromkeys(self.rollout.untested(self.wanted)))

    async def follow(self, report: Report) -> Plan:
        """What a replica asks for."""
        self.rollout.heard(report)
        if self.rollout.plan.generation == report.plan.generation:
            await asyncio.sleep(0.005)
        return self.rollout.plan

    async def send(self, reference: Reference, columns: Columns) -> Scores:
        """The way through the stages."""
        if self.broken is not None:
            raise self.broken
        return await self.stages[0].score(reference, columns)

    async def order(self, kind: str, what: dict[str, Any]) -> Outcome:
        """Promote, with the registry's part left out."""
        assert kind == "promote"
        if what["version"] not in self.references:
            return Outcome(404, f"there is no version {what['version']}", self.rollout.plan)
        self.want(what["version"])
        while not self.rollout.settled(self.wanted):
            await asyncio.sleep(0.005)
        return Outcome(200, "", self.rollout.plan)

    async def history(self) -> list[dict[str, Any]]:
        """None is kept."""
        return []

    async def deliver(self, delivery: Delivery) -> bool:
        """Keep decisions in memory."""
        self.deliveries.append(delivery)
        requests = zip(delivery.request_id, delivery.rows, strict=True)
        self.known |= {(id_, payment) for id_, rows in requests for payment in range(rows)}
        return True

    async def feedback(self, labels: list[Feedback]) -> list[Feedback]:
        """Those that no decision is known of."""
        return [f for f in labels if (f.request_id, f.payment) not in self.known]

    async def stats(self) -> dict[str, Any]:
        """How many deliveries there were."""
        return {"deliveries": len(self.deliveries)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Start and stop with the application."""
        if scope["type"] != "lifespan":
            await self.http(scope, receive, send)
            return
        await receive()
        await asyncio.gather(self.graph.start(), *(s.member.join() for s in self.stages))
        while self.wanted.champion and self.graph._member.plan.champion is None:
            await asyncio.sleep(0.005)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.graph.stop()
        for stage in self.stages:
            await stage.member.leave()
        await send({"type": "lifespan.shutdown.complete"})


@pytest.fixture(scope="session")
def make_graph() -> type[LocalGraph]:
    """For a graph of a test's own; see `LocalGraph`."""
    return LocalGraph


@pytest.fixture
def local_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., LocalGraph]:
    """Make a graph with a state of its own."""
    monkeypatch.setenv("FRAUDRAY_HOME", str(tmp_path))
    return lambda **given: LocalGraph(tmp_path / "ledgers", **given)


@pytest.fixture(scope="session")
def listening() -> Callable[..., AbstractContextManager[str]]:
    """Serve an ASGI application over a real socket while a block lasts; it is given the address."""

    @contextmanager
    def listening(app: Any, port: int = 0) -> Iterator[str]:
        # Where the application cannot start it must not be asked: by default it would be.
        config = uvicorn.Config(app, port=port, lifespan="on", log_level="error")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive(), "the application did not start; the log says why"
                time.sleep(0.01)
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()

    return listening
