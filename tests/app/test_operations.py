"""The operations guide keeps its word: its backups restore, and what it names is there."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import sqlalchemy as sa
import yaml
from mlflow.tracking import MlflowClient

from fraudray.cli import cli
from serve_app.decisions import DecisionStore, Feedback
from serve_app.ledger import Ledger
from training.tracking import Tracking

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text("utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE.replace("\n   ", "\n"), re.DOTALL)
CODE = [*BLOCKS, *re.findall(r"`([^`\n]+)`", re.sub(r"```sh\n.*?```", "", PAGE, flags=re.DOTALL))]


def block(beginning: str) -> str:
    """The one block of the page that has a text."""
    (found,) = (b for b in BLOCKS if beginning in b)
    return str(found)


def bash(script: str, environment: dict[str, str], folder: Path) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], env=environment, cwd=folder,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def decide(url: str, folder: Path, count: int) -> DecisionStore:
    """A log with decisions and a label, open as the graph has it."""
    ledger, store = Ledger("ingress", folder, 1_000), DecisionStore(url)
    for i in range(count):
        ledger.decided(f"r{i}", "1", "champion", 0.5, [0.1, 0.9], [0, 1])
    delivery = ledger.take()
    assert delivery is not None
    store.append("payments", delivery)
    assert store.label([Feedback("r0", 1)]) == []
    ledger.close()
    return store


def logged(url: str) -> list[Any]:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        made = connection.execute(
            sa.text("SELECT * FROM decisions_made ORDER BY ledger, seq")
        ).all()
        labels = connection.execute(sa.text("SELECT * FROM feedback ORDER BY id")).all()
    engine.dispose()
    return [*made, *labels]


@pytest.mark.slow
def test_a_backup_of_one_machine_restores_models_and_decisions(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    home = tmp_path / "home"
    environment |= {"FRAUDRAY_HOME": str(home), "BACKUP": str(tmp_path / "backup")}
    bash(
        "fraudray simulate --rows 4000 --seed 1 --out p.csv; fraudray keys add shop;"
        " fraudray train p.csv --model logistic-regression",
        environment, tmp_path,
    )  # fmt: skip
    url = f"sqlite:///{home}/decisions.db"
    store = decide(url, tmp_path, 50)  # open meanwhile, with what it wrote in its journal
    ask = (
        "fraudray models list --json && fraudray keys list --json && fraudray explain p.csv --json"
    )
    before, decided = bash(ask, environment, tmp_path), logged(url)

    bash(block("snapshot()"), environment, tmp_path)
    store.close()
    shutil.rmtree(home)
    bash(block('rm -f "$FRAUDRAY_HOME"/decisions.db*'), environment, tmp_path)

    assert bash(ask, environment, tmp_path) == before
    assert logged(url) == decided
    assert len(decided) == 101


KUBECTL = """#!/usr/bin/env bash
# What `kubectl exec` runs in a pod, run here.
while [[ $1 != -- ]]; do shift; done
shift
exec "${@//\\/var\\/lib\\/fraudray/$VOLUME}"
"""


@pytest.fixture
def databases(postgres: str) -> Iterator[Callable[[], dict[str, str]]]:
    """Makes both databases anew, empty and with their owners, as k8s/base/init.sql does."""
    server = sa.make_url(postgres)
    engine = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    owners = {"mlflow": "mlflow", "decisions": "decisions"}

    def made() -> dict[str, str]:
        with engine.connect() as connection:
            for database, owner in owners.items():
                connection.execute(sa.text(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)"))
                connection.execute(sa.text(f"CREATE DATABASE {database} OWNER {owner}"))
        return {
            database: server.set(database=database, username=owner).render_as_string()
            for database, owner in owners.items()
        }

    with engine.connect() as connection:
        connection.execute(sa.text("CREATE ROLE decisions LOGIN"))
        connection.execute(sa.text("CREATE ROLE postgres LOGIN SUPERUSER"))
    yield made
    with engine.connect() as connection:
        for database in owners:
            connection.execute(sa.text(f"DROP DATABASE {database} WITH (FORCE)"))
        connection.execute(sa.text("DROP ROLE decisions"))
        connection.execute(sa.text("DROP ROLE postgres"))
    engine.dispose()


@pytest.mark.slow
def test_a_backup_of_a_cluster_restores_models_and_decisions(
    databases: Callable[[], dict[str, str]], postgres: str, tmp_path: Path,
    environment: dict[str, str], require: Callable[[str], str],
) -> None:  # fmt: skip
    require("pg_restore")
    kubectl = tmp_path / "bin" / "kubectl"
    kubectl.write_text(KUBECTL)
    kubectl.chmod(0o755)
    volume, backup = tmp_path / "volume", tmp_path / "backup"
    backup.mkdir()
    (volume / "artifacts").mkdir(parents=True)
    (volume / "artifacts" / "model").write_text("a model")
    server = sa.make_url(postgres)
    environment |= {
        "PGHOST": str(server.host), "PGPORT": str(server.port), "VOLUME": str(volume),
        "BACKUP": str(backup),
    }  # fmt: skip
    urls = databases()
    decide(urls["decisions"], tmp_path, 50).close()
    decided = logged(urls["decisions"])
    Tracking(urls["mlflow"])
    client = MlflowClient(urls["mlflow"], urls["mlflow"])
    client.create_registered_model("fraudray-payments", {"kept": "yes"})

    bash(block("pg_dump"), environment, tmp_path)
    urls = databases()
    shutil.rmtree(volume / "artifacts")
    restore = block("pg_restore")
    bash(restore, environment, tmp_path)

    assert logged(urls["decisions"]) == decided
    assert MlflowClient(urls["mlflow"], urls["mlflow"]).get_registered_model(
        "fraudray-payments"
    ).tags == {"kept": "yes"}
    assert (volume / "artifacts" / "model").read_text() == "a model"
    # Over a log that went on meanwhile; the owner can go on writing.
    decide(urls["decisions"], tmp_path / "bin", 60).close()
    bash(restore, environment, tmp_path)
    assert logged(urls["decisions"]) == decided
    decide(urls["decisions"], tmp_path / "volume", 60).close()


def test_every_command_of_fraudray_is_there() -> None:
    calls = [
        call
        for text in CODE
        for call in re.findall(
            r"(?<!-n )(?<!-p )(?<!rayservice )(?<!make_secret )\bfraudray ([a-z][^|;)&>\n]*)", text
        )
    ]
    assert len(calls) > 5
    for call in calls:
        command: click.Command = cli
        words = call.split()
        while isinstance(command, click.Group):
            assert words, call
            assert words[0] in command.commands, call
            command = command.commands[words.pop(0)]
        options = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, call


def test_every_target_and_file_is_there() -> None:
    targets = {t for text in CODE for t in re.findall(r"\bmake ([a-z-]+)", text)}
    assert "minikube-up" in targets
    for target in targets:
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)
    paths = {p for text in CODE for p in re.findall(r"\b((?:k8s|kuberay)/[\w./-]+)", text)}
    assert paths
    for path in paths:
        assert (ROOT / path).exists(), path


@pytest.mark.slow
def test_every_object_is_in_the_manifests(require: Callable[[str], str]) -> None:
    found: set[tuple[str, str]] = set()
    for overlay in ("minikube", "production"):
        rendered = subprocess.run(
            [require("kubectl"), "kustomize", ROOT / "k8s" / "overlays" / overlay],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        found |= {
            (item["kind"].lower(), item["metadata"]["name"])
            for item in yaml.safe_load_all(rendered.stdout)
        }
    kinds = "deployment|statefulset|service|rayservice|networkpolicy"
    named = {n for text in CODE for n in re.findall(rf"\b({kinds})/([a-z-]+)", text)}
    assert named
    assert named <= found
