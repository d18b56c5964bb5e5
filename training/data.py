"""Read a payments file, check it against the spec, set bad rows aside with their reasons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.errors import DataRefused, FraudrayError
from training.spec import Column, DatasetSpec

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

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Dataset:
        """The given rows, by position or mask."""
        return Dataset(self.frame[rows] if rows.dtype == bool else self.frame.iloc[rows],
                       self.spec, self.source, self.rejected)  # fmt: skip


def load(path: str | Path, spec: DatasetSpec, *, rejected_to: Path | None = None) -> Dataset:
    """Read a CSV or Parquet file and keep the rows that fit the spec.

    Parameters
    ----------
    path
        Ending in .parquet, or anything else for CSV with a header line.
    rejected_to
        Where rows with problems are written, with line, column, expectation and value. Default:
        `<name>.rejected.csv` beside the file, or in the current folder if that cannot be written.

    Raises
    ------
    FraudrayError
        If the file cannot be read.
    DataRefused
        If required columns are missing or more than `MAX_BAD_SHARE` of the rows are bad.
    """
    path = Path(path)
    dataset = check(_read(path), spec, source=str(path))
    if len(dataset.rejected):
        written = _write_rejected(dataset.rejected, path, rejected_to)
        bad = dataset.rejected["line"].nunique()
        total = bad + len(dataset)
        if bad > MAX_BAD_SHARE * total:
            examples = "; ".join(
                f"line {p.line}: {p.column} should be {p.expectation}, is {p.value!r}"
                for p in dataset.rejected.head(_SHOWN).itertuples()
            )
            raise DataRefused(
                f"{path}: {bad:,} of {total:,} rows break the spec {spec.name!r} "
                f"({examples}); all are listed in {written}"
            )
    return dataset


def check(raw: pd.DataFrame, spec: DatasetSpec, *, source: str) -> Dataset:
    """Convert a raw frame to the spec's types and set aside the rows that break it.

    Raises
    ------
    DataRefused
        If the frame has no rows or lacks required columns; all of them are named.
    """
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
            np.array(values, object)
            if column.type == "category"
            else np.array(values, np.float64)  # None becomes NaN, True becomes 1
        )
    return columns


def records_of(frame: pd.DataFrame, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Rows as JSON-ready records of the given columns; missing values become null."""
    present = [name for name in names if name in frame]
    values = [[None if pd.isna(v) else v for v in frame[name].tolist()] for name in present]
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
        # As text, so that a problem can quote what the file really holds.
        return pd.read_csv(path, dtype=str, keep_default_na=False, na_values=_MISSING,
                           skipinitialspace=True, on_bad_lines="error")  # fmt: skip
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataRefused(f"{path}: is not a CSV file with a header line: {_line(error)}") from None
    except PermissionError:
        raise FraudrayError(f"{path}: may not be read") from None
    except (OSError, ValueError) as error:  # pyarrow's errors are of these two
        raise DataRefused(f"{path}: is not a readable Parquet file: {_line(error)}") from None


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
        return _texts(raw, missing), None, ""
    if column.role == "timestamp":
        times = pd.to_datetime(raw, format="ISO8601", utc=True, errors="coerce")
        moments = times.dt.tz_localize(None).to_numpy("datetime64[us]")
        return moments, np.isnat(moments), "an ISO 8601 date and time"
    if column.type == "category":
        return _texts(raw, missing), None, ""
    if column.type == "boolean":
        values = _booleans(raw)
        return values, np.isnan(values) & ~missing, column.expectation
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
    return text.map(_BOOLEAN).to_numpy(np.float64, na_value=np.nan)


def _texts(raw: pd.Series[Any], missing: NDArray[np.bool_]) -> pd.Series[Any]:
    """Texts and None; the type is given because pandas would infer its own, with NaN."""
    texts = [None if m else str(v).strip() for v, m in zip(raw.tolist(), missing, strict=True)]
    return pd.Series(texts, dtype=object)


def _write_rejected(rejected: pd.DataFrame, path: Path, to: Path | None) -> Path:
    name = f"{path.stem}.rejected.csv"
    for target in [to] if to else [path.parent / name, Path(name)]:
        try:
            rejected.to_csv(target, index=False)
        except OSError:
            continue
        return target
    raise FraudrayError(f"{name}: the rejected rows can be written neither beside the file nor here")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
