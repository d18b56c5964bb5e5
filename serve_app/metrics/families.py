"""Metrics as prometheus_client has them, made of numbers that something else counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

_Labels = TypeVar("_Labels", bound=tuple[str, ...])


def counter(
    name: str, help_: str, labels: tuple[str, ...], values: Mapping[_Labels, float]
) -> Metric:
    """A family of counters, one for each tuple of labels; `_total` comes by itself."""
    return _filled(CounterMetricFamily(f"fraudray_{name}", help_, labels=labels), values)


def gauge(
    name: str, help_: str, labels: tuple[str, ...], values: Mapping[_Labels, float]
) -> Metric:
    """A family of gauges, one for each tuple of labels."""
    return _filled(GaugeMetricFamily(f"fraudray_{name}", help_, labels=labels), values)


def histogram(
    name: str,
    help_: str,
    labels: tuple[str, ...],
    bounds: NDArray[np.float64],
    values: Mapping[_Labels, tuple[NDArray[np.int64], float]],
) -> Metric:
    """A family of histograms.

    Parameters
    ----------
    bounds
        Shape (k,), rising.
    values
        For each tuple of labels how many lie below each bound, and how many there are, shape
        (k + 1,); and their sum.
    """
    family = HistogramMetricFamily(f"fraudray_{name}", help_, labels=labels)
    names = [*map(repr, bounds.tolist()), "+Inf"]
    for key, (below, total) in values.items():
        family.add_metric(key, list(zip(names, below.tolist(), strict=True)), total)
    return family


def _filled(
    family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[_Labels, float]
) -> Metric:
    for key, value in values.items():
        family.add_metric(key, value)
    return family
