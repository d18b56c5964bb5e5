"""How a space is written: what each table may hold, and every mistake in one in plain words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from training.errors import UsageError
from training.models import FAMILIES, Model, with_defaults
from training.recipe import MOST_WEIGHT
from training.resample import MOST_NEIGHBOURS
from training.spec.mistake import Mistake, meant, place, shown
from tuning.axis import Axis, Range, Values

SAMPLING = "sampling"
"""The table of what every family shares."""

_RANGE = ("low", "high", "log", "points")


def read(content: Mapping[str, Any]) -> tuple[dict[str, Any], list[Mistake]]:
    """Read a space in plain types.

    Returns
    -------
    fields : dict
        What `tuning.space.Space` is made from; to be used only if there is no mistake.
    mistakes : list of Mistake
    """
    fields: dict[str, Any] = {"families": {}}
    found: list[Mistake] = []
    for table, entries in content.items():
        if table != SAMPLING and table not in FAMILIES:
            known = (SAMPLING, *FAMILIES)
            hint = meant(table, known) or f"there are {', '.join(known)}"
            found.append(Mistake(place(table), "there is no such table", hint))
        elif not isinstance(entries, Mapping):
            found.append(Mistake(place(table), f"should be a table, is {shown(entries)}"))
        elif table == SAMPLING:
            fields |= _sampling(entries, found)
        else:
            fields["families"][table] = _family(FAMILIES[table], entries, found)
    if set(content) <= {SAMPLING}:  # another table may be a family misspelt
        problem = f"should have a table for at least one model family of {', '.join(FAMILIES)}"
        found.append(Mistake("", problem))
    return fields, found


def plain(written: Axis | str | Sequence[Any]) -> Any:
    """What may stand for a parameter, in the types that TOML and JSON have."""
    match written:
        case str():
            return written
        case Range():
            span = {"low": written.low, "high": written.high, "log": written.log}
            return span if written.points is None else span | {"points": written.points}
        case Values():
            return list(written.values)
    return list(written)


def _sampling(table: Mapping[str, Any], found: list[Mistake]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for key, value in table.items():
        where = place(SAMPLING, key)
        if key not in _SHARED:
            hint = meant(key, _SHARED) or f"there are {', '.join(_SHARED)}"
            found.append(Mistake(where, "there is no such key", hint))
            continue
        if key == "smote" and value == "auto":
            fields[key] = value
            continue
        expected, fits, kind = _SHARED[key]
        listed = value if isinstance(value, list) else [value]
        wrong = [
            Mistake(where, f"should be {expected}, is {shown(v)}") for v in listed if not fits(v)
        ]
        wrong = wrong or list(_list_mistakes(where, listed))
        found.extend(wrong)
        if not wrong:
            fields[key] = tuple(v if v == "balanced" else kind(v) for v in listed)
    # A key that is wrong by itself is not held against another one.
    if "neighbours" in fields and fields.get("smote") == (0,):
        problem = "there are none to choose where smote is 0 alone"
        found.append(Mistake(place(SAMPLING, "neighbours"), problem, "leave the key out"))
    return fields


def _number(value: Any, least: float = -math.inf, most: float = math.inf) -> bool:
    # A boolean counts as a number in Python and as none in TOML; no comparison holds for nan.
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


_SHARED: dict[str, tuple[str, Callable[[Any], bool], Callable[[Any], float]]] = {
    "smote": ("'auto' or ratios from 0 (none) to 1", lambda v: _number(v, 0, 1), float),
    "neighbours": (
        f"whole numbers from 1 to {MOST_NEIGHBOURS}",
        lambda v: _number(v, 1, MOST_NEIGHBOURS) and v == int(v), int,
    ),
    "fraud_weight": (
        f"'balanced' or numbers above 0 and at most {MOST_WEIGHT:g}",
        lambda v: v == "balanced" or (_number(v, 0, MOST_WEIGHT) and v > 0), float,
    ),
    "derived": ("true or false", lambda v: isinstance(v, bool), bool),
}  # fmt: skip
"""By key: what is expected, whether a value is that, and what the value is read as."""


def _family(model: type[Model], table: Mapping[str, Any], found: list[Mistake]) -> dict[str, Axis]:
    axes: dict[str, Axis] = {}
    for name, value in table.items():
        where = place(model.family, name)
        if name not in model.defaults:
            hint = meant(name, model.defaults) or f"there are {', '.join(model.defaults)}"
            found.append(Mistake(where, f"{model.family} has no such parameter", hint))
            continue
        wrong = list(_axis_mistakes(model, name, value, where))
        found.extend(wrong)
        if not wrong:
            axes[name] = _axis(model, name, value)
    return axes


def _axis(model: type[Model], name: str, value: Any) -> Axis:
    whole = isinstance(model.defaults[name], int)
    kind = int if whole else float
    if isinstance(value, Mapping):
        ends = {end: kind(value[end]) for end in ("low", "high")}
        return Range(**ends, whole=whole, log=value.get("log", False), points=value.get("points"))
    return Values(tuple(map(kind, value if isinstance(value, list) else [value])))


def _axis_mistakes(model: type[Model], name: str, value: Any, where: str) -> Iterator[Mistake]:
    if isinstance(value, Mapping):
        yield from _range_mistakes(model, name, value, where)
        return
    listed = value if isinstance(value, list) else [value]
    expected = "numbers" if isinstance(value, list) else "a number, a list of numbers or a range"
    wrong = list(_number_mistakes(model, name, listed, where, expected))
    yield from wrong
    if wrong:
        return
    yield from _list_mistakes(where, listed)
    if name == model.counted and listed != sorted(listed):
        yield Mistake(where, f"should be in ascending order, is {shown(listed)}")


def _range_mistakes(
    model: type[Model], name: str, value: Mapping[str, Any], where: str
) -> Iterator[Mistake]:
    for key in value:
        if key not in _RANGE:
            hint = meant(key, _RANGE) or f"there are {', '.join(_RANGE)}"
            yield Mistake(f"{where}.{key}", "there is no such key in a range", hint)
    for key in ("low", "high"):
        if key not in value:
            yield Mistake(f"{where}.{key}", "is missing")
    log, points = value.get("log", False), value.get("points")
    if not isinstance(log, bool):
        yield Mistake(f"{where}.log", f"should be true or false, is {shown(log)}")
    if points is not None and not (_number(points, 2, 1000) and isinstance(points, int)):
        yield Mistake(
            f"{where}.points", f"should be a whole number from 2 to 1000, is {shown(points)}"
        )
    wrong = [
        mistake
        for key in ("low", "high")
        if key in value
        for mistake in _number_mistakes(model, name, [value[key]], f"{where}.{key}", "a number")
    ]
    yield from wrong
    if wrong or not {"low", "high"} <= set(value):
        return
    low, high = value["low"], value["high"]
    if low >= high:
        yield Mistake(where, f"low should be below high, they are {low:g} and {high:g}")
    if log is True and low <= 0:
        yield Mistake(f"{where}.low", f"should be above 0 where log is true, is {low:g}")


def _number_mistakes(
    model: type[Model], name: str, listed: Sequence[Any], where: str, expected: str
) -> Iterator[Mistake]:
    for item in listed:
        if not _number(item):
            yield Mistake(where, f"should be {expected}, is {shown(item)}")
            continue
        try:
            with_defaults(model, {name: item})
        except UsageError as error:
            yield Mistake(where, str(error).removeprefix(f"{model.family}: {name} "))


def _list_mistakes(where: str, listed: Sequence[Any]) -> Iterator[Mistake]:
    if not listed:
        yield Mistake(where, "should hold at least one value, is empty")
    for item in dict.fromkeys(item for item in listed if listed.count(item) > 1):
        yield Mistake(where, f"holds {shown(item)} twice")
