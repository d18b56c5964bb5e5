"""Realistic card-not-present payments, seeded, of any size.

Customers open accounts, add payment methods and shop at local hours; fraud comes as series of
payments that follow a pattern. Every value a pattern uses is also used by honest customers, so
what gives a fraud away is a combination of columns, never one of them.

The constants are calibrated together; docs/simulator.md has what models reach on the payments.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv, parquet

from training.errors import UsageError

Array = NDArray[Any]

CATEGORIES: Final = ("electronics", "food", "shopping")
METHODS: Final = ("creditcard", "paypal", "storecredit")

# Time. The period is fixed, so a seed means the same file on every day.
DAY: Final = 86_400
SPAN_DAYS: Final = 180
START: Final = np.datetime64("2025-07-05T00:00:00", "s")  # 180 days later is 2026-01-01
UTC_OFFSETS: Final = ((0, 1, 2), (0.2, 0.6, 0.2))  # hours ahead of UTC, share of customers

# Customers.
PAYMENTS_PER_CUSTOMER: Final = 6
ESTABLISHED: Final = 0.7  # of the customers joined before the period,
NEWCOMER_PAYMENTS: Final = 0.25  # the others make this share of the payments:
BUYS_AT_ONCE: Final = 0.2  # these on the day they join, as fresh accounts of fraudsters do
ACCOUNT_DAYS: Final = (500, 1_800)  # mean and longest age of an account at the start
LOYALTY: Final = 1.6  # above 1: few customers make many of the payments
NEWCOMER_WAIT: Final = 40  # mean days from joining to another payment
NIGHT_OWLS: Final = 0.08  # of the customers live later, so night alone is no proof,
NIGHT_SHIFT: Final = 7.0  # by so many hours
ORIGINAL_METHOD: Final = 0.6  # of the customers pay with what they joined with
NEW_METHOD: Final = 0.018  # of honest payments come with a method just added, as most frauds do,
NEW_METHOD_DAYS: Final = 0.05  # at most hours before

# Baskets: median EUR and log-sigma; wide enough that high and tiny amounts are ordinary.
BASKETS: Final = {"electronics": (110, 0.95), "food": (26, 0.75), "shopping": (42, 0.95)}
CATEGORY_SHARES: Final = (0.25, 0.4, 0.35)
METHOD_SHARES: Final = (0.6, 0.32, 0.08)
PAYPAL_DRIFT: Final = 0.06  # paypal gains this share from cards over the period
ITEMS_TAIL: Final = 2.2  # Pareto exponent: four of five baskets hold one item
MOST_ITEMS: Final = 200
LEAST_AMOUNT: Final = 0.5

# Labels and gaps.
FRAUD: Final = 0.0105  # with the two kinds of label noise about 1 % is labelled
NEVER_REPORTED: Final = 0.05  # of frauds
WRONGLY_REPORTED: Final = 0.00015  # of honest payments
NO_WEEKEND: Final = 0.005  # missing at random, whatever the label
NO_CATEGORY: Final = 0.01


class Pattern(NamedTuple):
    """How one kind of fraud is made; shares are in the order of CATEGORIES and METHODS."""

    share: float  # of all frauds
    payments: tuple[int, int]  # in one series, least and most
    gap: float  # mean minutes between two of them
    account_days: float | None  # mean age of the fraudster's own account; None: a customer's
    method_days: float  # mean age of the payment method at the first payment, half are 0
    hour: tuple[float, float]  # mean and standard deviation, local
    amount: tuple[float, float]  # median EUR and log-sigma
    categories: tuple[float, float, float]
    methods: tuple[float, float, float]
    trend: float  # below 1 it grows over the period, above 1 it fades


# Series are short: a long one is many near-equal rows, and a score on a small file would be luck.
# fmt: off
PATTERNS: Final = {
    "new-account-burst": Pattern(
        share=0.42, payments=(2, 4), gap=50, account_days=0.8, method_days=0.02, hour=(2, 2.5),
        amount=(400, 0.45), categories=(0.85, 0.02, 0.13), methods=(0.8, 0.2, 0), trend=1.05,
    ),
    "account-takeover": Pattern(
        share=0.31, payments=(1, 2), gap=25, account_days=None, method_days=0.02, hour=(3.5, 2.5),
        amount=(360, 0.45), categories=(0.75, 0.05, 0.2), methods=(0.8, 0.2, 0), trend=0.9,
    ),
    "card-testing": Pattern(
        share=0.14, payments=(3, 6), gap=4, account_days=12, method_days=0.005, hour=(13, 7),
        amount=(1.6, 0.5), categories=(0.1, 0.5, 0.4), methods=(1, 0, 0), trend=1,
    ),
}
# fmt: on
# The rest of the frauds: honest payments in all but the label and a dearer basket. No model
# finds these, which keeps a perfect score out of reach.
FRIENDLY: Final = "friendly-fraud"
FRIENDLY_AMOUNT: Final = 1.5


class Customers(NamedTuple):
    """Established accounts first, then newcomers; times are local days since the start."""

    established: int
    joined: Array
    added: Array  # when the payment method in use was added
    offset: Array  # seconds ahead of UTC
    shift: Array  # hours a night owl lives later
    method: Array


class Payments(NamedTuple):
    """One array per quantity, one value per payment; times are local days since the start."""

    customer: Array
    local: Array
    joined: Array
    offset: Array
    method_age: Array  # days
    method: Array
    category: Array
    items: Array
    amount: Array
    pattern: Array  # 0: honest, then in the order of PATTERNS, then friendly


def simulate(rows: int, *, seed: int = 0) -> pd.DataFrame:
    """Make payments, about 1 % of them fraud, in the columns of the spec `payments`.

    Parameters
    ----------
    rows
        How many payments, 1 or more.
    seed
        0 or more; the same rows and seed give the same payments.

    Returns
    -------
    DataFrame of shape (rows, 12)
        In order of time over 180 days. `timestamp` is a text (ISO 8601, UTC), ages are days,
        `localTime` is the hour of the customer's day, `amount` is EUR. `label` is what was
        reported; `fraudPattern` is the truth, empty for an honest payment.

    Raises
    ------
    UsageError
        If rows is below 1 or seed below 0.

    Examples
    --------
    >>> payments = simulate(2000, seed=7)
    >>> payments.shape
    (2000, 12)
    >>> sorted(set(payments["fraudPattern"]) - {""})
    ['account-takeover', 'card-testing', 'friendly-fraud', 'new-account-burst']
    """
    if rows < 1:
        raise UsageError(f"rows: expected a whole number of 1 or more, got {rows}")
    if seed < 0:
        raise UsageError(f"seed: expected a whole number of 0 or more, got {seed}")
    rng = np.random.default_rng(seed)
    shares = [pattern.share for pattern in PATTERNS.values()]
    ends = np.round(np.cumsum([*shares, 1 - sum(shares)]) * rows * FRAUD).astype(int)
    *counts, friendly = np.diff(ends, prepend=0)  # differences of ends: the counts add up

    customers = _customers(rng, max(2, rows // PAYMENTS_PER_CUSTOMER))
    parts = [_honest(rng, customers, rows - sum(counts))]
    traffic = np.sort(parts[0].local[:: rows // 10_000 + 1])  # frauds come when payments do
    accounts = len(customers.joined)
    for code, (pattern, count) in enumerate(zip(PATTERNS.values(), counts, strict=True), 1):
        part = _series(rng, customers, traffic, pattern, size=count, code=code, account=accounts)
        accounts = max(accounts, int(part.customer.max(initial=0)) + 1)
        parts.append(part)
    payments = Payments(*map(np.concatenate, zip(*parts, strict=True)))
    return _frame(rng, payments, accounts, friendly)


def write(frame: pd.DataFrame, path: Path) -> None:
    """Write payments as CSV or Parquet, by the ending of the path; whole or not at all.

    Parameters
    ----------
    frame
        What `simulate` made.
    path
        Ends in .csv or .parquet. A file of that name is replaced.

    Raises
    ------
    UsageError
        For another ending, or if the folder is missing or cannot be written.

    Examples
    --------
    >>> write(simulate(1000), Path("payments.parquet"))  # doctest: +SKIP
    """
    if path.suffix not in (".csv", ".parquet"):
        raise UsageError(f"{path}: expected a name that ends in .csv or .parquet")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: expected an existing folder, {path.parent} is none")
    table = pa.Table.from_pandas(frame, preserve_index=False)
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        if path.suffix == ".csv":
            plain = csv.WriteOptions(quoting_style="none", quoting_header="none")
            csv.write_csv(table, unfinished, plain)
        else:
            parquet.write_table(table, unfinished)
        unfinished.replace(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        unfinished.unlink(missing_ok=True)


def _customers(rng: np.random.Generator, size: int) -> Customers:
    established = max(1, int(size * ESTABLISHED))
    mean, longest = ACCOUNT_DAYS
    before = -np.minimum(rng.exponential(mean, established), longest) - 1
    joined = np.floor(np.r_[before, rng.integers(0, SPAN_DAYS, size - established)])
    joined += _hours(rng, size) / 24
    later = rng.random(size) * (rng.random(size) > ORIGINAL_METHOD)
    hours, shares = UTC_OFFSETS
    return Customers(
        established=established,
        joined=joined,
        added=joined + later * (SPAN_DAYS - joined),
        offset=np.array(hours)[_pick(rng, shares, size)] * 3600,
        shift=(rng.random(size) < NIGHT_OWLS) * NIGHT_SHIFT,
        method=_pick(rng, METHOD_SHARES, size),
    )


def _honest(rng: np.random.Generator, customers: Customers, size: int) -> Payments:
    established, newcomers = customers.established, len(customers.joined) - customers.established
    new = rng.random(size) < NEWCOMER_PAYMENTS
    rank = rng.random(size) ** LOYALTY
    who = np.where(new, established + rank * newcomers, rank * established).astype(np.int64)
    joined, added = customers.joined[who], customers.added[who]

    first = np.maximum(np.floor(joined), 0)
    wait = rng.exponential(NEWCOMER_WAIT, size) * (rng.random(size) > BUYS_AT_ONCE)
    day = np.where(new, first + wait % (SPAN_DAYS - first), rng.random(size) * SPAN_DAYS)
    local = np.floor(day) + (_hours(rng, size) + customers.shift[who]) % 24 / 24

    method_age = local - np.where(local >= added, added, joined)
    method = customers.method[who]
    fresh = np.flatnonzero(rng.random(size) < NEW_METHOD)
    method_age[fresh] = _fresh_ages(rng, NEW_METHOD_DAYS, len(fresh))
    method[fresh] = _pick(rng, METHOD_SHARES, len(fresh))
    moved = rng.random(size) < PAYPAL_DRIFT / METHOD_SHARES[0] * local / SPAN_DAYS
    method[moved & (method == 0)] = 1

    category = _pick(rng, CATEGORY_SHARES, size)
    items = _items(rng, size)
    medians, sigmas = np.array(list(BASKETS.values())).T
    amount = medians[category] * np.exp(sigmas[category] * rng.normal(size=size)) * items**0.3
    offset, pattern = customers.offset[who], np.zeros(size, np.int8)
    return Payments(
        who, local, joined, offset, method_age, method, category, items, amount, pattern
    )


def _series(
    rng: np.random.Generator,
    customers: Customers,
    traffic: Array,
    pattern: Pattern,
    *,
    size: int,
    code: int,
    account: int,
) -> Payments:
    """`size` payments in series of one pattern; own accounts are numbered from `account`."""
    low, high = pattern.payments
    lengths = rng.integers(low, high + 1, -(-size // low))
    series = np.searchsorted(np.cumsum(lengths), np.arange(size), side="right")
    count = int(series.max(initial=-1)) + 1
    mean, sd = pattern.hour
    hour = (mean + sd * rng.normal(size=count)) % 24
    start = np.floor(np.quantile(traffic, _evenly(rng, count) ** pattern.trend)) + hour / 24
    elapsed = np.cumsum(rng.exponential(pattern.gap / 1440, size))
    elapsed -= elapsed[np.searchsorted(series, np.arange(count))][series]

    if pattern.account_days is None:
        who = rng.integers(0, customers.established, count)
        joined, offset = customers.joined[who], customers.offset[who]
    else:
        who = account + np.arange(count)
        joined = start - rng.exponential(pattern.account_days, count)
        offset = customers.offset[rng.integers(0, len(customers.offset), count)]
    method_age = _fresh_ages(rng, pattern.method_days, count)
    median, sigma = pattern.amount
    return Payments(
        who[series],
        start[series] + elapsed,
        joined[series],
        offset[series],
        method_age[series] + elapsed,
        _pick(rng, pattern.methods, count)[series],
        _pick(rng, pattern.categories, size),
        _items(rng, size),
        median * np.exp(sigma * rng.normal(size=size)),
        np.full(size, code, np.int8),
    )


def _frame(
    rng: np.random.Generator, payments: Payments, accounts: int, friendly: int
) -> pd.DataFrame:
    """Sort by time, dispute `friendly` payments, report the labels, lose some values."""
    size = len(payments.local)
    local = np.minimum((payments.local * DAY).astype(np.int64), SPAN_DAYS * DAY - 1)
    order = np.argsort(local - payments.offset, kind="stable")
    payments = Payments(*(values[order] for values in payments))
    local = local[order]
    day = local // DAY

    pattern, amount = payments.pattern, payments.amount
    honest = np.flatnonzero(pattern == 0)
    disputed = honest[(_evenly(rng, friendly) * len(honest)).astype(np.int64)]
    pattern[disputed] = len(PATTERNS) + 1
    amount[disputed] *= FRIENDLY_AMOUNT

    chance = rng.random(size)
    reported = np.where(pattern > 0, chance >= NEVER_REPORTED, chance < WRONGLY_REPORTED)
    weekday = (START.astype("M8[D]").astype(np.int64) + 3 + day) % 7  # day 0 was a Thursday
    weekend = np.where(rng.random(size) < NO_WEEKEND, np.nan, weekday >= 5)
    category = np.where(rng.random(size) < NO_CATEGORY, -1, payments.category)

    moment = pa.array(START + (local - payments.offset).astype("m8[s]")).cast(pa.string())
    moment = pc.binary_join_element_wise(pc.replace_substring(moment, " ", "T"), "", "Z")
    # Numbers are shuffled, or they would tell which accounts belong to fraudsters.
    names = pc.utf8_lpad(pa.array(rng.permutation(accounts)).cast(pa.string()), 8, "0")
    names = pc.binary_join_element_wise("c", names, "")
    account_days = np.maximum(local / DAY - payments.joined, 0)
    return pd.DataFrame(
        {
            "timestamp": pd.array(moment, dtype="str"),
            "customerId": pd.array(names.take(payments.customer), dtype="str"),
            "accountAgeDays": day - np.floor(payments.joined).astype(np.int64),
            "numItems": payments.items.astype(np.int64),
            "localTime": np.round(local % DAY / 3600, 4),
            "paymentMethod": _texts(METHODS, payments.method),
            "paymentMethodAgeDays": np.round(np.clip(payments.method_age, 0, account_days), 4),
            "Category": _texts(CATEGORIES, category),
            "isWeekend": weekend,
            "amount": np.round(np.maximum(amount, LEAST_AMOUNT), 2),
            "label": reported.astype(np.int64),
            "fraudPattern": _texts(("", *PATTERNS, FRIENDLY), pattern),
        }
    )


def _texts(names: tuple[str, ...], codes: Array) -> Any:
    """Name each code; -1 is a missing value."""
    return pd.array(list(names), dtype="str").take(codes, allow_fill=True)


def _pick(rng: np.random.Generator, shares: tuple[float, ...], size: int) -> Array:
    return np.searchsorted(np.cumsum(shares)[:-1], rng.random(size), side="right").astype(np.int8)


def _items(rng: np.random.Generator, size: int) -> Array:
    return np.minimum(np.floor(1 + rng.pareto(ITEMS_TAIL, size)), MOST_ITEMS)


def _evenly(rng: np.random.Generator, size: int) -> Array:
    """Rise from 0 to 1 with one number in each equal stretch: small files are like large ones."""
    return (np.arange(size) + rng.random(size)) / max(size, 1)


def _fresh_ages(rng: np.random.Generator, mean: float, size: int) -> Array:
    """Ages in days of methods just added, half of them in the payment itself."""
    return rng.exponential(mean, size) * rng.integers(0, 2, size)


def _hours(rng: np.random.Generator, size: int) -> Array:
    """Local hours of honest people: around noon, in the evening, and a few at any time."""
    kind = rng.random(size)
    hour = rng.normal(size=size) * 2.4 + np.where(kind < 0.45, 12.5, 19.5)
    return np.where(kind > 0.95, kind * 480, hour) % 24  # kind * 480: 24 hours over 0.95..1
