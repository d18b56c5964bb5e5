"""ModelBundle: everything that decides about a payment, kept as data files with their hashes.

A bundle is a folder. `manifest.json` lists every other file with its SHA-256, and
`manifest.sha256` holds its own; loading refuses a changed, missing or extra byte. Nothing in it is
a pickle, so loading runs no code of the bundle's. The hashes guard against damage and not against
an author: the libraries that read a model's trees may crash on some that were made for it, so load
bundles only from a registry that you trust.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training import calibrate, scoring
from training.calibrate import Calibration
from training.data import Columns, Dataset, check, records_of
from training.errors import FraudrayError, printable
from training.explain import Explanation, explain
from training.features import FeatureEngineering
from training.home import VERSION
from training.identity import Hashes, row_identities
from training.models import Model, family
from training.preprocess import Matrix
from training.reference import Reference
from training.spec import DatasetSpec
from training.threshold import Choice, Curve, Policy

FORMAT = 2
_MANIFEST, _SEAL = "manifest.json", "manifest.sha256"
_LEARNED = ("train", "validation")
_PACKAGES = ("numpy", "scikit-learn", "imbalanced-learn", "xgboost", "treelite")

_Part = TypeVar("_Part")


class BundleError(FraudrayError):
    """A bundle that must not be used; the message names the file."""


@dataclass(frozen=True)
class ModelBundle:
    """A fitted model with its features, calibration, threshold and history.

    Attributes
    ----------
    background
        Shape (d,): the mean training row, against which a linear model is explained.
    card
        What is known of its making: family, parameters, metrics per part, data fingerprint,
        the audit's findings, excluded columns, package versions.
    evaluation
        What was measured besides: intervals, slices, baselines, calibration, importance.
    curve
        The threshold curve of the validation rows.
    reference
        Histograms of the training rows, and of the scores of validation rows, to tell drift by.
    trained_on
        Row hashes per part that anything was learned from (`train`, `validation`), sorted.
    sample
        A few rows as records with the probability they must get: the bundle's self-test.
    """

    features: FeatureEngineering
    model: Model
    background: NDArray[np.float64]
    calibration: Calibration
    choice: Choice
    card: dict[str, Any]
    evaluation: dict[str, Any]
    curve: pd.DataFrame
    reference: Reference
    trained_on: dict[str, Hashes]
    sample: list[dict[str, Any]] = field(default_factory=list)

    @property
    def spec(self) -> DatasetSpec:
        """The schema of the payments it scores."""
        return self.features.spec

    def probability(self, matrix: Matrix) -> NDArray[np.float64]:
        """Calibrated probability of fraud for a feature matrix, shape (n,)."""
        return self.calibration.probability(self.model.probability(matrix))

    def decide(self, probability: NDArray[np.float64]) -> NDArray[np.int8]:
        """1 where the probability reaches the threshold, shape (n,)."""
        return (probability >= self.choice.threshold).astype(np.int8)

    def score(self, columns: Columns) -> NDArray[np.float64]:
        """Calibrated probability of fraud for columns of shape (n,)."""
        return scoring.score(self.features, self.model, self.calibration, columns)

    def explain(self, columns: Columns) -> Explanation:
        """What each field contributed to the score of columns of shape (n,)."""
        matrix = self.features.transform(columns)
        return explain(self.model, self.features, matrix, self.background)

    @property
    def thresholds(self) -> Curve:
        """The threshold curve of the validation rows, to be asked what a threshold does."""
        return Curve.from_frame(self.curve)

    def optimum(self, policy: str) -> Choice:
        """The threshold that a policy chooses on the curve.

        Costs that the policy names itself are flat; without any, those the curve was made with
        count.

        Raises
        ------
        UsageError
            If there is no such policy.
        """
        wanted, curve = Policy.parse(policy), self.thresholds
        if isinstance(wanted.missed, float) and wanted.alarm is not None:
            curve = curve.priced(wanted.missed, wanted.alarm)
        return wanted.choose(curve)

    def has_learned_from(self, rows: Dataset) -> NDArray[np.bool_]:
        """Which rows, shape (n,), are twins of a training or validation row of this model."""
        seen = np.concatenate(list(self.trained_on.values()))
        return np.isin(row_identities(rows, self.spec), seen)

    def with_sample(self, dataset: Dataset) -> ModelBundle:
        """The same bundle with a self-test of the dataset's rows."""
        expected = self.score(dataset.columns).tolist()
        # Every input, used or not: a file that lacked a required one would be refused.
        rows = list(records_of(dataset, list(self.spec.inputs)))
        sample = [{"row": r, "probability": p} for r, p in zip(rows, expected, strict=True)]
        return replace(self, sample=sample)

    def with_choice(self, choice: Choice) -> ModelBundle:
        """The same bundle, deciding by another threshold; what was measured stays as it was."""
        return replace(self, choice=choice)

    def facts(self) -> dict[str, Any]:
        """What its card says of it, in sentences and tables; see `training.card.facts`."""
        from training.card.facts import facts  # scoring needs none of what writes cards

        return facts(self)

    def self_test(self) -> None:
        """Score the sample.

        Raises
        ------
        BundleError
            If any probability differs from the one recorded by more than 1e-6, or there is none.
        """
        if not self.sample:
            raise BundleError("the bundle has no sample to test itself on: it must not serve")
        rows = pd.DataFrame([s["row"] for s in self.sample], dtype=object)
        dataset = check(rows, self.spec, source="the bundle's sample")
        if len(dataset.rejected):
            raise BundleError(f"the bundle's sample breaks its own spec: {dataset.complaint()}")
        expected = np.array([s["probability"] for s in self.sample])
        worst = float(np.abs(self.score(dataset.columns) - expected).max())
        if not worst <= 1e-6:
            raise BundleError(f"the bundle's self-test is off by {worst:.2g}: it must not serve")

    def save(self, folder: Path) -> None:
        """Write the bundle's files into a folder, which must be new or empty."""
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise BundleError(f"{folder}: is not empty; a bundle is never written over another")
        folder.mkdir(parents=True, exist_ok=True)
        decision = {
            "calibration": calibrate.to_dict(self.calibration),
            "choice": asdict(self.choice),
        }
        _write_json(folder / "spec.json", self.spec.to_dict())
        _write_json(folder / "features.json", self.features.to_dict())
        (folder / "model.bin").write_bytes(self.model.to_bytes())
        _write_json(folder / "decision.json", decision)
        _write_json(folder / "card.json", self.card)
        _write_json(folder / "evaluation.json", self.evaluation)
        _write_json(folder / "reference.json", self.reference.to_dict())
        np.save(folder / "background.npy", self.background)
        _write_json(folder / "sample.json", self.sample)
        self.curve.to_csv(folder / "curve.csv", index=False)
        for part, hashes in self.trained_on.items():
            np.save(folder / f"rows-{part}.npy", hashes)
        manifest = {
            "format": FORMAT,
            "written_by": f"fraudray {VERSION}",
            "packages": package_versions(),
            "files": {p.name: _digest(p) for p in sorted(folder.iterdir())},
        }
        _write_json(folder / _MANIFEST, manifest)
        (folder / _SEAL).write_text(_digest(folder / _MANIFEST) + "\n", "utf-8")

    @classmethod
    def load(cls, folder: Path) -> ModelBundle:
        """Read a bundle and test it on its own sample.

        Raises
        ------
        BundleError
            If a file is missing, changed, extra or damaged, the format is another, or the
            self-test fails; the message names the file.
        """
        _check_files(folder)

        def read(name: str, parse: Callable[[Path], _Part]) -> _Part:
            try:
                return parse(folder / name)
            # Damaged content makes each library fail in a way of its own.
            except Exception as error:
                told = printable(" ".join(str(error).split())[:200])
                raise BundleError(f"{folder / name}: cannot be used: {told}") from None

        spec = read("spec.json", lambda p: DatasetSpec.from_dict(_read_json(p), p.name))
        card = read("card.json", _read_json)
        kind = read("card.json", lambda _: family(card["family"]))
        features = read("features.json", lambda p: _features(p, spec))
        calibration, choice = read("decision.json", _decision)
        bundle = cls(
            features=features,
            model=read("model.bin", lambda p: kind.from_bytes(p.read_bytes())),
            background=read("background.npy", lambda p: _background(p, features)),
            calibration=calibration,
            choice=choice,
            card=card,
            evaluation=read("evaluation.json", _read_json),
            curve=read("curve.csv", pd.read_csv),
            reference=read("reference.json", lambda p: Reference.from_dict(_read_json(p))),
            trained_on={part: read(f"rows-{part}.npy", _hashes) for part in _LEARNED},
            sample=read("sample.json", _read_json),
        )
        read("sample.json", lambda _: bundle.self_test())
        return bundle


