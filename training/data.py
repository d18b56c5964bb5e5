"""Read a payments file, check it against the spec, set bad rows aside with their reasons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.checked import checked_parts, require_columns
from training.convert import text_or_none, together
from training.errors import DataRefused, UsageError
from training.read import Chunk, chunks, read_csv
from training.rejected import remove_rejected, write_rejected
from training.source import Source
from training.spec import Column, DatasetSpec

__all__ = ["MAX_BAD_SHARE", "Columns", "Dataset", "check", "columns_of", "load", "read_csv",
           "records_of", "require_columns", "text_or_none"]  # fmt: skip

Columns = dict[str, NDArray[Any]]
"""Input columns by name, each of shape (n,): float64 with NaN where a number or boolean is
missing, object with None where a category is missing."""

MAX_BAD_SHARE = 0.01
"""Share of bad rows above which a whole file is refused: then the file is another than thought."""

_SHOWN = 3  # problems quoted in an error; all of them are in the rejected file


@dataclass(frozen=True)
class Dataset:
    """Rows that keep the spec.

    Attributes
    ----------
    frame
        Inputs as float64 or object (None for missing), the label as int8 if the file has one, the
        timestamp as datetime64 if it has one; every other column of the file as texts, or None.
    rejected
        One row per problem: line, column, expectation, value.
    rejected_file
        Where the problems were written, if there are any and the rows were read from a file.
    """

    frame: pd.DataFrame
    spec: DatasetSpec
    source: str
    rejected: pd.DataFrame
    rejected_file: Path | None = None

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def columns(self) -> Columns:
        """The spec's input columns that the file has."""
        return {n: self.frame[n].to_numpy() for n in self.spec.inputs if n in self.frame}

    @property
    def label(self) -> NDArray[np.int8]:
        """Shape (n,), 1 for fraud.

        Raises
        ------
        DataRefused
            If the file has no label column.
        """
        if self.spec.label not in self.frame:
            raise DataRefused(
                f"{self.source}: the label column {self.spec.label!r} is missing; "
                f"found {', '.join(map(str, self.frame.columns))}"
            )
        return self.frame[self.spec.label].to_numpy()

    @property
    def timestamp(self) -> NDArray[np.datetime64] | None:
        """Shape (n,), UTC; None where spec or file has no timestamp."""
        name = self.spec.timestamp
        return self.frame[name].to_numpy() if name in self.frame else None

    @property
    def bad_rows(self) -> int:
        """How many rows were set aside."""
        return bad_rows(self.rejected)

    def complaint(self) -> str:
        """How many rows break the spec, and the first problems."""
        return complaint(self.rejected, len(self), self.source, self.spec)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Dataset:
        """The given rows, by position or mask."""
        taken = self.frame[rows] if rows.dtype == bool else self.frame.iloc[rows]
        return replace(self, frame=taken)


def load(
    path: str | Path,
    spec: DatasetSpec,
    *,
    labelled: bool = True,
    max_bad_share: float = MAX_BAD_SHARE,
) -> Dataset:
    """Read a CSV or Parquet file and keep the rows that fit the spec.

    Read and checked chunk by chunk, so that memory holds the typed columns and never the text of
    the whole file. Rows with problems are written to `<name>.rejected.csv` with line, column,
    expectation and value: beside the file, or in the current folder if that cannot be written. Such
    a file that an earlier reading left is removed if there is nothing to write.

    Parameters
    ----------
    path
        A local path or an fsspec URL, ending in .parquet, or in anything else for CSV with a header
        line; .csv.gz is unpacked. A folder stands for the Parquet files in it.
    labelled
        False leaves the label unread, for payments that are only to be scored.
    max_bad_share
        Share of bad rows above which the file is refused, from 0 to 1.

    Raises
    ------
    FraudrayError
        If the file cannot be read.
    UsageError
        If the share is none.
    DataRefused
        If required columns or all inputs are missing, a name is there twice, the files of a folder
        differ in columns of the spec, too many of the rows are bad, or all of them.
    """
    require_share(max_bad_share)
    source = Source(str(path))
    dataset = _checked(chunks(source), spec, source=source.name, labelled=labelled)
    written = set_aside(dataset.rejected, len(dataset), source, spec, max_bad_share)
    return replace(dataset, rejected_file=written)


