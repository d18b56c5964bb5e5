"""The whole path at its real boundary: one demo, asked over HTTP, MLflow and the dashboard."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from mlflow.tracking import MlflowClient
from surroundings import bare

from serve_app.client import Client
from training.bundle import ModelBundle
from training.data import Dataset, load, records_of
from training.identity import fingerprint
from training.spec import DatasetSpec
from training.split import split

pytestmark = pytest.mark.slow

STAGES = {"Ingress", "FeatureEngineering", "Model", "Threshold"}


@pytest.fixture(scope="module")
def mlflow(demo: Any) -> MlflowClient:
    return MlflowClient(demo.mlflow_url, demo.mlflow_url)


@pytest.fixture(scope="module")
def model(dataset: Dataset) -> str:
    """The registered model, which is of the demo's data alone."""
    return f"fraudray-payments-demo-{fingerprint(dataset)[:6]}"


@pytest.fixture(scope="module")
def bundle(demo: Any) -> ModelBundle:
    """The champion's bundle as the graph fetched it."""
    (folder,) = (demo.home / "bundles").iterdir()
    return ModelBundle.load(folder)


@pytest.fixture(scope="module")
def dataset(demo: Any) -> Dataset:
    return load(demo.home / "demo" / "payments-12000-0.csv", DatasetSpec.load("payments"))


@pytest.fixture(scope="module")
def deployments(demo: Any) -> dict[str, Any]:
    """What Serve says of its deployments."""
    token = (demo.home / "ray-token").read_text()
    answer = httpx.get(
        f"{demo.dashboard_url}/api/serve/applications/",
        headers={"Authorization": f"Bearer {token}"},
    )
    answer.raise_for_status()
    return answer.json()["applications"]["fraudray"]["deployments"]


def test_the_graph_scores_held_out_payments_as_the_bundle_does_offline(
    demo: Any, bundle: ModelBundle, dataset: Dataset
) -> None:
    test = dataset.take(split(dataset).test[:200])
    payments = list(records_of(test, list(dataset.spec.inputs)))

    with Client(demo.url) as client:
        together = client.predict(payments)
        alone = [client.predict([payment])[0] for payment in payments[:10]]

    expected = bundle.score(test.columns)
    np.testing.assert_allclose([a["probability"] for a in together], expected, atol=1e-12)
    np.testing.assert_allclose([a["probability"] for a in alone], expected[:10], atol=1e-12)
    assert [a["decision"] for a in together] == bundle.decide(expected).tolist()
    assert {a["threshold"] for a in together} == {bundle.choice.threshold}
    assert {a["model_version"] for a in together} == {"1"}


def test_one_payment_has_one_answer_with_the_request_id_of_its_caller(demo: Any) -> None:
    payment = {
        "accountAgeDays": 29, "numItems": 1, "localTime": 14.5, "paymentMethod": "paypal",
        "paymentMethodAgeDays": 28.2,
    }  # fmt: skip

    answer = httpx.post(f"{demo.url}/predict", json=payment, headers={"X-Request-ID": "abc-1"})

    assert answer.status_code == 200
    assert answer.headers["X-Request-ID"] == "abc-1"
    assert set(answer.json()) == {
        "request_id", "decision", "probability", "threshold", "model_version",
    }  # fmt: skip
    assert answer.json()["request_id"] == "abc-1"
    assert answer.json()["decision"] in (0, 1)
    assert 0 <= answer.json()["probability"] <= 1


def test_a_broken_request_is_a_422_that_names_every_bad_field(demo: Any) -> None:
    answer = httpx.post(
        f"{demo.url}/predict",
        content='[{"accountAgeDays": -1, "numItems": "two", "localTime": NaN, "colour": "red"}]',
    )

    assert answer.status_code == 422
    assert {p["field"] for p in answer.json()["detail"]} == {
        "accountAgeDays", "numItems", "localTime", "colour", "paymentMethod",
        "paymentMethodAgeDays",
    }  # fmt: skip
    assert all(p["expectation"] for p in answer.json()["detail"])
    assert "Traceback" not in answer.text


