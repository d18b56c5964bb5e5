"""Drift of the payments that the graph scores: the last hour, and the last day for some fields."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any, Final

from serve_app.delivery import Delivery
from serve_app.tally import Yardstick
from training.drift import Drift, measure
from training.reference import Counts

STEP: Final = 300
"""Seconds counted together; the windows move on by so much at a time."""
HOUR: Final = 3600
DAY: Final = 24 * HOUR
COVERED: Final = 23
"""Hours of the last day in which payments came, from which fields that follow the day are told."""


class DriftWindow:
    """Payments of the last day by version, counted, and how far those of the champion are off.

    What ingresses counted apart adds up. It is kept by version, so a challenger in the shadow does
    not mix with the champion, and brings its own window when it is promoted.
    """

    def __init__(self) -> None:
        self.champion: str | None = None
        """The version that answered last."""
        self.rows = 0
        """Payments of the champions counted since this began, and those of them whose .."""
        self.missing: Counter[str] = Counter()
        """.. field had no value .."""
        self.unknown: Counter[str] = Counter()
        """.. or one that has no bin."""
        self._yardsticks: dict[str, Yardstick] = {}
        self._steps: dict[str, dict[int, Counts]] = {}

    @property
    def yardstick(self) -> Yardstick | None:
        """What the champion's payments are held against; None before any were counted."""
        return None if self.champion is None else self._yardsticks.get(self.champion)

    def add(self, delivery: Delivery, now: float) -> None:
        """Take up what was counted at an ingress, in seconds since 1970."""
        latest = zip(reversed(delivery.version), reversed(delivery.role), strict=True)
        self.champion = next((v for v, role in latest if role == "champion"), self.champion)
        number = int(now // STEP)
        for version, seen in delivery.seen.items():
            self._yardsticks[version] = seen.yardstick
            steps = self._steps.setdefault(version, {})
            steps[number] = steps[number] + seen.counts if number in steps else seen.counts
            if version == self.champion:
                self._tell_apart(seen.yardstick, seen.counts)
        for version, steps in list(self._steps.items()):
            for old in [n for n in steps if n <= number - DAY // STEP]:
                del steps[old]
            if not steps:
                del self._steps[version], self._yardsticks[version]

    def measure(self, now: float) -> Drift | None:
        """How far the champion's payments are off; None if none were counted within a day.

        What follows the week is never told: no window here spans one.
        """
        yardstick, number = self.yardstick, int(now // STEP)
        if yardstick is None or self.champion is None:
            return None
        expected, steps = yardstick.expected, self._steps[self.champion]
        day = {n: counts for n, counts in steps.items() if n > number - DAY // STEP}
        if not day:
            return None
        hour = [counts for n, counts in day.items() if n > number - HOUR // STEP]
        cyclic = yardstick.daily | yardstick.weekly
        drift = measure(expected, sum(hour, start=expected.empty()), skip=cyclic)
        hours = {(number - n) * STEP // HOUR for n in day}
        if yardstick.daily and len(hours) >= COVERED:
            all_day = sum(day.values(), start=expected.empty())
            daily = measure(expected, all_day, skip=expected.bins.keys() - yardstick.daily)
            fields = sorted((*drift.fields, *daily.fields), key=lambda field: -field.psi)
            weekly = tuple(name for name in drift.skipped if name in yardstick.weekly)
            drift = replace(drift, fields=tuple(fields), skipped=weekly)
        return drift

    def summary(self, now: float) -> dict[str, Any] | None:
        """`measure`, fit for JSON, with the version and the window's seconds."""
        drift = self.measure(now)
        if drift is None:
            return None
        return {"version": self.champion, "seconds": HOUR, **drift.to_dict()}

    def _tell_apart(self, yardstick: Yardstick, counts: Counts) -> None:
        self.rows += counts.rows
        for name, bins in yardstick.expected.bins.items():
            *_, other, missing = counts.columns[name]
            self.missing[name] += missing
            if bins.kind == "value":
                self.unknown[name] += other
