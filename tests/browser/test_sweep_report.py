"""The report of a small sweep that was really fitted, opened in a real browser."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from training.audit import audit
from training.data import check
from training.fit import Recipe
from training.models import FAMILIES, family
from training.simulate import simulate
from training.spec import DatasetSpec
from training.split import split
from training.threshold import Policy
from tuning.objective import measure, natural_ratio, prepare
from tuning.report import SweepFacts, html
from tuning.trials import CURVE, Trial

pytestmark = pytest.mark.slow

RECIPES = (
    *(Recipe("logistic-regression", {"C": c}) for c in (0.001, 0.01, 0.1, 1.0)),
    *(Recipe("random-forest", {"n_estimators": 20, "max_depth": d}) for d in (3, 6)),
    *(Recipe("xgboost", {"n_estimators": 20, "max_depth": d}) for d in (3, 5)),
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of eight configurations, fitted here, and of one that failed."""
    dataset = check(simulate(6_000, seed=3), DatasetSpec.load("payments"), source="payments.csv")
    parts = split(dataset)
    folds, began = prepare(dataset, parts, audit(dataset, parts), 3), time.time()
    trials = []
    for number, recipe in enumerate(RECIPES, 1):
        start = time.time()
        scores = [
            family(recipe.family)
            .fit(fold.fit, fold.fit_label, recipe.params, seed=0, threads=1)
            .probability(fold.held_out)
            for fold in folds
        ]
        metrics, curve = measure(scores, folds, Policy.parse(recipe.policy))
        frame = curve.frame()
        trials.append(
            Trial(
                number, recipe, "done", metrics, {name: frame[name].tolist() for name in CURVE},
                time.time() - start, "127.0.0.1", start, time.time(),
            )
        )  # fmt: skip
    lost = replace(trials[0], number=9, recipe=Recipe("xgboost"), status="failed", metrics={},
                   curve={}, failure="<script>document.title = 'taken'</script>")  # fmt: skip
    best = max(trials, key=lambda t: t.metrics["pr_auc"])
    label = dataset.label[parts.train]
    facts = SweepFacts(
        name="small", source="payments.csv", fingerprint="0123456789abcdef", spec="payments",
        split=f"by {parts.method}", rows=len(label), frauds=int(label.sum()), folds=3,
        natural=natural_ratio(folds), algorithm="grid", scheduler="none",
        families=tuple(FAMILIES), metric="pr_auc", policy="max-f1", seed=0, began=began,
        state="done", ended=time.time(), winner=best.key,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("report") / "sweep.html"
    path.write_text(html(facts, [*trials, lost]), encoding="utf-8")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 400])
def test_the_report_opens_by_itself_and_is_readable(
    report: Path, scheme: Any, width: int, browser: Any
) -> None:
    asked: list[str] = []
    complaints: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.on("request", lambda request: asked.append(request.url.partition(":")[0]))
    page.on("console", lambda message: complaints.append(message.text))

    page.goto(report.as_uri())

    assert page.title() == "Sweep small"
    drawn = page.eval_on_selector_all("img", "all => all.map(i => i.naturalWidth > 100)")
    assert drawn == [True] * 4  # progress, coordinates, PR curves, thresholds
    assert set(asked) <= {"file", "data"}  # nothing is fetched from anywhere
    assert not complaints
    # Wide tables scroll by themselves; the page never does.
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ink, paper = page.evaluate(
        "() => { const s = getComputedStyle(document.body); return [s.color, s.backgroundColor] }"
    )
    bright = [sum(map(int, color[4:-1].split(","))) for color in (ink, paper)]
    assert abs(bright[0] - bright[1]) > 500
    assert (bright[1] < 100) == (scheme == "dark")
    page.close()


def test_the_leaderboard_starts_with_the_winner_and_falls(report: Path, browser: Any) -> None:
    page = browser.new_page()
    page.goto(report.as_uri())

    rows = page.locator(".board tr")
    assert rows.count() == 1 + len(RECIPES)
    first = rows.nth(1)
    assert first.get_attribute("class") == "winner"
    assert first.inner_text().startswith("1 ★")
    scores = [float(t.split()[0]) for t in page.locator(".board td:nth-child(5)").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)
    assert "document.title" in page.locator("body").inner_text()  # told, not run
    page.close()
