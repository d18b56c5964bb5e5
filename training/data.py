"""Read a payments file, check it against the spec, set bad rows aside with their reasons."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.errors import DataRefused, FraudrayError
from training.spec import TEXT_LIMIT, Column, DatasetSpec

Columns = dict[str, NDArray[Any]]
"""Input columns by name, each of shape (n,): float64 with NaN where a number or boolean is
missing, object with None where a category is missing."""

MAX_BAD_SHARE = 0.01
"""Share of bad rows above which a whole file is refused: then the file is another than thought."""

_MISSING = ["", "NA", "N/A", "NaN", "nan", "NULL", "null", "None"]
_BOOLEAN = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0, "false": 0.0, "true": 1.0}
_SHOWN = 3  # problems quoted in an error; all of them are in the rejected file


@dataclass(frozen=True)
class Dataset:
    """Rows that keep the spec.

    Attributes
    ----------
    frame
        Inputs as float64 or object (None for missing), the label as int8 if the file has one, the
        timestamp as datetime64 if it has one; every other column of the file as it was read.
    rejected
        One row per problem: line, column, expectation, value.
    """

    frame: pd.DataFrame
    spec: DatasetSpec
    source: str
    rejected: pd.DataFrame

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
        return int(self.rejected["line"].nunique())

    def complaint(self) -> str:
        """How many rows break the spec, and the first problems."""
        examples = "; ".join(
            f"line {p.line}: {p.column} should be {p.expectation}, is {p.value!r}"
            for p in self.rejected.head(_SHOWN).itertuples()
        )
        bad = self.bad_rows
        return (
            f"{self.source}: {bad:,} of {bad + len(self):,} rows break the spec "
            f"{self.spec.name!r} ({examples})"
        )

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Dataset:
        """The given rows, by position or mask."""
        return Dataset(self.frame[rows] if rows.dtype == bool else self.frame.iloc[rows],
                       self.spec, self.source, self.rejected)  # fmt: skip


def load(path: str | Path, spec: DatasetSpec, *, labelled: bool = True) -> Dataset:
    """Read a CSV or Parquet file and keep the rows that fit the spec.

    Rows with problems are written to `<name>.rejected.csv` with line, column, expectation and
    value: beside the file, or in the current folder if that cannot be written.

    Parameters
    ----------
    path
        Ending in .parquet, or anything else for CSV with a header line.
    labelled
        False leaves the label unread, for payments that are only to be scored.

    Raises
    ------
    FraudrayError
        If the file cannot be read.
    DataRefused
        If required columns are missing or more than `MAX_BAD_SHARE` of the rows are bad.
    """
    path = Path(path)
    dataset = check(_read(path), spec, source=str(path), labelled=labelled)
    if len(dataset.rejected):
        if path.suffix != ".parquet":
            _number_lines(dataset.rejected, path)
        written = _write_rejected(dataset.rejected, path)
        bad = dataset.bad_rows
        if bad > MAX_BAD_SHARE * (bad + len(dataset)):
            raise DataRefused(f"{dataset.complaint()}; all are listed in {written}")
    return dataset


def read_csv(text: Path | IO[str], *, source: str) -> pd.DataFrame:
    """Read CSV with a header line, every value as text so that a problem can quote it.

    Raises
    ------
    DataRefused
        If it is no such text.
    """
    try:
        # The header is read as a row: pandas would rename a column that is there twice, and take
        # the first one for an index if the rows are longer than the header.
        rows = pd.read_csv(text, header=None, dtype=str, keep_default_na=False, na_values=_MISSING,
                           skipinitialspace=True, compression=None)  # fmt: skip
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataRefused(f"{source}: is not CSV with a header line: {_line(error)}") from None
    names = rows.iloc[0].fillna("").str.strip()
    if twice := sorted(set(names[names.duplicated()])):
        raise DataRefused(f"{source}: the header names {', '.join(map(repr, twice))} twice")
    return rows[1:].set_axis(list(names), axis=1).reset_index(drop=True)


def check(raw: pd.DataFrame, spec: DatasetSpec, *, source: str, labelled: bool = True) -> Dataset:
    """Convert a raw frame to the spec's types and set aside the rows that break it.

    Raises
    ------
    DataRefused
        If the frame has no rows or lacks required columns; all of them are named.
    """
    # An empty timestamp column orders nothing: it is absent, not wrong in every row.
    ignored: list[str] = [] if labelled else [spec.label]
    if spec.timestamp and spec.timestamp in raw and raw[spec.timestamp].isna().all():
        ignored.append(spec.timestamp)
    raw = raw.drop(columns=ignored, errors="ignore")
    missing = [n for n, c in spec.columns.items() if c.required and n not in raw]
    if missing:
        raise DataRefused(
            f"{source}: the column{'s' * (len(missing) > 1)} {', '.join(missing)} "
            f"of the spec {spec.name!r} {'are' if len(missing) > 1 else 'is'} missing; "
            f"found {', '.join(map(str, raw.columns))}"
        )
    if raw.empty:
        raise DataRefused(f"{source}: the file has a header but no rows")
    checked: dict[str, Any] = {}
    problems: list[pd.DataFrame] = []
    for name in raw:
        values, bad, expectation = _convert(str(name), raw[name], spec)
        checked[str(name)] = values
        if bad is not None and bad.any():
            at = np.flatnonzero(bad)
            problems.append(
                pd.DataFrame(
                    {
                        "line": at + 2,  # the header is line 1
                        "column": name,
                        "expectation": expectation,
                        "value": raw[name].iloc[at].astype(object).to_numpy(),
                    }
                )
            )
    names = ["line", "column", "expectation", "value"]
    rejected = (
        pd.concat(problems).sort_values("line", kind="stable", ignore_index=True)
        if problems
        else pd.DataFrame(columns=names)
    )
    kept = np.ones(len(raw), bool)
    kept[rejected["line"].to_numpy(int) - 2] = False
    frame = pd.DataFrame(checked, index=range(len(raw)))[kept].reset_index(drop=True)
    return Dataset(frame, spec, source, rejected)


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


def text_or_none(value: Any) -> str | None:
    """A category's value as every path reads it: trimmed, and None for what counts as missing."""
    text = str(value).strip()
    return None if text in _MISSING or text == "<NA>" else text


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


