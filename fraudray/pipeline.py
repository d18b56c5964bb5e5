"""The steps that several commands share: load and audit, publish a bundle, find a model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fraudray.output import say
from training.audit import Audit, audit, audit_html
from training.bundle import ModelBundle
from training.card import html, markdown, pictures
from training.data import MAX_BAD_SHARE, Dataset, load
from training.errors import FraudrayError
from training.spec import DatasetSpec
from training.split import Split, SplitPlan, split
from training.tracking import Tracking, Version
from tuning.select import Promotion, Verdict, gate


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
            "gate": dict(self.verdict.figures),
            "family": card["family"],
            "params": card["params"],
            "smote": card["smote"],
            "neighbours": card["neighbours"],
            "fraud_weight": card["fraud_weight"],
            "derived": card["derived"],
            "calibration": self.bundle.calibration.kind,
            "policy": choice.policy,
            "policy_met": choice.met,
            "threshold": choice.threshold,
            "excluded": card["excluded"],
            "metrics": card["metrics"],
            "fingerprint": card["fingerprint"],
            "run_id": self.version.run_id,
        }


@dataclass(frozen=True)
class Audited:
    """A labelled file, how its rows are parted, and what the audit says: what models are made of.

    They travel together, so that nothing is ever fitted on one split and measured on another.
    """

    dataset: Dataset
    parts: Split
    report: Audit

    @property
    def test(self) -> Dataset:
        """The rows that measure a model."""
        return self.dataset.take(self.parts.test)


def loaded(
    path: str | Path, spec: DatasetSpec, max_bad_share: float, *, labelled: bool = True
) -> Dataset:
    """Read a file, and say what was set aside."""
    dataset = load(path, spec, labelled=labelled, max_bad_share=max_bad_share)
    if len(dataset.rejected):
        say(f"warning: {dataset.complaint()}; they are set aside in {dataset.rejected_file}")
    return dataset


def audited(
    path: str | Path, spec: DatasetSpec, plan: SplitPlan | None = None,
    max_bad_share: float = MAX_BAD_SHARE,
) -> Audited:  # fmt: skip
    """Read a file, part its rows and audit it."""
    dataset = loaded(path, spec, max_bad_share)
    parts = split(dataset, plan)
    return Audited(dataset, parts, audit(dataset, parts))


def log_audit(tracking: Tracking, run: str, report: Audit) -> None:
    """Keep an audit with a run, for machines and for people."""
    tracking.text(run, json.dumps(report.to_dict(), indent=1), "audit.json")
    tracking.text(run, audit_html(report), "audit.html")


def timestamped(prefix: str) -> str:
    """A name that sorts by time, for a sweep or a run."""
    return f"{prefix}-{datetime.now(UTC):%Y%m%d-%H%M%S}"


def publish(
    tracking: Tracking, run: str, model: str, bundle: ModelBundle, material: Audited, *,
    promote: Promotion = "auto",
) -> Published:  # fmt: skip
    """Log a bundle with metrics, card and pictures to a run, register it, let the gate decide.

    Parameters
    ----------
    material
        What the bundle was made from.
    promote
        As `tuning.select.gate` takes it.
    """
    # The oldest: a threshold set later made further versions of the same run.
    before = next((v for v in reversed(tracking.versions(model)) if v.run_id == run), None)
    if before is not None and before.champion:
        reason = before.tags.get("decision", "promoted before it could be told why")
        tracking.note(before, {"decision": reason})
        return Published(before, bundle, Verdict(True, reason))
    if before is not None and "decision" in before.tags:
        # A sweep that was killed after this, and goes on: a run is registered and judged once.
        return Published(before, bundle, Verdict(False, before.tags["decision"]))
    card = bundle.card
    tracking.log(
        run,
        params={
            "family": card["family"], "smote": card["smote"], "neighbours": card["neighbours"],
            "fraud_weight": card["fraud_weight"], "derived": card["derived"],
            "policy": bundle.choice.policy, "calibration": bundle.calibration.kind,
            "seed": card["seed"], "excluded": ", ".join(card["excluded"]) or "none",
            **{f"split.{k}": v for k, v in card["split"].items()},
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
    drawn = pictures(bundle)
    for name, figure in drawn.items():
        tracking.figure(run, figure, f"{name}.png")
    tracking.text(run, bundle.curve.to_csv(index=False), "threshold_curve.csv")
    tracking.text(run, json.dumps(bundle.evaluation, indent=1), "evaluation.json")
    tracking.text(run, html(bundle, drawn), "card.html")
    tracking.text(run, markdown(bundle), "card.md")
    log_audit(tracking, run, material.report)
    champion, verdict = _judged(tracking, model, bundle, material.test, promote)
    version = before or tracking.register(run, model, bundle)
    # Registering takes seconds. Who became champion meanwhile is the one to be compared with, so
    # that of two first versions at the same moment one only is champion without a comparison.
    while _key(tracking.champion(model)) != _key(champion):
        champion, verdict = _judged(tracking, model, bundle, material.test, promote)
    tracking.note(version, {f"gate.{name}": value for name, value in verdict.figures.items()})
    # The decision comes last: where it stands, all is done.
    if verdict.promote:
        version = tracking.promote(model, version.version, verdict.reason)
    else:
        tracking.note(version, {"decision": verdict.reason})
    return Published(version, bundle, verdict)


def _judged(
    tracking: Tracking, model: str, bundle: ModelBundle, rows: Dataset, promote: Promotion
) -> tuple[Version | None, Verdict]:
    """The champion of this moment, and what the gate says of the bundle beside it."""
    champion = tracking.champion(model)
    theirs = tracking.fetch(champion) if champion else None
    return champion, gate(bundle, theirs, rows, promote=promote)


def _key(version: Version | None) -> str:
    return version.key if version else ""


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


def version_or_champion(
    tracking: Tracking, model: str, version: str | None
) -> tuple[Version, ModelBundle]:
    """The version given with its bundle, else the champion.

    Raises
    ------
    NoModel
        If none is given and the model has no champion.
    TrackingError
        If there is no such version.
    """
    if version is None:
        return champion(tracking, model)
    found = tracking.version(model, version)
    return found, tracking.fetch(found)
