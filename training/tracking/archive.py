"""Archive: runs as MLflow keeps them, read back for people to look at."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from training.tracking.runs import PARENT, RunStatus
from training.tracking.store import Store, without_credentials

SWEEPS: Final = "fraudray-tune"
"""The experiment that sweeps are in, each a run with a run for every trial below it."""

_SWEEP = "sweep"  # the tag that only the run of a sweep itself has
_PAGE = 1000
_LONGEST = 8 << 20  # bytes of a text that is read


@dataclass(frozen=True)
class Run:
    """One run, as it is at this moment.

    Attributes
    ----------
    experiment
        Id of its experiment.
    began, ended
        Unix time; None where it has not.
    metrics
        The last value of each.
    tags
        Those that MLflow does not keep for itself.
    """

    run_id: str
    experiment: str
    name: str
    status: RunStatus
    began: float | None
    ended: float | None
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]


class Archive(Store):
    """The runs of an MLflow store, to be looked at."""

    def sweeps(self, most: int = 100) -> list[Run]:
        """The runs of sweeps, those that go on among them, the newest first."""
        return self._found(f"tags.`{_SWEEP}` LIKE '%'", most, "DESC")

    def trials(self, sweep: Run, most: int = 10_000) -> list[Run]:
        """The runs of a sweep's trials, the oldest first."""
        return self._found(f"tags.`{PARENT}` = '{sweep.run_id}'", most, "ASC", [sweep.experiment])

    def kept_text(self, run_id: str, name: str) -> str | None:
        """A text file of a run; None where it has no such file, or one of over 8 MB.

        Raises
        ------
        TrackingError
            If there is no such run.
        """
        with self._explained(), tempfile.TemporaryDirectory() as scratch:
            place = self._client.get_run(run_id).info.artifact_uri
            # To ask for what is not there looks to a client like a server that is away.
            sizes = {f.path: f.file_size for f in self._client.list_artifacts(run_id)}
            if name not in sizes or (sizes[name] or 0) > _LONGEST:
                return None
            repository = get_artifact_repository(place, self.uri)
            return Path(repository.download_artifacts(name, scratch)).read_text("utf-8")

    def page(self, run: Run) -> str | None:
        """Where MLflow's own page shows a run; None where the store is not behind a server."""
        if not self.remote:
            return None
        server = without_credentials(self.uri).replace("//***@", "//").rstrip("/")
        return f"{server}/{place_of(run)}"

    def _found(
        self, wanted: str, most: int, order: str, experiments: list[str] | None = None
    ) -> list[Run]:
        found: list[Run] = []
        with self._explained():
            if experiments is None:
                named = self._client.get_experiment_by_name(SWEEPS)
                if named is None:
                    return []
                experiments = [str(named.experiment_id)]
            token = None
            while token != "" and len(found) < most:
                try:
                    page = self._client.search_runs(
                        experiments, wanted,
                        max_results=min(_PAGE, most - len(found)),
                        order_by=[f"attributes.start_time {order}"], page_token=token,
                    )  # fmt: skip
                except MlflowException as error:
                    if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                        return []  # the experiment was deleted meanwhile
                    raise
                found += map(_run, page)
                token = page.token or ""
        return found


def place_of(run: Run) -> str:
    """Where a run is on any page of MLflow, after the page's address."""
    return f"#/experiments/{run.experiment}/runs/{run.run_id}"


def _run(found: Any) -> Run:
    info, data = found.info, found.data
    return Run(
        run_id=info.run_id,
        experiment=str(info.experiment_id),
        name=info.run_name or info.run_id,
        status=info.status,
        began=info.start_time / 1000 if info.start_time else None,
        ended=info.end_time / 1000 if info.end_time else None,
        params=dict(data.params),
        metrics=dict(data.metrics),
        tags={k: v for k, v in data.tags.items() if not k.startswith("mlflow.")},
    )
