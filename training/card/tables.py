"""The tables of a model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from training.html import Table
from training.resample import NEIGHBOURS

MOST_SLICES = 60
"""Slices in a card; weak ones come first."""

_NONE = "-"


def made(card: Mapping[str, Any]) -> Table:
    """Data, split, recipe."""
    parted, params = card["split"], card["params"]
    gap = f", {parted['gap_days']:g} days left out before each later part"
    # Older bundles were made before these could be chosen.
    neighbours, derived = card.get("neighbours", NEIGHBOURS), card.get("derived", True)
    smote = (
        f"SMOTE to {card['smote']:g} frauds per legitimate row between {neighbours} neighbours, "
        f"in the rows it is fitted on"
        if card["smote"]
        else "none"
    )
    rows = [
        ("Data", f"{card['source']}, fingerprint {card['fingerprint']}"),
        ("Split", f"by {parted['method']}{gap if parted['gap_days'] else ''}, "
                  f"fingerprint {parted['fingerprint']}"),
        ("Model", f"{card['family']}, {', '.join(f'{k} {v:g}' for k, v in params.items())}"),
        ("Resampling", smote),
        ("Weight of a fraud", f"{card['fraud_weight']:g} times a legitimate row's"),
        ("Derived features", "those of the spec" if derived else "none"),
        ("Left out", ", ".join(card["excluded"]) or "no column"),
        ("Seed", str(card["seed"])),
        ("Made", str(card["made"])),
    ]  # fmt: skip
    return Table(("What", "How"), rows, (0, 1))


def parts(found: Mapping[str, Mapping[str, int]]) -> Table:
    """Rows and frauds per part."""
    return Table(
        ("Part", "Rows", "Frauds", "Share"),
        [
            (name, f"{p['rows']:,}", f"{p['frauds']:,}", f"{p['frauds'] / p['rows']:.2%}")
            for name, p in found.items()
        ],
    )


def measured(test: Mapping[str, Any], currency: str) -> Table:
    """Metrics with intervals and counts."""
    m, spread = test["metrics"], test["intervals"]
    alerts = m["true_positives"] + m["false_positives"]
    idle = 1 - m["frauds"] / m["rows"]
    rows = [
        ("PR-AUC", number(m["pr_auc"]), interval(spread["pr_auc"]),
         f"chance is {m['frauds'] / m['rows']:.4f}, the share of frauds"),
        ("Precision", number(m["precision"]), interval(spread["precision"]),
         f"{m['true_positives']:,} of {alerts:,} alerts are frauds"),
        ("Recall", number(m["recall"]), interval(spread["recall"]),
         f"{m['true_positives']:,} of {m['frauds']:,} frauds are found"),
        ("F1", number(m["f1"]), interval(spread["f1"]), "precision and recall alike"),
        ("F2", number(m["f2"]), _NONE, "recall weighs twice as much"),
        ("MCC", number(m["mcc"]), _NONE, "0 is chance, 1 is perfect"),
        ("ROC-AUC", number(m["roc_auc"]), _NONE, "looks high wherever frauds are rare"),
        ("Brier score", number(m["brier"], ".5f"), _NONE, "error of the probability; 0 is best"),
        (f"Cost per 10,000{currency}", f"{m['cost_per_10000']:,.0f}",
         interval(spread["cost_per_10000"], ",.0f"),
         f"{m['false_negatives']:,} frauds let through, {m['false_positives']:,} false alarms"),
        ("Accuracy", number(m["accuracy"], ".4f"), _NONE,
         f"says little: without any alert it is {idle:.4f}"),
    ]  # fmt: skip
    return Table(("Metric", "Value", "95 % interval", "What it means"), rows, (0, 3))


def beside(found: Mapping[str, Any], currency: str) -> Table:
    """The model beside itself on new rows, without the telling columns, and the baselines."""
    compared = {"this model": found["test"]["metrics"]}
    twins = found["test"].get("twins")  # older bundles have none
    if twins and twins["metrics"]:
        rows = twins["metrics"]["rows"]
        compared[f"this model, on the {rows:,} rows unlike any it was made from"] = twins["metrics"]
    if found["without"]:
        names = ", ".join(found["without"]["columns"])
        compared[f"the same without {names}"] = found["without"]["metrics"]
    compared |= found["baselines"]
    shown = ("pr_auc", "precision", "recall", "f1", "mcc")
    rows = [
        (name, *(number(m[n]) for n in shown),
         f"{m['cost_per_10000']:,.0f}", f"{m['alerts_per_10000']:,.1f}")
        for name, m in compared.items()
    ]  # fmt: skip
    return Table(
        ("On test", "PR-AUC", "Precision", "Recall", "F1", "MCC",
         f"Cost per 10,000{currency}", "Alerts per 10,000"),
        rows,
    )  # fmt: skip


def precision_at(found: Sequence[Mapping[str, Any]]) -> Table:
    """What the highest scores hold."""
    per = found[0]["per"] if found else "day"
    asked = [p["k"] if per == "day" else p.get("rate", p["k"]) for p in found]
    return Table(
        (f"Alerts per {per}", "Alerts", "Frauds among them", "Precision", "Recall"),
        [
            (f"{rate:,.4g}", f"{p['alerts']:,}", f"{p['true_positives']:,}",
             number(p["precision"]), number(p["recall"]))
            for rate, p in zip(asked, found, strict=True)
        ],
        (),
    )  # fmt: skip


def probability_errors(found: Mapping[str, Any]) -> Table:
    """Errors of the probability under each way to calibrate."""
    named = {"the raw score": found["before"]} | dict(found["candidates"])
    return Table(
        ("Calibration", "Brier", "Expected error", "Log loss"),
        [
            (f"{name} (chosen)" if name == found["method"] else name,
             number(e["brier"], ".5f"), number(e["ece"], ".5f"), number(e["log_loss"], ".5f"))
            for name, e in named.items()
        ],
    )  # fmt: skip


def slices(found: Sequence[Mapping[str, Any]]) -> Table:
    """Slices, weak ones first, those with most frauds let through before the others."""
    ranked = sorted(found, key=lambda s: missed_frauds(s) if s["weak"] else 0, reverse=True)
    return Table(
        ("Column", "Value", "Rows", "Frauds", "Alerts", "Precision", "Recall", "95 % interval", ""),
        [
            (s["column"], s["value"], f"{s['rows']:,}", f"{s['frauds']:,}", f"{s['alerts']:,}",
             number(s["precision"], ".2f"), number(s["recall"], ".2f"),
             interval(s["recall_interval"], ".2f"), "weak" if s["weak"] else "")
            for s in ranked[:MOST_SLICES]
        ],
        (0, 1, 8),
    )  # fmt: skip


def missed_frauds(part: Mapping[str, Any]) -> int:
    """Frauds of a slice that were let through."""
    return int(part["frauds"] - part["true_positives"])


def windows(found: Sequence[Mapping[str, Any]]) -> Table:
    """Metrics over time."""
    return Table(
        ("From", "Rows", "Frauds", "Alerts", "Precision", "Recall", "PR-AUC"),
        [
            (w["begins"].replace("T", " ")[:16], f"{w['rows']:,}", f"{w['frauds']:,}",
             f"{w['alerts']:,}", *(number(w[n], ".2f") for n in ("precision", "recall", "pr_auc")))
            for w in found
        ],
    )  # fmt: skip


def number(value: float | None, form: str = ".3f") -> str:
    """A number, or a dash where there is none."""
    return _NONE if value is None else f"{value:{form}}"


def interval(ends: Sequence[float] | None, form: str = ".3f") -> str:
    """Both ends, or a dash where there are none."""
    return _NONE if ends is None else f"{ends[0]:{form}} to {ends[1]:{form}}"
