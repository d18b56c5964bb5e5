"""A sweep from settings to a registered model, with all that lets it go on after it was killed."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any, Self

import ray

from fraudray import targets
from fraudray.exhibit import Exhibit
from fraudray.order import Order
from fraudray.output import say
from fraudray.pipeline import Published, publish
from fraudray.search import PreparedSearch
from fraudray.sweep_view import SweepView
from fraudray.sweeps import facts_from, facts_of, settled, versions_apart
from training.errors import FraudrayError, UsageError
from training.fit import train
from training.identity import fingerprint
from training.tracking import SWEEPS, EndStatus, StoreAway, Tracking, TrackingError
from tuning.journal import Journal
from tuning.metrics import SweepMetrics, listening
from tuning.plan import Planner
from tuning.record import recorded_in
from tuning.report import SweepFacts
from tuning.runs import ChildRuns
from tuning.select import winner
from tuning.sweep import rungs, sweep
from tuning.trials import Trial

FLUSH_SECONDS = 120.0
"""How long the end of a sweep waits for a tracking server that takes nothing."""


class Sweep:
    """One sweep with its journal and its run in MLflow.

    Parameters
    ----------
    journal
        Of a new sweep, or of one that goes on; locked by the caller.
    parent
        Id of its run in MLflow.
    """

    def __init__(
        self, journal: Journal, order: Order, prepared: PreparedSearch, tracking: Tracking,
        *, facts: SweepFacts, parent: str,
    ) -> None:  # fmt: skip
        self.journal, self.order, self.prepared = journal, order, prepared
        self.tracking, self.facts, self.parent = tracking, facts, parent
        self.exhibit = Exhibit(tracking, parent)

    @classmethod
    def begin(
        cls, journal: Journal, order: Order, prepared: PreparedSearch, tracking: Tracking,
        command: str = "",
    ) -> Self:  # fmt: skip
        """Start the run of a new sweep."""
        facts = facts_of(journal.name, order, prepared, command)
        parent = tracking.start(
            tracking.experiment(SWEEPS), journal.name, tags={"sweep": journal.name}
        )
        self = cls(journal, order, prepared, tracking, facts=facts, parent=parent)
        self._note()
        settings = order.search.to_dict() | {
            "space": order.search.space.source, "split": facts.split, "max_bad": order.max_bad,
            "promote": order.promote, "time_budget": order.time_budget,
        }  # fmt: skip
        tracking.log(
            parent,
            params={f"sweep.{k}": v for k, v in settings.items()},
            tags={
                "fingerprint": facts.fingerprint,
                "split": prepared.material.parts.fingerprint,
                "source": facts.source,
            },
        )
        tracking.text(parent, json.dumps(order.search.space.to_dict(), indent=1), "space.json")
        return self

    @classmethod
    def resume(cls, journal: Journal, tracking: Tracking, file: str | None = None) -> Self:
        """Take up a sweep that did not come to its end.

        Parameters
        ----------
        file
            Where the file lies now, if not where it did.

        Raises
        ------
        UsageError
            If there is no such sweep, it is done, its file has changed, or the MLflow store is
            another one.
        """
        kept = journal.settings
        facts, order = facts_from(kept["facts"]), Order.from_dict(kept["order"])
        order = replace(order, file=file or order.file)
        name = journal.name
        if facts.state == "done":
            raise UsageError(
                f"the sweep {name!r} is done: {facts.outcome}; "
                f"`fraudray sweeps report {name}` shows it"
            )
        prepared = order.prepare()
        if fingerprint(prepared.material.dataset) != facts.fingerprint:
            raise UsageError(
                f"the sweep {name!r} searched rows that {order.file} does not hold (any more); "
                f"begin a new one"
            )
        parent = str(kept["parent"])
        try:
            tracking.require(parent)
        except StoreAway:
            raise
        except TrackingError:
            raise UsageError(
                f"the run of the sweep {name!r} is not in the MLflow store {tracking.shown}; "
                f"it was in {kept['store']}: set MLFLOW_TRACKING_URI to that"
            ) from None
        if apart := versions_apart(facts):
            say(f"warning: the sweep {name!r} was begun with other versions: {apart}")
        return cls(
            journal, order, prepared, tracking,
            facts=replace(facts, state="running", ended=0.0, outcome=""), parent=parent,
        )  # fmt: skip

    def run(
        self, *, concurrency: int | None = None, time_budget: float | None = None,
        metrics: str | None = None,
    ) -> Published:  # fmt: skip
        """Try the trials on the cluster this process is connected to; register the winner.

        Parameters
        ----------
        concurrency
            Batches at a time; None for one on every CPU of the cluster.
        time_budget
            Seconds for the trials; None for those of the order.
        metrics
            Where Prometheus finds the sweep's metrics, as `SweepMetrics.served` takes it.

        Raises
        ------
        SweepError
            If no trial is done.
        TrackingError
            If the MLflow store does not come back; nothing is lost, the sweep can be resumed.
        """
        status: EndStatus = "FAILED"
        runs: ChildRuns | None = None
        try:
            self.tracking.reopen(self.parent)
            runs = ChildRuns(self.tracking.uri, self.tracking.experiment(SWEEPS), self.parent)
            time_budget = time_budget or self.order.time_budget
            # Whoever was killed while the winner was fitted goes on with that.
            trials = (
                self.journal.trials()
                if self.facts.winner
                else self._try(runs, concurrency, time_budget, metrics)
            )
            published = self._publish(trials)
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            self._note(state="stopped", ended=time.time())
            say(self._how_to_resume())
            if runs is not None:
                runs.flush(10.0)
            raise
        except FraudrayError as error:
            self._note(state="failed", ended=time.time(), outcome=str(error))
            raise
        finally:
            if runs is not None:
                runs.close()
            with suppress(TrackingError):
                self.tracking.finish(self.parent, status)
                if status != "FINISHED":
                    trials = settled(self.journal.trials(), self.facts.state)
                    self.exhibit.show(self.facts, trials)
        self._note()  # that it is done: last, so that a sweep killed until now can be resumed
        return published

    def _try(
        self, runs: ChildRuns, concurrency: int | None, time_budget: float | None,
        metrics: str | None,
    ) -> list[Trial]:  # fmt: skip
        """Try every trial that has not ended yet, shown to all who watch; note the winner."""
        search, name = self.order.search, self.journal.name
        sampler = search.sampler(self.prepared.bound)
        view = SweepView(
            name, search.metric,
            planned=sampler.total, time_budget=time_budget, problem=lambda: runs.problem,
        )  # fmt: skip
        exported = SweepMetrics(name, search.metric)
        planner = Planner(
            sampler,
            self.journal,
            rungs(search.scheduler, search.folds),
            metric=search.metric,
            concurrency=concurrency or max(int(ray.cluster_resources().get("CPU", 1)), 1),
            ahead=search.ahead,
            observers=[view, exported, recorded_in(runs)],
        )
        planner.resume()
        settings = {"At a time": f"{planner.concurrency}"}
        if time_budget is not None:
            settings["Time budget"] = f"{time_budget:g} s"
        self._note(planned=sampler.total, settings=settings)
        say(
            f"Sweep {name}: {sampler.total or 'as many as fit'} trials, "
            f"{planner.concurrency} at a time"
        )
        renewed = self.exhibit.renewed(self.facts, lambda: list(planner.trials.values()))
        if metrics is not None:
            targets.announce("sweep", *listening(metrics))
        with exported.served(metrics), view, renewed:
            trials = sweep(
                planner, self.prepared.folds, self.journal,
                policy=search.policy, metric=search.metric,
                time_budget=time_budget,
            )  # fmt: skip

        self._written(runs)
        best = winner(trials, search.metric)
        self._note(winner=best.key, nodes=tuple(sorted({t.node for t in trials if t.node})))
        return trials

    def _written(self, runs: ChildRuns) -> None:
        """Wait until MLflow has every trial.

        Raises
        ------
        TrackingError
            If the store takes none of them for a while.
        """
        if not runs.flush(2.0):
            say(f"Waiting for the MLflow store: {runs.waiting} runs left")
        left, since = runs.waiting, time.monotonic()
        while not runs.flush(5.0):
            if runs.waiting < left:
                left, since = runs.waiting, time.monotonic()
            elif time.monotonic() - since > FLUSH_SECONDS:
                raise TrackingError(
                    f"{runs.waiting} runs could not be written to the MLflow store "
                    f"{self.tracking.shown} ({runs.problem}). {self._how_to_resume()}"
                )
        if runs.refused:
            say(f"warning: MLflow does not take {len(runs.refused)} trials; {runs.problem}")

    def _publish(self, trials: list[Trial]) -> Published:
        """Refit the winner, let the gate decide, and tell of it all in the sweep's run."""
        search, material = self.order.search, self.prepared.material
        best = next(trial for trial in trials if trial.key == self.facts.winner)
        say(f"Winner: {best.recipe.label}; refitting, calibrating and testing it")
        self.tracking.log(
            self.parent, metrics={f"best_{search.metric}": best.metrics[search.metric]}
        )
        bundle = train(material.dataset, material.parts, best.recipe, material.report, threads=2)
        published = publish(
            self.tracking, self.parent, self.order.model, bundle, material,
            promote=self.order.promote,
        )  # fmt: skip
        version = published.version
        self.facts = replace(
            self.facts,
            state="done",
            ended=time.time(),
            outcome=f"{version.model} version {version.version}, "
            f"{'champion' if version.champion else 'not promoted'}: {published.verdict.reason}",
        )
        self.exhibit.show(self.facts, trials)
        return published

    def _how_to_resume(self) -> str:
        return f"What is finished is kept; go on with `fraudray sweeps resume {self.journal.name}`"

    def _note(self, **changes: Any) -> None:
        """Keep what is known of the sweep now."""
        self.facts = replace(self.facts, **changes)
        self.journal.describe(
            {
                "order": self.order.to_dict(),
                "store": self.tracking.shown,
                "parent": self.parent,
                "facts": asdict(self.facts),
            }
        )
