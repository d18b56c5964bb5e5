"""The mistakes of a spec: each with its place, in plain words, and what was probably meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Models = Mapping[str, type[BaseModel]]
"""The tables of a spec: `spec`, `costs`, `column`, and each kind of derived feature."""

Path = tuple[str | int, ...]
"""Where something is in a spec, from the outside in."""

_NAMES = "a name has 1 to 100 printable characters and no blank at either end"
_PATTERN = "1 to 63 lower-case letters, digits and hyphens, no hyphen in front"
_EXPECTED = {
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "a text",
    "string_unicode": "a text",
    "tuple_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}
_SHOWN = 60  # characters of a value that is quoted


@dataclass(frozen=True)
class Mistake:
    """One thing to mend.

    Attributes
    ----------
    place
        As TOML writes it, such as `columns.amount.minimum`; empty for the spec as a whole.
    problem
        What was expected and what is there.
    hint
        What was probably meant; empty if that is anyone's guess.
    """

    place: str
    problem: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        return f"{where}{self.problem}{'; ' if self.hint else ''}{self.hint}"


def in_fields(error: ValidationError, models: Models) -> dict[Path, Mistake]:
    """What pydantic found wrong with single fields, by their paths."""
    found: dict[Path, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        if detail["type"] == "value_error":  # a rule, which tells it better
            continue
        if detail["type"] == "too_short" and detail["input"]:  # only its wrong values are gone
            continue
        found.setdefault(_path(detail, models), []).append(detail)
    return {path: _field(path, details, models) for path, details in found.items()}


def place(*path: str | int) -> str:
    """Write a path as TOML does.

    Examples
    --------
    >>> place("columns", "mean radius", "categories", 2)
    'columns."mean radius".categories[2]'
    """
    keys = [
        f"[{key}]"
        if isinstance(key, int)
        else f".{key}"
        if re.fullmatch(r"[A-Za-z0-9_-]+", key)
        else f'."{repr(key)[1:-1]}"'
        for key in path
    ]
    return "".join(keys).removeprefix(".")


def shown(value: Any) -> str:
    """Quote a value that was found."""
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def meant(value: Any, known: Iterable[str]) -> str:
    """Name the known word that is most like a misspelt one, if there is one."""
    folded = {_fold(word): word for word in known}
    near = get_close_matches(_fold(str(value)[:100]), folded, n=1)
    return f"did you mean {folded[near[0]]!r}?" if near else ""


def _fold(word: str) -> str:
    return re.sub(r"[^\w]|_", "", word.lower())


def _path(detail: ErrorDetails, models: Models) -> Path:
    """Where an error is in the file: without the names that pydantic gives to members of unions."""
    path = detail["loc"]
    if path[:1] == ("features",) and len(path) > 2 and path[2] in models:
        path = path[:2] + path[3:]
    if path[2:3] == ("example",):
        path = path[:3]
    if path[:1] == ("label_values",):
        path = path[:1]
    return (*path, "kind") if detail["type"].startswith("union_tag") else path


def _field(path: Path, details: list[ErrorDetails], models: Models) -> Mistake:
    """Tell one mistake; of a union pydantic says something about every member."""
    value, context = details[0]["input"], details[0].get("ctx", {})
    hint = ""
    match details[0]["type"]:
        case "extra_forbidden":
            known = _siblings(details[0]["loc"], models)
            hint = meant(path[-1], known) or f"there are {', '.join(known)}"
            return Mistake(place(*path), "there is no such field", hint)
        case "name":
            return Mistake(place(*(path[:-1] if path[-1] == "[key]" else path)), _NAMES)
        case "missing" if path != ("label_values",):
            return Mistake(place(*path), "is missing")
        case "missing" | "too_long":
            expected = "two texts"
        case "too_short":
            return Mistake(place(*path), "should hold at least one value, is empty")
        case "literal_error":
            expected = str(context["expected"])
            hint = meant(value, re.findall("'(.*?)'", expected))
        case "union_tag_invalid" | "union_tag_not_found":
            kinds = [name for name in models if name not in ("spec", "costs", "column")]
            expected = f"{', '.join(map(repr, kinds[:-1]))} or {kinds[-1]!r}"
            if "kind" not in value:
                return Mistake(place(*path), f"is missing, should be {expected}")
            value = value["kind"]
            hint = meant(value, kinds)
        case "greater_than_equal":
            expected = f"{context['ge']:g} or more"
        case "string_pattern_mismatch":
            expected = _PATTERN
        case _:
            kinds = [_EXPECTED.get(detail["type"], "another value") for detail in details]
            expected = " or ".join(dict.fromkeys(kinds))
            if expected == "a text" and isinstance(value, bool | int | float):
                hint = f'write it in quotes: "{shown(value)}"'
    return Mistake(place(*path), f"should be {expected}, is {shown(value)}", hint)


def _siblings(loc: Path, models: Models) -> list[str]:
    """The fields of the table that a field is in."""
    if len(loc) == 1:
        table = "spec"
    else:
        table = {"costs": "costs", "columns": "column"}.get(str(loc[0])) or str(loc[2])
    return list(models[table].model_fields)
