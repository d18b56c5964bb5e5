"""The scripts of Minikube: from nothing to a payment, again, and every failure with its remedy."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.keys import Keys
from training import __version__

ROOT = Path(__file__).parents[2]
OVERLAY = ROOT / "k8s" / "overlays" / "minikube"
SECRETS = ("graph-keys", "postgres", "ray-token", "redis", "ui")
UI = "/api/v1/namespaces/fraudray/pods/ui"

pytestmark = pytest.mark.slow

React = Callable[[Any, Any], None]


def test_from_nothing_to_a_scored_payment(machine: Any, tmp_path: Path) -> None:
    done = machine.run("minikube-up.sh")

    assert done.returncode == 0, done.stdout + done.stderr
    started = [line for line in machine.log if line.startswith("minikube start")]
    assert len(started) == 1
    assert "--cpus=4 --memory=8192" in started[0]
    assert '{"decision": 0, "probability": 0.25}' in done.stdout
    assert machine.asked == [f"Bearer {machine.secret('fraudray', 'smoke-key')['key']}"]
    ports = re.findall(r"http://192\.168\.49\.2:(\S*)", done.stdout)
    assert len(ports) == 4  # graph, page, Grafana, Prometheus
    assert all(port.isdigit() for port in ports), ports
    (operator,) = (
        d for d in machine.cluster.of("Deployment") if d["metadata"]["name"] == "kuberay-operator"
    )
    assert operator["metadata"]["namespace"] == "ray-system"
    assert operator["spec"]["template"]["spec"]["containers"][0]["image"].endswith(":v1.7.0")

    # The graph knows the callers by what stands in the file of keys.
    machine.write("keys.json", machine.secret("fraudray", "graph-keys")["keys.json"])
    keys = Keys(tmp_path / "keys.json")
    assert keys.role(machine.secret("fraudray", "smoke-key")["key"]) == "caller"
    assert keys.role(machine.secret("fraudray", "ui")["graph-key"]) == "caller"

    # No secret is seen: not in what is printed, and in no argument of a program.
    seen = done.stdout + done.stderr + "".join(machine.log)
    for secret in machine.cluster.of("Secret"):
        held = machine.secret(secret["metadata"]["namespace"], secret["metadata"]["name"])
        for key, value in held.items():
            assert key in ("user", "admin-user") or value not in seen


def test_a_second_run_repeats_nothing(machine: Any) -> None:
    first = machine.run("minikube-up.sh")
    assert first.returncode == 0, first.stdout + first.stderr
    kept = {
        path: item["data"] for path, item in machine.cluster.objects.items() if "/secrets/" in path
    }
    machine.cluster.writes.clear()
    machine.write("log")

    second = machine.run("minikube-up.sh")

    assert second.returncode == 0, second.stdout + second.stderr
    assert not [
        line for line in machine.log if "minikube start" in line or "kuberay/operator" in line
    ]
    assert {write.split()[0] for write in machine.cluster.writes} == {"PATCH"}
    assert not [w for w in machine.cluster.writes if "/secrets/" in w or "ray-system" in w]
    for path, data in kept.items():
        assert machine.cluster.objects[path]["data"] == data


def test_every_secret_that_pods_read_is_made_with_its_keys(
    machine: Any, require: Callable[[str], str]
) -> None:
    assert machine.run("minikube-up.sh").returncode == 0
    rendered = subprocess.run(
        [require("kubectl"), "kustomize", OVERLAY], check=True, capture_output=True, text=True
    )
    wanted = [
        (item["metadata"]["namespace"], found["name"], found["key"])
        for item in yaml.safe_load_all(rendered.stdout)
        for found in _references(item)
    ]

    assert wanted
    for namespace, name, key in wanted:
        assert key in machine.secret(namespace, name)


def _references(node: Any) -> Iterator[dict[str, str]]:
    """Every `secretKeyRef` below a node."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if key == "secretKeyRef":
            yield value
        elif isinstance(value, dict | list):
            yield from _references(value)


