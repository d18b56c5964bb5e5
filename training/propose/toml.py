"""Write the TOML that a spec needs: comments, keys, texts, numbers, flags and lists."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping
from typing import Any

_WIDTH = 98  # characters of a line of comment, without its mark


def comment(text: str, *, indent: str = "") -> list[str]:
    """Lines of a comment; the lines after the first begin with `indent`."""
    readable = "".join(c if c.isprintable() else " " for c in text)
    return [f"# {line}" for line in textwrap.wrap(readable, _WIDTH, subsequent_indent=indent)]


def fields(table: Mapping[str, Any]) -> list[str]:
    """One line for each field that has a value."""
    return [f"{key(name)} = {value(v)}" for name, v in table.items() if v is not None]


def key(name: str) -> str:
    """A key, in quotes if it needs them.

    Examples
    --------
    >>> key("amount"), key("mean radius")
    ('amount', '"mean radius"')
    """
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else value(name)


def value(content: Any) -> str:
    """A text, number, flag or list of these.

    Examples
    --------
    >>> value(("a", True, 2.0, 0.5))
    '["a", true, 2, 0.5]'
    """
    if isinstance(content, bool):
        return str(content).lower()
    if isinstance(content, float | int):
        # No fraction, and short: a whole number as people write it.
        whole = float(content).is_integer() and abs(content) < 1e15
        return str(int(content)) if whole else repr(float(content))
    if isinstance(content, list | tuple):
        return f"[{', '.join(map(value, content))}]"
    # JSON escapes what TOML wants escaped, all but one.
    return json.dumps(content, ensure_ascii=False).replace("\x7f", "\\u007f")
