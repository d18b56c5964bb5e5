"""The wrapper of HAProxy closes what Ray Serve's configuration leaves open, and nothing else."""

from __future__ import annotations

import subprocess
from importlib.resources import files
from pathlib import Path

import pytest
from ray.serve._private.constants import DRAINING_MESSAGE
from surroundings import bare

WRITTEN = """
frontend prometheus
    bind :9101
frontend http_frontend
    bind {host}:8000
    mode http
{more}listen stats
  bind *:8404
"""


def started(folder: Path, host: str, more: str = "", **settings: str) -> tuple[int, str, str]:
    """Exit code, what it has made of the configuration, and what it says."""
    file = folder / "haproxy.cfg"
    file.write_text(WRITTEN.format(host=host, more=more))
    done = subprocess.run(
        ["sh", str(files("serve_app") / "haproxy.sh"), "-db", "-f", str(file)],
        env=bare(FRAUDRAY_HAPROXY="/bin/true", **settings), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    return done.returncode, file.read_text(), done.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.7", "*", "[::1]"])
def test_payments_come_to_where_the_configuration_says_and_the_rest_is_closed(
    tmp_path: Path, host: str
) -> None:
    code, made, told = started(tmp_path, host)
    assert (code, told) == (0, "")
    binds = [line.split()[1] for line in made.splitlines() if line.split()[:1] == ["bind"]]
    assert binds == ["127.0.0.1:9101", f"{host}:8000"]


def test_connections_are_closed_on_a_node_that_is_drained(tmp_path: Path) -> None:
    drained = f"    http-request return status 503 string '{DRAINING_MESSAGE}'\n"
    assert "option httpclose" not in started(tmp_path, "*")[1]
    assert "option httpclose" in started(tmp_path, "*", drained)[1]


def test_metrics_are_where_they_are_wanted(tmp_path: Path) -> None:
    _, made, _ = started(tmp_path, "*", FRAUDRAY_HAPROXY_METRICS="0.0.0.0")  # noqa: S104
    assert "bind 0.0.0.0:9101" in made


@pytest.mark.parametrize("bind", ["*:9000", ":9000 proto h2", "*:9000 proto h2"])
def test_what_it_does_not_know_is_not_opened(tmp_path: Path, bind: str) -> None:
    code, _, told = started(tmp_path, "*", f"frontend grpc_frontend\n    bind {bind}\n")
    assert code == 1
    assert "opens more than this wrapper knows to close" in told
