"""What an ingress tells the decision log: a bounded stretch of its decisions and answers."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serve_app.tally import Seen

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Role = Literal["champion", "challenger"]

REASONS: Final = (
    "broken", "content-type", "deadline", "decision-log", "error", "invalid", "key", "method",
    "not-ready", "order", "overload", "slow", "too-large", "unknown",
)  # fmt: skip
"""Why requests are refused, in a word: `refusals.reason` gives one of them."""

LATENCY_BOUNDS: FloatArray = np.array([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10])
"""Those of the edges that Prometheus is told, in seconds."""
_GRID = (1e-4 * 10 ** (np.arange(6 * 24 + 1) / 24)).round(9)  # so that 0.01 is just that
LATENCY_EDGES: FloatArray = np.union1d(_GRID, LATENCY_BOUNDS)
"""Seconds, (152,): bucket i of a latency histogram holds edges[i - 1] <= t < edges[i].

The first of the 153 buckets is for what took less than 0.1 ms, the last for 100 s and more.
"""


class Comparison(NamedTuple):
    """A challenger in the shadow beside the champion, over the same rows."""

    rows: int = 0
    differ: int = 0
    """Rows decided differently."""
    difference: float = 0.0
    """Sum of the absolute differences of the two probabilities."""

    def plus(self, other: Comparison) -> Comparison:
        """Both together."""
        return Comparison(
            self.rows + other.rows,
            self.differ + other.differ,
            self.difference + other.difference,
        )


@dataclass(frozen=True, eq=False)
class Delivery:
    """What happened at one ingress between two calls of `Ledger.take`.

    There are m requests of n rows in total, in the order they were decided.

    Attributes
    ----------
    ledger
        Whose it is.
    number
        1, 2, .. within the ledger.
    first
        The sequence number of the first row; the others follow without a gap.
    at : (m,)
        When each request was decided, seconds since 1970.
    request_id, version, role : m of them each
    threshold : (m,)
    rows : (m,)
        Rows in each request.
    counted
        Requests, from the first, that an earlier delivery brought and the log counted, but whose
        decisions its database did not take.
    probability, decision : (n,)
    answered
        Requests by route and status: how many in each bucket of `LATENCY_EDGES`, (153,).
    seconds
        The sum of what these took.
    refused
        Requests refused, by reason.
    compared
        What shadows said, by champion and challenger.
    shadow_dropped
        Rows that no shadow scored for want of time.
    dropped
        Rows decided that found no place here; they have no sequence numbers.
    seen
        Payments counted for drift, by the version that scored them; requests are not in step with
        those above.
    held
        Rows not acknowledged when it was taken, its own among them.
    """

    ledger: str
    number: int
    first: int
    at: FloatArray
    request_id: tuple[str, ...]
    version: tuple[str, ...]
    role: tuple[Role, ...]
    threshold: FloatArray
    rows: IntArray
    counted: int
    probability: FloatArray
    decision: NDArray[np.int8]
    answered: dict[tuple[str, int], IntArray]
    seconds: dict[tuple[str, int], float]
    refused: dict[str, int]
    compared: dict[tuple[str, str], Comparison]
    shadow_dropped: int
    dropped: int
    seen: dict[str, Seen]
    held: int


_EDGES = LATENCY_EDGES.tolist()


def latency_bucket(seconds: float) -> int:
    """The bucket of `LATENCY_EDGES` that a time falls in."""
    return bisect_right(_EDGES, seconds)
