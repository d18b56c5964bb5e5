"""What monitoring runs with: targets that come and go, configurations that the programs take."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from configparser import RawConfigParser
from pathlib import Path

import pytest

from fraudray import monitoring, targets
from fraudray.cli import main
from fraudray.monitoring import Monitoring, Ports

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FRAUDRAY_HOME", str(tmp_path))
    return tmp_path


def _in_a_process(code: str) -> None:
    subprocess.run([sys.executable, "-c", f"from fraudray import targets\n{code}"], check=True)


def test_a_target_is_there_as_long_as_its_process(home: Path) -> None:
    seen = home / "seen.json"
    _in_a_process(
        "import shutil\n"
        "targets.announce('page', '0.0.0.0', 7860)\n"
        f"shutil.copy(targets.folder() / 'page-7860.json', {str(seen)!r})"
    )
    # Whatever it listens at, on this machine it is read on loopback.
    assert json.loads(seen.read_text()) == [
        {"labels": {"job": "page"}, "targets": ["127.0.0.1:7860"]}
    ]
    assert list(targets.folder().iterdir()) == []


def test_what_a_killed_process_left_is_written_over() -> None:
    for port in (1111, 2222):
        _in_a_process(
            f"targets.announce('haproxy', '::1', {port}, of=8000)\nimport os\nos._exit(0)"
        )
    (left,) = targets.folder().iterdir()
    assert json.loads(left.read_text()) == [
        {"labels": {"job": "haproxy"}, "targets": ["[::1]:2222"]}
    ]


def test_the_list_of_a_cluster_is_followed_to_the_next_one(home: Path) -> None:
    for name in ("first", "second"):
        session = home / name
        session.mkdir()
        (session / "prom_metrics_service_discovery.json").write_text(f'["{name}"]')
        _in_a_process(
            "import os\nfrom pathlib import Path\n"
            f"targets.announce_cluster(Path({str(session)!r}), 8265)\nos._exit(0)"
        )
        assert json.loads((targets.folder() / "ray-8265.json").read_text()) == [name]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([], 1, "apt-get install prometheus"),
        (["--prometheus", "nowhere"], 2, "--prometheus: expected a program that can be run"),
        (["--interval", "0"], 2, "--interval"),
    ],
)
def test_without_prometheus_it_says_what_to_do(
    arguments: list[str], code: int, told: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SystemExit) as left:
        main(["monitoring", *arguments])
    assert left.value.code == code
    assert told in capsys.readouterr().err


def test_every_program_takes_its_configuration(require: Callable[[str], str]) -> None:
    watch = Monitoring(require("prometheus"), Ports(), interval=10)
    watch.folder.mkdir()
    watch.write()
    prometheus = _checked(require("promtool"), "check", "config", watch.folder / "prometheus.yml")
    assert "alerts.yaml" in prometheus
    assert "receiver" in _checked(
        require("amtool"), "check-config", monitoring.shipped() / "alertmanager.yml"
    )


def _checked(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_grafana_is_found_beside_its_pages_and_told_to_stay_at_home(
    home: Path, monkeypatch: pytest.MonkeyPatch, require: Callable[[str], str]
) -> None:
    prometheus = require("prometheus")
    unpacked = home / "grafana-12"
    (unpacked / "conf").mkdir(parents=True)
    (unpacked / "conf" / "defaults.ini").touch()
    (unpacked / "bin").mkdir()
    program = unpacked / "bin" / "grafana"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (home / "bin").mkdir()
    (home / "bin" / "grafana").symlink_to(program)
    monkeypatch.setenv("PATH", str(home / "bin"))

    watch = Monitoring(prometheus, Ports(grafana=3131), interval=10)
    watch.write()

    assert [lack.split()[0] for lack in watch.missing] == ["Alertmanager"]
    (found,) = [p for p in watch.programs if p.name == "Grafana"]
    assert found.command[:3] == [str(program), "server", f"--homepath={unpacked}"]
    settings = RawConfigParser()
    settings.read(found.command[3].removeprefix("--config="))
    assert settings["server"]["http_addr"] == "127.0.0.1"
    assert settings["server"]["http_port"] == "3131"
    assert settings["auth.anonymous"]["org_role"] == "Viewer"
    provisioning = Path(settings["paths"]["provisioning"])
    assert {p.name for p in provisioning.rglob("*.yaml")} >= {"ray.yaml", "prometheus.yaml"}


def test_the_wheel_has_what_monitoring_runs_with(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    held = {Path(name) for name in zipfile.ZipFile(wheel).namelist()}
    inside = Path(monitoring.__file__).relative_to(ROOT).with_name("grafana")
    for part in ("dashboards", "provisioning", "rules"):
        for path in (monitoring.shipped() / part).rglob("*.*"):
            assert inside / path.relative_to(monitoring.shipped()) in held
    assert inside / "alertmanager.yml" in held
