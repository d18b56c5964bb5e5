"""Experiments and the model registry: the only module that imports MLflow."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import tempfile
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import mlflow
import sqlalchemy
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.tracking import MlflowClient
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType

from training.bundle import BundleError, ModelBundle, seal
from training.errors import FraudrayError
from training.home import VERSION, bundle_folder, home
from training.spec import DatasetSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHAMPION = "champion"
"""The registry alias of the version that serves."""

RunStatus = Literal["FINISHED", "FAILED", "KILLED"]

_CREDENTIALS = re.compile(r"//[^/@\s]*(?:/[^/@\s]*)?@")
_BATCH = 100  # the tracking server takes at most this many parameters or tags a call
_STACK = "fraudray.champions"  # versions that were champion, the present one last


class TrackingError(FraudrayError):
    """The MLflow store cannot be used, or lacks what was asked for."""


@dataclass(frozen=True)
class Version:
    """One version in the registry.

    Attributes
    ----------
    key
        Names its bundle among all stores and versions; two versions with one key are one bundle.
    tags
        What was registered with it: spec, family, metrics, reason for its (non-)promotion.
    """

    model: str
    version: str
    key: str
    run_id: str
    champion: bool
    created: float
    tags: dict[str, str]


def tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI`, or a SQLite file in the home folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home() / 'mlflow.db'}"


class Tracking:
    """An MLflow store, checked to be reachable.

    Parameters
    ----------
    uri
        Default: `tracking_uri()`.

    Raises
    ------
    TrackingError
        If the store cannot be opened; at once, without MLflow's minutes of retries.
    """

    def __init__(self, uri: str | None = None) -> None:
        self.uri = uri or tracking_uri()
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        self._knock()
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        self._client = MlflowClient(self.uri, self.uri)
        try:
            self._client.search_experiments(max_results=1)
        except (MlflowException, sqlalchemy.exc.SQLAlchemyError) as error:
            raise TrackingError(self._closed(error)) from None

    # Experiments -----------------------------------------------------------------------------

    def experiment(self, name: str) -> str:
        """Id of the experiment of that name, made if it is not there."""
        with self._explained():
            found = self._client.get_experiment_by_name(name)
            if found is not None:
                return str(found.experiment_id)
            # A server stores artifacts itself; beside a local database they need a place.
            artifacts = None if self.uri.startswith("http") else (home() / "artifacts").as_uri()
            return str(self._client.create_experiment(name, artifacts))

    def start(
        self, experiment: str, name: str, *, parent: str | None = None, tags: Mapping[str, Any] = {}
    ) -> str:
        """Begin a run, below a parent run if one is given; returns the run's id."""
        lineage = {"mlflow.parentRunId": parent} if parent else {}
        with self._explained():
            run = self._client.create_run(
                experiment,
                run_name=name,
                tags={k: str(v) for k, v in {**tags, **lineage}.items()}
                | {"fraudray.version": VERSION},
            )
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
        """Write parameters, metrics and tags in as few calls as the server allows."""
        now = int(time.time() * 1000)
        values = [Metric(k, float(v), now, step) for k, v in metrics.items()]
        settings = [Param(k, str(v)) for k, v in params.items()]
        labels = [RunTag(k, str(v)) for k, v in tags.items()]
        with self._explained():
            for i in range(0, max(len(values), len(settings), len(labels)), _BATCH):
                rows = slice(i, i + _BATCH)
                self._client.log_batch(run_id, values[rows], settings[rows], labels[rows])

    def figure(self, run_id: str, figure: Figure, name: str) -> None:
        """Keep a picture, the name ending in .png."""
        with self._explained():
            self._client.log_figure(run_id, figure, name)

    def text(self, run_id: str, text: str, name: str) -> None:
        """Keep a text file."""
        with self._explained():
            self._client.log_text(run_id, text, name)

    def finish(self, run_id: str, status: RunStatus = "FINISHED") -> None:
        """End a run."""
        with self._explained():
            self._client.set_terminated(run_id, status)

    @contextmanager
    def run(self, experiment: str, name: str, *, tags: Mapping[str, Any] = {}) -> Iterator[str]:
        """A run that is finished with the block: failed by an error, killed by Ctrl-C."""
        run_id = self.start(self.experiment(experiment), name, tags=tags)
        status: RunStatus = "FINISHED"
        try:
            yield run_id
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        except BaseException:
            status = "FAILED"
            raise
        finally:
            self.finish(run_id, status)

    # Registry --------------------------------------------------------------------------------

    def register(self, run_id: str, model: str, bundle: ModelBundle) -> Version:
        """Log the bundle with its signature to the run and register it as a new version."""
        card = bundle.card
        test = card["metrics"]["test"]
        tags = {
            "spec": card["spec"], "family": card["family"], "smote": card["smote"],
            "policy": bundle.choice.policy, "threshold": bundle.choice.threshold,
            "fingerprint": card["fingerprint"], "test_rows": test["rows"],
            "test_frauds": test["frauds"], "test_pr_auc": test["pr_auc"],
            "test_precision": test["precision"], "test_recall": test["recall"],
        }  # fmt: skip
        with tempfile.TemporaryDirectory() as scratch, self._explained():
            folder = Path(scratch) / "bundle"
            bundle.save(folder)
            tags["bundle_sha256"] = seal(folder)
            with warnings.catch_warnings(), mlflow.start_run(run_id=run_id):
                warnings.simplefilter("ignore")  # asks for an example that the bundle carries
                logged = mlflow.pyfunc.log_model(
                    name="model",
                    loader_module="training.pyfunc",
                    data_path=str(folder),
                    signature=signature(bundle.spec),
                    pip_requirements=[f"fraudray=={VERSION}"],
                )
            if not self._client.search_registered_models(f"name = '{model}'"):
                self._client.create_registered_model(model, {"spec": card["spec"]})
            made = self._client.create_model_version(
                model, f"models:/{logged.model_id}", run_id,
                tags={k: str(v) for k, v in tags.items()}, model_id=logged.model_id,
            )  # fmt: skip
        return self.version(model, made.version)

    def check_target(self, model: str, spec: str) -> None:
        """Refuse to register a bundle of one spec under a model of another.

        Raises
        ------
        TrackingError
            If the model is there and of another spec.
        """
        with self._explained():
            found = self._client.search_registered_models(f"name = '{model}'")
        theirs = found[0].tags.get("spec", "none of fraudray's") if found else spec
        if theirs != spec:
            raise TrackingError(
                f"the registered model {model} is of the spec {theirs}, not {spec}; "
                f"choose another --registered-model"
            )

    def models(self, spec: str) -> list[str]:
        """Names of the registered models of a spec."""
        with self._explained():
            found = self._client.search_registered_models(max_results=1000)
        return sorted(m.name for m in found if m.tags.get("spec") == spec)

    def versions(self, model: str) -> list[Version]:
        """Every version of a model, the newest first; none if there is no such model."""
        with self._explained():
            # Aliases hang on the model, not on what the search for versions returns.
            champion = self._alias(model, CHAMPION)
            found = self._client.search_model_versions(f"name = '{model}'", max_results=1000)
        versions = [self._version(v, champion) for v in found]
        return sorted(versions, key=lambda v: int(v.version), reverse=True)

    def version(self, model: str, version: str) -> Version:
        """One version.

        Raises
        ------
        TrackingError
            If there is no such version; the message lists those there are.
        """
        versions = self.versions(model)
        for found in versions:
            if found.version == str(version):
                return found
        there = ", ".join(v.version for v in versions) or "none"
        raise TrackingError(f"{model} has no version {version}; there are: {there}")

    def champion(self, model: str) -> Version | None:
        """The version that serves, if there is one."""
        return self.aliased(model, CHAMPION)

    def aliased(self, model: str, alias: str) -> Version | None:
        """The version that bears an alias, if there is one."""
        with self._explained():
            version = self._alias(model, alias)
        return None if version is None else self.version(model, version)

    def promote(self, model: str, version: str, reason: str) -> Version:
        """Make a version the champion and record why."""
        chosen = self.version(model, version)
        if not chosen.champion:
            self._crown(model, [*self._stack(model), chosen.version], reason)
        return self.version(model, version)

    def rollback(self, model: str) -> Version:
        """Make the version that was champion before the present one champion again.

        Raises
        ------
        TrackingError
            If there was none before.
        """
        there = {v.version: v for v in self.versions(model)}
        present = next((v.version for v in there.values() if v.champion), None)
        stack = [v for v in self._stack(model) if v in there]
        while stack and stack[-1] == present:
            stack.pop()
        if not stack:
            raise TrackingError(f"{model} has had no other champion to go back to")
        self._crown(model, stack, f"rolled back from version {present}")
        return self.version(model, stack[-1])

    def note(self, version: Version, reason: str) -> None:
        """Record why a version was or was not promoted."""
        with self._explained():
            self._client.set_model_version_tag(version.model, version.version, "decision", reason)

    def fetch(self, version: Version) -> ModelBundle:
        """Load a version's bundle, downloading it unless it is there already.

        Raises
        ------
        BundleError
            If its files differ from its manifest, or its manifest from the one registered.
        """
        folder = bundle_folder(version.key)
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent) as scratch, self._explained():
                mlflow.artifacts.download_artifacts(
                    artifact_uri=f"models:/{version.model}/{version.version}", dst_path=scratch
                )
                # A rename is atomic: another process sees the whole bundle or none.
                try:
                    (Path(scratch) / "data" / "bundle").rename(folder)
                except OSError:
                    if not folder.exists():
                        raise
        try:
            bundle = ModelBundle.load(folder)
            if seal(folder) != version.tags.get("bundle_sha256", seal(folder)):
                raise BundleError(f"{folder}: is not the bundle that was registered")
            return bundle
        except FraudrayError:
            shutil.rmtree(folder, ignore_errors=True)  # a damaged copy: fetch anew next time
            raise

    # Inner -----------------------------------------------------------------------------------

    def _version(self, found: Any, champion: str | None) -> Version:
        return Version(
            model=found.name,
            version=str(found.version),
            key=sha256(f"{self.uri} {found.source}".encode()).hexdigest()[:16],
            run_id=found.run_id,
            champion=str(found.version) == champion,
            created=found.creation_timestamp / 1000,
            tags=dict(found.tags),
        )

    def _alias(self, model: str, alias: str) -> str | None:
        found = self._client.search_registered_models(f"name = '{model}'")
        version = found[0].aliases.get(alias) if found else None
        return None if version is None else str(version)

    def _stack(self, model: str) -> list[str]:
        with self._explained():
            tags = self._client.get_registered_model(model).tags
        return list(json.loads(tags.get(_STACK, "[]")))

    def _crown(self, model: str, stack: list[str], reason: str) -> None:
        with self._explained():
            # The alias is the truth; if this is cut off, the rest is only the story of it.
            self._client.set_registered_model_alias(model, CHAMPION, stack[-1])
            self._client.set_registered_model_tag(model, _STACK, json.dumps(stack[-100:]))
            self._client.set_model_version_tag(model, stack[-1], "decision", reason)

    def _knock(self) -> None:
        """Find out within seconds whether the store answers."""
        try:
            if self.uri.startswith(("http://", "https://")):
                health = f"{_CREDENTIALS.sub('//', self.uri).rstrip('/')}/health"
                # Any answer will do: whether it lets us in is for MLflow's client to find out.
                with suppress(urllib.error.HTTPError):
                    urllib.request.urlopen(health, timeout=10).close()  # noqa: S310
                return
            if "://" in self.uri and not self.uri.startswith("file:"):
                if self.uri == f"sqlite:///{home() / 'mlflow.db'}":
                    home().mkdir(parents=True, exist_ok=True)
                engine = sqlalchemy.create_engine(self.uri)
                sqlalchemy.inspect(engine).get_table_names()
                engine.dispose()
        except (OSError, urllib.error.URLError, sqlalchemy.exc.SQLAlchemyError,
                ModuleNotFoundError, ValueError) as error:  # fmt: skip
            raise TrackingError(self._closed(error)) from None

    def _closed(self, error: Exception) -> str:
        cause = " ".join(str(getattr(error, "orig", None) or error).split())[:200]
        return (
            f"the MLflow store {self.shown} cannot be opened "
            f"({_CREDENTIALS.sub('//***@', cause)}); "
            f"set MLFLOW_TRACKING_URI, or unset it for a SQLite file in {home()}"
        )

    @property
    def shown(self) -> str:
        """The store's URI as it may be printed: without its password."""
        return _CREDENTIALS.sub("//***@", self.uri)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except MlflowException as error:
            cause = _CREDENTIALS.sub("//***@", " ".join(str(error).split())[:300])
            raise TrackingError(f"the MLflow store {self.shown} refuses: {cause}") from error
        except sqlalchemy.exc.SQLAlchemyError as error:
            raise TrackingError(self._closed(error)) from error


def signature(spec: DatasetSpec) -> ModelSignature:
    """What MLflow says of a model's input and output; the bundle checks values itself."""
    inputs = [
        ColSpec(
            # Not double: MLflow refuses whole numbers for it, and pandas reads them as such.
            DataType.string if column.type == "category" else AnyType(),
            name,
            required=column.required,
        )
        for name, column in spec.inputs.items()
    ]
    outputs = [ColSpec(DataType.double, "probability"), ColSpec(DataType.long, "decision")]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))
