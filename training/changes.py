"""What would have to be different for the other decision: the nearest change of a single field.

Of a number, values are tried where the reference rows are spread, and between the last that changes
nothing and the first that changes the decision more finely; of a category, every value that was
learned. Only what was scored and found to decide otherwise is told, so a change is always true; a
narrow range between two tried values may be passed over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from training.along import Along
from training.data import Columns
from training.explain import in_words

if TYPE_CHECKING:
    from training.bundle import ModelBundle

CATEGORY_DISTANCE = 0.5
"""Of any other value of a category or boolean: values of these are not near or far."""

_STEPS = 33  # values tried at a time between one that changes nothing and one that does
_REFINED = 2

Beyond = Literal["", "or more", "or less"]
_Trial = tuple[str, float | str]


@dataclass(frozen=True)
class Change:
    """Another value of one field, with which the decision is the other one.

    Attributes
    ----------
    value
        The nearest that was found.
    beyond
        Whether every value that was tried further on decides so too; empty for one value alone.
    decision, probability
        With that value.
    distance
        For numbers the share of the reference rows between the value as it is and this one, for
        other fields a constant.
    text
        In plain words.
    """

    field: str
    value: float | str
    beyond: Beyond
    decision: int
    probability: float
    distance: float
    text: str


@dataclass(frozen=True)
class _Side:
    """A number on one side of the present value: the decision changes from `inner` to `outer`."""

    axis: Along
    inner: float
    outer: float
    beyond: Beyond


class _Judge:
    """Scores a payment with one field changed, many such at a time."""

    def __init__(self, bundle: ModelBundle, columns: Columns) -> None:
        self.bundle, self.columns = bundle, columns
        (probability,) = bundle.score(columns)
        self.decision = int(bundle.decide(np.array([probability]))[0])

    def __call__(self, trials: Sequence[_Trial]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Probability of each, and whether the decision is the other one."""
        rows = len(trials)
        if not rows:
            return np.empty(0), np.empty(0, bool)
        varied = {name: np.repeat(values, rows) for name, values in self.columns.items()}
        for row, (name, value) in enumerate(trials):
            if name not in varied:
                missing = isinstance(value, str)
                varied[name] = np.full(
                    rows, None if missing else np.nan, object if missing else float
                )
            varied[name][row] = value
        probability = self.bundle.score(varied)
        return probability, self.bundle.decide(probability) != self.decision


def nearest_changes(bundle: ModelBundle, columns: Columns) -> list[Change]:
    """For each field the nearest value, if one is found, that turns the decision.

    Parameters
    ----------
    columns
        Of one payment, shape (1,).

    Returns
    -------
    list of Change
        The nearest first; empty if no field alone turns the decision.
    """
    judge = _Judge(bundle, columns)
    axes, others = _numbers(bundle, columns), _others(bundle, columns)
    first = {axis.name: axis.tried() for axis in axes}
    trials: list[_Trial] = [(name, float(v)) for name, values in first.items() for v in values]
    trials += [(name, value) for name, values in others.items() for value in values]
    probability, turned = judge(trials)
    sides, start = [], 0
    for axis in axes:
        end = start + len(first[axis.name])
        sides += _sides(axis, first[axis.name], turned[start:end])
        start = end
    changes = []
    for name, values in others.items():
        places = range(start, start + len(values))
        start += len(values)
        found = next((p for p in places if turned[p]), None)  # the most frequent value first
        if found is not None:
            value, p = trials[found][1], float(probability[found])
            changes.append(_change(judge, name, value, "", p, CATEGORY_DISTANCE))
    changes += _closest(judge, sides)
    order = {name: place for place, name in enumerate(bundle.features.inputs_)}
    return sorted(changes, key=lambda change: (change.distance, order[change.field]))


def _numbers(bundle: ModelBundle, columns: Columns) -> list[Along]:
    features, counts = bundle.features, bundle.reference.counts.columns
    found = []
    for name in features.inputs_:
        column = features.spec.columns[name]
        if column.type == "number":
            now = float(columns[name][0]) if name in columns else math.nan
            now = float(features.fill_[name]) if math.isnan(now) else now
            bins = bundle.reference.bins.get(name)
            found.append(Along.of(name, column, now, bins, counts.get(name, ())))
    return found


