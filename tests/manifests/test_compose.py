"""compose.yaml: closed to everybody else, and the same as Kubernetes where it can be."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from k8s.checks.pods import Object, pods
from training.home import VERSION

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
    return content


def test_services_are_confined(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "mem_limit" in service, name
        assert not service.get("privileged"), name


def test_only_this_machine_gets_in_and_never_to_ray(compose: dict[str, Any]) -> None:
    published = {}
    for name, service in compose["services"].items():
        for port in service.get("ports", []):
            host, outside, inside = port.rsplit(":", 2)
            assert host == "127.0.0.1"
            assert outside == inside
            published[name] = int(inside)
    assert published == {
        "mlflow": 5000, "graph": 8000, "ui": 7860, "prometheus": 9090, "alertmanager": 9093,
        "grafana": 3000,
    }  # fmt: skip


def test_images_are_those_of_kubernetes(
    compose: dict[str, Any], render: Callable[[Path], list[Object]]
) -> None:
    ours = {c["image"] for p in pods(render(ROOT / "k8s/overlays/minikube")) for c in p.containers}
    for service in compose["services"].values():
        assert service["image"] in ours
        if "build" in service:
            assert service["build"]["args"] == {"VERSION": VERSION}
            assert service["image"] == f"fraudray/{service['build']['target']}:{VERSION}"


def test_no_secret_is_written_down(compose: dict[str, Any]) -> None:
    text = (ROOT / "compose.yaml").read_text("utf-8")
    asked = set(re.findall(r"\$\{(\w+):\?", text))
    made = set(re.search(r"for name in (.+?); do", text.replace("\\\n#", ""), re.S)[1].split())  # type: ignore[index]
    assert asked == made
    assert set(re.findall(r"(?<!\$)\$\{(\w+)", text)) == asked
    for service in compose["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|TOKEN|SECRET", name):
                assert value.startswith("${"), name
    assert ".env" in (ROOT / ".gitignore").read_text("utf-8").split()


def test_volumes_and_files_are_there(compose: dict[str, Any]) -> None:
    used = set()
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).exists(), source
                assert volume.endswith(":ro")
            else:
                used.add(source)
        for other in service.get("depends_on", {}):
            assert other in compose["services"]
    assert used == set(compose["volumes"])


def test_prometheus_has_the_jobs_of_kubernetes(compose: dict[str, Any]) -> None:
    def jobs(path: str) -> set[str]:
        content = yaml.safe_load((ROOT / path).read_text("utf-8"))
        found = {c["job_name"] for c in content["scrape_configs"]}
        for config in content["scrape_configs"]:
            rules = config.get("relabel_configs", [])
            found |= {r["replacement"] for r in rules if r.get("target_label") == "job"}
        return found

    # A sweep runs where somebody starts it, not in compose.
    assert jobs("compose/prometheus.yml") | {"sweep"} == jobs("k8s/monitoring/prometheus.yml")
    content = yaml.safe_load((ROOT / "compose/prometheus.yml").read_text("utf-8"))
    for config in content["scrape_configs"]:
        for target in (t for s in config["static_configs"] for t in s["targets"]):
            assert target.split(":")[0] in {"localhost", *compose["services"]}


def test_prometheus_takes_it(require: Callable[[str], str], tmp_path: Path) -> None:
    text = (ROOT / "compose/prometheus.yml").read_text("utf-8")
    file = tmp_path / "prometheus.yml"
    file.write_text(text.replace("/etc/rules", str(ROOT / "grafana/rules")))
    told = subprocess.run(
        [require("promtool"), "check", "config", "--syntax-only", file],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout + told.stderr
