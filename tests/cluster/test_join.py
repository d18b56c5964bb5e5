"""Joining a cluster whose nodes know nothing of fraudray, and leaving it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from surroundings import bare

from fraudray.cluster import join, luggage
from fraudray.runtime import RuntimeProblem
from training.errors import UsageError
from training.home import VERSION

# Every script runs in a process of its own: Ray keeps the first token that it has read.
JOIN = """
import json, os, sys, time
from fraudray import runtime
from fraudray.cluster import join
from training.errors import FraudrayError

runtime.prepare()
import ray
"""
NODES = (
    JOIN
    + """
def seen(package, data):
    import importlib, importlib.metadata
    import training.home
    for name in ("training.fit", "training.threshold", "tuning.objective", "fraudray.runtime"):
        importlib.import_module(name)
    try:
        installed = importlib.metadata.version("fraudray")
    except Exception:  # whichever the Python of today raises for metadata without a file
        installed = None
    return {
        "address": ray.util.get_node_ip_address(), "code": training.__file__,
        "version": training.home.VERSION, "installed": installed,
        "package": os.listdir(package), "data": os.listdir(data),
    }

join(sys.argv[1])
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On
import training
places = [On(node["NodeID"], soft=False) for node in ray.nodes() if node["Alive"]]
task = ray.remote(num_cpus=1)(seen)
package = os.path.dirname(training.__file__)
calls = [task.options(scheduling_strategy=p).remote(package, sys.argv[2]) for p in places]
print(json.dumps(ray.get(calls)))
runtime.stop_ray()
"""
)
TRIALS = (
    JOIN
    + """
import numpy as np
from ray import tune

@ray.remote(num_cpus=0)
class Roll:
    def __init__(self):
        self.present = set()
    def call(self, address):
        self.present.add(address)
        return len(self.present)

def trial(config, rows, roll, nodes):
    from training.threshold import Curve
    here = ray.util.get_node_ip_address()
    while ray.get(roll.call.remote(here)) < nodes:
        time.sleep(0.2)
    tune.report({"node": here, "sum": float(rows.sum())})

join(sys.argv[1])
rows = np.load(sys.argv[2])
nodes = len([node for node in ray.nodes() if node["Alive"]])
tuner = tune.Tuner(
    tune.with_resources(
        tune.with_parameters(trial, rows=rows, roll=Roll.remote(), nodes=nodes), {"cpu": 1}
    ),
    param_space={"number": tune.grid_search(list(range(nodes)))},
    run_config=tune.RunConfig(storage_path=sys.argv[3], verbose=0),
)
print(json.dumps([result.metrics for result in tuner.fit()], default=str))
runtime.stop_ray()
"""
)
HOLD = (
    JOIN
    + """
join(sys.argv[1])

@ray.remote(num_cpus=1)
class Holder:
    def here(self):
        return True

holders = [Holder.remote() for _ in range(int(ray.cluster_resources()["CPU"]))]
ray.get([holder.here.remote() for holder in holders])
print("holding", flush=True)
time.sleep(120)
"""
)
FREE = (
    JOIN
    + """
join(sys.argv[1])
whole, deadline = ray.cluster_resources()["CPU"], time.monotonic() + 60
while ray.available_resources().get("CPU", 0) < whole and time.monotonic() < deadline:
    time.sleep(0.2)
print(json.dumps([whole, ray.available_resources().get("CPU", 0)]))
"""
)
LOST = (
    JOIN
    + """
join(sys.argv[1])
def living():
    return [node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]]
deadline = time.monotonic() + 90
while sys.argv[2] in living() and time.monotonic() < deadline:
    time.sleep(0.2)
time.sleep(2)  # for what Ray may print about it
print(json.dumps(living()))
"""
)
REFUSED = (
    JOIN
    + """
ray.__version__ = sys.argv[2] or ray.__version__
begun = time.monotonic()
try:
    join(sys.argv[1])
except FraudrayError as error:
    print(error)
