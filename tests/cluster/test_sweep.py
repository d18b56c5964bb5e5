"""A sweep on a cluster that sees neither our code nor the file, and that loses a node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from training.simulate import simulate, write

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]

SPACE = """
[sampling]
smote = [0, 0.1]
[random-forest]
n_estimators = [40, 120]
max_depth = [4, 6, 8, 10]
min_samples_leaf = [1, 5]
"""
TRIALS = 2 * 2 * 4 * 2


def test_a_sweep_uses_every_node_and_outlives_one(sweeps: Any, cluster: Any) -> None:
    file = cluster.data / "payments.csv"
    write(simulate(30_000, seed=5), file)
    space = cluster.data / "space.toml"
    space.write_text(SPACE)
    sweeps.environment |= cluster.environment
    arguments = f"tune {file} --algorithm grid --space {space} --folds 2 --json"

    sweep = sweeps.start(f"{arguments} --name far --address {cluster.address}")
    addresses = {node.address for node in cluster.nodes}
    before = _nodes(sweeps, "far")
    while not addresses <= before:
        assert sweep.process.poll() is None, f"{before}\n{sweep.told}"
        sweeps.wait_for(sweep, "far", sweeps.ended("far") + 1)
        before = _nodes(sweeps, "far")
    at = sweeps.ended("far")
    assert at < TRIALS - 4
    cluster.kill(cluster.workers[-1])
    far = json.loads(sweep.wait())
    near = json.loads(sweeps.start(f"{arguments} --name near --concurrency 2").wait())

    parent, children = sweeps.runs("far")
    assert parent.info.status == "FINISHED"
    assert len(children) == TRIALS
    assert {run.data.tags["status"] for run in children} == {"done"}
    mine, theirs = sweeps.scores("far"), sweeps.scores("near")
    assert mine.keys() == theirs.keys()
    for key, metrics in mine.items():
        assert metrics == pytest.approx(theirs[key], rel=1e-9, abs=1e-9)
    assert far["params"] == near["params"]
    assert far["threshold"] == pytest.approx(near["threshold"], rel=1e-9)


def _nodes(sweeps: Any, name: str) -> set[str]:
    """Where the trials ran that have ended so far."""
    journal: Path = sweeps.folder / ".fraudray" / "sweeps" / name / "journal.jsonl"
    lines = journal.read_text().splitlines() if journal.exists() else []
    trials = [json.loads(line)["trial"] for line in lines if line.startswith('{"trial"')]
    return {trial["node"] for trial in trials}
