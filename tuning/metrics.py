"""Metrics of a sweep for Prometheus, which Ray has none of, served by the process that runs it.

Ray's own metrics would show what this process sets ten seconds late, sum histograms by the middle
of their buckets and go on after the sweep is over; so they are served on a port of their own.
"""

from __future__ import annotations

import math
from collections import Counter as Counts
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from training.errors import FraudrayError, UsageError
from tuning.objective import direction
from tuning.trials import Status, Trial

_SECONDS = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)
_LOOPBACK = "127.0.0.1"


class SweepMetrics:
    """Counts and scores of one sweep.

    Prometheus sees, each with the label `sweep`: `fraudray_sweep_trials` by status,
    `fraudray_sweep_best_score` in units of the metric, which is a label, the histogram
    `fraudray_sweep_trial_seconds`, and `fraudray_sweep_reports_total`, whose rate is the reports
    a second.
    """

    def __init__(self, sweep: str, metric: str) -> None:
        self.registry = CollectorRegistry()
        self._sweep, self._metric = sweep, metric
        self._seen: dict[str, Trial] = {}
        self._counts: Counts[Status] = Counts()
        self._best = -math.inf
        self._trials = Gauge(
            "fraudray_sweep_trials", "Trials of a sweep by status", ("sweep", "status"),
            registry=self.registry,
        )  # fmt: skip
        self._score = Gauge(
            "fraudray_sweep_best_score", "Best score of a finished trial", ("sweep", "metric"),
            registry=self.registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "fraudray_sweep_trial_seconds", "Time the fits of a trial took", ("sweep",),
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self._reports = Counter(
            "fraudray_sweep_reports", "Results that workers have told of", ("sweep",),
            registry=self.registry,
        )  # fmt: skip

    def __call__(self, trial: Trial) -> None:
        """Take up what became of a trial."""
        known = self._seen.get(trial.key)
        self._seen[trial.key] = trial
        before = known.status if known else None
        if trial.metrics and (known is None or trial.metrics != known.metrics):
            self._reports.labels(self._sweep).inc()
        for status, step in ((trial.status, 1), (before, -1)):
            if status is not None:
                self._counts[status] += step
                self._trials.labels(self._sweep, status).set(self._counts[status])
        if trial.status == "done" and before != "done":
            self._seconds.labels(self._sweep).observe(trial.seconds)
            score = direction(self._metric) * trial.metrics[self._metric]
            if score > self._best:
                self._best = score
                self._score.labels(self._sweep, self._metric).set(trial.metrics[self._metric])

    @contextmanager
    def served(self, place: str | None) -> Iterator[None]:
        """Serve them at `/metrics` while the block runs.

        Parameters
        ----------
        place
            `PORT`, on loopback, or `HOST:PORT`; None for nowhere.

        Raises
        ------
        UsageError
            If it is neither.
        FraudrayError
            If nothing can listen there.
        """
        if place is None:
            yield
            return
        host, port = listening(place)
        try:
            server, thread = start_http_server(port, host, self.registry)
        except OSError as error:
            raise FraudrayError(
                f"--metrics {place}: cannot listen there ({error.strerror or error})"
            ) from None
        try:
            yield
        finally:
            _end(server, thread)


def listening(place: str) -> tuple[str, int]:
    """Host and port of `PORT` or `HOST:PORT`.

    Raises
    ------
    UsageError
        If it is neither.
    """
    host, _, port = place.rpartition(":")
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 2**16:
        raise UsageError(f"--metrics must be PORT or HOST:PORT, it is {place!r}")
    return host.strip("[]") or _LOOPBACK, int(port)


def _end(server: WSGIServer, thread: Thread) -> None:
    server.shutdown()
    server.server_close()
    thread.join()