# Ray finds out too, after 20 and 60 seconds.
assert time.monotonic() - begun < 18
"""
)


def start(
    cluster: Any, script: str, *arguments: object, inside: tuple[str, ...] = (), **extra: str
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*inside, sys.executable, "-c", script, cluster.address, *map(str, arguments)],
        env=bare(FRAUDRAY_HOME=cluster.data, **cluster.environment) | extra,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def output(process: subprocess.Popen[str]) -> str:
    try:
        out, problems = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, problems
    return out


@pytest.mark.slow
def test_code_reaches_every_node_and_nothing_else_of_ours_is_there(cluster):
    (cluster.data / "payments.csv").write_text("amount\n1\n")
    nodes = json.loads(output(start(cluster, NODES, cluster.data)))
    assert {node["address"] for node in nodes} == {node.address for node in cluster.nodes}
    for node in nodes:
        assert Path(node["code"]).is_relative_to(cluster.network.folder)
        assert node["version"] == VERSION
        assert [node["installed"], node["package"], node["data"]] == [None, [], []]


@pytest.mark.slow
def test_trials_run_on_every_node_with_data_that_only_the_driver_sees(cluster, tmp_path):
    np.save(cluster.data / "rows.npy", np.arange(200_000.0))
    trials = json.loads(output(start(cluster, TRIALS, cluster.data / "rows.npy", tmp_path)))
    assert {trial["node"] for trial in trials} == {node.address for node in cluster.nodes}
    assert {trial["sum"] for trial in trials} == {np.arange(200_000.0).sum()}


@pytest.mark.slow
def test_a_killed_driver_leaves_the_cluster_free(cluster):
    driver = start(cluster, HOLD)
    assert driver.stdout is not None
    assert driver.stdout.readline() == "holding\n"
    driver.kill()
    driver.communicate()
    whole, free = json.loads(output(start(cluster, FREE)))
    assert free == whole == len(cluster.nodes)


@pytest.mark.soak
def test_a_lost_node_is_noticed_and_another_may_come(cluster):
    lost, kept = cluster.workers[-1], cluster.workers[:-1]
    cluster.kill(lost)
    # Nothing but the script's own line: Ray's message would break what is read by programs.
    living = json.loads(output(start(cluster, LOST, lost.address)))
    assert set(living) == {node.address for node in cluster.nodes}
    cluster.add()
    assert cluster.workers[:-1] == kept
    nodes = json.loads(output(start(cluster, NODES, cluster.data)))
    assert {node["address"] for node in nodes} == {node.address for node in cluster.nodes}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("extra", "version", "inside", "named"),
    [
        ({"RAY_AUTH_TOKEN": "ab" * 32}, "", (), "the one in $RAY_AUTH_TOKEN is another"),
        ({"RAY_AUTH_TOKEN_PATH": "/dev/null"}, "", (), "RAY_AUTH_TOKEN_PATH is set but"),
        ({"RAY_AUTH_MODE": "disabled"}, "", (), "RAY_AUTH_MODE is not token here"),
        ({}, "2.9.3", (), "Ray: 2.9.3"),
        ({}, "", ("unshare", "--pid", "--fork", "--mount-proc"), "is no node of the Ray cluster"),
    ],
    ids=["another token", "no token", "no authentication", "another Ray", "not a node"],
)
def test_what_may_not_join_is_told_why_in_one_line(cluster, extra, version, inside, named):
    said = output(start(cluster, REFUSED, version, inside=inside, **extra))
    assert named in said
    assert cluster.address in said
    assert said.count("\n") == 1


def test_an_address_where_nothing_listens_is_tried_and_named(free_ports):
    [port] = free_ports(1)
    begun = time.monotonic()
    with pytest.raises(RuntimeProblem, match=rf"nothing answers at .*:{port}, tried for 1 s"):
        join(f"127.0.0.1:{port}", patience=1.0)
    assert 0.4 < time.monotonic() - begun < 15


@given(st.text().filter(lambda text: ":" not in text and text != "auto"))
def test_an_address_has_host_and_port(address):
    with pytest.raises(UsageError, match="--address must be HOST:PORT"):
        join(address)


@pytest.mark.parametrize("address", ["ray://10.0.0.1:10001", "10.0.0.1:0", "10.0.0.1:70000", "a:b"])
def test_another_form_of_address_is_refused(address, monkeypatch):
    with pytest.raises(UsageError, match="HOST:PORT of the head node"):
        join(address)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UsageError, match="HOST:PORT of the head node"):
        join("auto")


def test_the_luggage_is_our_packages_and_nothing_compiled():
    packed = luggage()
    names = [Path(folder).name for folder in packed["py_modules"]]
    assert names == ["training", "tuning", "fraudray"]
    assert all((Path(folder) / "__init__.py").is_file() for folder in packed["py_modules"])
    assert packed["excludes"] == ["__pycache__"]
