"""Runs: what MLflow keeps of trials and sweeps while they are made, and afterwards."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from mlflow.entities import Metric, Param, RunTag
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from training.home import VERSION, home
from training.tracking.store import Store, TrackingError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EndStatus = Literal["FINISHED", "FAILED", "KILLED"]
RunStatus = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]

PARENT = "mlflow.parentRunId"
"""The tag that names the run which a run is below."""
_PAGE = 1000
_ONCE = Lock()


class Report(NamedTuple):
    """Metrics measured together.

    Attributes
    ----------
    at
        Unix time. What is written again with the same time is kept once.
    """

    metrics: Mapping[str, float]
    step: int
    at: float


class Child(NamedTuple):
    """A run below another."""

    run_id: str
    status: RunStatus


class Runs(Store):
    """The runs of an MLflow store."""

    def __init__(self, uri: str | None = None) -> None:
        super().__init__(uri)
        # MLflow looks a run up for every file it keeps, which takes five times as long.
        self._places: dict[str, str] = {}

    def experiment(self, name: str) -> str:
        """Id of the experiment of that name, made if it is not there."""
        with self._explained():
            found = self._client.get_experiment_by_name(name)
            if found is not None:
                return str(found.experiment_id)
            # A server stores artifacts itself; beside a local database they need a place.
            artifacts = None if self.remote else (home() / "artifacts").as_uri()
            return str(self._client.create_experiment(name, artifacts))

    def start(
        self, experiment: str, name: str, *,
        parent: str | None = None, tags: Mapping[str, Any] = {}, began: float | None = None,
    ) -> str:  # fmt: skip
        """Begin a run, below a parent run if one is given; returns the run's id.

        It is asked for once: an answer that got lost would otherwise leave two of them.
        """
        lineage = {PARENT: parent} if parent else {}
        with self._explained(), _asked_once():
            run = self._client.create_run(
                experiment,
                start_time=_milliseconds(began),
                run_name=name,
                tags={k: str(v) for k, v in {**tags, **lineage}.items()}
                | {"fraudray.version": VERSION},
            )
        self._places[run.info.run_id] = run.info.artifact_uri
        return str(run.info.run_id)

    def log(
        self,
        run_id: str,
        *,
        params: Mapping[str, Any] = {},
        metrics: Mapping[str, float] = {},
        tags: Mapping[str, Any] = {},
        step: int = 0,
    ) -> None:
        """Write parameters, metrics and tags in one call."""
        self.record(run_id, params=params, reports=[Report(metrics, step, time.time())], tags=tags)

    def record(
        self,
        run_id: str,
        *,
        params: Mapping[str, Any] = {},
        reports: Sequence[Report] = (),
        tags: Mapping[str, Any] = {},
    ) -> None:
        """Write parameters, tags and what was measured at several times in one call."""
        values = [
            Metric(key, float(value), _milliseconds(report.at), report.step)
            for report in reports
            for key, value in report.metrics.items()
        ]
        with self._explained():
            self._client.log_batch(
                run_id, values,
                [Param(k, str(v)) for k, v in params.items()],
                [RunTag(k, str(v)) for k, v in tags.items()],
            )  # fmt: skip

    def figure(self, run_id: str, figure: Figure, name: str) -> None:
        """Keep a picture, the name ending in .png."""
        with self._explained():
            self._client.log_figure(run_id, figure, name)

    def text(self, run_id: str, text: str, name: str) -> None:
        """Keep a text file."""
        with self._explained(), tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch, name)
            file.write_text(text, "utf-8")
            if run_id not in self._places:
                self._places[run_id] = self._client.get_run(run_id).info.artifact_uri
            get_artifact_repository(self._places[run_id], self.uri).log_artifact(str(file))

    def finish(
        self, run_id: str, status: EndStatus = "FINISHED", *, ended: float | None = None
    ) -> None:
        """End a run."""
        with self._explained():
            self._client.set_terminated(run_id, status, _milliseconds(ended))

    def require(self, run_id: str) -> None:
        """Check that a run is there.

        Raises
        ------
        TrackingError
            If it is not.
        """
        with self._explained():
            self._client.get_run(run_id)

    def reopen(self, run_id: str) -> None:
        """Go on with a run that has ended.

        Raises
        ------
        TrackingError
            If there is no such run.
        """
        with self._explained():
            self._client.update_run(run_id, status="RUNNING")

    def children(self, experiment: str, parent: str, tag: str) -> dict[str, list[Child]]:
        """The runs below a parent by the value of a tag, the oldest first; those without it not.

        Parameters
        ----------
        experiment
            Id of the experiment that they are in.
        """
        found: dict[str, list[Child]] = {}
        token = None
        while token != "":
            with self._explained():
                page = self._client.search_runs(
                    [experiment], f"tags.`{PARENT}` = '{parent}'",
                    max_results=_PAGE, order_by=["attributes.start_time ASC"], page_token=token,
                )  # fmt: skip
            for run in page:
                self._places[run.info.run_id] = run.info.artifact_uri
                if tag in run.data.tags:
                    child = Child(run.info.run_id, cast("RunStatus", run.info.status))
                    found.setdefault(run.data.tags[tag], []).append(child)
            token = page.token or ""
        return found

    def discard(self, run_id: str) -> None:
        """Take a run out of sight, as MLflow's page does when a person deletes it."""
        with self._explained():
            self._client.delete_run(run_id)

    @contextmanager
    def run(self, experiment: str, name: str, *, tags: Mapping[str, Any] = {}) -> Iterator[str]:
        """A run that is finished with the block: failed by an error, killed by Ctrl-C."""
        run_id = self.start(self.experiment(experiment), name, tags=tags)
        try:
            yield run_id
        except BaseException as error:
            with suppress(TrackingError):  # what went wrong first is what is told
                self.finish(run_id, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        self.finish(run_id)


@contextmanager
def _asked_once() -> Iterator[None]:
    """Keep MLflow from repeating a call, which it lets itself be told by the environment only."""
    name = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    with _ONCE:
        usual = os.environ[name]
        os.environ[name] = "0"
        try:
            yield
        finally:
            os.environ[name] = usual


def _milliseconds(at: float | None) -> int:
    return int((time.time() if at is None else at) * 1000)
