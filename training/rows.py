"""Where the rows of CSV begin and end: a line break inside quotes ends none."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

_QUOTED = re.compile(rb'(?:\A|(?<=[,\n\r])) *"[^"]*(?:""[^"]*)*(?:"|\Z)')


def row_ends(text: bytes) -> NDArray[np.int64]:
    """Positions of the line breaks that end a row: those outside quotes."""
    raw = np.frombuffer(text, np.uint8)
    breaks = np.flatnonzero(raw == 10).astype(np.int64)
    if b'"' not in text:
        return breaks
    quotes = np.flatnonzero(raw == 34)
    opening, closing = quotes[0::2], quotes[1::2]
    before = raw[opening - 1][opening > 0]
    after = raw[closing[closing + 1 < len(raw)] + 1]
    if np.isin(before, list(b',\n\r"')).all() and np.isin(after, list(b',\n\r"')).all():
        within = np.searchsorted(quotes, breaks) % 2 == 1
    else:
        # Quotes inside values that are not quoted as a whole mean nothing; only a scan tells.
        spans = np.array([m.span() for m in _QUOTED.finditer(text)], np.int64).reshape(-1, 2)
        begun = np.searchsorted(spans[:, 0], breaks, side="right")
        within = breaks < np.r_[0, spans[:, 1]][begun]
    return np.asarray(breaks[~within], np.int64)


def row_starts(text: bytes) -> NDArray[np.int64]:
    """Where the rows begin that are not blank: pandas skips lines of spaces and tabs."""
    ends = row_ends(text)
    starts, stops = np.r_[0, ends + 1], np.r_[ends, len(text)]
    raw = np.frombuffer(text, np.uint8)
    solid = np.zeros(len(raw) + 1, np.int32)
    np.cumsum((raw != 32) & (raw != 9) & (raw != 10) & (raw != 13), out=solid[1:])
    return np.asarray(starts[solid[stops] > solid[starts]], np.int64)


def line_breaks(text: bytes) -> int:
    """How many lines end in it, whatever ends them."""
    return text.count(b"\n") + text.count(b"\r") - text.count(b"\r\n")
