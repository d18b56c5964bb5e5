"""Registry: versions of models, which of them serves, and their bundles."""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import mlflow
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType

from training.bundle import BundleError, ModelBundle, seal
from training.errors import FraudrayError
from training.home import VERSION, bundle_folder
from training.spec import DatasetSpec
from training.tracking.store import Store, TrackingError

CHAMPION = "champion"
"""The registry alias of the version that serves."""

_STACK = "fraudray.champions"  # versions that were champion, the present one last


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

    def note(self, version: Version, tags: Mapping[str, Any]) -> None:
        """Tag a version, in the order given; its `decision` says why it was promoted or not."""
        with self._explained():
            for name, value in tags.items():
                self._client.set_model_version_tag(version.model, version.version, name, str(value))

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
            return bundle
        except FraudrayError:
            shutil.rmtree(folder, ignore_errors=True)  # a damaged copy: fetch anew next time
            raise

    def _select(self) -> None:
        """Tell MLflow's functions, which know no client, which store is meant."""
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)

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
