"""The last minutes of the graph: traffic, decisions, latency and scores, in steps of a few seconds.

All is counted, nothing sampled: what several ledgers deliver adds up whatever the order.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np

from serve_app.delivery import LATENCY_EDGES, Comparison, Delivery, FloatArray, IntArray

SCORE_EDGES: FloatArray = np.arange(21) / 20
"""Edges of the histogram of probabilities, (21,)."""


class Totals:
    """Counts over any number of deliveries."""

    def __init__(self) -> None:
        self.answered: defaultdict[tuple[str, int], IntArray] = defaultdict(_no_latencies)
        self.seconds: defaultdict[tuple[str, int], float] = defaultdict(float)
        self.refused: Counter[str] = Counter()
        self.decisions: Counter[tuple[str, str, int]] = Counter()
        """Rows by version, role and decision."""
        self.scores: defaultdict[str, IntArray] = defaultdict(_no_scores)
        """Rows of each version by probability, (20,)."""
        self.score_sums: defaultdict[str, float] = defaultdict(float)
        self.compared: defaultdict[tuple[str, str], Comparison] = defaultdict(Comparison)
        self.dropped = 0
        self.shadow_dropped = 0

    @classmethod
    def of(cls, delivery: Delivery) -> Totals:
        """The counts of one delivery."""
        totals = cls()
        totals.answered.update(delivery.answered)
        totals.seconds.update(delivery.seconds)
        totals.refused.update(delivery.refused)
        totals.compared.update(delivery.compared)
        totals.dropped = delivery.dropped
        totals.shadow_dropped = delivery.shadow_dropped
        totals._decided(delivery)
        return totals

    def merge(self, other: Totals) -> None:
        """Add what another counted."""
        for key, buckets in other.answered.items():
            self.answered[key] = self.answered[key] + buckets
            self.seconds[key] += other.seconds[key]
        self.refused.update(other.refused)
        self.decisions.update(other.decisions)
        for version, counts in other.scores.items():
            # Taken out first: those that decided last come last.
            self.scores[version] = self.scores.pop(version, _no_scores()) + counts
            self.score_sums[version] += other.score_sums[version]
        for pair, seen in other.compared.items():
            self.compared[pair] = self.compared[pair].plus(seen)
        self.dropped += other.dropped
        self.shadow_dropped += other.shadow_dropped

    @property
    def requests(self) -> int:
        """Requests answered."""
        return int(sum(buckets.sum() for buckets in self.answered.values()))

    @property
    def alerts(self) -> int:
        """Rows the champion decided as fraud."""
        return self._champion(1)

    @property
    def alert_rate(self) -> float | None:
        """Share of the champion's rows decided as fraud; None without any."""
        rows = self._champion(0) + self._champion(1)
        return self.alerts / rows if rows else None

    def latencies(self, route: str | None = None) -> IntArray:
        """Requests answered with success by `LATENCY_EDGES`, (153,), of one route or all.

        Refusals, which are quick, would hide how long the others take.
        """
        wanted = (
            buckets
            for (of, status), buckets in self.answered.items()
            if status < 400 and route in (None, of)
        )
        return sum(wanted, start=_no_latencies())

    def _champion(self, decision: int) -> int:
        return sum(
            rows
            for (_, role, decided), rows in self.decisions.items()
            if role == "champion" and decided == decision
        )

    def _decided(self, delivery: Delivery) -> None:
        deciders = list(zip(delivery.version, delivery.role, strict=True))[delivery.counted :]
        before = int(delivery.rows[: delivery.counted].sum())
        probability, decision = delivery.probability[before:], delivery.decision[before:]
        codes = {decider: i for i, decider in enumerate(dict.fromkeys(deciders))}
        decider = np.repeat([codes[d] for d in deciders], delivery.rows[delivery.counted :])
        bins = np.searchsorted(SCORE_EDGES[1:-1], probability, side="right")
        for (version, role), code in codes.items():
            mine = decider == code
            alerts = int(np.count_nonzero(decision[mine]))
            self.decisions[version, role, 1] += alerts
            self.decisions[version, role, 0] += int(np.count_nonzero(mine)) - alerts
            counts = np.bincount(bins[mine], minlength=len(SCORE_EDGES) - 1)
            self.scores[version] = self.scores[version] + counts
            self.score_sums[version] += float(probability[mine].sum())


