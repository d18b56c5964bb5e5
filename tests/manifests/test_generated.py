"""What stands in two places says the same in both."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from image import image_environment

from fraudray.cli import cli
from k8s import manifests
from k8s.checks.pods import Object, pods
from serve_app.app import CONFIG
from training.home import VERSION

ROOT = Path(__file__).parents[2]
# Of the machine or of other commands; nothing that an image could know.
OF_A_MACHINE = re.compile(
    r"FRAUDRAY_HOME|RAY_(GRAFANA_HOST|PROMETHEUS_(HOST|NAME)|METRICS_GRAFANA_DASHBOARD_OUTPUT_DIR)"
    r"|RAY_SERVE_HAPROXY_(CONFIG_FILE_LOC|SOCKET_PATH|SERVER_STATE_(BASE|FILE)|METRICS_PORT)"
    r"|RAY_SERVE_FALLBACK_PROXY_HTTP_PORT"
)


def test_what_is_committed_is_what_make_manifests_writes() -> None:
    assert list(manifests.stale()) == []


def test_a_stale_file_is_told(tmp_path: Path) -> None:
    for name in manifests.written():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "grafana", tmp_path / "grafana", dirs_exist_ok=True)
    shutil.copy(ROOT / "requirements.txt", tmp_path)
    assert list(manifests.stale(tmp_path)) == []
    job = tmp_path / "kuberay/rayjob.yaml"
    job.write_text(job.read_text("utf-8").replace(VERSION, "0.0.9"), "utf-8")
    (tmp_path / "grafana/dashboards/another.json").write_text("{}")
    assert set(manifests.stale(tmp_path)) == {
        "kuberay/rayjob.yaml", "grafana/dashboards/kustomization.yaml",
    }  # fmt: skip


def test_the_graph_is_configured_as_on_a_laptop(
    render: Callable[[Path], list[Object]],
) -> None:
    laptop = yaml.safe_load(CONFIG.read_text("utf-8"))
    (service,) = [o for o in render(ROOT / "k8s/overlays/minikube") if o["kind"] == "RayService"]
    cluster = yaml.safe_load(service["spec"]["serveConfigV2"])
    assert cluster.pop("http_options") == {"host": "0.0.0.0", "port": 8000}  # noqa: S104
    assert cluster.pop("proxy_location") == "EveryNode"
    del laptop["http_options"], laptop["proxy_location"]
    assert cluster == laptop


def test_production_differs_in_numbers_and_places_of_replicas_alone() -> None:
    usual, more = manifests.serve_config(), manifests.serve_config(manifests.PRODUCTION)
    numbers = {}
    for config in (usual, more):
        for deployment in config["applications"][0]["deployments"]:
            scale = deployment["autoscaling_config"] = {**deployment.get("autoscaling_config", {})}
            numbers[deployment["name"]] = (
                scale.pop("min_replicas", None), scale.pop("max_replicas", None),
            )  # fmt: skip
    assert numbers == manifests.PRODUCTION | {"Rollout": (None, None)}
    for deployment in more["applications"][0]["deployments"]:
        # Where the least are two, losing a node takes one of them.
        apart = deployment.pop("max_replicas_per_node", None)
        assert apart == (1 if deployment["name"] in manifests.PRODUCTION else None)
    assert usual == more


def test_the_image_sets_what_fraudray_sets_for_itself() -> None:
    asked = (
        "import json, os; before = set(os.environ)\n"
        "from fraudray import runtime\n"
        "runtime.prepare(); runtime._set_up_haproxy()\n"
        "print(json.dumps({k: v for k, v in os.environ.items() if k not in before}))"
    )
    set_by_us = ("RAY_", "FRAUDRAY_", "MLFLOW_", "TUNE_", "GRADIO_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(set_by_us)}
    made = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True, env=kept
    )
    wanted = {k: v for k, v in json.loads(made.stdout).items() if not OF_A_MACHINE.fullmatch(k)}
    image = image_environment()
    for name in ("FRAUDRAY_HAPROXY", "RAY_SERVE_HAPROXY_BINARY_PATH"):  # paths of its own
        assert Path(image[name]).name == Path(wanted.pop(name)).name
    assert {k: image.get(k) for k in wanted} == wanted


def test_the_image_sets_what_the_documentation_asks_of_a_cluster() -> None:
    text = (ROOT / "docs/serving.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(RAY_\w+)` \| ([^|]+) \|", text, re.M))
    assert "RAY_worker_niceness" in rows
    image = image_environment()
    for name, value in rows.items():
        if value.strip("` ").split(",")[0].strip() in ("0", "1", "2", "token"):
            assert image[name] == value.split(",")[0].strip(), name
        else:
            assert name in image


def test_manifests_change_nothing_that_the_image_sets(
    overlay: list[Object],
) -> None:
    image = image_environment()
    for pod in pods(overlay):
        for container in pod.containers:
            named = {e["name"] for e in container.get("env", [])}
            assert not named & set(image), pod.where


def test_monitors_scrape_what_the_plain_prometheus_scrapes(
    render: Callable[[Path], list[Object]],
) -> None:
    plain = yaml.safe_load((ROOT / "k8s/monitoring/prometheus.yml").read_text("utf-8"))
    jobs: dict[str, set[str]] = {"page": {"http"}, "ray": set()}
    for config in plain["scrape_configs"]:
        for rule in config.get("relabel_configs", []):
            ports = set(rule.get("regex", "").split("|"))
            if rule.get("action") == "keep":
                jobs["ray"] |= ports
            elif rule.get("target_label") == "job":
                jobs[rule["replacement"]] = ports
                jobs["ray"] -= ports
    monitored: dict[str, set[str]] = {}
    for o in render(ROOT / "k8s/overlays/production"):
        if o["kind"] == "PodMonitor":
            ports = {e["port"] for e in o["spec"]["podMetricsEndpoints"]}
            monitored[o["metadata"]["name"]] = ports
            for endpoint in o["spec"]["podMetricsEndpoints"]:
                labels = {r["targetLabel"]: r.get("replacement") for r in endpoint["relabelings"]}
                assert labels["job"] == o["metadata"]["name"]
                assert "cluster" in labels
    assert monitored == jobs


def test_prometheus_takes_its_configuration(require: Callable[[str], str], tmp_path: Path) -> None:
    config = yaml.safe_load((ROOT / "k8s/monitoring/prometheus.yml").read_text("utf-8"))
    config["rule_files"] = [str(f) for f in (ROOT / "grafana/rules").glob("*.yaml")]
    for job in config["scrape_configs"]:
        # Debian's Prometheus is made without Kubernetes.
        if job.pop("kubernetes_sd_configs", None):
            job["file_sd_configs"] = [{"files": [str(tmp_path / "*.json")]}]
    file = tmp_path / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    told = subprocess.run(
        [require("promtool"), "check", "config", file], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr


def test_commands_and_options_in_manifests_exist(overlay: list[Object]) -> None:
    texts = [" ".join(c.get("command", []) + c.get("args", [])) for p in pods(overlay)
             for c in p.containers]  # fmt: skip
    texts += [o["spec"]["entrypoint"] for o in overlay if o["kind"] == "RayJob"]
    calls = [
        c for t in texts for c in re.findall(r"fraudray ([a-z][^;&|\n]*)", t.replace(">", "|"))
    ]
    assert len(calls) >= 3
    for call in calls:
        words = call.replace("'", "").split()
        command: Any = cli
        while words and hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        known = {o for p in command.params for o in p.opts}
        assert {w for w in words if w.startswith("--")} <= known, call


@pytest.mark.parametrize("name", ["rules", "dashboards"])
def test_all_rules_and_dashboards_are_applied(
    name: str, render: Callable[[Path], list[Object]]
) -> None:
    minikube, production = (render(ROOT / "k8s/overlays" / o) for o in ("minikube", "production"))
    files = {f.name: f for f in ROOT.glob(f"grafana/{name}/*") if f.suffix in (".json", ".yaml")}
    files.pop("kustomization.yaml", None)
    assert files

    def config_map(objects: list[Object], begins: str) -> Any:
        (found,) = [
            o["data"] for o in objects
            if o["kind"] == "ConfigMap" and o["metadata"]["name"].startswith(begins)
        ]  # fmt: skip
        return found

    texts = {n: f.read_text("utf-8") for n, f in files.items()}
    if name == "dashboards":
        for objects in (minikube, production):
            assert config_map(objects, "grafana-dashboards") == texts
    else:
        assert config_map(minikube, "prometheus-rules") == texts
        (rule,) = [o for o in production if o["kind"] == "PrometheusRule"]
        groups = {g["name"]: g for t in texts.values() for g in yaml.safe_load(t)["groups"]}
        assert {g["name"]: g for g in rule["spec"]["groups"]} == groups
