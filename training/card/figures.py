"""Pictures of what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from training.errors import printable
from training.evaluate import Metrics
from training.evaluate.intervals import Interval
from training.threshold import Curve

BLUE, RED, GREEN, GREY = "#1f5fa8", "#c8462c", "#2c7a3f", "#888888"
"""Model and legitimate payments; frauds and the threshold; a third line; what to compare with."""

_TICKS = (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 1 - 1e-4)
_MOST_SLICES = 24
_POINTS = 400


def pr_curve_figure(
    curve: Curve | Mapping[str, Sequence[float]],
    metrics: Metrics,
    title: str,
    *,
    interval: Interval | None = None,
) -> Figure:
    """Precision over recall, with the chosen threshold's point and the prevalence as floor.

    Parameters
    ----------
    curve
        All of it, or its `recall` and `precision` thinned out.
    interval
        Of the PR-AUC, at 95 %.
    """
    figure, axes = _picture(6, 4.5)
    recall, precision = (
        (curve.recall[1:], curve.precision[1:])
        if isinstance(curve, Curve)
        else (np.array(curve["recall"]), np.array(curve["precision"]))
    )
    axes.step(recall, precision, where="post", color=BLUE, lw=2)
    axes.axhline(metrics.frauds / metrics.rows, color=GREY, ls="--", lw=1,
                 label=f"alert on every row: {metrics.frauds / metrics.rows:.2%}")  # fmt: skip
    if metrics.precision is not None and metrics.recall is not None:
        axes.plot(metrics.recall, metrics.precision, "o", ms=9, color=RED,
                  label=f"threshold: {metrics.precision:.0%} of alerts are fraud, "
                        f"{metrics.recall:.0%} of frauds found")  # fmt: skip
    axes.set(xlabel="Recall", ylabel="Precision", xlim=(0, 1.01), ylim=(0, 1.02))
    spread = f", 95 %: {interval[0]:.3f} to {interval[1]:.3f}\n" if interval else " "
    axes.set_title(
        f"{title}: PR-AUC {metrics.pr_auc or 0:.3f}{spread}"
        f"({metrics.frauds:,} frauds in {metrics.rows:,} rows)"
    )
    axes.legend(loc="lower left", frameon=False)
    return figure


def confusion_figure(metrics: Metrics, title: str) -> Figure:
    """The four counts; shades by share of the row's class, as the classes differ hundredfold."""
    counts = np.array(
        [
            [metrics.true_negatives, metrics.false_positives],
            [metrics.false_negatives, metrics.true_positives],
        ]
    )
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(5, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(2):
        for column in range(2):
            axes.text(column, row, f"{counts[row, column]:,}\n{shares[row, column]:.1%}",
                      ha="center", va="center", fontsize=12,
                      color="white" if shares[row, column] > 0.5 else "black")  # fmt: skip
    axes.set_xticks([0, 1], ["let through", "alert"])
    axes.set_yticks([0, 1], ["legitimate", "fraud"])
    axes.set_title(title)
    return figure


def reliability_figure(reliability: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Observed share of frauds over the probability stated, before and after calibration.

    Parameters
    ----------
    reliability
        `before` and `after`: bins with `mean_predicted`, `observed`, `rows` and `frauds`.
    """
    figure, axes = _picture(5, 4.5)
    bins = [b for part in reliability.values() for b in part]
    stated = [b["mean_predicted"] for b in bins]
    # Shares of frauds span decades; a bin without fraud is a hollow mark on the floor.
    known = [x for b in bins for x in (b["mean_predicted"], b["observed"]) if x > 0]
    floor = max(min(known, default=1e-3) / 2, 1e-6)
    ends = [floor, 1.0]
    axes.plot(ends, ends, color=GREY, ls="--", lw=1, label="as stated")
    for name, color, mark in (("before", GREY, "s"), ("after", BLUE, "o")):
        part = reliability.get(name, ())
        x = np.array([b["mean_predicted"] for b in part])
        y = np.array([b["observed"] for b in part])
        axes.plot(np.clip(x, floor, 1)[y > 0], y[y > 0], mark + "-", color=color, lw=1.5,
                  label=f"{name} calibration")  # fmt: skip
        axes.plot(np.clip(x, floor, 1)[y == 0], np.full((y == 0).sum(), floor), mark, mfc="none",
                  color=color)  # fmt: skip
    if stated:
        axes.set(xscale="log", yscale="log", xlim=(floor * 0.9, 1.15), ylim=(floor * 0.9, 1.15))
    axes.set(xlabel="Probability stated", ylabel="Share of frauds observed")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:.4g}")
    axes.legend(loc="upper left", frameon=False)
    return figure


def threshold_figure(
    curve: pd.DataFrame, *, chosen: float, rows: str = "Validation", alerts: bool = False
) -> Figure:
    """Precision, recall and cost over every threshold, with the chosen one.

    Parameters
    ----------
    curve
        `Curve.frame()`, or some rows of it, thresholds falling.
    rows
        Those that it was made from, in words.
    alerts
        Whether to draw those as well, on a log scale.
    """
    figure = Figure(figsize=(6, 6.4 if alerts else 4.8), layout="constrained")
    upper, *others = figure.subplots(
        2 + alerts, 1, sharex=True, height_ratios=[3, 2, 2][: 2 + alerts]
    )
    lower = others[0]
    at = _log_odds(curve["threshold"].to_numpy())
    # A point for every step on the axis: a large file has far more thresholds than dots.
    place = np.searchsorted(-at, np.linspace(-at.max(), -at.min(), _POINTS))
    kept = np.unique(np.clip(place, 0, len(at) - 1))
    shown, x = curve.iloc[kept], at[kept]
    for name, color in (("precision", BLUE), ("recall", RED)):
        known = shown[name].where((name != "precision") | (shown["alerts_per_10000"] > 0))
        upper.plot(x, known, color=color, lw=2, label=name.capitalize())
    upper.set(ylim=(-0.02, 1.03), ylabel="Share")
    upper.legend(loc="center left", frameon=False)
    lower.plot(x, shown["cost_per_10000"], color=GREEN, lw=2)
    lower.set(ylim=(0, None), ylabel="Cost per 10,000")
    if alerts:
        count = shown["alerts_per_10000"]
        others[1].plot(x, count.where(count > 0), color=BLUE, lw=2)
        others[1].set(yscale="log", ylabel="Alerts per 10,000")
        others[1].yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    for axes in (upper, *others):
        axes.axvline(float(_log_odds(np.array(chosen))), color=GREY, ls="--", lw=1)
        axes.spines[["top", "right"]].set_visible(False)
    upper.set_title(f"{rows}; the threshold is {chosen:.4g}", fontsize=11)
    others[-1].set_xlabel("Threshold")
    _as_shares(others[-1], x.min(), x.max())
    return figure


def over_time_figure(windows: Sequence[Mapping[str, Any]]) -> Figure:
    """Recall, precision and PR-AUC per window, above its frauds and alerts."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1.3])
    place = np.arange(len(windows))
    for name, label, color in (
        ("recall", "Recall", RED), ("precision", "Precision", BLUE), ("pr_auc", "PR-AUC", GREEN),
    ):  # fmt: skip
        values = [np.nan if w[name] is None else w[name] for w in windows]
        upper.plot(place, values, "o-", color=color, lw=1.5, ms=4, label=label)
    upper.set(ylim=(-0.03, 1.05), ylabel="Share")
    upper.legend(loc="lower left", frameon=False, ncols=3)
    lower.bar(place - 0.2, [w["frauds"] for w in windows], 0.4, color=RED, label="frauds")
    lower.bar(place + 0.2, [w["alerts"] for w in windows], 0.4, color=BLUE, label="alerts")
    lower.legend(frameon=False, ncols=2, fontsize=8)
    step = max(1, -(-len(windows) // 10))
    lower.set_xticks(place[::step], [w["begins"][:10] for w in windows[::step]],
                     rotation=30, ha="right", fontsize=8)  # fmt: skip
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def slices_figure(slices: Sequence[Mapping[str, Any]], recall: float) -> Figure:
    """Recall of the slices that hold frauds, lowest first, each with its 95 % interval."""
    known = [s for s in slices if s["frauds"]]
    shown = sorted(known, key=lambda s: (s["recall"], -s["frauds"]))[:_MOST_SLICES]
    figure, axes = _picture(7, 1.2 + 0.27 * max(len(shown), 1))
    for place, part in enumerate(shown):
        low, high = part["recall_interval"]
        color = RED if part["weak"] else BLUE
        axes.plot([low, high], [place, place], color=color, lw=2, alpha=0.5)
        axes.plot(part["recall"], place, "o", color=color, ms=6)
    axes.axvline(recall, color=GREY, ls="--", lw=1, label=f"all rows: {recall:.2f}")
    names = [
        f"{_short(s['column'])}: {_short(s['value'])} ({s['true_positives']:,} of {s['frauds']:,})"
        for s in shown
    ]
    axes.set_yticks(range(len(shown)), [name.replace("$", r"\$") for name in names], fontsize=9)
    axes.set(xlim=(-0.02, 1.02), ylim=(len(shown) - 0.4, -0.6), xlabel="Recall (frauds found)")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False)
    return figure


def scores_figure(histogram: Mapping[str, Sequence[float]], threshold: float) -> Figure:
    """Where the probabilities of either class lie, as shares of the class."""
    figure, axes = _picture(6, 3.6)
    inner = _log_odds(np.array(histogram["edges"][1:-1]))
    edges = np.concatenate([[inner[0] - 1], inner, [inner[-1] + 1]])
    for name, color in (("legitimate", BLUE), ("fraud", RED)):
        counts = np.array(histogram[name], float)
        axes.stairs(counts / max(counts.sum(), 1), edges, fill=True, color=color, alpha=0.45,
                    label=f"{name} ({counts.sum():,.0f})")  # fmt: skip
        axes.stairs(counts / max(counts.sum(), 1), edges, color=color, lw=1.5)
    place = float(np.clip(_log_odds(np.array(threshold)), edges[0], edges[-1]))
    axes.axvline(place, color=GREY, ls="--", lw=1.5, label=f"threshold {threshold:.4g}")
    axes.set(xlabel="Probability of fraud", ylabel="Share of the class")
    axes.legend(frameon=False)
    _as_shares(axes, edges[0], edges[-1])
    return figure


def _picture(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _log_odds(share: NDArray[np.float64]) -> NDArray[np.float64]:
    clipped = np.clip(share, 1e-7, 1 - 1e-7)
    return np.asarray(np.log(clipped / (1 - clipped)), np.float64)


def _as_shares(axes: Axes, low: float, high: float) -> None:
    """Label an axis of log-odds with the shares they stand for."""
    inside = [t for t in _TICKS if low <= _log_odds(np.array(t)) <= high]
    ticks: list[float] = []
    for share in sorted(inside, key=lambda t: abs(t - 0.5)):  # the middle has its label first
        place = float(_log_odds(np.array(share)))
        if all(abs(place - other) > 0.09 * (high - low) for other in ticks):
            ticks.append(place)
    axes.set_xticks(ticks, [f"{1 / (1 + np.exp(-t)):.6g}" for t in ticks])


def _short(text: str) -> str:
    text = printable(text)
    return text if len(text) <= 28 else f"{text[:27]}…"


def importance_figure(
    importance: Mapping[str, float], title: str, *, unit: str, most: int = 20
) -> Figure:
    """Bars, the most important field on top.

    Parameters
    ----------
    importance
        As `training.explain.importance` gives it.
    unit
        The model's `margin_unit`.
    most
        Fields to show.
    """
    shown = sorted(importance.items(), key=lambda item: -item[1])[:most]
    places = np.arange(len(shown))
    figure = Figure(figsize=(6, 1.4 + 0.28 * len(shown)), layout="constrained")
    axes = figure.subplots()
    axes.barh(places, [value for _, value in shown], color="#1f5fa8")
    # Between two dollar signs a name would be read as a formula.
    axes.set_yticks(places, [printable(name).replace("$", r"\$") for name, _ in shown])
    axes.invert_yaxis()
    axes.set_xlabel(f"Mean contribution, up or down ({unit})")
    left_out = f" (the first {len(shown)} of {len(importance)})" if len(importance) > most else ""
    axes.set_title(f"{title}: what the score depends on{left_out}")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