def test_health_model_and_docs_answer(demo: Any, model: str, bundle: ModelBundle) -> None:
    assert httpx.get(f"{demo.url}/health").json() == {"status": "ok"}
    about = httpx.get(f"{demo.url}/model").json()
    assert (about["name"], about["version"]) == (model, "1")
    assert about["threshold"] == bundle.choice.threshold
    assert about["metrics"]["test"]["frauds"] > 0
    assert "/predict" in httpx.get(f"{demo.url}/openapi.json").json()["paths"]
    assert "swagger-ui-bundle.js" in httpx.get(f"{demo.url}/docs").text
    assert len(httpx.get(f"{demo.url}/docs/assets/swagger-ui-bundle.js").content) > 100_000


def test_every_stage_is_a_process_of_its_own(deployments: dict[str, Any]) -> None:
    """What becomes of requests when one of them dies is in test_serving.py."""
    pids = [replica["pid"] for found in deployments.values() for replica in found["replicas"]]
    assert set(deployments) == {*STAGES, "Rollout"}
    assert len(set(pids)) == len(pids) >= 5


def test_every_stage_may_scale_by_itself(deployments: dict[str, Any]) -> None:
    for name in STAGES:
        scale = deployments[name]["deployment_config"]["autoscaling_config"]
        assert scale["max_replicas"] > scale["min_replicas"] >= 1


def test_the_sweep_is_one_parent_run_with_a_child_per_trial(mlflow: MlflowClient) -> None:
    experiment = mlflow.get_experiment_by_name("fraudray-tune")
    runs = mlflow.search_runs([experiment.experiment_id], max_results=1000)
    parents = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    children = [r for r in runs if "mlflow.parentRunId" in r.data.tags]

    assert len(parents) == 1
    assert len(children) == 24
    assert {r.data.tags["mlflow.parentRunId"] for r in children} == {parents[0].info.run_id}
    assert {r.info.status for r in runs} == {"FINISHED"}
    tried = Counter(r.data.params["family"] for r in children)
    assert set(tried) == {"logistic-regression", "random-forest", "xgboost"}
    ratios = {float(r.data.params["smote"]) for r in children}
    assert 0 in ratios
    assert len(ratios) >= 3
    best = max(r.data.metrics["pr_auc"] for r in children)
    assert parents[0].data.metrics["best_pr_auc"] == pytest.approx(best)
    assert {"threshold", "precision", "recall", "f1"} <= set(children[0].data.metrics)


def test_the_parent_run_holds_the_winner_with_pictures_and_natural_prevalence(
    mlflow: MlflowClient, model: str, bundle: ModelBundle, dataset: Dataset
) -> None:
    version = mlflow.get_model_version_by_alias(model, "champion")
    run = mlflow.get_run(version.run_id)
    names = {file.path for file in mlflow.list_artifacts(run.info.run_id)}

    assert {"pr_curve.png", "confusion.png", "threshold_curve.csv", "leaderboard.csv"} <= names
    test = dataset.label[split(dataset).test]
    assert run.data.metrics["test_rows"] == len(test)
    assert run.data.metrics["test_frauds"] == test.sum()
    assert run.data.metrics["test_pr_auc"] == pytest.approx(
        bundle.card["metrics"]["test"]["pr_auc"]
    )
    assert {"test_accuracy", "test_precision", "test_recall"} <= set(run.data.metrics)