class Window:
    """What happened in the last minutes.

    Parameters
    ----------
    seconds
        Its length.
    step
        Seconds counted together; the window moves on by so much at a time.
    """

    def __init__(self, seconds: int = 900, step: int = 15) -> None:
        self.seconds = seconds
        self.step = step
        self._steps: dict[int, Totals] = {}

    def add(self, totals: Totals, now: float) -> None:
        """Count what a delivery brings now, in seconds since 1970."""
        self._steps.setdefault(int(now // self.step), Totals()).merge(totals)
        self._leave(now)

    def summary(self, now: float) -> dict[str, Any]:
        """All of it, fit for JSON.

        Returns
        -------
        dict
            `requests` by route and status; `refused` by reason; `decisions` by version, role and
            decision; `alert_rate` of the champion; `latency_ms`, percentiles by route of what was
            answered with success; `scores`, a histogram for each version; `timeline`, one entry
            for each step, which begins `at`; `shadow`, each challenger beside its champion;
            `dropped` and `shadow_dropped`, rows. Where there is nothing to take a rate or a
            percentile of, it is None.
        """
        self._leave(now)
        total = Totals()
        for totals in self._steps.values():
            total.merge(totals)
        return {
            "seconds": self.seconds,
            "requests": _nested(
                ((route, str(status)), int(buckets.sum()))
                for (route, status), buckets in total.answered.items()
            ),
            "refused": dict(sorted(total.refused.items())),
            "decisions": _nested(
                ((version, role, str(decision)), rows)
                for (version, role, decision), rows in total.decisions.items()
            ),
            "alert_rate": total.alert_rate,
            "latency_ms": {
                route: {f"p{q}": percentile_ms(total.latencies(route), q) for q in (50, 95, 99)}
                for route in sorted({route for route, _ in total.answered})
            },
            "scores": {
                "edges": SCORE_EDGES.tolist(),
                "counts": {version: c.tolist() for version, c in sorted(total.scores.items())},
            },
            "timeline": [self._point(number) for number in self._numbers(now)],
            "shadow": [
                {
                    "champion": champion,
                    "challenger": challenger,
                    "rows": seen.rows,
                    "differ": seen.differ,
                    "mean_difference": seen.difference / seen.rows if seen.rows else None,
                }
                for (champion, challenger), seen in sorted(total.compared.items())
            ],
            "dropped": total.dropped,
            "shadow_dropped": total.shadow_dropped,
        }

    def _point(self, number: int) -> dict[str, Any]:
        totals = self._steps.get(number) or Totals()
        return {
            "at": number * self.step,
            "requests": totals.requests,
            "alerts": totals.alerts,
            "p99_ms": percentile_ms(totals.latencies(), 99),
        }

    def _numbers(self, now: float) -> range:
        last = int(now // self.step)
        return range(last - self.seconds // self.step + 1, last + 1)

    def _leave(self, now: float) -> None:
        first = self._numbers(now).start
        for number in [n for n in self._steps if n < first]:
            del self._steps[number]


def percentile_ms(buckets: IntArray, percent: float) -> float | None:
    """A percentile of latencies counted by `LATENCY_EDGES`, in milliseconds; None of nothing.

    It lies in the bucket of the true one, so it is off by a tenth at most; beyond the edges the
    outermost stands for all.
    """
    ends = np.cumsum(buckets)
    if ends[-1] == 0:
        return None
    rank = max(1.0, np.ceil(ends[-1] * percent / 100))
    bucket = int(np.searchsorted(ends, rank))
    low = LATENCY_EDGES[max(bucket - 1, 0)]
    high = LATENCY_EDGES[min(bucket, len(LATENCY_EDGES) - 1)]
    share = 1 - (ends[bucket] - rank) / buckets[bucket]
    return round(1000 * float(low * (high / low) ** share), 3)


def _nested(counts: Iterable[tuple[tuple[str, ...], int]]) -> dict[str, Any]:
    """Counts by several names as dictionaries within dictionaries."""
    nested: dict[str, Any] = {}
    for (*names, last), count in sorted(counts):
        inner = nested
        for name in names:
            inner = inner.setdefault(name, {})
        inner[last] = count
    return nested


def _no_latencies() -> IntArray:
    return np.zeros(len(LATENCY_EDGES) + 1, np.int64)


def _no_scores() -> IntArray:
    return np.zeros(len(SCORE_EDGES) - 1, np.int64)
