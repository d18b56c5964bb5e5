"""Files that know nothing of payments go all the way: spec, audit, model, HTTP score, MLflow."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.metrics import average_precision_score

from serve_app.client import Client
from training.tracking import Tracking

pytestmark = [pytest.mark.slow, pytest.mark.timeout(700)]


def _tumours() -> pd.DataFrame:
    """Names with blanks, a label in words, a third of the rows positive; from scikit-learn."""
    frame = load_breast_cancer(as_frame=True).frame
    malignant = frame.pop("target") == 0
    return frame.assign(diagnosis=np.where(malignant, "malignant", "benign"))


def _digits() -> pd.DataFrame:
    """64 whole numbers, some the same in every row, a tenth of the rows an eight; likewise."""
    frame = load_digits(as_frame=True).frame
    return frame.assign(isEight=(frame.pop("target") == 8).astype(int))


@dataclass(frozen=True)
class Foreign:
    """A file's rows, all but the hundred that come later made into a champion by the commands."""

    later: pd.DataFrame
    truth: np.ndarray
    made: dict[str, Any]

    def is_scored_well_by(self, client: Client) -> None:
        """Later rows are told apart, and decided by the threshold that training chose."""
        fields = {f["name"] for f in client.model()["inputs"]}
        known = self.later[[c for c in self.later if c in fields]]
        answers = client.predict(known.to_dict("records"))
        probability = [a["probability"] for a in answers]
        assert average_precision_score(self.truth, probability) > 0.9
        threshold = self.made["threshold"]
        assert [a["decision"] for a in answers] == [int(p >= threshold) for p in probability]


@pytest.fixture
def foreign(
    tmp_path: Path, environment: dict[str, str], empty_store: Callable[[Path], Path]
) -> Callable[..., Foreign]:
    """Take a file from its spec to a champion."""
    empty_store(tmp_path / ".fraudray")

    def fraudray(*arguments: str) -> Any:
        done = subprocess.run(
            ["fraudray", *arguments, "--json"], cwd=tmp_path, env=environment, check=True,
            capture_output=True, text=True,
        )  # fmt: skip
        return json.loads(done.stdout)

    def make(frame: pd.DataFrame, file: str, label: str, positive: Any) -> Foreign:
        rows = frame.sample(frac=1, random_state=3)
        known, later = rows.iloc[100:], rows.iloc[:100]
        write = known.to_parquet if file.endswith(".parquet") else known.to_csv
        write(tmp_path / file, index=False)
        fraudray("spec", "init", file, "--label", label, "--out", "own.toml", "--name", "own")
        audit = fraudray("audit", file, "--spec", "own.toml")
        made = fraudray("train", file, "--spec", "own.toml", "--model", "random-forest")
        assert audit["rows"] == len(known)
        assert made["champion"]
        return Foreign(later.drop(columns=label), (later[label] == positive).to_numpy(), made)

    return make


def test_a_foreign_file_goes_from_audit_to_a_score_over_http(
    foreign: Any, start: Any, free_ports: Any
) -> None:
    tumours = foreign(_tumours(), "tumours.csv", "diagnosis", "malignant")

    port, dashboard = free_ports(2)
    url = f"http://127.0.0.1:{port}"
    start(f"fraudray serve --spec own.toml --port {port} --dashboard-port {dashboard}",
          f"{url}/health")  # fmt: skip
    with Client(url) as client:
        tumours.is_scored_well_by(client)


def test_a_foreign_parquet_file_is_scored_by_the_same_stages(
    foreign: Any, tmp_path: Path, local_graph: Any, listening: Any
) -> None:
    digits = foreign(_digits(), "digits.parquet", "isEight", 1)

    tracking = Tracking(f"sqlite:///{tmp_path / '.fraudray' / 'mlflow.db'}")
    champion = tracking.champion("fraudray-own")
    graph = local_graph()
    graph.add("1", tracking.fetch(champion))
    graph.want("1")
    with listening(graph) as url, Client(url) as client:
        digits.is_scored_well_by(client)


def test_mlflow_serves_the_champion_by_itself(
    demo: Any, environment: dict[str, str], start: Any, free_ports: Any
) -> None:
    with Client(demo.url) as client:
        name = client.model()["name"]
    environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{demo.home / 'mlflow.db'}"
    # MLflow starts uvicorn by name.
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"

    start(f"{sys.executable} -m mlflow models serve -m models:/{name}@champion --env-manager local "
          f"--host 127.0.0.1 --port {port}", f"{url}/ping")  # fmt: skip
    payments = [
        {"accountAgeDays": 0.0, "numItems": 1.0, "localTime": 3.0, "paymentMethod": "creditcard",
         "paymentMethodAgeDays": 0.0, "Category": "electronics", "amount": 700.0},
        {"accountAgeDays": 900.0, "numItems": 1.0, "localTime": 14.0, "paymentMethod": "paypal",
         "paymentMethodAgeDays": 700.0, "Category": "food", "amount": 20.0},
    ]  # fmt: skip
    answered = httpx.post(f"{url}/invocations", json={"dataframe_records": payments}, timeout=60)

    with Client(demo.url) as client:
        expected = client.predict(payments)
    assert answered.status_code == 200, answered.text
    found = answered.json()["predictions"]
    assert [a["decision"] for a in found] == [a["decision"] for a in expected]
    assert [a["probability"] for a in found] == pytest.approx(
        [a["probability"] for a in expected], abs=1e-9
    )
