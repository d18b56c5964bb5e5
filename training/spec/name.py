"""What a column, a feature or the label may be called."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

NAME_LIMIT = 100
"""Characters of a name."""


def is_name(text: str) -> bool:
    """Whether it can be a name: 1 to 100 printable characters, no blank at either end.

    Examples
    --------
    >>> is_name("mean radius"), is_name(" radius"), is_name("é")
    (True, False, True)
    """
    return 1 <= len(text) <= NAME_LIMIT and text.isprintable() and text == text.strip()


def _name(text: str) -> str:
    if not is_name(text):
        raise PydanticCustomError("name", "is no name")
    return text


Name = Annotated[str, AfterValidator(_name)]
"""A text that can be a name."""
