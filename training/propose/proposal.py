"""Propose a spec from rows of a file, with a reason for every column.

The rows show what the values are, never what they mean: which columns are known when a payment is
decided, and which ranges hold, a person has to check. The file says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.audit.findings import MISSINGNESS_TELLS
from training.errors import DataRefused, UsageError
from training.propose import label as labels
from training.propose.looks import FEW, LONG_TAIL, MANY, Looks
from training.propose.toml import comment, fields, key
from training.spec import HOUR_OF_DAY, NAME, TEXT_LIMIT, DatasetSpec

_CHECKS = (
    "- Columns: every feature must be known when the payment is decided. Give any other one "
    'role = "annotation" and type = "text", and no other field.',
    "- Ranges: minimum and maximum are for every payment to come. A row outside is set aside, a "
    "request refused.",
    "- Costs: what a missed fraud and a false alarm cost. The two numbers are only a start.",
)
_AMOUNTS = ("amount", "amt", "transactionamount", "transactionamt", "paymentamount")
_UNITS = ("seconds", "minutes", "hours", "days", "months", "years")
_MILLISECONDS = 1e11  # as seconds it would be the year 5138
_RARE = 5  # rows of a class below which missing values may follow it by chance


@dataclass(frozen=True)
class Proposal:
    """A spec that accepts the rows it was made from.

    Attributes
    ----------
    reasons
        Why each column, and the label, was taken for what it is; also of columns left out.
    rows
        How many rows were looked at.
    """

    spec: DatasetSpec
    reasons: dict[str, str]
    rows: int

    def toml(self) -> str:
        """The spec as a file with comments, which `DatasetSpec.load` reads back to an equal one."""
        spec = self.spec
        lines = [
            *comment(f"Proposed from {self.rows:,} rows. Check by hand, since no file can tell:"),
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
            lines += ["", *comment(f"Left out: {name!r}, {self.reasons[name]}")]
        return "\n".join(lines) + "\n"


def propose(frame: pd.DataFrame, *, name: str, label: str | None = None) -> Proposal:
    """Propose a spec for rows of a labelled file.

    Parameters
    ----------
    frame
        Shape (n, columns), as read: texts with NaN for missing ones, or the types of the file.
    name
        Of the spec.
    label
        The column that says what is fraud; found by its name and values if not given.

    Raises
    ------
    UsageError
        If the label is not one column of two values, or no column can be a feature.
    DataRefused
        If there are no rows, or two columns have the same name.
    """
    if frame.empty:
        raise DataRefused("the file has no rows to propose a spec from")
    names = [str(column) for column in frame.columns]
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise DataRefused(f"the file has the columns {', '.join(map(repr, twice))} twice")
    looks = {n: Looks(n, _plain(frame.iloc[:, i])) for i, n in enumerate(names)}
    found = labels.find(looks, label)
    del looks[found.name]
    moment, person = _timestamp(looks), _entity(looks)
    columns: dict[str, dict[str, Any]] = {}
    reasons = {found.name: found.reason}
    for look in looks.values():
        if not re.fullmatch(NAME, look.name):
            reasons[look.name] = "which can be no name: 1 to 100 printable characters"
        elif look.name == moment:
            columns[look.name] = {"role": "timestamp", "type": "text" if look.moments else "number"}
            reasons[look.name] = f"Orders the rows: {_time(look)}."
        elif look.name == person:
            columns[look.name] = {"role": "entity", "type": "text"}
            reasons[look.name] = f"Says who pays: {look.distinct:,} values that come again."
        elif why := _no_feature(look, found.fraud, moment, person):
            columns[look.name] = {"role": "annotation", "type": "text"}
            reasons[look.name] = f"No feature: {why}."
        else:
            columns[look.name], reasons[look.name] = _feature(look)
    features = [n for n, column in columns.items() if "role" not in column]
    if not features:
        why = "; ".join(f"{n}: {reasons[n]}" for n in looks) or "there is only the label"
        raise UsageError(f"no column can be a feature; {why}")
    content: dict[str, Any] = {"name": name, "label": found.name, "columns": columns}
    content["label_values"] = list(found.values)
    content["description"] = f"One row per payment; {found.name} {found.values[1]} is fraud."
    amounts = [
        n for n in features if looks[n].compact in _AMOUNTS and columns[n].get("minimum") == 0
    ]
    content["costs"] = {"amount": amounts[0] if amounts else None}
    return Proposal(DatasetSpec.from_dict(content, "the proposal"), reasons, len(frame))


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
    return raw.astype(object) if isinstance(raw.dtype, pd.CategoricalDtype) else raw


def _timestamp(looks: dict[str, Looks]) -> str | None:
    best = max(looks.values(), key=lambda look: look.orders_rows, default=None)
    return best.name if best is not None and best.orders_rows else None


def _entity(looks: dict[str, Looks]) -> str | None:
    return next((look.name for look in looks.values() if look.names_someone), None)


def _time(look: Looks) -> str:
    if look.numbers is None:
        return "a date and time (ISO 8601) in every row"
    if look.numbers.max() > _MILLISECONDS:
        return "a number that never falls, too large for seconds: perhaps divide it by 1000"
    return "a number that never falls, taken for seconds"


def _no_feature(
    look: Looks, fraud: NDArray[np.bool_], moment: str | None, person: str | None
) -> str:
    """Why a column should feed no model; empty if it may."""
    first = "" if look.missing.all() else str(look.raw[~look.missing].iloc[0]).strip()
    # From what makes it useless or a danger to what it is; the first that holds is told.
    reasons = (
        (not first, "it holds no value at all"),
        (told := _missing_tells(look.missing, fraud), told),
        (look.compact in labels.NAMES or look.from_later,
         "by its name it may not be known when the payment is decided"),
        (look.distinct == 1, f"every value is {first[:40]!r}, which tells nothing"),
        (_mirrors(look, fraud), "it says the same as the label in every row"),
        (look.raw.dtype.kind in "mM" or look.moments,
         f"it is a time, and {moment!r} orders the rows" if moment else "it is a time that not "
         "every row has"),
        (look.names_someone, f"it names someone, and {person!r} says who pays"),
        (look.numbered, "it counts the rows"),
        (look.all_different, "no value comes twice, so it names the row"),
        (look.names_rows and not look.booleans and not _offered(look),
         f"{look.distinct:,} values of an identifier, which say nothing by their size"),
    )  # fmt: skip
    for holds, why in reasons:
        if holds:
            return why
    return "" if look.booleans or look.numbers is not None else _no_category(look)


def _no_category(look: Looks) -> str:
    if look.typed:
        return "it holds numbers that are not finite"
    if look.almost_numbers:
        return (
            f"nearly all values are numbers, but {look.almost_numbers[:40]!r} is none; "
            "leave such values empty"
        )
    if look.too_long:
        return f"it holds a text of more than {TEXT_LIMIT} characters"
    if look.too_many:
        limit = f"more than {MANY[0]} and more than {MANY[1]:.0%} of the rows"
        return f"{look.distinct:,} different texts, {limit}"
    return ""


def _missing_tells(missing: NDArray[np.bool_], fraud: NDArray[np.bool_]) -> str:
    """How the absence of a value gives the label away as the audit judges it; empty if not."""
    if missing.all() or not missing.any() or min(fraud.sum(), (~fraud).sum()) < _RARE:
        return ""
    prevalence = fraud.mean()
    skills = []
    for alert in (missing, ~missing):
        recall, precision = alert[fraud].mean(), fraud[alert].mean()
        average = recall * precision + (1 - recall) * prevalence
        skills.append((average - prevalence) / (1 - prevalence))
    if max(skills) < MISSINGNESS_TELLS:
        return ""
    return (
        f"it is missing on {missing[fraud].mean():.1%} of the frauds and "
        f"{missing[~fraud].mean():.1%} of the other rows, which gives the label away"
    )


def _mirrors(look: Looks, fraud: NDArray[np.bool_]) -> bool:
    if look.distinct != 2 or look.missing.any():
        return False
    one = (look.texts == look.texts.iloc[0]).to_numpy(bool)
    return bool((one == fraud).all() or (one != fraud).all())


def _offered(look: Looks) -> bool:
    """Few enough texts, or numbers that are written as one text each, to be a category."""
    return look.distinct <= FEW and (
        look.numbers is None or (look.whole and look.raw.dtype != float)
    )


def _feature(look: Looks) -> tuple[dict[str, Any], str]:
    """A column that feeds the model, and why it is read the way it is."""
    column: dict[str, Any] = {"required": not look.missing.any()}
    if look.booleans:
        often = str(look.counts.index[0]).lower() in ("1", "1.0", "true")
        column |= {"type": "boolean", "example": int(often)}
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
        column |= {"maximum": 24, "unit": HOUR_OF_DAY}
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
