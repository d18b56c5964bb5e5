"""A file chunk by chunk, held against the spec: typed rows that keep it, problems of the others."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from training.convert import convert, nothing_in, time_expectation, together
from training.errors import DataRefused
from training.read import Chunk, Lines, require_distinct
from training.spec import Column, DatasetSpec


@dataclass(frozen=True)
class Part:
    """A checked chunk of a file.

    Attributes
    ----------
    frame, problems
        As `Dataset` has them in `frame` and `rejected`.
    undated
        The lines of its rows where none of them has a timestamp. If another part of the file has
        some, each of these rows is a problem: see `without_rows`.
    """

    frame: pd.DataFrame
    problems: pd.DataFrame
    undated: Lines | None

    def without_rows(self, spec: DatasetSpec) -> Part:
        """An undated part of a file that has timestamps elsewhere."""
        name = str(spec.timestamp)
        expectation = time_expectation(spec.columns[name])
        problems = pd.DataFrame(
            {"line": self.undated, "column": name, "expectation": expectation, "value": None}
        )
        return Part(self.frame.iloc[:0], together([self.problems, problems]), None)


def checked_parts(
    chunks: Iterable[Chunk],
    spec: DatasetSpec,
    *,
    source: str,
    labelled: bool,
    only: Collection[str] | None = None,
) -> Iterator[Part]:
    """Check a file chunk by chunk.

    Parameters
    ----------
    only
        Columns that are converted and kept; by default all of them.

    Raises
    ------
    DataRefused
        If required columns or all inputs are missing, a name is there twice, or the files of a
        folder differ in columns of the spec.
    """
    first: Chunk | None = None
    for read in chunks:
        raw = read.frame if labelled else read.frame.drop(columns=spec.label, errors="ignore")
        chunk = replace(read, frame=raw)
        require_distinct(raw.columns, chunk.source)
        if first is None:
            require_columns(raw.columns, spec.columns, spec, source)
            first = replace(chunk, frame=raw.iloc[:0])
        _require_same(chunk, first, spec)
        if only is not None:
            chunk = replace(chunk, frame=raw[[name for name in raw if name in only]])
        yield _part(chunk, spec)


def require_columns(
    names: Iterable[Any], wanted: Mapping[str, Column], spec: DatasetSpec, source: str
) -> None:
    """Check that the required ones of the wanted columns, and any input, are among the names.

    Raises
    ------
    DataRefused
        If any is missing; all of them are named. If a name is there twice.
    """
    found = list(names)
    require_distinct(found, source)
    missing = [n for n, c in wanted.items() if c.required and n not in found]
    if missing:
        raise DataRefused(
            f"{source}: the column{'s' * (len(missing) > 1)} {', '.join(missing)} "
            f"of the spec {spec.name!r} {'are' if len(missing) > 1 else 'is'} missing; "
            f"found {', '.join(map(str, found))}"
        )
    if not any(name in found for name in spec.inputs):
        raise DataRefused(
            f"{source}: has none of the inputs of the spec {spec.name!r}, such as "
            f"{next(iter(spec.inputs))!r}; found {', '.join(map(str, found))}"
        )


def _require_same(chunk: Chunk, first: Chunk, spec: DatasetSpec) -> None:
    """Check that a file of a folder has the columns of the spec that the first one has."""
    known = {*spec.columns, spec.label}
    here, there = known & set(chunk.frame), known & set(first.frame)
    for differing, verb in ((there - here, "lacks"), (here - there, "has")):
        if differing:
            names = ", ".join(sorted(differing))
            raise DataRefused(
                f"{chunk.source}: {verb} {names}, other than {first.source} of the same folder"
            )


def _part(chunk: Chunk, spec: DatasetSpec) -> Part:
    raw, time = chunk.frame, spec.timestamp
    undated = bool(time and time in raw and len(raw) and nothing_in(raw[time]))
    if undated:
        chunk = replace(chunk, frame=raw.drop(columns=str(time)))
    values, broken, problems = convert(chunk, spec)
    frame = pd.DataFrame(values, index=range(len(raw)))
    if broken.any():
        frame = frame[~broken].reset_index(drop=True)
    return Part(frame, problems, chunk.lines() if undated else None)
