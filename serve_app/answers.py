"""What is answered about a payment, and how answers are written."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pydantic_core
from numpy.typing import NDArray
from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

_EXPLAINED: dict[str, Any] = {
    "request_id": "order-17",
    "decision": 1,
    "probability": 0.91,
    "threshold": 0.31,
    "model_version": "2",
    "reasons": [
        {"field": "paymentMethodAgeDays", "value": 0.02, "contribution": 2.7,
         "text": "paymentMethodAgeDays is 0.02 days: raises the risk"},
    ],
    "changes": [
        {"field": "paymentMethodAgeDays", "value": 3.1, "beyond": "or more", "decision": 0,
         "probability": 0.12, "distance": 0.18,
         "text": "if paymentMethodAgeDays were 3.1 days or more, it would be let through "
                 "(probability 12.00%)"},
    ],
}  # fmt: skip


class Answer(TypedDict):
    """What is said about one payment.

    `decision` is 1 where `probability`, the calibrated probability of fraud, reaches `threshold`.
    """

    request_id: str
    decision: int
    probability: float
    threshold: float
    model_version: str


class Reason(TypedDict):
    """One field's part in an answer; see `training.explain.Reason`."""

    field: str
    value: float | str | None
    contribution: float
    text: str


class Change(TypedDict):
    """Another value of one field that would turn the decision; see `training.changes.Change`."""

    field: str
    value: float | str
    beyond: Literal["", "or more", "or less"]
    decision: int
    probability: float
    distance: float
    text: str


@with_config(ConfigDict(json_schema_extra={"examples": [_EXPLAINED]}))
class Explained(Answer):
    """An answer with what moved it, the largest contribution first, and what would turn it.

    `changes` has at most one value of each field, the nearest change first; it is empty where no
    field alone turns the decision.
    """

    reasons: list[Reason]
    changes: list[Change]


def answer_json(
    request_id: str, version: str, threshold: float, probability: float, decision: int
) -> bytes:
    """One `Answer` as JSON; its numbers read back exactly."""
    return pydantic_core.to_json(
        Answer(
            request_id=request_id,
            decision=int(decision),
            probability=probability,
            threshold=threshold,
            model_version=version,
        )
    )


def answers_json(
    request_id: str,
    version: str,
    threshold: float,
    probability: NDArray[np.float64],
    decision: NDArray[np.int8],
) -> bytes:
    """A list of `Answer` as JSON; its numbers read back exactly.

    Parameters
    ----------
    probability, decision
        Shape (n,), n of 1 or more.
    """
    # Answers to one request differ in two values only, so the rest is written once.
    before = b'{"request_id":%b,"decision":' % pydantic_core.to_json(request_id)
    either = tuple(before + b'%d,"probability":' % value for value in (0, 1))
    after = b',"threshold":%b,"model_version":%b}' % tuple(
        map(pydantic_core.to_json, (threshold, version))
    )
    numbers = pydantic_core.to_json(probability.tolist())[1:-1].split(b",")
    answers = [either[d] + p for d, p in zip(decision.tolist(), numbers, strict=True)]
    return b"[%b%b]" % ((after + b",").join(answers), after)
