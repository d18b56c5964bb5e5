"""What a run keeps of sweep, model and data, in a real browser; and MLflow's page of it."""

from __future__ import annotations

from typing import Any

import pytest
from mlflow.tracking import MlflowClient

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "head", "pictures"),
    [
        ("card.html", "Model card", 6),
        ("audit.html", "Audit of", 8),
        ("sweep.html", "Sweep demo", 3),
    ],
)
def test_a_report_opens_by_itself_with_its_pictures(
    name: str, head: str, pictures: int, demo: Any, browser: Any
) -> None:
    path = next((demo.home / "artifacts").rglob(name))
    asked: list[str] = []
    complaints: list[str] = []
    page = browser.new_page()
    page.on("request", lambda request: asked.append(request.url.partition(":")[0]))
    page.on("console", lambda message: complaints.append(message.text))

    page.goto(path.as_uri())

    assert page.locator("h1").inner_text().startswith(head)
    drawn = page.eval_on_selector_all("img", "all => all.map(i => i.naturalWidth > 100)")
    assert len(drawn) >= pictures
    assert all(drawn)
    assert all(page.eval_on_selector_all("img", "all => all.map(i => i.alt.length > 20)"))
    assert set(asked) <= {"file", "data"}  # nothing is fetched from anywhere
    assert not complaints
    page.close()


def test_mlflow_shows_a_sweep_with_its_trials_below_it(demo: Any, browser: Any) -> None:
    client = MlflowClient(demo.mlflow_url)
    experiment = client.get_experiment_by_name("fraudray-tune")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    (parent,) = (run for run in runs if "sweep" in run.data.tags)
    child = next(run for run in runs if "fraudray.trial" in run.data.tags)
    page = browser.new_page()

    base = f"{demo.mlflow_url}/#/experiments/{experiment.experiment_id}/runs"
    page.goto(f"{base}/{parent.info.run_id}")
    page.get_by_text("best_pr_auc").first.wait_for(timeout=60_000)
    page.goto(f"{base}/{child.info.run_id}")
    page.get_by_text("pr_auc_fold_1").first.wait_for(timeout=60_000)
    assert page.get_by_text(child.info.run_name).count()
    page.goto(f"{base}/{child.info.run_id}/artifacts")
    page.get_by_text("threshold_curve.csv").first.wait_for(timeout=60_000)
    page.close()
