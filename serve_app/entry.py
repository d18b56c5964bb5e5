"""Entry: what an ingress keeps of a version; the stages have its model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from serve_app.calls import most_rows
from serve_app.contract import PaymentContract, form_fields
from serve_app.tally import Yardstick
from serve_app.versions import Reference
from training.bundle import ModelBundle
from training.data import Columns, columns_of
from training.examples import pick


@dataclass(frozen=True)
class Entry:
    """What an ingress needs of a version: how its payments look, and what is said of it.

    Attributes
    ----------
    probe
        Columns of one payment that it must be able to score.
    rows
        Payments that a call down the graph may hold; see `calls.most_rows`.
    yardstick
        What its payments are held against.
    """

    reference: Reference
    contract: PaymentContract
    threshold: float
    about: dict[str, Any]
    probe: Columns
    rows: int
    yardstick: Yardstick

    @classmethod
    def of(cls, reference: Reference) -> Self:
        """Load a version and keep this of it."""
        bundle = reference.load()
        rows = [sample["row"] for sample in bundle.sample[:1]]
        return cls(
            reference,
            PaymentContract(bundle.spec),
            bundle.choice.threshold,
            _about(reference, bundle),
            columns_of(rows, bundle.spec.inputs),
            most_rows(len(bundle.features.feature_names_)),
            Yardstick.of(bundle),
        )


def _about(reference: Reference, bundle: ModelBundle) -> dict[str, Any]:
    card = bundle.card
    return {
        "name": reference.model,
        "version": reference.version,
        "family": card["family"],
        "smote": card["smote"],
        "policy": bundle.choice.policy,
        "threshold": bundle.choice.threshold,
        "metrics": card["metrics"],
        "fingerprint": card["fingerprint"],
        "excluded": card["excluded"],
        "inputs": form_fields(bundle.spec),
        "examples": pick(card.get("examples", []), bundle.choice.threshold),
    }