def seal(folder: Path) -> str:
    """The one SHA-256 that every byte of a bundle hangs on; the registry keeps it beside."""
    return (folder / _SEAL).read_text("utf-8").strip()


def package_versions() -> dict[str, str]:
    """Versions of the packages that a model's numbers depend on."""
    return {name: version(name) for name in _PACKAGES}


def _check_files(folder: Path) -> None:
    try:
        if _digest(folder / _MANIFEST) != seal(folder):
            raise BundleError(f"{folder / _MANIFEST}: differs from its SHA-256 in {_SEAL}")
        manifest = _read_json(folder / _MANIFEST)
        if manifest["format"] != FORMAT:
            raise BundleError(
                f"{folder}: has format {manifest['format']}, written by {manifest['written_by']}; "
                f"fraudray {VERSION} reads format {FORMAT}"
            )
        listed = dict(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise BundleError(f"{folder / _MANIFEST}: is missing or damaged") from None
    present = {p.name for p in folder.iterdir()} - {_MANIFEST, _SEAL}
    for name in sorted(present ^ set(listed)):
        state = "missing" if name in listed else "not listed in the manifest"
        raise BundleError(f"{folder / name}: is {state}; the bundle is refused")
    for name, expected in listed.items():
        path = folder / name
        if path.is_symlink() or not path.is_file():
            raise BundleError(f"{path}: is no plain file; the bundle is refused")
        if _digest(path) != expected:
            raise BundleError(f"{path}: differs from its SHA-256 in the manifest")


def _features(path: Path, spec: DatasetSpec) -> FeatureEngineering:
    return FeatureEngineering.from_dict(spec, _read_json(path))


def _decision(path: Path) -> tuple[Calibration, Choice]:
    content = _read_json(path)
    return calibrate.from_dict(content["calibration"]), Choice.from_json(
        json.dumps(content["choice"])
    )


def _background(path: Path, features: FeatureEngineering) -> NDArray[np.float64]:
    content: NDArray[np.float64] = np.load(path, allow_pickle=False)
    if content.shape != (len(features.feature_names_),) or not np.isfinite(content).all():
        raise ValueError("expected one finite number per feature")
    return content


def _hashes(path: Path) -> Hashes:
    content: Hashes = np.load(path, allow_pickle=False)
    if content.dtype != np.uint64 or content.ndim != 1:
        raise ValueError(f"expected 64-bit hashes, found {content.dtype} of {content.ndim} axes")
    return content


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _write_json(path: Path, content: Any) -> None:
    # Keys keep their order: that of the encoders is the order of the matrix.
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", "utf-8")


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))
