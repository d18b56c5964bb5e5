"""Propose a spec from rows of a file, with a reason for every column.

The rows show what the values are, never what they mean: which columns are known when a payment is
decided, and which ranges hold, a person has to check. The file says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.convert import readable
from training.errors import DataRefused, UsageError, printable
from training.propose import label as labels
from training.propose.looks import FEW, LONG_TAIL, Looks
from training.propose.toml import comment, fields, key
from training.propose.unfit import no_feature
from training.spec import HOUR_OF_DAY, NAME_LIMIT, DatasetSpec, is_name

_CHECKS = (
    "- Columns: every feature must be known when the payment is decided. Give any other one "
    'role = "annotation" and type = "text", and no other field.',
    "- Ranges: minimum and maximum are for every payment to come. A row outside is set aside, a "
    "request refused.",
    "- Costs: what a missed fraud and a false alarm cost. The two numbers are only a start.",
)
_AMOUNTS = ("amount", "amt", "transactionamount", "transactionamt", "paymentamount")
_UNITS = ("seconds", "minutes", "hours", "days", "months", "years")


@dataclass(frozen=True)
class Proposal:
    """A spec that accepts the rows it was made from, those without a label aside.

    Attributes
    ----------
    reasons
        Why each column, and the label, was taken for what it is; also of columns left out.
    seen
        The rows that were looked at, in words.
    """

    spec: DatasetSpec
    reasons: dict[str, str]
    seen: str

    def toml(self) -> str:
        """The spec as a file with comments, which `DatasetSpec.load` reads back to an equal one."""
        spec = self.spec
        lines = [
            *comment(f"Proposed from {self.seen}. Check by hand, since no file can tell:"),
            *comment("- Label: " + self.reasons[spec.label], indent="  "),
            *(line for text in _CHECKS for line in comment(text, indent="  ")),
            "",
            *fields({"name": spec.name, "label": spec.label, "label_values": spec.label_values}),
            *fields({"description": spec.description}),
            "",
            "[costs]",
            *fields(spec.costs.model_dump()),
        ]  # fmt: skip
        for name, column in spec.columns.items():
            lines += ["", *comment(self.reasons[name]), f"[columns.{key(name)}]"]
            lines += fields(column.model_dump(exclude_defaults=True))
        for name in [n for n in self.reasons if n not in spec.columns and n != spec.label]:
            lines += ["", *comment(f"{titled(name)}: {self.reasons[name]}")]
        return "\n".join(lines) + "\n"


def titled(name: str) -> str:
    """A column's name as it may stand in a message."""
    return printable(name) or "the column without a name"


def propose(
    frame: pd.DataFrame, *, name: str, label: str | None = None, seen: str | None = None
) -> Proposal:
    """Propose a spec for rows of a labelled file.

    Whether a column says the same as the label, or gives it away by being missing, is judged on all
    the rows, since there is no split yet: look at a file that you also measure a model on, and
    these two judgements owe something to its test rows. The audit judges again on training rows.

    Parameters
    ----------
    frame
        Shape (n, columns), as read: texts with NaN for missing ones, or the types of the file.
    name
        Of the spec.
    label
        The column that says what is fraud; found by its name and values if not given.
    seen
        The rows in words, such as `the first 100,000 rows`, where the file has more.

    Raises
    ------
    UsageError
        If the label is not one column of two values, one that is named like it cannot be it, or no
        column can be a feature.
    DataRefused
        If there are no rows, or two columns have the same name.
    """
    if frame.empty:
        raise DataRefused("the file has no rows to propose a spec from")
    names = [str(column) for column in frame.columns]
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise DataRefused(f"the file has the columns {', '.join(map(repr, twice))} twice")
    seen = seen or f"{len(frame):,} rows"

    def look(column: str) -> Looks:
        # Made anew each time: the texts of every column at once would fill the memory.
        return Looks(column, _plain(frame.iloc[:, names.index(column)]))

    named = [n for n in names if is_name(n)]
    found = labels.find(named, look, wanted=label, seen=seen)
    moment, person = _roles([n for n in named if n != found.name], look)
    columns: dict[str, dict[str, Any]] = {}
    reasons = {found.name: found.reason}
    amounts: list[str] = []
    for column in (n for n in names if n != found.name):
        if not is_name(column):
            reasons[column] = f"Left out: a name has 1 to {NAME_LIMIT} printable characters."
            continue
        columns[column], reasons[column] = _column(look(column), found.fraud, moment, person)
        payable = look(column).compact in _AMOUNTS and columns[column].get("minimum") == 0
        if payable and "role" not in columns[column]:
            amounts.append(column)
    if all("role" in column for column in columns.values()):
        why = "; ".join(f"{titled(n)}: {reasons[n]}" for n in names if n != found.name)
        raise UsageError(f"no column can be a feature; {why or 'there is only the label'}")
    content: dict[str, Any] = {"name": name, "label": found.name, "columns": columns}
    content["label_values"] = list(found.values)
    content["description"] = (
        f"One row per payment; {found.name} {printable(found.values[1])} is fraud."
    )
    content["costs"] = {"amount": amounts[0] if amounts else None}
    return Proposal(DatasetSpec.from_dict(content, "the proposal"), reasons, seen)