def test_the_registered_model_carries_a_signature_of_the_spec(
    demo: Any, mlflow: MlflowClient, model: str
) -> None:
    version = mlflow.get_model_version_by_alias(model, "champion")
    # In a process of its own: it sets the tracking URI of the whole process.
    script = (
        "import mlflow, sys; mlflow.set_tracking_uri(sys.argv[1]);"
        "m = mlflow.pyfunc.load_model(sys.argv[2]);"
        "print([c.name for c in m.metadata.signature.inputs])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, demo.mlflow_url, f"models:/{model}/{version.version}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "accountAgeDays" in done.stdout


def test_the_demo_prints_what_a_person_wants_to_see(demo: Any, bundle: ModelBundle) -> None:
    test = bundle.card["metrics"]["test"]
    shown = " ".join(demo.output.split())

    assert bundle.card["family"] in shown
    assert f"{bundle.choice.threshold:.4f}" in shown
    assert f"{test['frauds']:,} frauds in {test['rows']:,} rows" in shown
    assert f"PR-AUC {test['pr_auc']:.3f}" in shown
    assert "ms median" in shown
    for url in (demo.url, demo.page_url, demo.mlflow_url, demo.dashboard_url):
        assert url in shown
    assert "Traceback" not in demo.output


def test_the_mlflow_page_and_the_ray_dashboard_answer(demo: Any) -> None:
    assert "MLflow" in httpx.get(demo.mlflow_url).text
    assert httpx.get(demo.dashboard_url).status_code == 200


def test_the_ray_dashboard_says_nothing_without_the_token(demo: Any) -> None:
    answer = httpx.get(f"{demo.dashboard_url}/api/serve/applications/")

    assert answer.status_code in (401, 403)


def test_the_graph_and_the_pages_listen_on_loopback_only(demo: Any) -> None:
    ours = {
        int(url.rsplit(":", 1)[1])
        for url in (demo.url, demo.page_url, demo.mlflow_url, demo.dashboard_url)
    }
    listening: dict[int, set[str]] = {}
    for process in _tree(demo):
        for connection in process.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port in ours:
                listening.setdefault(connection.laddr.port, set()).add(connection.laddr.ip)

    assert set(listening) == ours
    assert set().union(*listening.values()) == {"127.0.0.1"}


@pytest.mark.parametrize("form", ["csv", "parquet", "json"])
def test_predict_scores_a_file_or_standard_input_through_the_graph(
    form: str, demo: Any, bundle: ModelBundle, dataset: Dataset, tmp_path: Path
) -> None:
    few = dataset.take(split(dataset).test[:7])
    argument, given = "-", None
    if form == "json":
        given = json.dumps(list(records_of(few, list(dataset.spec.inputs))))
    elif form == "csv":
        given = few.frame.to_csv(index=False)
    else:
        argument = str(tmp_path / "few.parquet")
        few.frame.drop(columns=["timestamp"]).to_parquet(argument)

    done = subprocess.run(
        [sys.executable, "-m", "fraudray", "predict", argument, "--url", demo.url, "--json"],
        input=given, capture_output=True, text=True, check=True,
    )  # fmt: skip

    scores = [answer["probability"] for answer in json.loads(done.stdout)]
    np.testing.assert_allclose(scores, bundle.score(few.columns), atol=1e-12)


def test_a_model_trained_against_the_mlflow_server_is_registered_there(
    demo: Any, mlflow: MlflowClient, tmp_path: Path
) -> None:
    subprocess.run(
        [sys.executable, "-m", "fraudray", "train", str(demo.home / "demo/payments-12000-0.csv"),
         "--model", "logistic-regression", "--smote", "0.1", "--registered-model", "by-server"],
        env=bare(FRAUDRAY_HOME=tmp_path, MLFLOW_TRACKING_URI=demo.mlflow_url),
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip

    version = mlflow.get_model_version_by_alias("by-server", "champion")
    assert version.tags["family"] == "logistic-regression"
    assert not (tmp_path / "mlflow.db").exists()


def test_evaluate_measures_the_demos_champion_with_counts(demo: Any, model: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fraudray", "evaluate", "demo/payments-12000-0.csv", "--by",
         "fraudPattern", "--registered-model", model, "--json"],
        env=bare(FRAUDRAY_HOME=demo.home), cwd=demo.home, capture_output=True, text=True,
        check=True,
    )  # fmt: skip

    groups = json.loads(done.stdout)["groups"]
    everyone, *patterns = groups
    assert everyone["rows"] == 12_000
    assert sum(group["rows"] for group in patterns) == 12_000
    assert sum(group["true_positives"] for group in patterns) == everyone["true_positives"]
    assert everyone["twins"] > 8_000  # most of the file are its training rows, and it says so


def _tree(demo: Any) -> list[psutil.Process]:
    return psutil.Process(demo.process.pid).children(recursive=True)
