"""Judging: rows of a file sent to the graph, which scores them or says what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gradio_ui.desk import Desk, Trouble
from serve_app.client import BadRequest
from serve_app.contract import MAX_PROBLEMS, Problem, problem_text

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Verdicts:
    """What the graph says of n rows.

    Attributes
    ----------
    scored
        Places of the rows that were scored, shape (m,), in order.
    probability, decision, threshold, version
        Of these rows, shape (m,) each.
    problems
        By the place of each other row, all that is wrong with it.
    """

    scored: Rows
    probability: NDArray[np.float64]
    decision: NDArray[np.int8]
    threshold: NDArray[np.float64]
    version: NDArray[Any]
    problems: dict[int, list[Problem]]


def inputs_of(about: Mapping[str, Any], columns: list[str]) -> list[str]:
    """The columns of a file that the model in service wants.

    Raises
    ------
    Trouble
        If one that it cannot do without is not there.
    """
    names = [str(field["name"]) for field in about["inputs"]]
    missing = [
        str(f["name"]) for f in about["inputs"] if f["required"] and f["name"] not in columns
    ]
    if missing or not set(names) & set(columns):
        wanted = ", ".join(missing or names)
        raise Trouble(
            "This file lacks columns that the model needs",
            f"Missing: {wanted}. Found: {', '.join(columns)}. Names must agree to the letter.",
        )
    return [name for name in columns if name in names]


def judge(desk: Desk, rows: pa.Table) -> Verdicts:
    """Have n rows scored; those that break the contract are set aside with every reason.

    The graph names a limited number of problems at once, so what it did not look at is sent again.

    Parameters
    ----------
    rows
        Inputs of the model only.

    Raises
    ------
    Trouble
        If a whole column breaks the contract, or the graph does not answer.
    """
    problems: dict[int, list[Problem]] = {}
    parts: list[tuple[Rows, pa.Table]] = []
    waiting: list[tuple[Rows, bool]] = [(np.arange(len(rows), dtype=np.int64), False)]
    while waiting:
        places, known_good = waiting.pop()
        if not len(places):
            continue
        sent = rows.take(places)
        try:
            parts.append((places, desk.ask(_scoring(desk, sent))))
        except BadRequest as refused:
            if known_good:
                raise _columns(refused.problems) from None
            told, looked_at = _by_row(refused.problems), len(places)
            if len(refused.problems) >= MAX_PROBLEMS:
                looked_at = max(told)
                if len(told) > 1:
                    told.pop(looked_at)  # not all of its problems may have had room
                else:
                    looked_at += 1
            problems |= {int(places[row]): found for row, found in told.items()}
            good = [row for row in range(looked_at) if row not in told]
            waiting += [(places[looked_at:], False), (places[good], True)]
    return _together(parts, problems)


def why(problems: list[Problem]) -> str:
    """All that is wrong with a row, on one line."""
    return "; ".join(map(problem_text, problems))


def _scoring(desk: Desk, rows: pa.Table) -> Callable[[], pa.Table]:
    return lambda: desk.client.predict_table(rows)


def _by_row(problems: list[Problem]) -> dict[int, list[Problem]]:
    found: dict[int, list[Problem]] = {}
    for problem in problems:
        found.setdefault(problem["payment"], []).append(problem)
    return found


def _columns(problems: list[Problem]) -> Trouble:
    said = "; ".join(f"{p['field'] or 'the file'} must be {p['expectation']}" for p in problems[:5])
    return Trouble("This file does not hold what the model needs", f"{said}.")


def _together(parts: list[tuple[Rows, pa.Table]], problems: dict[int, list[Problem]]) -> Verdicts:
    places = np.concatenate([place for place, _ in parts] or [np.zeros(0, np.int64)])
    order = np.argsort(places)
    probability, decision = (
        np.concatenate([answer[name].to_numpy() for _, answer in parts] or [np.zeros(0)])[order]
        for name in ("probability", "decision")
    )
    metadata = [answer.schema.metadata or {} for _, answer in parts]
    lengths = np.array([len(place) for place, _ in parts], int)
    threshold = np.repeat([float(m[b"threshold"]) for m in metadata], lengths)[order]
    versions = np.array([m[b"model_version"].decode() for m in metadata], object)
    version = np.repeat(versions, lengths)[order]
    return Verdicts(
        places[order], probability, decision.astype(np.int8), threshold, version, problems
    )
