"""What an ingress tells the decision log: a bounded stretch of its decisions and answers."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Role = Literal["champion", "challenger"]

LATENCY_EDGES: FloatArray = 1e-4 * 10 ** (np.arange(6 * 24 + 1) / 24)
"""Seconds, (145,): bucket i of a latency histogram holds edges[i - 1] <= t < edges[i].

The first of the 146 buckets is for what took less than 0.1 ms, the last for 100 s and more.
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
    probability, decision : (n,)
    answered
        Requests by route and status: how many in each bucket of `LATENCY_EDGES`, (146,).
    refused
        Requests refused, by reason.
    compared
        What shadows said, by champion and challenger.
    shadow_dropped
        Rows that no shadow scored for want of time.
    dropped
        Rows decided that found no place here; they have no sequence numbers.
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
    probability: FloatArray
    decision: NDArray[np.int8]
    answered: dict[tuple[str, int], IntArray]
    refused: dict[str, int]
    compared: dict[tuple[str, str], Comparison]
    shadow_dropped: int
    dropped: int


_EDGES = LATENCY_EDGES.tolist()


def latency_bucket(seconds: float) -> int:
    """The bucket of `LATENCY_EDGES` that a time falls in."""
    return bisect_right(_EDGES, seconds)
