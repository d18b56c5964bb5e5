"""The file that lists rows set aside: written beside what was read, removed when it is stale."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pandas as pd

from training.convert import PROBLEM
from training.errors import FraudrayError


def write_rejected(rejected: pd.DataFrame, target: Path) -> Path:
    """Write problems to a file, or to one of its name in the current folder; returns which.

    Raises
    ------
    FraudrayError
        If neither can be written.
    """
    for path in (target, Path(target.name)):
        try:
            rejected.to_csv(path, index=False)
        except OSError:
            continue
        return path
    raise FraudrayError(f"{target.name}: cannot be written, neither beside the file nor here")


def remove_rejected(target: Path) -> None:
    """Remove the list that an earlier reading left; a file that is no such list stays."""
    header = ",".join(PROBLEM).encode()
    with suppress(OSError):
        with target.open("rb") as file:
            ours = file.readline().rstrip(b"\r\n") == header
        if ours:
            target.unlink()