def _read(path: Path) -> pd.DataFrame:
    if not path.exists():
        raise FraudrayError(f"{path}: no such file")
    if path.is_dir():
        raise FraudrayError(f"{path}: is a folder; give a CSV or Parquet file")
    if path.stat().st_size == 0:
        raise DataRefused(f"{path}: the file is empty")
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        return read_csv(path, source=str(path))
    except PermissionError:
        raise FraudrayError(f"{path}: may not be read") from None
    except (OSError, ValueError) as error:  # pyarrow's errors are of these two
        raise DataRefused(f"{path}: is not a readable Parquet file: {_line(error)}") from None


def _number_lines(rejected: pd.DataFrame, path: Path) -> None:
    """Count blank and wrapped lines too: `line` becomes where each row begins in the file."""
    begins = 1
    found: list[int] = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            for row in reader:
                if "".join(row).strip():
                    found.append(begins)
                begins = reader.line_num + 1
    except (csv.Error, UnicodeDecodeError):
        return  # a field longer than csv reads: the count of rows is the best there is
    rejected["line"] = rejected["line"].map(dict(enumerate(found, 1))).fillna(rejected["line"])
    rejected["line"] = rejected["line"].astype(int)


def _convert(
    name: str, raw: pd.Series[Any], spec: DatasetSpec
) -> tuple[Any, NDArray[np.bool_] | None, str]:
    """Values of one column, a mask of its bad rows, and what a value should have been."""
    missing = raw.isna().to_numpy()
    if name == spec.label:
        values = _booleans(raw)
        return np.nan_to_num(values).astype(np.int8), np.isnan(values), "0 or 1"
    column = spec.columns.get(name)
    if column is None or column.role in ("entity", "annotation"):
        return _texts(raw), None, ""
    if column.role == "timestamp":
        # pandas also takes words such as "now" for a time.
        dated = raw.astype(str).str.match(r"\s*\d{4}")
        times = pd.to_datetime(raw.where(dated), format="ISO8601", utc=True, errors="coerce")
        moments = times.dt.tz_localize(None).to_numpy("datetime64[us]")
        return moments, np.isnat(moments), "an ISO 8601 date and time"
    if column.type == "category":
        texts = _texts(raw)
        return texts, texts.str.len().gt(TEXT_LIMIT).to_numpy(bool), column.expectation
    if column.type == "boolean":
        values = _booleans(raw)
        return values, np.isnan(values) & ~missing, column.expectation
    if raw.dtype.kind in "mMb":  # pandas would take times for nanoseconds, booleans for 0 and 1
        return np.full(len(raw), np.nan), ~missing, column.expectation
    numbers = pd.to_numeric(raw, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    bad = ~np.isfinite(numbers) & ~missing
    if column.minimum is not None:
        bad |= numbers < column.minimum
    if column.maximum is not None:
        bad |= numbers > column.maximum
    if column.integer:
        bad |= np.isfinite(numbers) & (numbers != np.floor(numbers))
    return numbers, bad, column.expectation


def _booleans(raw: pd.Series[Any]) -> NDArray[np.float64]:
    text = raw.astype(object).map(lambda v: str(v).strip().lower(), na_action="ignore")
    return np.asarray(text.map(_BOOLEAN).to_numpy(na_value=np.nan), np.float64)


def _texts(raw: pd.Series[Any]) -> pd.Series[Any]:
    """Texts and None; the type is given because pandas would infer its own, with NaN."""
    return pd.Series([text_or_none(v) for v in raw.tolist()], dtype=object)


def _write_rejected(rejected: pd.DataFrame, path: Path) -> Path:
    name = f"{path.stem}.rejected.csv"
    for target in (path.parent / name, Path(name)):
        try:
            rejected.to_csv(target, index=False)
        except OSError:
            continue
        return target
    raise FraudrayError(f"{name}: cannot be written, neither beside the file nor here")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
