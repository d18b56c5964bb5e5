"""Registry: versions of models, and their bundles; `champions` has which of them serve."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities.model_registry import RegisteredModel
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType

from training.bundle import BundleError, ModelBundle, seal
from training.errors import FraudrayError, UsageError, printable
from training.home import VERSION, bundle_folder
from training.spec import DatasetSpec
from training.threshold import Choice
from training.tracking.store import Store, TrackingError

CHAMPION = "champion"
"""The registry alias of the version that serves."""

_CHOICE = "choice"  # tag of a version that decides by another threshold than its files say
# Tags that are no longer true of a version that decides otherwise, and the verdict on another.
_OF_THRESHOLD = ("test_precision", "test_recall", "decision", "gate.")


@dataclass(frozen=True)
class Version:
    """One version in the registry.

    Attributes
    ----------
    key
        Names how it decides among all stores and versions: two versions with one key have the
        same files and the same threshold.
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

    @property
    def files(self) -> str:
        """Names its bundle's files, which versions share that differ in their threshold alone."""
        return self.key.partition("-")[0]

    @property
    def choice(self) -> Choice | None:
        """The threshold that takes the place of the bundle's own, if there is one.

        Raises
        ------
        TrackingError
            If its tag is damaged.
        """
        text = self.tags.get(_CHOICE)
        try:
            return None if text is None else Choice.from_json(text)
        except (ValueError, UsageError) as error:
            told = printable(" ".join(str(error).split())[:200])
            raise TrackingError(
                f"{self.model} version {self.version}: its tag {_CHOICE!r} cannot be used: {told}"
            ) from None


class Registry(Store):
    """The model registry of an MLflow store."""

    def register(self, run_id: str, model: str, bundle: ModelBundle) -> Version:
        """Log the bundle with its signature to the run and register it as a new version."""
        card = bundle.card
        test = card["metrics"]["test"]
        tags = {
            "spec": card["spec"], "family": card["family"], "smote": card["smote"],
            "neighbours": card["neighbours"], "derived": card["derived"],
            "policy": bundle.choice.policy, "threshold": bundle.choice.threshold,
            "fingerprint": card["fingerprint"], "test_rows": test["rows"],
            "test_frauds": test["frauds"], "test_pr_auc": test["pr_auc"],
            "test_precision": test["precision"], "test_recall": test["recall"],
        }  # fmt: skip
        with tempfile.TemporaryDirectory() as scratch, self._explained():
            folder = Path(scratch) / "bundle"
            bundle.save(folder)
            tags["bundle_sha256"] = seal(folder)
            self._select()
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

    def rethreshold(self, version: Version, choice: Choice, reason: str) -> Version:
        """Register a version of the same files that decides by another threshold.

        It serves nobody until it is promoted.

        Parameters
        ----------
        reason
            Why it was made; stands in its tag `decision`.
        """
        tags = {k: v for k, v in version.tags.items() if not k.startswith(_OF_THRESHOLD)}
        tags |= {
            "policy": choice.policy, "threshold": str(choice.threshold),
            _CHOICE: choice.to_json(), "decision": reason,
        }  # fmt: skip
        with self._explained():
            self._select()
            found = self._client.get_model_version(version.model, version.version)
            made = self._client.create_model_version(
                version.model, found.source, found.run_id, tags=tags, model_id=found.model_id
            )
        return self.version(version.model, made.version)

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
            champion = alias_of(self._registered(model), CHAMPION)
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

    def note(self, version: Version, tags: Mapping[str, Any]) -> None:
        """Tag a version, in the order given; its `decision` says why it was promoted or not."""
        with self._explained():
            for name, value in tags.items():
                self._client.set_model_version_tag(version.model, version.version, name, str(value))

    def fetch(self, version: Version, *, original: bool = False) -> ModelBundle:
        """Load a version's bundle, downloading it unless it is there already.

        Parameters
        ----------
        original
            As its files have it, without the threshold that the version may have instead.

        Raises
        ------
        BundleError
            If its files differ from its manifest, or its manifest from the one registered.
        TrackingError
            If the version's threshold is damaged, or the store does not give the files.
        """
        choice = None if original else version.choice
        folder = bundle_folder(version.files)
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent) as scratch, self._explained():
                self._select()
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
        except FraudrayError:
            shutil.rmtree(folder, ignore_errors=True)  # a damaged copy: fetch anew next time
            raise
        return bundle if choice is None else bundle.with_choice(choice)

    def _select(self) -> None:
        """Tell MLflow's functions, which know no client, which store is meant."""
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)

    def _version(self, found: Any, champion: str | None) -> Version:
        files = _hex(f"{self.uri} {found.source}", 16)
        choice = found.tags.get(_CHOICE)
        return Version(
            model=found.name,
            version=str(found.version),
            key=files if choice is None else f"{files}-{_hex(choice, 8)}",
            run_id=found.run_id,
            champion=str(found.version) == champion,
            created=found.creation_timestamp / 1000,
            tags=dict(found.tags),
        )

    def _registered(self, model: str) -> RegisteredModel | None:
        """A model with its aliases and tags, if there is one: the cheapest thing to ask for."""
        try:
            return self._client.get_registered_model(model)
        except MlflowException as error:
            missing = error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST)
            if missing and not self._away(error):
                return None
            raise


def alias_of(registered: RegisteredModel | None, alias: str) -> str | None:
    """The version that bears an alias, if there is one."""
    version = registered.aliases.get(alias) if registered else None
    return None if version is None else str(version)


def _hex(text: str, digits: int) -> str:
    return sha256(text.encode()).hexdigest()[:digits]


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
