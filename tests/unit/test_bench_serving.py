"""What the serving benchmark compares is equal, and what must not happen would be seen."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import joblib  # type: ignore[import-untyped]
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.audit import audit
from training.bundle import ModelBundle
from training.data import check, records_of
from training.fit import Recipe, train
from training.simulate import simulate
from training.spec import DatasetSpec
from training.split import split

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
PAGE = ROOT / "docs" / "results" / "serving.md"


@pytest.fixture(scope="module", autouse=True)
def beside() -> Iterator[None]:
    """The benchmarks' modules are scripts and find each other beside themselves."""
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def fitted() -> tuple[ModelBundle, Any]:
    """A small model, and the payments that it was fitted on."""
    dataset = check(simulate(4_000, seed=0), DatasetSpec.load("payments"), source="simulated")
    parts = split(dataset)
    recipe = Recipe("xgboost", {"n_estimators": 8})
    bundle = train(dataset, parts, recipe, audit(dataset, parts))
    return bundle, dataset.take(parts.train)


PEER = """
import json, os, sys
from starlette.testclient import TestClient
from {module} import app
with TestClient(app) as client:
    for payment in json.load(sys.stdin):
        print(client.post("/predict", json=payment).text)
"""


@pytest.mark.slow
@pytest.mark.parametrize("module", ["serving_original", "serving_fastapi"])
def test_peers_give_the_offline_probabilities_and_the_same_answer(
    module: str, fitted: tuple[ModelBundle, Any], tmp_path: Path
) -> None:
    bundle, rows = fitted
    bundle.save(tmp_path / "bundle")
    pipeline = import_module("sklearn_pipeline").build(bundle, rows)
    joblib.dump(pipeline, tmp_path / "pipeline")
    sent = rows.take(np.arange(40))
    expected = bundle.score(sent.columns)

    done = subprocess.run(
        [sys.executable, "-c", PEER.format(module=module)], cwd=BENCHMARKS, check=True,
        input=json.dumps(list(records_of(sent, list(bundle.spec.inputs)))),
        capture_output=True, text=True,
        env=os.environ | {
            "BENCH_BUNDLE": str(tmp_path / "bundle"), "BENCH_THREADS": "2",
            "BENCH_PIPELINE": str(tmp_path / "pipeline"),
        },
    )  # fmt: skip

    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [a["probability"] for a in answers] == pytest.approx(expected.tolist(), abs=1e-6)
    assert {a["threshold"] for a in answers} == {bundle.choice.threshold}
    assert [a["decision"] for a in answers] == bundle.decide(expected).tolist()


@given(st.lists(st.integers(0, 9), max_size=40), st.integers(1, 12))
def test_lists_hold_the_payments_in_order_and_none_twice(numbers: list[int], rows: int) -> None:
    made = import_module("serving_case").lists([str(n).encode() for n in numbers], rows)

    whole = len(numbers) // rows * rows
    assert [n for body in made for n in json.loads(body)] == numbers[:whole]
    assert all(len(json.loads(body)) == rows for body in made)


def test_an_answer_of_two_versions_is_seen() -> None:
    versions = {"1": 0.25, "2": 0.75}
    case = SimpleNamespace(
        expected={v: np.array([0.1, p]) for v, p in (("1", 0.5), ("2", 0.6))},
        bundles={v: SimpleNamespace(choice=SimpleNamespace(threshold=t))
                 for v, t in versions.items()},
    )  # fmt: skip
    judge = import_module("serving_client").Judge(case)
    right = {"model_version": "2", "probability": 0.6, "threshold": 0.75, "decision": 0}

    assert judge.wrong(1, right) is None
    for wrong in ({"probability": 0.5}, {"threshold": 0.25}, {"decision": 1},
                  {"model_version": "1"}, {"model_version": "3"}):  # fmt: skip
        assert judge.wrong(1, right | wrong) is not None


def test_the_load_sends_different_payments_and_counts_refusals(
    tmp_path: Path, require: Callable[[str], str]
) -> None:
    require("wrk")
    load = import_module("serving_load")
    got: set[bytes] = set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            got.add(body)
            self.send_response(503 if body == b"refuse\nme" else 200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *words: Any) -> None:
            del words

    bodies = [b"refuse\nme", b'{"a": 1}', b"\x00\xff", b"{}"]
    path = load.write_bodies(tmp_path / "bodies", bodies)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            found = load.wrk(
                f"http://127.0.0.1:{server.server_port}/", path, connections=2, seconds=1
            )
        finally:
            server.shutdown()

    assert got == set(bodies)
    assert found.requests >= 8
    assert found.failed == pytest.approx(found.requests / 4, rel=0.3, abs=3)
    assert 0 < found.p50 <= found.p95 <= found.p99 <= found.longest


def test_the_page_has_a_place_for_every_part_and_names_commands_that_are_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        import_module("bench_serving").main(["--help"])
    usage = capsys.readouterr().out
    text = PAGE.read_text("utf-8")

    assert ended.value.code == 0
    parts = re.search(r"--part \{([a-z,]+)\}", usage)
    assert parts is not None
    for name in parts[1].split(","):
        text = import_module("page").with_block(text, name, "figures")
    assert "\nbench-serving:" in (ROOT / "Makefile").read_text("utf-8")