def spec_name(file: str) -> str:
    """Name a spec after a file.

    Examples
    --------
    >>> spec_name("data/Card payments_2024.csv")
    'card-payments-2024'
    """
    stem = file.replace("\\", "/").rstrip("/").rpartition("/")[2].partition(".")[0]
    name = re.sub("[^a-z0-9]+", "-", stem.lower()).strip("-")[:63].rstrip("-")
    return name or "payments"


def _plain(raw: pd.Series[Any]) -> pd.Series[Any]:
    raw = raw.reset_index(drop=True)
    raw = raw.astype(object) if isinstance(raw.dtype, pd.CategoricalDtype) else raw
    return readable(raw)


def _roles(names: Sequence[str], look: Callable[[str], Looks]) -> tuple[str | None, str | None]:
    """The columns that say when a payment was made and who pays."""
    order = {n: look(n).orders_rows for n in names}
    moment = max(order, key=lambda n: order[n], default=None)
    person = next((n for n in names if look(n).names_someone), None)
    return (moment if moment is not None and order[moment] else None), person


def _column(
    look: Looks, fraud: NDArray[np.bool_], moment: str | None, person: str | None
) -> tuple[dict[str, Any], str]:
    """What one column is in the spec, and why."""
    if look.name == moment:
        how = (
            "a date and time (ISO 8601) in every row"
            if look.moments
            else "a number that never falls, taken for seconds"
        )
        kind = "text" if look.moments else "number"
        return {"role": "timestamp", "type": kind}, f"Orders the rows: {how}."
    if look.name == person:
        why = f"Says who pays: {look.distinct:,} values that come again."
        return {"role": "entity", "type": "text"}, why
    if why := no_feature(look, fraud, moment, person):
        return {"role": "annotation", "type": "text"}, f"No feature: {why}."
    return _feature(look)


def _feature(look: Looks) -> tuple[dict[str, Any], str]:
    """A column that feeds the model, and why it is read the way it is."""
    column: dict[str, Any] = {"required": not look.missing.any()}
    if look.booleans:
        often = str(look.counts.index[0]).lower() in ("1", "1.0", "true")
        column |= {"type": "boolean", "example": int(often)}
        if look.week:
            column["cycle"] = "week"
        return column, "Holds 0 and 1, or false and true."
    if look.numbers is None or look.names_rows:
        column |= {"type": "category", "example": str(look.counts.index[0])}
        if look.distinct <= FEW:
            column["categories"] = sorted(map(str, look.counts.index))
        return column, f"{look.distinct:,} different texts."
    numbers = np.sort(look.numbers)
    low, middle, high = numbers[0], numbers[(len(numbers) - 1) // 2], numbers[-1]
    column |= {"integer": look.whole, "example": float(middle)}
    reason = f"{'Whole numbers' if look.whole else 'Numbers'} from {low:,g} to {high:,g}"
    if low >= 0:
        column["minimum"] = 0
    if look.clock:
        column |= {"maximum": 24, "unit": HOUR_OF_DAY, "cycle": "day"}
        reason += "; an hour of the day by its name"
    elif look.share:
        column["maximum"] = 1
        reason += "; a share by its name"
    elif look.words[-1:] and look.words[-1] in _UNITS:
        column["unit"] = look.words[-1]
    if look.long_tail and "maximum" not in column:
        column["skewed"] = True
        reason += (
            f"; skewed: 1 in 100 is above {np.quantile(numbers, 0.99):,g}, more than "
            f"{LONG_TAIL:g} times the median {middle:,g}"
        )
    return column, reason + "."
