"""What must fit together in a spec.

A rule sees a table without its wrong fields and is silent where it would need one of them. So a
field that is wrong by itself neither hides what else is wrong nor is held against another one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from training.errors import printable
from training.spec.mistake import Mistake, Models, Path, meant, place, shown

_SOURCES = {
    "cross": (("left", "right"), "category"),
    "ratio": (("numerator", "denominator"), "number"),
    "bins": (("input",), "number"),
}
"""The fields of a derived feature that name columns, and the type these must have."""


class _UnknownError(Exception):
    """A field that a rule needs is wrong by itself."""


class _Parts(dict[str, Any]):
    """The right fields of a table, with the defaults of those that are not given."""

    def __missing__(self, field: str) -> Any:
        raise _UnknownError(field)


_Rule = Callable[[_Parts], Iterator[Mistake]]


def of_column(fields: Mapping[str, Any]) -> list[Mistake]:
    """What does not fit together in one column; places are names of fields."""
    return _judge(_Parts(fields), *_COLUMN_RULES)


def of_bins(fields: Mapping[str, Any]) -> list[Mistake]:
    """What does not fit together in a number cut into ranges; places are names of fields."""
    return _judge(_Parts(fields), _edges, _labels)


def across(content: Any, models: Models, wrong: Collection[Path] = ()) -> list[Mistake]:
    """What does not fit together in a whole spec, as far as it is not `wrong` by itself."""
    # A list with one wrong value is wrong.
    wrong = {path[:-1] if isinstance(path[-1], int) else path for path in wrong if path}
    spec = _parts(content, models["spec"], (), wrong)
    if "costs" in spec:
        spec["costs"] = _parts(spec["costs"], models["costs"], ("costs",), wrong)
    for table in ("columns", "features"):
        if table in spec:
            spec[table] = {
                name: _parts(fields, model, (table, name), wrong)
                for name, fields in spec[table].items()
                if (model := _model(table, fields, models))
            }
    found = [
        replace(mistake, place=place(table, name, mistake.place))
        for table, rules in (("columns", of_column), ("features", of_bins))
        for name, fields in spec.get(table, {}).items()
        for mistake in rules(fields)
    ]
    found += _judge(spec, _label, _some_feature, _one_each, _two_labels, _amount, _names)
    for name, fields in spec.get("features", {}).items():
        for field in _SOURCES[fields["kind"]][0]:
            found += _judge(spec, lambda s, n=name, f=field: _source(s, n, f))  # type: ignore[misc]
    return found


def _judge(parts: _Parts, *rules: _Rule) -> list[Mistake]:
    found: list[Mistake] = []
    for rule in rules:
        try:
            found += list(rule(parts))
        except _UnknownError:
            continue
    return found


def _parts(fields: Any, model: type[BaseModel], path: Path, wrong: Collection[Path]) -> _Parts:
    if not isinstance(fields, Mapping):
        return _Parts()
    return _Parts(
        {
            name: fields.get(name, field.default)
            for name, field in model.model_fields.items()
            if (*path, name) not in wrong and (name in fields or not field.is_required())
        }
    )


def _model(table: str, fields: Any, models: Models) -> type[BaseModel] | None:
    """The model of a column or feature; none if it is too wrong to have one."""
    if table == "columns":
        return models["column"]
    kind = fields.get("kind") if isinstance(fields, Mapping) else None
    return models[kind] if isinstance(kind, str) and kind in _SOURCES else None


# --- one column ---


def _type_of_role(column: _Parts) -> Iterator[Mistake]:
    role, kind = column["role"], column["type"]
    if role == "feature" and kind == "text":
        yield Mistake("type", "a feature is a number, a category or a boolean, not text")
    if role == "timestamp" and kind not in ("text", "number"):
        yield Mistake(
            "type", f"a timestamp is a text (ISO 8601) or a number (of seconds), not {kind}"
        )
    if role in ("entity", "annotation") and kind != "text":
        yield Mistake("type", f"a column with the role {role!r} has the type 'text', not {kind!r}")


def _only_numbers(column: _Parts) -> Iterator[Mistake]:
    if column["type"] != "number":
        for field in ("skewed", "integer", "minimum", "maximum"):
            value = column.get(field)
            if value is not None and value is not False:
                yield Mistake(field, f"is for numbers, and this is a {column['type']}")


def _only_categories(column: _Parts) -> Iterator[Mistake]:
    if column["categories"] and column["type"] != "category":
        yield Mistake("categories", f"are for columns of type 'category', not {column['type']!r}")


def _each_category(column: _Parts) -> Iterator[Mistake]:
    categories = list(column["categories"])
    if not all(category.strip() for category in categories):
        yield Mistake("categories", "holds an empty text, which is a missing value in every file")
    if twice := sorted({c for c in categories if c.strip() and categories.count(c) > 1}):
        yield Mistake("categories", f"holds {', '.join(map(shown, twice))} more than once")


def _example(column: _Parts) -> Iterator[Mistake]:
    # It may lie outside the range: models that were made before must still load.
    role, kind, example = column["role"], column["type"], column["example"]
    if example is None or role != "feature":
        return
    if kind == "number" and isinstance(example, str):
        yield Mistake("example", f"should be a number, is {shown(example)}")
    elif kind == "boolean" and example not in (0, 1):
        yield Mistake("example", f"should be 0 or 1, is {shown(example)}")
    elif kind == "category" and not isinstance(example, str):
        hint = f'write it in quotes: "{example:g}"'
        yield Mistake("example", f"should be a text, is {shown(example)}", hint)


def _skewed(column: _Parts) -> Iterator[Mistake]:
    low = column["minimum"]
    if column["skewed"] and column["type"] == "number" and (low is None or low < 0):
        is_what = "has none" if low is None else f"has {low:g}"
        yield Mistake("skewed", f"a skewed number needs a minimum of 0 or more and {is_what}")


def _range(column: _Parts) -> Iterator[Mistake]:
    low, high = column["minimum"], column["maximum"]
    if low is not None and high is not None and low > high:
        yield Mistake("minimum", f"minimum {low:g} is above maximum {high:g}")


_COLUMN_RULES: tuple[_Rule, ...] = (
    _type_of_role, _only_numbers, _only_categories, _each_category, _example, _skewed, _range,
)  # fmt: skip

# --- one feature ---


def _edges(bins: _Parts) -> Iterator[Mistake]:
    edges = list(bins["edges"])
    if edges != sorted(set(edges)):
        yield Mistake("edges", f"edges must rise, are {shown(edges)}")


def _labels(bins: _Parts) -> Iterator[Mistake]:
    edges, labels = len(bins["edges"]), len(bins["labels"])
    if labels != edges + 1:
        yield Mistake("labels", f"{edges} edges need {edges + 1} labels, here are {labels}")


def _source(spec: _Parts, name: str, field: str) -> Iterator[Mistake]:
    """A field that must name a feature column of the right type."""
    columns, feature = spec["columns"], spec["features"][name]
    source, wanted = feature[field], _SOURCES[feature["kind"]][1]
    where = place("features", name, field)
    if source not in columns:
        yield Mistake(where, f"{source!r} is no column", meant(source, columns))
    elif (role := columns[source]["role"]) != "feature":
        yield Mistake(where, f"{source!r} is no feature: it has the role {role!r}")
    elif (kind := columns[source]["type"]) != wanted:
        yield Mistake(where, f"a {feature['kind']} needs a {wanted}, and {source!r} is a {kind}")


# --- the whole ---


def _label(spec: _Parts) -> Iterator[Mistake]:
    if spec["label"] in spec["columns"]:
        yield Mistake("label", f"the label {spec['label']!r} is listed among the columns")


def _some_feature(spec: _Parts) -> Iterator[Mistake]:
    if "feature" not in [column["role"] for column in spec["columns"].values()]:
        yield Mistake("columns", "no column has the role 'feature'")


def _one_each(spec: _Parts) -> Iterator[Mistake]:
    for role in ("timestamp", "entity"):
        found = [name for name, c in spec["columns"].items() if c.get("role") == role]
        if len(found) > 1:
            names = ", ".join(map(printable, found))
            yield Mistake("columns", f"more than one column has the role {role!r}: {names}")


def _two_labels(spec: _Parts) -> Iterator[Mistake]:
    from training.read import MISSING  # pandas comes with it

    legitimate, fraud = spec["label_values"]
    if legitimate == fraud:
        yield Mistake("label_values", f"is {fraud!r} for a legitimate payment and for a fraud too")
    for value in (legitimate, fraud):
        if value != value.strip() or value in MISSING:
            yield Mistake(
                "label_values", f"{shown(value)} is never found: values are trimmed, and a blank "
                f"or a word such as NULL is a missing value",
            )  # fmt: skip
            return


def _amount(spec: _Parts) -> Iterator[Mistake]:
    columns, amount = spec["columns"], spec["costs"]["amount"]
    if amount is None:
        return
    if amount not in columns:
        yield Mistake("costs.amount", f"{amount!r} is no column", meant(amount, columns))
    elif columns[amount]["role"] != "feature" or columns[amount]["type"] != "number":
        yield Mistake("costs.amount", f"{amount!r} is no number among the inputs")


def _names(spec: _Parts) -> Iterator[Mistake]:
    for name in spec["features"]:
        if name in spec["columns"]:
            yield Mistake(place("features", name), "has the name of a column")
        elif name == spec.get("label"):
            yield Mistake(place("features", name), "has the name of the label")
