"""What a model card says, in sentences and tables, whatever it is written in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import pandas as pd

from training.card import tables
from training.evaluate.slices import FEWEST_FRAUDS, WEAK_BY_CHANCE
from training.html import Table
from training.spec import DatasetSpec
from training.threshold import Choice, Policy

FEW_FRAUDS = 100
"""Frauds in the test rows below which a card warns that its intervals are wide."""

_MOST_NAMED = 5


class CardContent(Protocol):
    """What a card is written from; a ModelBundle has it all."""

    @property
    def card(self) -> Mapping[str, Any]:
        """How the model was made."""

    @property
    def choice(self) -> Choice:
        """The threshold and its policy."""

    @property
    def curve(self) -> pd.DataFrame:
        """The threshold curve of the validation rows."""

    @property
    def spec(self) -> DatasetSpec:
        """The schema of the payments it scores."""

    @property
    def evaluation(self) -> Mapping[str, Any]:
        """How it measured: test, baselines, without, calibration, importance."""


def facts(bundle: CardContent) -> dict[str, Any]:
    """Everything that a card's templates name, apart from the pictures."""
    card, test = bundle.card, bundle.evaluation["test"]
    return {
        "title": f"Model card: {card['family']} for {bundle.spec.name}",
        "lead": _lead(test["metrics"], _twins(test)),
        "tiles": _tiles(test, _currency(bundle)),
        "purpose": _purpose(bundle),
        "limits": _limits(),
        "made": tables.made(card),
        "parts": tables.parts(card["parts"]),
        "decides": _decides(bundle),
        "measured": tables.measured(test, _currency(bundle)),
        "beside": tables.beside(bundle.evaluation, _currency(bundle)),
        "without": _without(bundle.evaluation),
        "precision_at": tables.precision_at(test["precision_at"]),
        "calibration": _calibration(bundle.evaluation["calibration"]),
        "errors": tables.probability_errors(bundle.evaluation["calibration"]),
        "importance": _importance(bundle.evaluation["importance"]),
        "slices": tables.slices(test["slices"]),
        "slices_left": max(len(test["slices"]) - tables.MOST_SLICES, 0),
        "windows": tables.windows(test["over_time"]),
        "weaknesses": _weaknesses(bundle),
        "checked": _checked(bundle),
        "packages": Table(("Package", "Version"), sorted(card["packages"].items()), (0, 1)),
    }


