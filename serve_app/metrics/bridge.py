"""Bridge: what a process of the graph counts, told to Ray, which tells Prometheus."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from threading import Thread
from typing import Any, Final

from prometheus_client import Metric
from ray.util.metrics import Counter, Gauge

EVERY: Final = 2.0
"""Seconds between two times that Ray is told; it reports every ten."""

_log = logging.getLogger("ray.serve")


class Bridge:
    """Tells Ray of metrics as prometheus_client has them, and keeps telling it.

    Ray adds up the steps of counters. It forgets a gauge with every report, so a series that is
    measured no more ends within two reports, and all others are set again and again. Its own
    histogram takes one value at a time and sums the middles of its buckets; here a histogram is
    told as gauges named as its series are, `_bucket`, `_sum` and `_count`, which only grow while
    the process lives.

    Parameters
    ----------
    application
        The label of that name.
    measure
        Gives the metrics as they are now; called in a thread.
    """

    def __init__(self, application: str, measure: Callable[[], Iterable[Metric]]) -> None:
        self._application = application
        self._measure = measure
        self._metrics: dict[str, Any] = {}
        self._told: dict[tuple[str, ...], float] = {}

    def start(self) -> None:
        """Tell from now on, in a thread that ends with the process."""
        Thread(target=self._keep_telling, daemon=True).start()

    def tell(self) -> None:
        """Tell once."""
        for family in self._measure():
            for name, given, value, *_ in family.samples:
                labels = {**given, "application": self._application}
                if name.endswith("_created"):
                    continue
                if family.type != "counter":
                    self._metric(Gauge, name, family, labels).set(float(value), labels)
                    continue
                counter = self._metric(Counter, family.name, family, labels)
                key = (name, *given.values())
                step = value - self._told.get(key, 0.0)
                if step or key not in self._told:
                    # `inc` refuses 0, where a series has to begin: Prometheus takes the first value
                    # that it sees for no increase.
                    counter._record(float(step), labels)
                    self._told[key] = value

    def _metric(self, kind: Any, name: str, family: Metric, labels: dict[str, str]) -> Any:
        metric = self._metrics.get(name)
        if metric is None:
            metric = self._metrics[name] = kind(name, family.documentation, tuple(labels))
        return metric

    def _keep_telling(self) -> None:
        troubled = False
        while True:
            try:
                self.tell()
                troubled = False
            except Exception as error:  # payments are scored without it
                if not troubled:
                    _log.error("metrics cannot be told", exc_info=error)
                troubled = True
            time.sleep(EVERY)
