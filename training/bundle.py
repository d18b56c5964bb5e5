"""ModelBundle: everything that decides about a payment, kept as data files with their hashes.

A bundle is a folder. `manifest.json` lists every other file with its SHA-256; loading refuses a
changed, missing or extra one. Nothing in it is a pickle, so loading runs no code of the bundle's.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training import calibrate, scoring
from training.calibrate import Calibration
from training.data import Columns, Dataset, check, records_of
from training.errors import FraudrayError
from training.explain import Explanation, explain
from training.features import FeatureEngineering
from training.home import VERSION
from training.models import FAMILIES, Model
from training.preprocess import Matrix
from training.reference import Reference
from training.spec import DatasetSpec
from training.split import Hashes
from training.threshold import Choice

FORMAT = 2
_PACKAGES = ("numpy", "scikit-learn", "imbalanced-learn", "xgboost", "treelite")


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

    def with_sample(self, dataset: Dataset) -> ModelBundle:
        """The same bundle with a self-test of the dataset's rows."""
        expected = self.score(dataset.columns).tolist()
        # Every input, used or not: a file that lacked a required one would be refused.
        rows = list(records_of(dataset, list(self.spec.inputs)))
        sample = [{"row": r, "probability": p} for r, p in zip(rows, expected, strict=True)]
        return ModelBundle(**{**self.__dict__, "sample": sample})

    def self_test(self) -> None:
        """Score the sample.

        Raises
        ------
        BundleError
            If any probability differs from the one recorded by more than 1e-6.
        """
        rows = pd.DataFrame([s["row"] for s in self.sample], dtype=object)
        dataset = check(rows, self.spec, source="the bundle's sample")
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
        _write_json(folder / "manifest.json", manifest)

    @classmethod
    def load(cls, folder: Path) -> ModelBundle:
        """Read a bundle and test it on its own sample.

        Raises
        ------
        BundleError
            If a file is missing, changed or extra, the format is another, or the self-test fails.
        """
        _check_files(folder)
        spec = DatasetSpec.from_dict(_read_json(folder / "spec.json"), str(folder / "spec.json"))
        decision, card = _read_json(folder / "decision.json"), _read_json(folder / "card.json")
        bundle = cls(
            features=FeatureEngineering.from_dict(spec, _read_json(folder / "features.json")),
            model=FAMILIES[card["family"]].from_bytes((folder / "model.bin").read_bytes()),
            background=np.load(folder / "background.npy", allow_pickle=False),
            calibration=calibrate.from_dict(decision["calibration"]),
            choice=Choice(**decision["choice"]),
            card=card,
            evaluation=_read_json(folder / "evaluation.json"),
            curve=pd.read_csv(folder / "curve.csv"),
            reference=Reference.from_dict(_read_json(folder / "reference.json")),
            trained_on={
                part: np.load(folder / f"rows-{part}.npy", allow_pickle=False)
                for part in ("train", "validation")
            },
            sample=_read_json(folder / "sample.json"),
        )
        bundle.self_test()
        return bundle


class _Pyfunc:
    """A bundle as MLflow's `pyfunc` flavour sees it: a frame in, a frame out."""

    def __init__(self, bundle: ModelBundle) -> None:
        self.bundle = bundle

    def predict(self, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        del params
        dataset = check(model_input, self.bundle.spec, source="input")
        if len(dataset.rejected):
            worst = dataset.rejected.iloc[0]
            raise ValueError(f"{worst.column} should be {worst.expectation}, is {worst.value!r}")
        probability = self.bundle.score(dataset.columns)
        return pd.DataFrame(
            {"probability": probability, "decision": self.bundle.decide(probability)}
        )


def _load_pyfunc(path: str) -> _Pyfunc:
    """Load as an MLflow pyfunc model; MLflow calls the loader module's function of this name."""
    return _Pyfunc(ModelBundle.load(Path(path)))


def package_versions() -> dict[str, str]:
    """Versions of the packages that a model's numbers depend on."""
    return {name: version(name) for name in _PACKAGES}


def _check_files(folder: Path) -> None:
    try:
        manifest = _read_json(folder / "manifest.json")
        if manifest["format"] != FORMAT:
            raise BundleError(
                f"{folder}: has format {manifest['format']}, written by {manifest['written_by']}; "
                f"fraudray {VERSION} reads format {FORMAT}"
            )
        listed = dict(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError):
        raise BundleError(f"{folder / 'manifest.json'}: is missing or damaged") from None
    present = {p.name for p in folder.iterdir()} - {"manifest.json"}
    for name in sorted(present ^ set(listed)):
        state = "missing" if name in listed else "not listed in the manifest"
        raise BundleError(f"{folder / name}: is {state}; the bundle is refused")
    for name, expected in listed.items():
        if _digest(folder / name) != expected:
            raise BundleError(f"{folder / name}: differs from its SHA-256 in the manifest")


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _write_json(path: Path, content: Any) -> None:
    # Keys keep their order: that of the encoders is the order of the matrix.
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", "utf-8")


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))
