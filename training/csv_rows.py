"""Where the rows and values of CSV begin and end: what stands inside quotes ends none."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_QUOTED = re.compile(rb'(?:\A|(?<=[,\n\r])) *"[^"]*(?:""[^"]*)*(?:"|\Z)')
_COMMA, _LF, _CR, _QUOTE = b',\n\r"'

Positions = NDArray[np.int64]


class Rows(NamedTuple):
    """The rows of a text that are not blank; pandas skips lines of spaces and tabs.

    Attributes
    ----------
    starts, stops
        Where they begin, and where the next line does; shape (n,).
    values
        How many each has, shape (n,).
    """

    starts: Positions
    stops: Positions
    values: Positions


class Misfit(NamedTuple):
    """A line that is, or belongs to, a row with another number of values than was wanted."""

    line: int
    values: int
    wanted: int


def row_ends(text: bytes) -> Positions:
    """Positions of the line breaks that end a row: those outside quotes; of CR LF the LF.

    A CR that ends the text is none: what follows may be its LF.
    """
    raw = np.frombuffer(text, np.uint8)
    return _unquoted(text, np.flatnonzero((raw == _LF) | _lone_returns(text, raw)))


def rows_of(text: bytes) -> Rows:
    """Find the rows and count their values."""
    ends = row_ends(text)
    starts, stops = np.r_[0, ends + 1], np.r_[ends + 1, len(text)]
    raw = np.frombuffer(text, np.uint8)
    solid = np.zeros(len(raw) + 1, np.int32)
    np.cumsum(~np.isin(raw, (32, 9, _LF, _CR)), out=solid[1:])
    there = solid[stops] > solid[starts]
    starts, stops = starts[there], stops[there]
    commas = _unquoted(text, np.flatnonzero(raw == _COMMA))
    values = np.searchsorted(commas, stops) - np.searchsorted(commas, starts)
    return Rows(starts, stops, np.asarray(values + 1, np.int64))


def all_rows_have(values: int, text: bytes) -> bool:
    """Whether every line is a row of that many values: `rows_of` in a tenth of the time.

    It may say no where `rows_of` says yes.
    """
    if values < 2:  # then a blank line looks like a row
        return False
    raw = np.frombuffer(text, np.uint8)
    if _lone_returns(text, raw).any():
        return False
    marks = _unquoted(text, np.flatnonzero((raw == _COMMA) | (raw == _LF)))
    if len(text) and not text.endswith(b"\n"):
        marks = np.r_[marks, len(text)]
    if len(marks) % values:
        return False
    found = np.r_[raw, np.uint8(_LF)][marks].reshape(-1, values)
    return bool((found[:, :-1] == _COMMA).all() and (found[:, -1] == _LF).all())


def fitting(text: bytes, values: int, line: int) -> tuple[bytes, tuple[Misfit, ...]]:
    """The rows with so many values, each ended by a line feed, and the lines of the others.

    Parameters
    ----------
    line
        That the text begins at.

    Raises
    ------
    ValueError
        If the last of the others opens a quote and never closes it.
    """
    text = _with_line_feeds(text)
    rows = rows_of(text)
    odd = rows.values != values
    if not odd.any():
        return text, ()
    starts, stops = rows.starts[odd], rows.stops[odd]
    begun, ended = line + _breaks_before(text, starts), line + _breaks_before(text, stops - 1)
    if stops[-1] == len(text) and _unclosed(text[int(starts[-1]) :]):
        raise ValueError(f"a quote in line {begun[-1]} is opened and never closed")
    # A stray quote may make one row of many lines: each of them counts.
    misfits = tuple(
        Misfit(there, found, values)
        for first, last, found in zip(
            begun.tolist(), ended.tolist(), rows.values[odd].tolist(), strict=True
        )
        for there in range(first, last + 1)
    )
    edges = [0, *np.stack([starts, stops], axis=1).ravel().tolist(), len(text)]
    kept = zip(edges[0::2], edges[1::2], strict=True)
    return b"".join(text[start:stop] for start, stop in kept), misfits


def lines_of(text: bytes, values: int, line: int) -> Positions:
    """The line that each row with so many values begins at, where the text begins at a line."""
    rows = rows_of(text)
    return line + _breaks_before(text, rows.starts[rows.values == values])


def line_breaks(text: bytes) -> int:
    """How many lines end in it, whatever ends them."""
    return text.count(b"\n") + text.count(b"\r") - text.count(b"\r\n")


def _with_line_feeds(text: bytes) -> bytes:
    """Rows that a CR alone ends, ended by an LF: pandas loses a value after an empty one."""
    ends = row_ends(text)
    raw = np.frombuffer(text, np.uint8)
    alone = ends[raw[ends] == _CR]
    if not len(alone):
        return text
    changed = raw.copy()
    changed[alone] = _LF
    return changed.tobytes()


def _breaks_before(text: bytes, at: Positions) -> Positions:
    raw = np.frombuffer(text, np.uint8)
    breaks = np.flatnonzero((raw == _LF) | _lone_returns(text, raw))
    return np.searchsorted(breaks, at).astype(np.int64)


def _unclosed(row: bytes) -> bool:
    """Whether the last quote that the row opens is not closed."""
    quoted = [found[0] for found in _QUOTED.finditer(row)]
    return bool(quoted) and quoted[-1].count(b'"') % 2 == 1


def _lone_returns(text: bytes, raw: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which bytes are a CR with something else than an LF after it."""
    if text.count(b"\r") == text.count(b"\r\n"):
        return np.zeros(1, np.bool_)
    return np.asarray((raw == _CR) & (np.r_[raw[1:], np.uint8(_LF)] != _LF))


def _unquoted(text: bytes, at: NDArray[np.intp]) -> Positions:
    """Those of the positions that are outside quotes."""
    if b'"' not in text:
        return at.astype(np.int64, copy=False)
    raw = np.frombuffer(text, np.uint8)
    quotes = np.flatnonzero(raw == _QUOTE)
    opening, closing = quotes[0::2], quotes[1::2]
    before = raw[opening - 1][opening > 0]
    after = raw[closing[closing + 1 < len(raw)] + 1]
    if np.isin(before, list(b',\n\r"')).all() and np.isin(after, list(b',\n\r"')).all():
        within = np.searchsorted(quotes, at) % 2 == 1
    else:
        # Quotes inside values that are not quoted as a whole mean nothing; only a scan tells.
        spans = np.array([m.span() for m in _QUOTED.finditer(text)], np.int64).reshape(-1, 2)
        begun = np.searchsorted(spans[:, 0], at, side="right")
        within = at < np.r_[0, spans[:, 1]][begun]
    return np.asarray(at[~within], np.int64)
