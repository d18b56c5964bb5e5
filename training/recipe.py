"""Recipe: what is chosen before a model is fitted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import blake2b

from training.errors import UsageError
from training.models import family, with_defaults
from training.resample import MOST_NEIGHBOURS, NEIGHBOURS
from training.threshold import DEFAULT_POLICY, Policy

MOST_WEIGHT = 1000.0


@dataclass(frozen=True)
class Recipe:
    """What is chosen, by a person or a sweep, before a model is fitted.

    Attributes
    ----------
    smote
        Frauds per legitimate row after resampling; 0 for none.
    neighbours
        Nearest frauds that SMOTE draws between.
    fraud_weight
        What a fraud weighs against a legitimate row when fitted; 1 for the same.
    derived
        Whether the model sees the features that the spec derives, beside its columns.
    policy
        How the threshold is chosen.
    """

    family: str
    params: Mapping[str, float] = field(default_factory=dict)
    smote: float = 0.0
    neighbours: int = NEIGHBOURS
    fraud_weight: float = 1.0
    derived: bool = True
    policy: str = DEFAULT_POLICY
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be meant, before any work is done."""
        with_defaults(family(self.family), self.params)
        if not 0 <= self.smote <= 1:
            raise UsageError(f"the SMOTE ratio must be from 0 (none) to 1, it is {self.smote:g}")
        if not 1 <= self.neighbours <= MOST_NEIGHBOURS:
            raise UsageError(
                f"SMOTE's neighbours must be from 1 to {MOST_NEIGHBOURS}, they are "
                f"{self.neighbours}"
            )
        if not 0 < self.fraud_weight <= MOST_WEIGHT:
            raise UsageError(
                f"the weight of a fraud must be above 0 and at most {MOST_WEIGHT:g}, it is "
                f"{self.fraud_weight:g}"
            )
        Policy.parse(self.policy)

    @property
    def key(self) -> str:
        """Twelve hex digits that follow from what is chosen, and from nothing else."""
        params = with_defaults(family(self.family), self.params)
        chosen = asdict(self) | {
            "params": {name: float(value) for name, value in params.items()},
            "smote": float(self.smote),
            "fraud_weight": float(self.fraud_weight),
        }
        text = json.dumps(chosen, sort_keys=True)
        return blake2b(text.encode(), digest_size=6).hexdigest()

    @property
    def label(self) -> str:
        """In words, short."""
        said = [self.family, f"SMOTE {self.smote:g}" if self.smote else "no resampling"]
        if self.smote and self.neighbours != NEIGHBOURS:
            said[-1] += f" between {self.neighbours} neighbours"
        if self.fraud_weight != 1:
            said.append(f"frauds weigh {self.fraud_weight:g}")
        if not self.derived:
            said.append("without derived features")
        return ", ".join(said)
