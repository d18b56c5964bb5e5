"""Why a column should feed no model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.audit.absence import absence
from training.propose.label import NAMES
from training.propose.looks import FEW, MANY, Looks
from training.spec import TEXT_LIMIT


def no_feature(
    look: Looks, fraud: NDArray[np.bool_], moment: str | None, person: str | None
) -> str:
    """Why a column should feed no model; empty if it may."""
    first = "" if look.missing.all() else str(look.raw[~look.missing].iloc[0]).strip()
    # From what makes it useless or a danger to what it is; the first that holds is told.
    reasons = (
        (not first, "it holds no value at all"),
        (told := _missing_tells(look.missing, fraud), told),
        (look.compact in NAMES or look.from_later,
         "by its name it may not be known when the payment is decided"),
        (look.distinct == 1, f"every value is {first[:40]!r}, which tells nothing"),
        (_mirrors(look, fraud), "it says the same as the label in every row"),
        (look.milliseconds, "it is a time that is too large for seconds, so perhaps milliseconds: "
         "divide it by 1000 to order the rows by it"),
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
    if look.almost_numbers:
        is_what = (
            "is not finite" if look.almost_numbers.lower().strip("+-")[:3] == "inf" else "is none"
        )
        return (
            f"nearly all values are numbers, but {look.almost_numbers[:40]!r} {is_what}; "
            "leave such values empty"
        )
    if look.too_long:
        return f"it holds a text of more than {TEXT_LIMIT} characters"
    if look.too_many:
        limit = f"more than {MANY[0]} and more than {MANY[1]:.0%} of the rows"
        first = str(look.texts[~look.missing].iloc[0])[:40]
        return f"{look.distinct:,} different texts such as {first!r}, {limit}"
    return ""


def _missing_tells(missing: NDArray[np.bool_], fraud: NDArray[np.bool_]) -> str:
    """How the absence of a value gives the label away as the audit judges it; empty if not."""
    frauds, others = ((int(missing[rows].sum()), int(rows.sum())) for rows in (fraud, ~fraud))
    if absence(frauds, others) != "tells":
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
