"""Monitoring: Prometheus, Alertmanager and Grafana beside what runs on this machine.

They read and show; nothing depends on them. All listen on loopback, keep what they have below
`$FRAUDRAY_HOME/monitoring`, and end with the command.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from configparser import RawConfigParser
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click
import httpx
import yaml

from fraudray import runtime, targets
from fraudray.output import say
from training.errors import UsageError
from training.home import home

KEPT: Final = "31d"
"""How long Prometheus keeps what it read: budgets look back for 30 days."""
LARGEST: Final = "4GB"
"""How much of it Prometheus keeps."""
READY: Final = 60.0
"""Seconds that a program may take until it answers; Grafana lays out a database first."""
_LOOPBACK: Final = "127.0.0.1"
_GRAFANA_HOME: Final = Path("/usr/share/grafana")


@dataclass(frozen=True)
class Ports:
    """Where the programs listen, on loopback."""

    prometheus: int = 9090
    alertmanager: int = 9093
    grafana: int = 3000


@dataclass(frozen=True)
class Program:
    """A program that runs beside the others.

    Attributes
    ----------
    health
        A path that answers 200 once it is up.
    shows
        What a person finds there.
    environment
        Variables that it is given besides.
    """

    name: str
    command: list[str]
    port: int
    health: str
    shows: str
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{_LOOPBACK}:{self.port}"


class Monitoring:
    """What is installed of the three, and how it is run.

    Parameters
    ----------
    prometheus
        The program; None looks for it on the path.
    interval
        Seconds between two looks at every target.

    Raises
    ------
    RuntimeProblem
        If Prometheus is not there. Without one of the others, `missing` says what then is not.
    """

    def __init__(self, prometheus: str | None, ports: Ports, interval: int) -> None:
        self.folder = home() / "monitoring"
        self.ports = ports
        self.interval = interval
        self.missing: list[str] = []
        self.programs = [self._prometheus(prometheus)]
        for found in (self._alertmanager(), self._grafana()):
            if found is not None:
                self.programs.append(found)

    def run(self) -> None:
        """Start all, say where they are, stay until Ctrl-C, leave nothing behind."""
        runtime.require_free({program.name: program.port for program in self.programs})
        targets.folder().mkdir(parents=True, exist_ok=True)
        self.write()
        with runtime.stoppable():
            running = {program.name: self._start(program) for program in self.programs}
            for program in self.programs:
                self._wait(program, running[program.name])
            for program in self.programs:
                click.echo(f"{program.name:<13} {program.url}   {program.shows}")
            for lack in self.missing:
                say(lack)
            say("Ctrl-C stops it")
            try:
                while True:
                    for name, process in running.items():
                        _require_running(name, process, self._log(name))
                    time.sleep(1)
            except KeyboardInterrupt:
                say("Stopping ...")

    def write(self) -> None:
        """Write the configuration of all."""
        self._put("prometheus.yml", self.configuration())
        provisioning = self.folder / "grafana" / "provisioning"
        shutil.copytree(shipped() / "provisioning", provisioning, dirs_exist_ok=True)
        targets.ray_dashboards().mkdir(parents=True, exist_ok=True)
        own = {"name": "Ray", "folder": "Ray", "type": "file",
               "options": {"path": str(targets.ray_dashboards())}}  # fmt: skip
        self._put("grafana/provisioning/dashboards/ray.yaml", {"apiVersion": 1, "providers": [own]})
        ini = RawConfigParser()
        ini.read_dict(self._grafana_settings())
        with (self.folder / "grafana" / "grafana.ini").open("w", encoding="utf-8") as file:
            ini.write(file)

    def configuration(self) -> dict[str, Any]:
        """That of Prometheus: all that announces itself, as of the cluster `local`."""
        every = f"{self.interval}s"
        content: dict[str, Any] = {
            "global": {"scrape_interval": every, "evaluation_interval": every},
            "rule_files": [str(shipped() / "rules" / "*.yaml")],
            "scrape_configs": [
                {
                    "job_name": "fraudray",
                    "file_sd_configs": [
                        # Ray's list lies behind a link, whose changes are not noticed at once.
                        {"files": [str(targets.folder() / "*.json")], "refresh_interval": "5s"}
                    ],
                    "relabel_configs": [{"target_label": "cluster", "replacement": "local"}],
                }
            ],
        }
        if any(program.name == "Alertmanager" for program in self.programs):
            address = f"{_LOOPBACK}:{self.ports.alertmanager}"
            content["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [address]}]}]}
        return content

    def _prometheus(self, given: str | None) -> Program:
        found = shutil.which(given or "prometheus")
        if found is None and given is not None:
            raise UsageError(f"--prometheus: expected a program that can be run, got {given!r}")
        if found is None:
            raise runtime.RuntimeProblem(
                "Prometheus is not installed: on Debian or Ubuntu `apt-get install prometheus`, "
                "else give --prometheus PATH"
            )
        return Program(
            "Prometheus",
            [found, f"--config.file={self.folder / 'prometheus.yml'}",
             f"--storage.tsdb.path={self.folder / 'prometheus'}",
             f"--storage.tsdb.retention.time={KEPT}",
             f"--storage.tsdb.retention.size={LARGEST}",
             f"--web.listen-address={_LOOPBACK}:{self.ports.prometheus}", "--log.level=warn"],
            self.ports.prometheus, "/-/ready", "targets, rules, alerts; any query",
        )  # fmt: skip

    def _alertmanager(self) -> Program | None:
        # Debian has another name for it.
        found = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
        if found is None:
            self.missing.append(
                "Alertmanager is not installed (`apt-get install prometheus-alertmanager`): "
                "alerts are shown by Prometheus and sent to nobody"
            )
            return None
        return Program(
            "Alertmanager",
            [found, f"--config.file={shipped() / 'alertmanager.yml'}",
             f"--storage.path={self.folder / 'alertmanager'}",
             f"--web.listen-address={_LOOPBACK}:{self.ports.alertmanager}",
             "--cluster.listen-address=", "--log.level=warn"],
            self.ports.alertmanager, "/-/ready", "alerts by what they are about; silences",
        )  # fmt: skip

    def _grafana(self) -> Program | None:
        found = grafana()
        if found is None:
            self.missing.append(
                'Grafana is not installed (grafana.com/docs, "Install Grafana"): no dashboards, '
                "and no graphs in the Ray dashboard; Prometheus answers every query of theirs"
            )
            return None
        program, place = found
        return Program(
            "Grafana",
            [str(program), "server", f"--homepath={place}",
             f"--config={self.folder / 'grafana' / 'grafana.ini'}"],
            self.ports.grafana, "/api/health", "dashboards; nobody has to log in",
            {"FRAUDRAY_PROMETHEUS_URL": f"http://{_LOOPBACK}:{self.ports.prometheus}",
             "FRAUDRAY_DASHBOARDS": str(shipped() / "dashboards")},
        )  # fmt: skip

    def _grafana_settings(self) -> dict[str, dict[str, Any]]:
        """Whoever reaches loopback may look, nobody may change anything or is asked to log in.

        Nothing is asked of or told to any other machine, and the Ray dashboard may frame it.
        """
        own = self.folder / "grafana"
        return {
            "paths": {
                "data": own / "data", "logs": own / "logs", "plugins": own / "plugins",
                "provisioning": own / "provisioning",
            },
            # A page of somebody else that calls this machine by another name gets no answer.
            "server": {
                "http_addr": _LOOPBACK, "http_port": self.ports.grafana, "domain": _LOOPBACK,
                "enforce_domain": "true",
            },
            "auth": {"disable_login_form": "true"},
            "auth.anonymous": {"enabled": "true", "org_role": "Viewer"},
            "security": {
                "disable_initial_admin_creation": "true", "disable_gravatar": "true",
                "allow_embedding": "true",
            },
            "analytics": {
                "reporting_enabled": "false", "check_for_updates": "false",
                "check_for_plugin_updates": "false", "feedback_links_enabled": "false",
            },
            "dashboards": {
                "default_home_dashboard_path": shipped() / "dashboards" / "overview.json"
            },
            "news": {"news_feed_enabled": "false"},
            "snapshots": {"external_enabled": "false"},
            "plugins": {
                "preinstall_disabled": "true", "plugin_admin_enabled": "false",
                "public_key_retrieval_disabled": "true",
            },
            "log": {"mode": "console", "level": "warn"},
        }  # fmt: skip

    def _start(self, program: Program) -> subprocess.Popen[bytes]:
        """Start a program out of Ctrl-C's reach; `runtime.stoppable` ends it."""
        with self._log(program.name).open("wb") as output:
            return subprocess.Popen(
                program.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True, cwd=self.folder, env=os.environ | program.environment,
            )  # fmt: skip

    def _wait(self, program: Program, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + READY
        while time.monotonic() < deadline:
            _require_running(program.name, process, self._log(program.name))
            try:
                httpx.get(program.url + program.health, timeout=2, trust_env=False
                          ).raise_for_status()  # fmt: skip
            except httpx.HTTPError:
                time.sleep(0.2)
            else:
                return
        raise runtime.RuntimeProblem(
            f"{program.name} does not answer at {program.url} within {READY:g} s; "
            f"see {self._log(program.name)}"
        )

    def _log(self, name: str) -> Path:
        return self.folder / f"{name.lower()}.log"

    def _put(self, name: str, content: Mapping[str, Any]) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(dict(content), sort_keys=False), "utf-8")


def shipped() -> Path:
    """Dashboards and rules: beside this module where it is installed, in a clone above it."""
    here = Path(__file__)
    for place in (here.with_name("grafana"), here.parents[1] / "grafana"):
        if place.is_dir():
            return place
    raise runtime.RuntimeProblem("this installation has no dashboards and rules; install it anew")


def grafana() -> tuple[Path, Path] | None:
    """Grafana's program and its home; None where it is not installed.

    Its packages put a script on the path that insists on a configuration below /etc, so the
    program is taken from where its pages lie.
    """
    found = shutil.which("grafana")
    prefix = [Path(found).resolve().parents[1]] if found else []
    for place in (_GRAFANA_HOME, *prefix, *(p / "share" / "grafana" for p in prefix)):
        if (place / "conf" / "defaults.ini").is_file():
            for program in (place / "bin" / "grafana", Path(found or "")):
                if program.is_file():
                    return program, place
    return None


def _require_running(name: str, process: subprocess.Popen[bytes], log: Path) -> None:
    if process.poll() is not None:
        told = " ".join(log.read_text("utf-8", errors="replace").split())[-300:]
        raise runtime.RuntimeProblem(f"{name} has ended by itself: {told or 'without a word'}")