def test_the_guide_makes_the_secrets_that_the_script_makes(
    machine: Any, environment: dict[str, str], tmp_path: Path
) -> None:
    assert machine.run("minikube-up.sh").returncode == 0
    made = {name: set(machine.secret("fraudray", name)) for name in SECRETS}
    machine.cluster.objects.clear()
    guide = (ROOT / "docs" / "operations.md").read_text("utf-8").replace("\n   ", "\n")
    (block,) = (b for b in re.findall(r"```sh\n(.*?)```", guide, re.DOTALL) if "make_secret()" in b)
    (tmp_path / "k8s").symlink_to(ROOT / "k8s")
    config = tmp_path / "config"
    config.write_text(
        config.read_text().replace('"current-context": "another"', '"current-context": "fraudray"')
    )

    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block], cwd=tmp_path,
        env=environment | machine.environment | {"PATH": f"{tmp_path}/bin:{environment['PATH']}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert {name: set(machine.secret("fraudray", name)) for name in SECRETS} == made
    machine.write("keys.json", machine.secret("fraudray", "graph-keys")["keys.json"])
    keys = Keys(tmp_path / "keys.json")
    assert keys.role(machine.secret("fraudray", "ui")["graph-key"]) == "caller"
    assert keys.role((tmp_path / "night-shift.key").read_text().strip()) == "operator"


def test_a_run_that_was_stopped_goes_on(machine: Any) -> None:
    machine.write("cannot-build")
    stopped = machine.run("minikube-up.sh")
    assert stopped.returncode == 1
    assert "an image was not built" in stopped.stderr
    (machine.folder / "cannot-build").unlink()

    done = machine.run("minikube-up.sh")

    assert done.returncode == 0, done.stdout + done.stderr
    assert len([line for line in machine.log if line.startswith("minikube start")]) == 1


def _without(name: str) -> React:
    def react(cluster: Any, item: Any) -> None:
        cluster.usual(item)
        if item["metadata"]["name"].startswith(name):
            del cluster.objects[cluster.path_of(item)]

    return react


def _waiting(reason: str, message: str, image: str = "fraudray/ui:1") -> React:
    """The page's container waits, for a reason that kubelet gives."""

    def react(cluster: Any, item: Any) -> None:
        cluster.usual(item)
        if item["kind"] == "Deployment" and item["metadata"]["name"] == "ui":
            waits = {"waiting": {"reason": reason, "message": message}}
            cluster.objects[UI]["status"] = {
                "phase": "Pending",
                "conditions": [{"type": "Ready", "status": "False"}],
                "containerStatuses": [{"name": "ui", "image": image, "state": waits}],
            }

    return react


def _no_place(cluster: Any, item: Any) -> None:
    cluster.usual(item)
    if item["kind"] == "Deployment" and item["metadata"]["name"] == "ui":
        said = {
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/1 nodes are available: 1 Insufficient cpu.",
        }  # fmt: skip
        cluster.objects[UI]["status"] = {"phase": "Pending", "conditions": [said]}


def _unbound(cluster: Any, item: Any) -> None:
    cluster.usual(item)
    for claim in cluster.of("PersistentVolumeClaim"):
        claim["status"] = {"phase": "Pending"}
    if item["kind"] == "RayService":
        item["status"] = {}


def _no_model(cluster: Any, item: Any) -> None:
    cluster.usual(item)
    if item["kind"] == "Job":
        item["status"] = {"conditions": [{"type": "Failed", "status": "True"}]}


def _old_schema(cluster: Any, item: Any) -> None:
    cluster.usual(item)
    if item["kind"] == "RayService":
        cluster.refuse('strict decoding error: unknown field "spec.upgradeStrategy"')


@pytest.mark.parametrize(
    ("react", "told", "remedy"),
    [
        (_without("rayservices"), "missing CRDs: rayservices.ray.io", "-k kuberay/operator"),
        (_without("redis"), "the secret fraudray/redis, which", "create secret generic redis"),
        (_old_schema, "refuses the manifests", "its CRDs are too old: kubectl"),
        (_unbound, "is not bound but Pending", "addons enable storage-provisioner"),
        (_no_place, "1 Insufficient cpu", "make minikube-up CPUS=6"),
        (_waiting("ErrImageNeverPull", "not there"),
         "fraudray/ui:1 of the pod fraudray/ui is missing in Minikube", "make minikube-up"),
        (_waiting("ImagePullBackOff", "no", "redis:8"),
         "redis:8 of the pod fraudray/ui cannot be pulled", "docker pull redis:8"),
        (_waiting("CreateContainerConfigError", 'secret "x" not found'),
         'secret "x" not found', "describe pod ui"),
        (_waiting("CrashLoopBackOff", "back-off"), "fraudray/ui ends again and again", "logs ui"),
        (_no_model, "the first model was not made", "logs job/first-model"),
    ],
    ids=["crds", "secret", "old-crds", "volume", "cpus", "image", "pull", "config", "crash",
         "model"],
)  # fmt: skip
def test_what_a_cluster_lacks_is_told_with_the_command_that_mends_it(
    machine: Any, react: React, told: str, remedy: str
) -> None:
    machine.cluster.react = react

    done = machine.run("minikube-up.sh")

    _refused(done, told, remedy)


@pytest.mark.parametrize(
    ("file", "content", "told", "remedy"),
    [
        ("minikube-version", "v1.9.2", "Minikube is v1.9.2, expected 1.34", "minikube.sigs.k8s.io"),
        ("docker-size", f"2 {16 << 30}\n", "Docker has 2 CPUs, expected 4", "larger machine"),
        ("docker-size", f"4 {4 << 30}\n", "4096 MiB of memory, expected", "larger machine"),
        ("cannot-start", "", "Minikube did not start", "make minikube-down PURGE=1"),
    ],
    ids=["old-minikube", "cpus", "memory", "start"],
)  # fmt: skip
def test_what_the_machine_lacks_is_told_before_anything_is_made(
    machine: Any, file: str, content: str, told: str, remedy: str
) -> None:
    machine.write(file, content)

    _refused(machine.run("minikube-up.sh"), told, remedy)
    assert not machine.cluster.writes


@pytest.mark.parametrize("program", ["minikube", "kubectl", "docker"])
def test_a_missing_program_is_told(machine: Any, program: str, tmp_path: Path) -> None:
    (tmp_path / "bin" / program).unlink()
    for name in ("bash", "dirname", "mktemp", "rm", "git", "curl"):
        found = shutil.which(name)
        assert found is not None
        (tmp_path / "bin" / name).symlink_to(found)

    done = machine.run("minikube-up.sh", PATH=str(tmp_path / "bin"))

    _refused(done, f"{program} is not installed", "see https://")


def test_docker_that_does_not_answer_is_told(machine: Any) -> None:
    (machine.folder / "docker-size").unlink()

    _refused(machine.run("minikube-up.sh"), "Docker does not answer", "docker info")


def test_an_image_that_manifests_ask_for_and_nobody_builds_is_told(machine: Any) -> None:
    # A build under another tag than the manifests'.
    done = machine.run("minikube-up.sh", MAKEFLAGS="VERSION=9.9.9")

    _refused(done, f":{__version__}, which k8s/overlays/minikube asks for, is", "make manifests")


def _running_operator(machine: Any, namespace: str, version: str) -> None:
    image = f"quay.io/kuberay/operator:{version}"
    template = {"spec": {"containers": [{"name": "o", "image": image}]}}
    machine.cluster.put(
        {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": template},
         "metadata": {"namespace": namespace, "name": "kuberay-operator"}}
    )  # fmt: skip


def test_an_operator_elsewhere_is_told(machine: Any) -> None:
    _running_operator(machine, "default", "v1.5.1")

    done = machine.run("minikube-up.sh")

    _refused(done, "v1.5.1 runs in the namespace default; expected v1.7.0 in ray-system",
             "-n default delete deployment kuberay-operator")  # fmt: skip


def test_an_operator_that_is_too_old_is_replaced(machine: Any) -> None:
    _running_operator(machine, "ray-system", "v1.5.1")

    done = machine.run("minikube-up.sh")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "KubeRay is v1.5.1, expected v1.7.0: it is replaced" in done.stdout


def test_an_operator_that_cannot_be_fetched_is_told(machine: Any) -> None:
    done = machine.run("minikube-up.sh", GIT_CONFIG_KEY_0="url.file:///nowhere/.insteadOf")

    _refused(done, "the KubeRay operator could not be installed", "see that git reaches github.com")


def test_another_version_takes_the_place_of_what_cannot_be_changed(machine: Any) -> None:
    assert machine.run("minikube-up.sh").returncode == 0
    old = machine.cluster.of("Job") + machine.cluster.of("RayService")
    pods = (old[0]["spec"], old[1]["spec"]["rayClusterConfig"]["headGroupSpec"])
    for pod in pods:
        pod["template"]["spec"]["containers"][0]["image"] = "fraudray/ray:0.0.1"
    machine.cluster.writes.clear()

    done = machine.run("minikube-up.sh")

    assert done.returncode == 0, done.stdout + done.stderr
    gone = [write for write in machine.cluster.writes if write.startswith("DELETE")]
    assert [write.rsplit("/", 2)[1:] for write in gone] == [
        ["jobs", "first-model"], ["rayservices", "fraudray"],
    ]  # fmt: skip


@pytest.mark.parametrize("status", [401, 503])
def test_a_graph_that_does_not_answer_is_told(machine: Any, status: int) -> None:
    machine.answers = status

    _refused(machine.run("minikube-up.sh"), f"the graph answered {status}", "describe rayservice")


def test_down_keeps_and_purge_removes(machine: Any) -> None:
    machine.write("running")
    assert machine.run("minikube-down.sh").returncode == 0
    assert machine.log[-1] == "minikube stop -p fraudray"
    again = machine.run("minikube-down.sh")
    assert "does not run" in again.stdout
    assert machine.run("minikube-down.sh", "--purge").returncode == 0
    assert machine.log[-1] == "minikube delete -p fraudray"
    _refused(machine.run("minikube-down.sh", "--all"), "no option --all", "--purge")


def _refused(done: subprocess.CompletedProcess[str], told: str, remedy: str) -> None:
    assert done.returncode == 1, done.stdout + done.stderr
    message, mend = done.stderr.rsplit("\nerror: ", 1)[1].split("\n  to mend it: ")
    assert told in message
    assert remedy in mend


def test_the_scripts_are_clean(require: Callable[[str], str]) -> None:
    fakes = Path(__file__).parent / "fakes"
    scripts = [*sorted((ROOT / "scripts").glob("*.sh")), *sorted(fakes.iterdir()), ROOT / ".ci/run"]
    subprocess.run([require("shellcheck"), "--external-sources", *scripts], cwd=ROOT, check=True)
