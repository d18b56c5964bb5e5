"""Turn raw columns into the spec's types and find the values that break it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute

from training.read import MISSING, Chunk
from training.spec import TEXT_LIMIT, Column, DatasetSpec

PROBLEM = ["line", "column", "expectation", "value"]
"""Columns of a list of problems."""

_BOOLEAN = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0, "false": 0.0, "true": 1.0}
_FIRST, _LAST = -62_135_596_800, 253_402_300_800  # seconds of the years 1 to 9999
_EXACT = 2**53  # from here on a float may stand for several whole numbers

MOST = 1e100
"""Numbers further from 0 are no measurements, and their sums and squares are soon infinite."""

Bad = NDArray[np.bool_]


def text_or_none(value: Any) -> str | None:
    """A category's value as every path reads it: trimmed, and None for what counts as missing."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        # A gap makes floats of whole numbers, and no other text may come of it.
        value = int(value) if -_EXACT < float(value) < _EXACT else value
    text = str(value).strip()
    return None if text in MISSING or text == "<NA>" else text


def texts_of(raw: pd.Series[Any]) -> pd.Series[Any]:
    """Trimmed texts and None, of the type object because pandas would infer its own, with NaN."""
    return pd.Series(_each(raw, text_or_none), dtype=object)


def numbers_of(raw: pd.Series[Any]) -> NDArray[np.float64]:
    """Numbers, shape (n,), with NaN for what is missing or none."""
    if raw.dtype.kind in "mMb":  # pandas would take times for nanoseconds, booleans for 0 and 1
        return np.full(len(raw), np.nan)
    if raw.dtype == "str":
        # Quicker than pandas and stricter: what Arrow reads both read alike.
        with suppress(pa.ArrowInvalid):
            read = pa.chunked_array([pa.array(raw)]).cast(pa.float64())
            return np.asarray(read.to_numpy(), np.float64)
    numbers = pd.to_numeric(raw, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return np.asarray(numbers, np.float64)


def readable(raw: pd.Series[Any]) -> pd.Series[Any]:
    """A column of bytes, as Parquet has them, as texts; any other column as it is."""
    if raw.dtype != object or pd.api.types.infer_dtype(raw) != "bytes":
        return raw
    return raw.map(lambda v: v.decode(errors="replace") if isinstance(v, bytes) else v)


def convert(chunk: Chunk, spec: DatasetSpec) -> tuple[dict[str, Any], Bad, pd.DataFrame]:
    """Convert every column of a chunk.

    Returns
    -------
    dict
        Values by column; where there is a problem they may be anything.
    array
        Shape (n,), true for rows with a problem.
    DataFrame
        One row per problem, the columns of `PROBLEM`, in the order of the lines.
    """
    values: dict[str, Any] = {}
    broken = np.zeros(len(chunk.frame), bool)
    problems = [_misfits(chunk)]
    for name in chunk.frame:
        raw = readable(chunk.frame[name])
        values[str(name)], bad, expectation = _convert(str(name), raw, spec)
        if bad is not None and bad.any():
            at = np.flatnonzero(bad)
            broken |= bad
            problems.append(
                pd.DataFrame(
                    {
                        "line": chunk.lines()[at],
                        "column": name,
                        "expectation": np.broadcast_to(expectation, len(raw))[at],
                        "value": raw.iloc[at].astype(object).to_numpy(),
                    }
                )
            )
    return values, broken, together(problems)


def together(problems: list[pd.DataFrame]) -> pd.DataFrame:
    """Lists of problems as one, in the order of the lines."""
    found = [p for p in problems if len(p)]
    if not found:
        return pd.DataFrame(columns=PROBLEM)
    return pd.concat(found).sort_values("line", kind="stable", ignore_index=True)


def time_expectation(column: Column) -> str:
    """What a value of the timestamp must be, in words."""
    return "a number (of seconds)" if column.type == "number" else "an ISO 8601 date and time"


def _convert(name: str, raw: pd.Series[Any], spec: DatasetSpec) -> tuple[Any, Bad | None, Any]:
    """Values of one column, a mask of its bad rows, and what they (or each) should have been."""
    if name == spec.label:
        values, expectation = _label(raw, spec.label_values)
        return np.nan_to_num(values).astype(np.int8), np.isnan(values), expectation
    column = spec.columns.get(name)
    if column is None or column.role in ("entity", "annotation"):
        return texts_of(raw), None, ""
    if column.role == "timestamp":
        moments = _seconds(raw) if column.type == "number" else _times(raw)
        return moments, np.isnat(moments), time_expectation(column)
    if column.type == "category":
        known = texts_of(raw)
        return known, _each(known, _too_long).astype(bool), column.expectation
    if column.type == "boolean":
        values = _booleans(raw)
        return values, np.isnan(values) & ~_gaps(raw, values), column.expectation
    numbers = numbers_of(raw)
    bad = ~np.isfinite(numbers) & ~_gaps(raw, numbers)
    if column.minimum is not None:
        bad |= numbers < column.minimum
    if column.maximum is not None:
        bad |= numbers > column.maximum
    if column.integer:
        bad |= np.isfinite(numbers) & (numbers != np.floor(numbers))
    if (far := np.isfinite(numbers) & (np.abs(numbers) > MOST) & ~bad).any():
        near = f"a number from {-MOST:g} to {MOST:g}"
        return numbers, bad | far, np.where(far, near, column.expectation)
    return numbers, bad, column.expectation


def nothing_in(raw: pd.Series[Any]) -> bool:
    """Whether every value is missing."""
    return all(isinstance(v, str) and text_or_none(v) is None for v in raw.dropna())


def _gaps(raw: pd.Series[Any], read: NDArray[np.float64]) -> Bad:
    """Which values are missing, shape (n,): absent, or no number and a text that means it.

    The reader of CSV knows these texts; those of Parquet and of frames come here.
    """
    gaps = np.array(raw.isna(), bool)
    at = np.flatnonzero(np.isnan(read) & ~gaps)
    if len(at):
        gaps[at] = [isinstance(v, str) and text_or_none(v) is None for v in raw.iloc[at]]
    return gaps


def _misfits(chunk: Chunk) -> pd.DataFrame:
    """Rows of another length as problems."""
    found = [
        (misfit.line, "the row", _values(misfit.wanted), _values(misfit.values))
        for misfit in chunk.misfits
    ]
    return pd.DataFrame(found, columns=PROBLEM)


def _values(count: int) -> str:
    return f"{count} value{'s' * (count != 1)}"


def _seconds(raw: pd.Series[Any]) -> NDArray[np.datetime64]:
    if raw.dtype.kind == "M":
        return _times(raw)
    seconds = numbers_of(raw)
    known = (seconds >= _FIRST) & (seconds < _LAST)
    moments = np.full(len(raw), np.datetime64("NaT", "us"))
    moments[known] = np.rint(seconds[known] * 1e6).astype(np.int64).astype("datetime64[us]")
    return moments


def _times(raw: pd.Series[Any]) -> NDArray[np.datetime64]:
    if raw.dtype.kind != "M":
        # pandas also takes words such as "now" for a time.
        dated = compute.match_substring_regex(pa.array(raw.astype("str")), r"^\s*\d{4}")
        raw = raw.where(dated.fill_null(False).to_numpy(zero_copy_only=False))
    times = pd.to_datetime(raw, format="ISO8601", utc=True, errors="coerce")
    return np.asarray(times.dt.tz_localize(None).to_numpy("datetime64[us]"))


def _label(raw: pd.Series[Any], values: tuple[str, str]) -> tuple[NDArray[np.float64], str]:
    legitimate, fraud = values
    if {legitimate, fraud} == {"0", "1"}:
        ones = _booleans(raw)
        return (ones if fraud == "1" else 1 - ones), "0 or 1"
    found = {legitimate: 0.0, fraud: 1.0}

    def meaning(value: Any) -> float:
        # A gap makes floats of a column of whole numbers.
        whole = isinstance(value, float) and value.is_integer()
        return found.get(str(int(value) if whole else value).strip(), np.nan)

    return _each(raw, meaning, np.nan).astype(np.float64), f"{legitimate} or {fraud}"


def _booleans(raw: pd.Series[Any]) -> NDArray[np.float64]:
    known = _each(raw, lambda v: _BOOLEAN.get(str(v).strip().lower(), np.nan), np.nan)
    return known.astype(np.float64)


def _too_long(text: str) -> bool:
    return len(text) > TEXT_LIMIT


def _each(raw: pd.Series[Any], meaning: Callable[[Any], Any], missing: Any = None) -> NDArray[Any]:
    """What each value means, asked once per distinct value; shape (n,), objects."""
    if raw.dtype == object and pd.api.types.infer_dtype(raw) not in ("string", "empty"):
        # 1, 1.0 and True are equal and yet not the same text: each is asked.
        gaps = raw.isna().tolist()
        every = [missing if gap else meaning(v) for v, gap in zip(raw.tolist(), gaps, strict=True)]
        return np.array([*every, None], object)[:-1]  # else a list of texts becomes a text array
    if raw.dtype.kind == "f" and isinstance(raw.dtype, np.dtype):
        # Nor are 0.0 and -0.0.
        codes, bits = pd.factorize(raw.to_numpy(np.float64).view(np.int64))
        distinct = bits.view(np.float64).tolist()
    else:
        codes, found = pd.factorize(raw)
        distinct = pd.Series(found).tolist()
    meanings = [missing if pd.isna(v) else meaning(v) for v in distinct]
    table = np.empty(len(meanings) + 1, object)
    table[:-1] = meanings
    table[-1] = missing  # factorize gives -1 for what is missing
    return table[codes]
