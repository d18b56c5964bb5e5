"""What a column looks like by its name and values, which are read as the checks on a file do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.audit.findings import later
from training.convert import numbers_of, texts_of
from training.spec import TEXT_LIMIT

FEW = 20
"""Distinct texts up to which a form can offer them all, and a number is hardly a long tail."""
MANY = (50, 0.05)
"""Distinct texts, and their share of the rows: above both, a text names rather than sorts."""
LONG_TAIL = 5.0
"""The 99th percentile in medians from which a number has a long tail; an even spread has 2, an
exponential one 6.6."""

_BOOLEANS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}
_WHO = "customer|client|user|account|acct|card|cc|member|payer|sender|holder|cust|name"
_ENTITY = re.compile(rf"(?:{_WHO})+(id|uuid|number|num|no|nr|key|hash|ref|orig)?")
_STEMS = f"transaction|trans|trx|txn|tx|payment|order|invoice|event|row|record|session|{_WHO}"
_IDENTIFIER = re.compile(rf"(?:{_STEMS})(?:id|number|num|no|nr|ref|hash)|index|transaction|rownum")
_NAMES_SOMETHING = {"id", "ids", "uuid", "guid", "hash", "ref", "reference"}
_TIMES = {"time", "timestamp", "ts", "date", "datetime", "dt", "unixtime"}
_START = 1_000  # rows that settle most questions
_SECONDS = 1e11  # since 1970 it would be the year 5138
_NOT_THE_PAYMENT = {"birth", "dob", "birthday", "expiry", "expires", "opened", "signup", "joined"}


@dataclass(frozen=True)
class Looks:
    """One column of some rows.

    Attributes
    ----------
    name
        The name of the column.
    raw
        Shape (n,), as it was read.
    """

    name: str
    raw: pd.Series[Any]

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The name in lower-case words: `customerId` is customer, id."""
        found = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", self.name)
        return tuple(word.lower() for word in found)

    @cached_property
    def compact(self) -> str:
        """The name in small letters without anything between them."""
        return "".join(self.words)

    @cached_property
    def empty(self) -> NDArray[np.bool_]:
        """Shape (n,), where there is no value at all."""
        return np.asarray(self.raw.isna(), bool)

    @cached_property
    def typed(self) -> bool:
        """The file itself says that these are numbers."""
        return pd.api.types.is_numeric_dtype(self.raw) and self.raw.dtype.kind in "iuf"

    @cached_property
    def texts(self) -> pd.Series[Any]:
        """Shape (n,), trimmed texts and None; the type is given as pandas would infer its own."""
        return texts_of(self.raw)

    @cached_property
    def missing(self) -> NDArray[np.bool_]:
        """Shape (n,), where a value counts as missing."""
        return self.empty if self.typed else self.texts.isna().to_numpy(bool)

    @cached_property
    def distinct(self) -> int:
        """How many different values there are, missing ones aside."""
        return int((self.raw if self.typed else self.texts).nunique())

    @cached_property
    def counts(self) -> pd.Series[int]:
        """How often each text occurs, the most frequent first, equals in order of the alphabet."""
        counts = self.texts.value_counts()
        return counts.sort_index(key=lambda i: i.astype(str)).sort_values(
            ascending=False, kind="stable"
        )

    @cached_property
    def numbers(self) -> NDArray[np.float64] | None:
        """The known values as numbers, shape (k,) in the order of the rows; None if one is not.

        Texts such as 01234 are codes: as numbers they would lose their zeros.
        """
        if self.raw.dtype.kind in "mMb" or self.empty.all():
            return None
        known = self.raw[~self.empty]
        if self.typed:
            numbers = numbers_of(known)
            return numbers if np.isfinite(numbers).all() else None
        place, different = None, known
        if known.dtype == "str":  # each text is read once
            place, found = pd.factorize(known)
            different = pd.Series(found)
        numbers = numbers_of(different)
        if not np.isfinite(numbers).all():
            return None
        if different.astype("str").str.match(r"\s*[+-]?0\d").any():
            return None
        return numbers if place is None else numbers[place]

    @cached_property
    def almost_numbers(self) -> str:
        """A value that keeps a column from being numbers, where nearly all values are some."""
        if self.raw.dtype.kind in "mMb":
            return ""
        known = self.raw[~self.missing] if self.typed else self.texts[~self.missing]
        found = pd.to_numeric(known, errors="coerce").to_numpy(np.float64, na_value=np.nan)
        odd = ~np.isfinite(found)
        few = odd.sum() > 0 and (self.typed or odd.sum() <= 0.1 * len(known))
        return str(known[odd].iloc[0]) if few else ""

    @cached_property
    def whole(self) -> bool:
        """Numbers without a fraction, and not written with one."""
        if self.numbers is None or (self.numbers != np.floor(self.numbers)).any():
            return False
        return self.typed or not self.raw.astype("str").str.contains(r"[.eE]").any()

    @cached_property
    def booleans(self) -> bool:
        """Holds 0 and 1, or false and true, and nothing else."""
        if self.distinct > len(_BOOLEANS):
            return False
        known = {str(v).strip().lower() for v in self.raw[~self.empty].unique()}
        return known <= set(_BOOLEANS) and len({_BOOLEANS[v] for v in known}) == 2

    @property
    def two_values(self) -> bool:
        """Holds two values, or several ways to write false and true."""
        start = Looks(self.name, self.raw.head(_START))  # most columns hold more there already
        if len(self.raw) > _START and start.distinct > len(_BOOLEANS):
            return False
        return self.booleans or self.distinct == 2

    @cached_property
    def moments(self) -> bool:
        """Every value is a date and time (ISO 8601)."""
        known = self.raw[~self.empty]
        # Bare digits are more often a code than a year.
        for some in (known.head(_START), known):
            if not len(some) or not some.astype(str).str.match(r"\s*\d{4}(-\d|\d{4}T)").all():
                return False
        if self.numbers is not None:
            return False
        times = pd.to_datetime(known, format="ISO8601", utc=True, errors="coerce")
        return bool(times.notna().all())

    @property
    def orders_rows(self) -> int:
        """How well it would serve as the time of the payment: 0 is not at all."""
        if self.empty.any() or self.from_later or _NOT_THE_PAYMENT & set(self.words):
            return 0
        named = bool(_TIMES & set(self.words))
        if self.moments:
            return 3 if named else 2
        return int(named and self.rises and self.within(-_SECONDS, _SECONDS))

    @property
    def rises(self) -> bool:
        """Numbers that never fall from row to row, and not one number only."""
        return self.numbers is not None and self.distinct > 1 and bool(
            (np.diff(self.numbers) >= 0).all()
        )  # fmt: skip

    @property
    def milliseconds(self) -> bool:
        """Named like a time, with numbers that are too large for seconds."""
        named = bool(_TIMES & set(self.words))
        return named and self.numbers is not None and bool(self.numbers.max() > _SECONDS)

    @property
    def names_someone(self) -> bool:
        """Says who pays: named so, and with values that come again."""
        match = _ENTITY.fullmatch(self.compact)
        if not match or not (self.numbers is None or self.whole) or self.moments:
            return False
        comes_again = 1 < self.distinct < int((~self.missing).sum())
        return comes_again and (match[1] is not None or self.distinct > FEW)

    @property
    def numbered(self) -> bool:
        """Whole numbers that rise by one from row to row."""
        return self.whole and len(self.raw) > 2 and not self.empty.any() and bool(
            self.numbers is not None and (np.diff(self.numbers) == 1).all()
        )  # fmt: skip

    @property
    def names_rows(self) -> bool:
        """Named like an identifier."""
        last = self.words[-1:]
        return bool(_NAMES_SOMETHING & set(last) or _IDENTIFIER.fullmatch(self.compact))

    @property
    def all_different(self) -> bool:
        """No text comes twice, in more rows than a few."""
        known = int((~self.missing).sum())
        if self.typed or self.numbers is not None or self.almost_numbers:
            return False
        return known > FEW and self.distinct == known

    @property
    def from_later(self) -> bool:
        """Named like something that is known only after the payment is decided."""
        return later(self.name)

    @property
    def too_many(self) -> bool:
        """So many different texts that each says little."""
        return self.distinct > MANY[0] and self.distinct > MANY[1] * len(self.raw)

    @property
    def too_long(self) -> bool:
        """Holds texts that neither a file nor a request may hold."""
        return bool(self.texts.str.len().gt(TEXT_LIMIT).any())

    @property
    def clock(self) -> bool:
        """Named like the hour of the day, with values that can be one."""
        named = self.compact in ("localtime", "timeofday") or (
            "hour" in self.words and not {"last", "per", "past", "since", "in"} & set(self.words)
        )
        return named and self.within(0, 24)

    @property
    def week(self) -> bool:
        """Named like what follows the day of the week."""
        return bool({"weekend", "weekday", "workday"} & {*self.words, self.compact})

    @property
    def share(self) -> bool:
        """Named like a share of one, with values that can be one."""
        names = {"share", "probability", "prob", "fraction", "proportion"}
        return bool(names & set(self.words)) and self.within(0, 1)

    def within(self, low: float, high: float) -> bool:
        """Whether every number lies in a range."""
        return self.numbers is not None and bool(
            ((self.numbers >= low) & (self.numbers <= high)).all()
        )

    @property
    def long_tail(self) -> bool:
        """Not negative, of many values, and the largest lie far above the middle."""
        if self.numbers is None or self.distinct <= FEW or self.numbers.min() < 0:
            return False
        middle, high = np.quantile(self.numbers, (0.5, 0.99))
        return bool(high > LONG_TAIL * middle)
