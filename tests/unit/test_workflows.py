"""GitHub's workflows: right by their schema, safe by zizmor, and calling what is there."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from training import __version__

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = {path.stem: path for path in sorted((GITHUB / "workflows").glob("*.yml"))}
JOBS = [
    # What a job does not say itself it has from its workflow.
    pytest.param({"permissions": workflow["permissions"], **job}, id=f"{name}-{job_name}")
    for name, path in WORKFLOWS.items()
    for workflow in [yaml.safe_load(path.read_text())]
    for job_name, job in workflow["jobs"].items()
]


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-workflows", [*WORKFLOWS.values()]),
        ("custom.github-workflows-require-timeout", [WORKFLOWS["ci"], WORKFLOWS["e2e"]]),
        ("vendor.dependabot", [GITHUB / "dependabot.yml"]),
    ],
)
def test_they_keep_the_schema_of_github(
    schema: str, files: list[Path], require: Callable[[str], str]
) -> None:
    checked = subprocess.run(
        [require("check-jsonschema"), "--builtin-schema", schema, *files],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr


def _zizmor(require: Callable[[str], str], *paths: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [require("zizmor"), "--offline", "--no-progress", *paths],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_they_are_safe(require: Callable[[str], str]) -> None:
    """Actions pinned by hash, least permissions, no text of strangers in a shell."""
    found = _zizmor(require, GITHUB)
    assert found.returncode == 0, found.stdout + found.stderr


def test_what_is_unsafe_would_be_found(require: Callable[[str], str], tmp_path: Path) -> None:
    workflow = tmp_path / ".github" / "workflows" / "ci.yml"
    workflow.parent.mkdir(parents=True)
    text = WORKFLOWS["ci"].read_text()
    workflow.write_text(re.sub(r"checkout@\S+ # v\S+", "checkout@v6", text))
    assert "unpinned-uses" in _zizmor(require, workflow).stdout


@pytest.mark.parametrize("job", JOBS)
def test_every_command_of_ours_is_there(job: dict[str, Any]) -> None:
    for step in job.get("steps", []):
        commands = step.get("run", "")
        for target in re.findall(r"\bmake ([a-z-]+(?: [a-z-]+)*)", commands):
            subprocess.run(
                ["make", "-n", *target.split()], cwd=ROOT, check=True, capture_output=True
            )
        for script in re.findall(r"(?:^|\s)(\.ci/\S+|scripts/\S+)", commands):
            assert (ROOT / script).stat().st_mode & 0o100


@pytest.mark.parametrize("job", JOBS)
def test_only_a_release_may_write_anything(job: dict[str, Any]) -> None:
    permissions = set(job["permissions"].values())
    assert permissions <= {"read", "write"}
    assert "write" not in permissions or job.get("name") == "Images, manifests, release"


def test_every_python_that_is_supported_is_tested() -> None:
    pythons = yaml.safe_load(WORKFLOWS["ci"].read_text())["jobs"]["tests"]["strategy"]["matrix"]
    said = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text())
    assert pythons["python"] == said


def _release(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [folder / "scripts" / "release.sh", *arguments], capture_output=True, text=True, check=False
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The files that a release is made from, with a changelog of two versions."""
    for name in ("scripts/release.sh", "training/__init__.py"):
        (tmp_path / name).parent.mkdir()
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "CHANGELOG.md").write_text(
        f"# Changelog\n\n## Unreleased\n\n- later\n\n## {__version__} (2026-12-01)\n\n### Added\n"
        f"- now\n\n## {__version__}0\n\n- another\n"
    )
    return tmp_path


def test_the_notes_of_a_release_are_its_section_of_the_changelog(project: Path) -> None:
    assert _release(project, "check", f"v{__version__}", "host/fraudray").returncode == 0
    assert _release(project, "notes", f"v{__version__}").stdout.strip() == "### Added\n- now"


def test_a_tag_that_the_code_does_not_bear_is_refused(project: Path) -> None:
    refused = _release(project, "check", "v9.9.9", "host/fraudray")
    assert refused.returncode == 1
    assert f"the tag is v9.9.9, training/__init__.py says {__version__}" in refused.stderr


def test_a_version_without_a_section_is_refused(project: Path) -> None:
    (project / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n- later\n")
    refused = _release(project, "check", f"v{__version__}", "host/fraudray")
    assert refused.returncode == 1
    assert f"no section '## {__version__}'" in refused.stderr


def test_a_repository_that_names_no_registry_is_told(project: Path) -> None:
    refused = _release(project, "check", f"v{__version__}", "")
    assert refused.returncode == 1
    assert "the variable REGISTRY is '', expected HOST/OWNER/fraudray" in refused.stderr


@pytest.mark.slow
def test_released_manifests_name_images_of_the_registry_only(
    require: Callable[[str], str], tmp_path: Path
) -> None:
    require("kubectl")
    made = _release(ROOT, "manifests", "host/somebody/fraudray", str(tmp_path))
    assert made.returncode == 0, made.stderr
    files = sorted(tmp_path.glob("*.yaml"))
    names = ("minikube", "production", "raycluster", "rayjob")
    assert [f.stem for f in files] == [f"fraudray-{__version__}-{name}" for name in names]
    for file in files:
        images = set(re.findall(r"image: (\S+)", file.read_text()))
        assert f"host/somebody/fraudray/ray:{__version__}" in images
        assert not [
            image for image in images if image.startswith(("fraudray/", "registry.example"))
        ]
