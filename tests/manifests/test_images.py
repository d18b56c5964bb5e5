"""The Dockerfile, and what it takes from the project."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from image import DOCKERFILE

ROOT = Path(__file__).parents[2]
TARGETS = ("ray", "ui", "mlflow")


@pytest.fixture(scope="module")
def hadolint(require: Callable[[str], str]) -> Callable[[str], str]:
    """What hadolint says of a Dockerfile; nothing if it is right."""
    program = require("hadolint")

    def lint(text: str) -> str:
        told = subprocess.run(
            [program, "--no-color", "-"], input=text, capture_output=True, text=True, check=False
        )
        return told.stdout + told.stderr

    return lint


def stages() -> dict[str, str]:
    """The stages of the Dockerfile by their names."""
    text = DOCKERFILE.read_text("utf-8").replace("\\\n", " ")
    parts = re.split(r"^FROM ", text, flags=re.M)[1:]
    return {re.match(r"\S+ AS (\S+)", p)[1]: p for p in parts}  # type: ignore[index]


def test_hadolint_finds_nothing(hadolint: Callable[[str], str]) -> None:
    assert hadolint(DOCKERFILE.read_text("utf-8")) == ""


@pytest.mark.parametrize(
    ("right", "wrong", "code"),
    [
        ("FROM ${BASE} AS build", "FROM debian:latest AS build", "DL3007"),
        ("USER 10001:10001", "USER root", "DL3002"),
        ("RUN python -m venv", "RUN cd /tmp && sudo python -m venv", "DL3004"),
    ],
)
def test_hadolint_would_find_something(
    right: str, wrong: str, code: str, hadolint: Callable[[str], str]
) -> None:
    text = DOCKERFILE.read_text("utf-8")
    assert right in text
    assert code in hadolint(text.replace(right, wrong))


def test_the_base_is_named_once_by_a_tag_that_stays() -> None:
    text = DOCKERFILE.read_text("utf-8")
    (base,) = re.findall(r"^ARG BASE=(\S+)$", text, re.M)
    assert re.fullmatch(r"(\S+/)?python:3\.\d+\.\d+-slim-\w+", base)
    outside = set(re.findall(r"^FROM (\S+)", text, re.M)) - set(stages())
    assert outside == {"${BASE}"}


def test_every_target_runs_as_nobody_with_a_health_check_and_labels() -> None:
    found = stages()
    assert "USER 10001:10001" in found["runtime"]
    assert "org.opencontainers.image.version" in found["runtime"]
    for target in TARGETS:
        assert found[target].startswith("runtime AS")
        assert "USER" not in found[target]
        assert "HEALTHCHECK" in found[target]
        assert f'title="fraudray-{target}"' in found[target]


def test_packages_are_pinned_with_hashes_and_nothing_is_compiled() -> None:
    text = DOCKERFILE.read_text("utf-8")
    assert "--require-hashes" in text
    assert "--only-binary :all:" in text
    assert not re.search(r"apt-get|gcc|build-essential", text)
    pins = (ROOT / "requirements-image.txt").read_text("utf-8")
    for line in re.findall(r"^[a-z].*$", pins, re.M | re.I):
        assert re.match(r"[\w.\-\[\]]+==\S+", line), line
    assert "hatchling==" in pins
    assert "xgboost-cpu==" in pins
    assert not re.search(r"^(xgboost|nvidia-\S+|pytest|mypy)==", pins, re.M)


def test_the_image_has_the_versions_of_the_laptop() -> None:
    def pinned(file: str) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for name, version in re.findall(
            r"^([\w.\-]+)==(\S+)", (ROOT / file).read_text("utf-8"), re.M
        ):
            found.setdefault(name, set()).add(version)
        return found

    laptop, image = pinned("requirements.txt"), pinned("requirements-image.txt")
    shared = image.keys() & laptop.keys()
    assert {"ray", "mlflow", "numpy", "gradio", "psycopg2-binary"} <= shared
    # The client of S3 wants an older one, which nothing of ours notices.
    assert {n for n in shared if not image[n] <= laptop[n]} <= {"python-dateutil"}
    assert image["xgboost-cpu"] <= laptop["xgboost"]


def test_the_context_is_what_the_build_copies() -> None:
    copied = set()
    for sources in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE.read_text("utf-8"), re.M):
        copied |= set(sources.split()[:-1])
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == copied
    assert all((ROOT / name).exists() for name in copied)
    # Without one of them the package cannot be built.
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"][
        "targets"
    ]["wheel"]
    needed = {*wheel["packages"], *(path.split("/")[0] for path in wheel["force-include"])}
    assert needed <= copied