def set_aside(
    rejected: pd.DataFrame, rows: int, source: Source, spec: DatasetSpec, max_bad_share: float
) -> Path | None:
    """Write the problems of a file to its rejected file, as `load` does; returns which, if any.

    Parameters
    ----------
    rows
        Those of the file that keep the spec.

    Raises
    ------
    DataRefused
        If too many of the rows are bad, or all of them.
    """
    target = (Path() if source.remote else Path(source.url).parent) / source.rejected_name
    if rejected.empty:
        remove_rejected(target)
        return None
    written = write_rejected(rejected, target)
    bad = bad_rows(rejected)
    if not rows or bad > max_bad_share * (bad + rows):
        told = complaint(rejected, rows, source.name, spec)
        raise DataRefused(f"{told}; all are listed in {written}")
    return written


def bad_rows(rejected: pd.DataFrame) -> int:
    """How many rows were set aside; one that has several problems stands there several times."""
    return int(rejected["line"].nunique())


def complaint(rejected: pd.DataFrame, rows: int, source: str, spec: DatasetSpec) -> str:
    """How many rows break the spec, beside those that keep it, and the first problems."""
    examples = "; ".join(
        f"line {p.line}: {p.column} should be {p.expectation}, is {p.value!r}"
        for p in rejected.head(_SHOWN).itertuples()
    )
    bad = bad_rows(rejected)
    return f"{source}: {bad:,} of {bad + rows:,} rows break the spec {spec.name!r} ({examples})"


def check(raw: pd.DataFrame, spec: DatasetSpec, *, source: str, labelled: bool = True) -> Dataset:
    """Convert a raw frame to the spec's types and set aside the rows that break it.

    Raises
    ------
    DataRefused
        If the frame has no rows, lacks required columns or all inputs, or a name is there twice.
    """
    whole = Chunk(raw, lambda: 2 + np.arange(len(raw)), source)  # the header would be line 1
    return _checked([whole], spec, source=source, labelled=labelled)


def require_share(share: float) -> None:
    """Check a share of bad rows.

    Raises
    ------
    UsageError
        If it is not from 0 to 1.
    """
    if not 0 <= share <= 1:
        raise UsageError(f"the share of bad rows must be from 0 to 1, it is {share:g}")


def columns_of(records: Sequence[Mapping[str, Any]], inputs: Mapping[str, Column]) -> Columns:
    """Records that passed the request contract as columns; absent and null are missing."""
    columns: Columns = {}
    for name, column in inputs.items():
        values = [record.get(name) for record in records]
        columns[name] = (
            np.array([text_or_none(v) for v in values], object)
            if column.type == "category"
            else np.array(values, np.float64)  # None becomes NaN, True becomes 1
        )
    return columns


def records_of(dataset: Dataset, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Rows as JSON-ready records of the given inputs; missing values become null."""
    columns = dataset.columns
    present = [name for name in names if name in columns]
    values = []
    for name in present:
        column = dataset.spec.columns[name]
        whole = column.integer or column.type == "boolean"
        values.append(
            [None if pd.isna(v) else int(v) if whole else v for v in columns[name].tolist()]
        )
    return (dict(zip(present, row, strict=True)) for row in zip(*values, strict=True))


def _checked(chunks: Iterable[Chunk], spec: DatasetSpec, *, source: str, labelled: bool) -> Dataset:
    parts = list(checked_parts(chunks, spec, source=source, labelled=labelled))
    # A timestamp column that is empty in the whole file orders nothing: it is absent. One that is
    # empty in a part of the file is wrong there.
    if spec.timestamp and any(part.undated is None and len(part.frame) for part in parts):
        parts = [part if part.undated is None else part.without_rows(spec) for part in parts]
    rejected = together([part.problems for part in parts])
    # Parts without rows would have a say in which columns and types there are.
    frames = [part.frame for part in parts if len(part.frame)] or [parts[0].frame]
    frame = pd.concat(frames, ignore_index=True)
    if frame.empty and rejected.empty:
        raise DataRefused(f"{source}: the file has a header but no rows")
    return Dataset(frame, spec, source, rejected)
