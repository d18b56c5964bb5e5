"""The steps that several commands share: load and audit, publish a bundle, find a model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fraudray.output import say
from training.audit import Audit, audit
from training.bundle import ModelBundle
from training.data import Dataset, load
from training.errors import FraudrayError
from training.evaluate import Metrics
from training.figures import confusion_figure, pr_curve_figure
from training.spec import DatasetSpec
from training.split import split
from training.threshold import Curve
from training.tracking import Tracking, Version
from tuning.select import Verdict, gate


class NoModel(FraudrayError):
    """Nothing is registered that could be used."""


@dataclass(frozen=True)
class Published:
    """A bundle that is in the registry now, and what became of it."""

    version: Version
    bundle: ModelBundle
    verdict: Verdict

    def to_dict(self) -> dict[str, Any]:
        """As JSON carries it."""
        card, choice = self.bundle.card, self.bundle.choice
        return {
            "model": self.version.model,
            "version": self.version.version,
            "champion": self.version.champion,
            "decision": self.verdict.reason,
            "family": card["family"],
            "params": card["params"],
            "smote": card["smote"],
            "policy": choice.policy,
            "policy_met": choice.met,
            "threshold": choice.threshold,
            "excluded": card["excluded"],
            "metrics": card["metrics"],
            "fingerprint": card["fingerprint"],
            "run_id": self.version.run_id,
        }


def audited(path: str | Path, spec: DatasetSpec) -> tuple[Dataset, Audit]:
    """Read a file and audit it."""
    dataset = load(path, spec)
    return dataset, audit(dataset)


def timestamped(prefix: str) -> str:
    """A name that sorts by time, for a sweep or a run."""
    return f"{prefix}-{datetime.now(UTC):%Y%m%d-%H%M%S}"


def publish(
    tracking: Tracking, run: str, model: str, bundle: ModelBundle, dataset: Dataset
) -> Published:
    """Log a bundle with metrics and pictures to a run, register it, let the gate decide.

    Parameters
    ----------
    dataset
        The whole file the bundle was made from.
    """
    card = bundle.card
    test = dataset.take(split(dataset).test)
    curve, metrics = (
        Curve.of(test.label, bundle.score(test.columns)),
        Metrics(**card["metrics"]["test"]),
    )
    tracking.log(
        run,
        params={
            "family": card["family"], "smote": card["smote"], "policy": bundle.choice.policy,
            "seed": card["seed"], "split": card["split"],
            "excluded": ", ".join(card["excluded"]) or "none",
            **{f"params.{k}": v for k, v in card["params"].items()},
        },
        metrics={
            "threshold": bundle.choice.threshold,
            **{
                f"{part}_{name}": value
                for part, measured in card["metrics"].items()
                for name, value in measured.items()
                if value is not None
            },
        },
        tags={"fingerprint": card["fingerprint"], "source": card["source"]},
    )  # fmt: skip
    tracking.figure(run, pr_curve_figure(curve, metrics, "Test"), "pr_curve.png")
    tracking.figure(run, confusion_figure(metrics, "Test, at the threshold"), "confusion.png")
    tracking.text(run, bundle.curve.to_csv(index=False), "threshold_curve.csv")
    champion = tracking.champion(model)
    verdict = gate(bundle, tracking.fetch(champion) if champion else None, test)
    version = tracking.register(run, model, bundle)
    if verdict.promote:
        version = tracking.promote(model, version.version, verdict.reason)
    else:
        tracking.note(version, verdict.reason)
    return Published(version, bundle, verdict)


def registered_model(
    tracking: Tracking, spec: DatasetSpec, given: str | None, *, newest: bool = False
) -> str:
    """The registered model that is meant: the one given, else `fraudray-<spec>`.

    Where that is not there, as after a demo, it is the only other one of the spec.

    Parameters
    ----------
    newest
        Of several others take the one last added to, and say so. For commands that only read.

    Raises
    ------
    NoModel
        If there is none, or it is unclear which.
    """
    names = tracking.models(spec.name)
    default = f"fraudray-{spec.name}"
    if given is not None:
        if given in names:
            return given
        raise NoModel(
            f"no registered model {given!r} for the spec {spec.name!r}; "
            f"there are: {', '.join(names) or 'none'}"
        )
    if default in names:
        return default
    if len(names) == 1:
        return names[0]
    if names and newest:
        name = max(names, key=lambda n: tracking.versions(n)[0].created)
        others = ", ".join(n for n in names if n != name)
        say(f"Taking {name}, which was last added to; --registered-model names another: {others}")
        return name
    if names:
        raise NoModel(
            f"there is no {default}; choose with --registered-model one of {', '.join(names)}"
        )
    raise NoModel(
        "no champion is registered yet; make one with `fraudray tune FILE` or "
        "`fraudray train FILE --model xgboost`"
    )


def champion(tracking: Tracking, model: str) -> tuple[Version, ModelBundle]:
    """The champion of a model with its bundle.

    Raises
    ------
    NoModel
        If the model has no champion.
    """
    version = tracking.champion(model)
    if version is None:
        raise NoModel(
            f"{model} has versions but no champion; choose one with `fraudray models promote`"
        )
    return version, tracking.fetch(version)
