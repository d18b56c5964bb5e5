"""What the benchmarks write: Markdown tables, blocks between markers, and where they were made."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

from training.errors import FraudrayError

ROOT = Path(__file__).parents[1]


class MarkerMissing(FraudrayError):
    """The page has no place for a block; the message names the marker."""


class Broken(FraudrayError):
    """A measurement that would mean nothing."""


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; columns whose cells are numbers stand to the right.

    >>> print(table(["family", "ms"], [["xgboost", "0.31"]]))
    | family | ms |
    |---|--:|
    | xgboost | 0.31 |
    """
    rows = [list(row) for row in rows]
    numeric = [all(row[i][:1] in "0123456789-." for row in rows) for i in range(len(heads))]
    rule = "|" + "|".join("--:" if right else "---" for right in numeric) + "|"
    lines = ["| " + " | ".join(cells) + " |" for cells in [list(heads), *rows]]
    return "\n".join([lines[0], rule, *lines[1:]])


def with_block(text: str, name: str, block: str) -> str:
    """The text with what stands between `<!-- name: begin -->` and `<!-- name: end -->` replaced.

    Raises
    ------
    MarkerMissing
        If the two markers do not stand there once each, in this order.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = text.partition(begin)
    inside, ended, after = rest.partition(end)
    if not (found and ended) or begin in inside + after or end in before + after:
        raise MarkerMissing(f"expected {begin} and {end} once each, in this order")
    return f"{before}{begin}\n{block.strip()}\n{end}{after}"


def met(reached: bool, aim: str) -> str:
    """An aim, and whether it is reached.

    >>> met(True, "0.5 ms")
    '0.5 ms: met'
    """
    return f"{aim}: {'met' if reached else 'MISSED'}"


def origin(command: str, packages: Sequence[str]) -> str:
    """One line: the command, the day, cores, Python and versions."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"Made by `{command}` on {date.today()}, {os.cpu_count()} cores ({_processor()}), "
        f"{platform.system()}, Python {platform.python_version()}, {versions}."
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