def _others(bundle: ModelBundle, columns: Columns) -> Mapping[str, list[float | str]]:
    """Categories and booleans with every other value, of categories the most frequent first."""
    features = bundle.features
    found: dict[str, list[float | str]] = {}
    for name in features.inputs_:
        kind = features.spec.columns[name].type
        now: Any = columns[name][0] if name in columns else None
        if kind == "boolean":
            found[name] = [value for value in (0.0, 1.0) if value != now]
        elif kind == "category":
            learned = {encoded.removeprefix(f"{name}="): None
                       for encoded in features.encoders_[name].names(name)}  # fmt: skip
            bins = bundle.reference.bins.get(name)
            frequent = bins.values if bins is not None and bins.kind == "value" else ()
            ranked = dict.fromkeys([v for v in frequent if v in learned]) | learned
            found[name] = [value for value in ranked if value != now]
    return found


def _sides(
    axis: Along, values: NDArray[np.float64], turned: NDArray[np.bool_]
) -> list[_Side]:  # fmt: skip
    """Where the decision turns on either side of the present value."""
    found = []
    split = int(np.searchsorted(values, axis.now))
    below, above = np.arange(split)[::-1], np.arange(split, len(values))
    words: tuple[Beyond, Beyond] = ("or less", "or more")
    for places, word in zip((below, above), words, strict=True):
        hits = np.flatnonzero(turned[places])
        if len(hits):
            at = int(hits[0])
            inner = axis.now if at == 0 else float(values[places[at - 1]])
            beyond = word if turned[places[at:]].all() else ""
            found.append(_Side(axis, inner, float(values[places[at]]), beyond))
    return found


def _closest(judge: _Judge, sides: list[_Side]) -> list[Change]:
    """The nearest turn of every number, in a number that is short to read."""
    if not sides:
        return []
    for _ in range(_REFINED):
        between = [side.axis.allowed(np.linspace(side.inner, side.outer, _STEPS)) for side in sides]
        sides = [
            _narrowed(side, values, turned)
            for side, values, turned in zip(
                sides, between, _split(judge, sides, between), strict=True
            )
        ]
    written = [np.array(side.axis.rounded(side.outer)) for side in sides]
    flat = [(s.axis.name, float(v)) for s, vs in zip(sides, written, strict=True) for v in vs]
    probability, turned = judge(flat)
    nearest: dict[str, Change] = {}
    start = 0
    for side, values in zip(sides, written, strict=True):
        # The last is the unrounded value, which is known to turn the decision.
        at = next((i for i in range(len(values)) if turned[start + i]), len(values) - 1)
        value, p = float(values[at]), float(probability[start + at])
        start += len(values)
        distance = side.axis.distance(value)
        name = side.axis.name
        if name not in nearest or distance < nearest[name].distance:
            nearest[name] = _change(judge, name, value, side.beyond, p, distance)
    return list(nearest.values())


def _split(
    judge: _Judge, sides: list[_Side], between: list[NDArray[np.float64]]
) -> list[NDArray[np.bool_]]:
    trials = [(s.axis.name, float(v)) for s, vs in zip(sides, between, strict=True) for v in vs]
    _, turned = judge(trials)
    return np.split(turned, np.cumsum([len(values) for values in between])[:-1])


def _narrowed(side: _Side, values: NDArray[np.float64], turned: NDArray[np.bool_]) -> _Side:
    """The same turn between two values that lie closer together."""
    rising = side.outer > side.inner
    ordered = list(zip(values.tolist(), turned.tolist(), strict=True))
    inner = side.inner
    for value, turns in ordered if rising else reversed(ordered):
        if turns:
            return _Side(side.axis, inner, value, side.beyond)
        inner = value
    return side


def _change(
    judge: _Judge, field: str, value: float | str, beyond: Beyond, probability: float,
    distance: float,
) -> Change:  # fmt: skip
    decision = 1 - judge.decision
    other = "it would be an alert" if decision else "it would be let through"
    shown = " ".join(filter(None, [in_words(judge.bundle.features, field, value), beyond]))
    text = f"if {field} were {shown}, {other} (probability {probability:.2%})"
    return Change(field, value, beyond, decision, probability, distance, text)
