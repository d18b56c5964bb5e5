"""Where fraudray keeps its state, and its version."""

from __future__ import annotations

import os
from pathlib import Path

from training import __version__

VERSION = __version__


def home() -> Path:
    """`$FRAUDRAY_HOME`, or `.fraudray` in the current folder; made when something is written."""
    return Path(os.environ.get("FRAUDRAY_HOME") or ".fraudray").absolute()


def bundle_folder(key: str) -> Path:
    """Where a bundle fetched from the registry is kept; its content never changes."""
    return home() / "bundles" / key
