"""The README keeps its word: every command in it is run, those of the tour by `make soak`."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BLOCKS = {
    name: re.findall(r"```sh\n(.*?)```", (ROOT / name).read_text("utf-8"), re.DOTALL)
    for name in ("README.md", "CONTRIBUTING.md")
}
TOUR, SERVE, ASK = (block for block in BLOCKS["README.md"] if "fraudray " in block)
ROWS = 6_000
"""Fewer than in the README: the commands are the same and take half as long."""


@pytest.mark.parametrize("name", BLOCKS)
def test_every_make_target_named_is_there(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    targets = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE))

    assert targets
    for target in targets:
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)


def test_every_file_linked_is_there() -> None:
    for page in [*(ROOT / name for name in BLOCKS), *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\((?!http)([^)#]+)", page.read_text("utf-8")):
            assert (page.parent / link).exists(), f"{page} links {link}"


@pytest.mark.slow
def test_the_curl_of_the_readme_gets_an_answer_like_the_one_shown(demo: Any) -> None:
    (block,) = (b for b in BLOCKS["README.md"] if b.startswith("curl"))
    shown = re.search(r"```json\n\{(.*?)\}\n```", (ROOT / "README.md").read_text("utf-8"))

    done = subprocess.run(
        ["sh", "-c", block.replace("http://127.0.0.1:8000", demo.url)], check=True,
        capture_output=True, text=True,
    )  # fmt: skip

    assert shown is not None
    answered, printed = (re.findall(r'"(\w+)":', text) for text in (done.stdout, shown[1]))
    assert answered == printed


@pytest.mark.soak
@pytest.mark.timeout(1500)
def test_the_step_by_step_tour_runs_to_a_scored_file(
    tmp_path: Path, environment: dict[str, str], start: Any, free_ports: Any
) -> None:
    tour = TOUR.replace("--rows 20000", f"--rows {ROWS}")
    assert tour != TOUR
    toured = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", tour], cwd=tmp_path, env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert toured.returncode == 0, toured.stdout + toured.stderr
    assert "is the champion" in toured.stdout

    port, dashboard, page = free_ports(3)
    url = f"http://127.0.0.1:{port}"
    (serve,), (predict, ui) = SERVE.splitlines(), ASK.splitlines()
    start(f"{serve} --port {port} --dashboard-port {dashboard}", f"{url}/health")
    start(f"{ui} --port {page} --url {url}", f"http://127.0.0.1:{page}")

    scored = subprocess.run(
        [*predict.split(), "--url", url], cwd=tmp_path, env=environment, check=True,
        capture_output=True, text=True,
    )  # fmt: skip

    assert len(scored.stdout.splitlines()) == ROWS + 1