def _twins(test: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Test rows that the model has seen the like of; None where nobody has looked."""
    found: Mapping[str, Any] | None = test.get("twins")  # older bundles have none
    return found


def _lead(metrics: Mapping[str, Any], twins: Mapping[str, Any] | None) -> str:
    hits, alerts = metrics["true_positives"], metrics["true_positives"] + metrics["false_positives"]
    seen = ""
    if twins and not twins["rows"]:
        seen = " that it had not seen"
    elif twins:
        seen = (
            f", {twins['rows']:,} of them like ones it was made from "
            f"({twins['frauds']:,} of the {metrics['frauds']:,} frauds)"
        )
    return (
        f"On {metrics['rows']:,} payments{seen}, it found {hits:,} of {metrics['frauds']:,} "
        f"frauds, and {hits:,} of its {alerts:,} alerts were frauds."
    )


def _tiles(test: Mapping[str, Any], currency: str) -> list[tuple[str, str, str]]:
    metrics, spread = test["metrics"], test["intervals"]
    alerts = metrics["true_positives"] + metrics["false_positives"]
    return [
        ("PR-AUC", tables.number(metrics["pr_auc"]), tables.interval(spread["pr_auc"])),
        ("Recall", tables.number(metrics["recall"]), tables.interval(spread["recall"])),
        ("Precision", tables.number(metrics["precision"]), tables.interval(spread["precision"])),
        (
            f"Cost per 10,000{currency}",
            f"{metrics['cost_per_10000']:,.0f}",
            tables.interval(spread["cost_per_10000"], ",.0f"),
        ),
        (
            "Alerts per 10,000",
            f"{metrics['alerts_per_10000']:,.1f}",
            f"{alerts:,} in {metrics['rows']:,} payments",
        ),
    ]


def _purpose(bundle: CardContent) -> list[str]:
    spec = bundle.spec
    about = f" ({spec.description.rstrip('.')})" if spec.description else ""
    return [
        f"It says how likely a payment is to be a fraud, and alerts where that is likely enough "
        f"to look at it. It is made for payments as the spec {spec.name} describes them{about}.",
        "An alert is a reason for a person to look, or to ask the customer once more.",
    ]


def _limits() -> list[str]:
    return [
        "An alert is no proof. It must not be the only ground to refuse or report a customer.",
        "It knows nothing of other kinds of payment, shops or countries than its data hold.",
        "It says nothing about customers, their credit or their honesty; it scores one payment.",
        "Frauds change. What is measured here ends with the data: measure again as labels arrive.",
    ]


def _decides(bundle: CardContent) -> list[str]:
    choice = bundle.choice
    costs, currency = Policy.parse(choice.policy).costs(bundle.spec), _currency(bundle)
    missed = (
        f"the {costs.amount} of the payment ({costs.missed_fraud:g} where that is missing)"
        if costs.amount
        else f"{costs.missed_fraud:g}"
    )
    return [
        f"A payment is an alert where its probability is at least {choice.threshold:.4g}. The "
        f"threshold has {_policy(choice.policy)} on the validation rows ({choice.policy})"
        + ("." if choice.met else ": none meets that, and this one comes nearest."),
        f"There, {choice.alerts_per_10000:,.1f} of 10,000 payments were alerts, with precision "
        f"{choice.precision:.3f} and recall {choice.recall:.3f}, and errors cost "
        f"{choice.cost_per_10000:,.0f} per 10,000 payments{currency}.",
        f"A fraud let through costs {missed}, an alert on a legitimate payment "
        f"{costs.false_alarm:g}{currency}.",
        *_set_later(bundle),
    ]


def _set_later(bundle: CardContent) -> list[str]:
    tested = bundle.evaluation["test"]["threshold"]
    if tested == bundle.choice.threshold:
        return []
    return [
        f"This threshold was set after the model was made. What the test rows show here, they show "
        f"at the one it was made with, {tested:.4g}."
    ]


def _policy(text: str) -> str:
    policy = Policy.parse(text)
    return {
        "max-f1": "the highest F1",
        "max-fbeta": f"the highest F-beta, recall weighing {policy.value:g} times as much,",
        "recall": f"the best precision at a recall of at least {policy.value:g}",
        "precision": f"the best recall at a precision of at least {policy.value:g}",
        "alert-rate": f"the best recall with alerts on at most {policy.value:.4%} of payments",
        "min-cost": "the lowest cost",
        "threshold": "been set by hand, not chosen",
    }[policy.kind]


def _without(found: Mapping[str, Any]) -> str:
    if not found["without"]:
        return ""
    columns, area = found["without"]["columns"], found["without"]["metrics"]["pr_auc"]
    return (
        f"{_and(columns)} {'separate' if len(columns) > 1 else 'separates'} the classes alone. "
        f"Fitted without, the same recipe has a PR-AUC of {tables.number(area)} on test "
        f"instead of {tables.number(found['test']['metrics']['pr_auc'])}."
    )


def _calibration(found: Mapping[str, Any]) -> str:
    how = {
        "prior": "moved by what resampling and weights did to the share of frauds; nothing more "
        "is learned",
        "platt": "brought onto a logistic curve (Platt scaling)",
        "isotonic": "brought onto a rising curve without a given shape (isotonic regression)",
    }.get(found["method"], found["method"])
    return (
        f"Scores are {how}. That had the lowest Brier score of {_and(list(found['candidates']))} "
        f"on validation rows, each judged on rows it was not fitted on."
    )


def _importance(found: Mapping[str, float]) -> list[tuple[str, float]]:
    """Fields by falling share of the whole, in percent."""
    total = sum(found.values())
    ranked = sorted(found.items(), key=lambda item: -item[1])
    return [(name, 100 * value / total if total else 0.0) for name, value in ranked]


def _weaknesses(bundle: CardContent) -> list[str]:
    card, found = bundle.card, bundle.evaluation
    metrics = found["test"]["metrics"]
    said = [f"{f['message']}." for f in card["findings"] if f["severity"] in ("error", "warning")]
    if not bundle.choice.met:
        said.append(f"No threshold meets the policy {bundle.choice.policy} on validation.")
    if metrics["frauds"] < FEW_FRAUDS:
        said.append(
            f"Only {metrics['frauds']:,} frauds are in the test rows, so the intervals are wide."
        )
    said += _flattered(metrics, _twins(found["test"]))
    if metrics["pr_auc"] == 1:
        said.append("No fraud scores below a legitimate payment: ask how that can be.")
    for name, other in found["baselines"].items():
        if other["cost_per_10000"] <= metrics["cost_per_10000"]:
            said.append(f"The baseline ({name}) costs no more than this model.")
        if name.startswith("best") and (other["pr_auc"] or 0) >= (metrics["pr_auc"] or 0):
            said.append(f"The {name}. Its PR-AUC is as high as this model's.")
    weak = [s for s in found["test"]["slices"] if s["weak"]]
    weak.sort(key=tables.missed_frauds, reverse=True)
    said += [
        f"Where {s['column']} is {s['value']}, it finds {s['true_positives']:,} of "
        f"{s['frauds']:,} frauds (recall {s['recall']:.2f}, all rows {metrics['recall']:.2f})."
        for s in weak[:_MOST_NAMED]
    ]
    if len(weak) > _MOST_NAMED:
        said.append(f"{len(weak) - _MOST_NAMED} more slices are weak; the table names them.")
    told = [f["column"] for f in card["findings"] if f["severity"] != "note"]
    if silent := [name for name in card["excluded"] if name not in told]:
        said.append(f"It does without {_and(silent)}, left out by the audit.")
    if card["split"]["method"] != "time":
        said.append("The parts are not in order of time: how it lasts is not measured.")
    return said


def _flattered(metrics: Mapping[str, Any], twins: Mapping[str, Any] | None) -> list[str]:
    """What test rows that are like training or validation rows do to the numbers."""
    if not twins or not twins["rows"]:
        return []
    alike = (
        f"{twins['rows']:,} of the {metrics['rows']:,} test rows agree with a training or "
        f"validation row in what tells payments apart, {twins['frauds']:,} of the "
        f"{metrics['frauds']:,} frauds among them, so the numbers may flatter."
    )
    left = twins["metrics"]
    if left is None:
        return [f"{alike} No row is left without them: nothing is known of new payments."]
    return [
        f"{alike} Without them it finds {left['true_positives']:,} of {left['frauds']:,} frauds, "
        f"and its PR-AUC is {tables.number(left['pr_auc'])} instead of "
        f"{tables.number(metrics['pr_auc'])}."
    ]


def _checked(bundle: CardContent) -> list[str]:
    card, twins = bundle.card, _twins(bundle.evaluation["test"])
    found = [f["severity"] for f in card["findings"]]
    counts = [f"{found.count(s)} {s}{'s' * (found.count(s) != 1)}"
              for s in ("error", "warning", "note")]  # fmt: skip
    return [
        f"The file was audited before anything was fitted: {', '.join(counts)}.",
        "It was fitted on the training rows, calibrated and given its threshold on the validation "
        "rows, and measured on the test rows, which nothing was learned from or chosen on.",
        "All metrics are at the natural share of frauds; resampled rows are in none of them.",
        "Nobody has looked for test rows that are like training or validation rows."
        if twins is None
        else f"{twins['rows']:,} test rows are like a training or validation row.",
        "The intervals of precision, recall and F1 are Wilson intervals, those of PR-AUC and cost "
        "come from 500 resamples of the test rows; copies of a payment count as one.",
        "Intervals know only rows like these. Where no error was seen, they allow for what one "
        "sample in twenty would not show; they do not allow for frauds that change, or for "
        "payments that hang together in other ways, as those of one customer.",
        "The best single column was found on the training rows and got its threshold by the same "
        "policy on the validation rows.",
        f"A slice is weak where so few of at least {FEWEST_FRAUDS} frauds are found that it can "
        f"hardly be chance: of models that find all frauds alike, {WEAK_BY_CHANCE:.0%} would have "
        f"a weak slice.",
    ]


def _currency(bundle: CardContent) -> str:
    """The unit of the amount, as it follows a number or a head; empty where there is none."""
    amount = Policy.parse(bundle.choice.policy).costs(bundle.spec).amount or ""
    column = bundle.spec.columns.get(amount)
    return f" ({column.unit})" if column and column.unit else ""


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1] if names else ""]))
