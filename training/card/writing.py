"""Model cards: what a model is for, how it was made and how it measures, from its bundle alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from training.card.facts import CardContent, facts
from training.html import each_text, picture, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWS = {
    "pr_curve": "Precision over recall on the test rows, with the threshold's point",
    "confusion": "Counts of frauds and legitimate payments, alerts and payments let through",
    "scores": "Where the probabilities of frauds and legitimate payments lie",
    "thresholds": "Precision, recall and cost over every threshold on the validation rows",
    "reliability": "Observed share of frauds over the probability, before and after calibration",
    "by_slice": "Recall of each slice with its interval, lowest first",
    "by_time": "Recall, precision and PR-AUC over time, with frauds and alerts",
}
# A "<" only opens a tag before these; elsewhere, as in "alert-rate<=0.01", it stays readable. So
# does "_" within a word. At the beginning are what makes a heading, a quote or a list.
_SPECIAL = re.compile(
    r"^(?:[#>]|[-+](?=[\s-])|\d{1,9}(?=[.)](?:\s|$)))|[\\`*|~\[\]]|<(?=[A-Za-z/!?])|&(?=#?\w+;)"
    r"|(?<!\w)_|_(?!\w)"
)


def markdown(bundle: CardContent) -> str:
    """The card as Markdown; names and values from the data cannot break out of their place."""
    return (
        render("card.md", **each_text(facts(bundle), lambda text: _SPECIAL.sub(_escape, text)))
        + "\n"
    )


def html(bundle: CardContent, figures: dict[str, Figure] | None = None) -> str:
    """The card as one HTML file with its pictures inside.

    Parameters
    ----------
    figures
        What `pictures` drew, where that is at hand.
    """
    figures = pictures(bundle) if figures is None else figures
    drawn = {name: picture(figures[name], told) for name, told in _SHOWS.items() if name in figures}
    said = each_text(facts(bundle))
    return render("card.html", **said, **(dict.fromkeys(_SHOWS) | drawn))


def pictures(bundle: CardContent) -> dict[str, Figure]:
    """The card's pictures by name; one that there is nothing to show in is not among them."""
    # Only here: a card in Markdown needs none of them.
    from training.card import figures
    from training.evaluate import Metrics
    from training.models import FAMILIES

    test = bundle.evaluation["test"]
    metrics, area = Metrics(**test["metrics"]), test["intervals"]["pr_auc"]
    found = {
        "confusion": figures.confusion_figure(metrics, "Test, at the threshold"),
        "scores": figures.scores_figure(test["score_histogram"], test["threshold"]),
        "thresholds": figures.threshold_figure(bundle.curve, chosen=bundle.choice.threshold),
        "reliability": figures.reliability_figure(bundle.evaluation["calibration"]["reliability"]),
    }
    if importance := bundle.evaluation["importance"]:  # the page draws its own bars of them
        unit = FAMILIES[bundle.card["family"]].margin_unit
        found["importance"] = figures.importance_figure(importance, "Validation", unit=unit)
    if test["curve"]["recall"]:
        interval = (area[0], area[1]) if area else None
        found["pr_curve"] = figures.pr_curve_figure(
            test["curve"], metrics, "Test", interval=interval
        )
    if test["slices"]:
        found["by_slice"] = figures.slices_figure(test["slices"], metrics.recall or 0.0)
    if test["over_time"]:
        found["by_time"] = figures.over_time_figure(test["over_time"])
    return found


def _escape(found: re.Match[str]) -> str:
    special = found.group()
    if special.isdigit():  # the number of a list: it is the dot behind it that counts
        return f"{special}\\"
    return {"<": "&lt;", "&": "&amp;"}.get(special, f"\\{special}")
