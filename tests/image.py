"""What the images are made with, as the Dockerfile says it."""

from __future__ import annotations

import re
from pathlib import Path

DOCKERFILE = Path(__file__).parents[1] / "Dockerfile"


def image_environment() -> dict[str, str]:
    """The environment that the Dockerfile sets."""
    text = DOCKERFILE.read_text("utf-8").replace("\\\n", " ")
    lines = re.findall(r"^ENV (.*)$", text, re.M)
    return dict(pair.split("=", 1) for line in lines for pair in line.split())
