"""Writing to the terminal: results on standard output, progress on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from training.errors import UsageError


def console(*, error: bool = False) -> Console:
    """A console that keeps lines whole where no terminal sets a width."""
    stream = sys.stderr if error else sys.stdout
    return Console(
        file=stream, highlight=False, markup=False, width=None if stream.isatty() else 160
    )


def say(text: str) -> None:
    """Tell of progress; never part of a result, so it goes to standard error."""
    click.echo(text, err=True)


def put_json(content: Any) -> None:
    """Write a result for machines."""
    click.echo(json.dumps(content, indent=2, default=str))


def put_page(option: str, path: Path, page: str) -> None:
    """Write a page to the file that an option names, and say so.

    Raises
    ------
    UsageError
        If it cannot be written.
    """
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{option} {path}: cannot be written: {error.strerror}") from None
    say(f"Wrote {path}")


def table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table; columns of numbers to the right."""
    shown = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    rows = [list(row) for row in rows]
    for place, head in enumerate(heads):
        numeric = all(row[place][:1] in "0123456789-" for row in rows if row[place])
        shown.add_column(head, justify="right" if numeric and rows else "left", overflow="fold")
    for row in rows:
        shown.add_row(*row)
    console().print(shown)


def number(value: float | None, how: str = ".3f") -> str:
    """A number, or a dash where there is nothing to divide by."""
    return "-" if value is None else format(value, how)
