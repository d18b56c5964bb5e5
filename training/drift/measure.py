"""How far counted rows are from those that a model was made from, in numbers and in words."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from training.bins import MISSING, OTHER, Bins
from training.reference import (
    LARGE,
    MODERATE,
    Counts,
    Level,
    Reference,
    chance_of,
    level,
    parts_of_psi,
)

_TOLD = 0.01  # a share that moved less is not put into words


@dataclass(frozen=True)
class ScoreDrift:
    """How far the scores have moved.

    Attributes
    ----------
    rows
        How many it was measured on.
    psi
        The population stability index: 0 where the rows are spread alike.
    chance
        The index that chance alone hardly exceeds in so few rows.
    level
        `moderate` or `large` only beyond what chance gives; else `steady`.
    bin
        Where the rows went: what the bin holds whose gain adds most to the index.
    share, expected_share
        Of the rows that are in this bin, found and expected.
    """

    rows: int
    psi: float
    chance: float
    level: Level
    bin: str
    share: float
    expected_share: float

    def told(self) -> str:
        """In words."""
        if self.level == "steady":
            return f"steady (PSI {self.psi:.2f})"
        return (
            f"{self.level} shift (PSI {self.psi:.2f}), most at {self.bin}: "
            f"{_moved(self.expected_share, self.share)}"
        )


@dataclass(frozen=True)
class FieldDrift(ScoreDrift):
    """How far a field has moved.

    Attributes
    ----------
    name
        The input.
    missing, expected_missing
        Share of the rows without a value.
    other, expected_other
        Share of the rows with a value that has no bin of its own: one that is rare among the
        training rows or absent from them. None for a number, which always has one.
    """

    name: str
    missing: float
    expected_missing: float
    other: float | None
    expected_other: float | None

    def told(self) -> str:
        """In words: how far, where to, and what is missing or unknown more or less often."""
        said = [super().told()]
        for bin_, what, before, now in (
            (MISSING, "missing", self.expected_missing, self.missing),
            (OTHER, "values rare or absent in training", self.expected_other, self.other),
        ):
            told = self.level != "steady" and self.bin == bin_
            if before is not None and now is not None and not told and abs(now - before) >= _TOLD:
                said.append(f"{what} {_moved(before, now)}")
        return "; ".join(said)


@dataclass(frozen=True)
class Drift:
    """How far rows are from what was expected.

    Attributes
    ----------
    rows
        How many were counted.
    score
        None where no scores were counted, or none are expected.
    fields
        Those that moved furthest first; none where there are no rows.
    skipped
        Fields that were not compared, because the rows do not span the day or week they follow.
    """

    rows: int
    score: ScoreDrift | None
    fields: tuple[FieldDrift, ...]
    skipped: tuple[str, ...] = ()

    @property
    def shifted(self) -> tuple[FieldDrift, ...]:
        """The fields whose shift is moderate or large."""
        return tuple(field for field in self.fields if field.level != "steady")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, with each part `told` in words and the `limits` of the levels."""
        return {
            "rows": self.rows,
            "score": self.score and asdict(self.score) | {"told": self.score.told()},
            "fields": [asdict(field) | {"told": field.told()} for field in self.fields],
            "skipped": list(self.skipped),
            "limits": {"moderate": MODERATE, "large": LARGE},
        }


def measure(expected: Reference, counts: Counts, *, skip: Collection[str] = ()) -> Drift:
    """Compare counted rows with the reference whose bins they were counted in.

    Parameters
    ----------
    skip
        Fields not to be compared: those that follow the time of day or of the week, where the rows
        do not span a whole one. They are noted as skipped.
    """
    before = expected.counts
    compared = bool(counts.rows and before.rows)
    missing, expected_missing = expected.missing(counts), expected.missing(before)
    other, expected_other = expected.other(counts), expected.other(before)
    fields = [
        FieldDrift(
            **_shift(bins, before.columns[name], counts.columns[name]),
            name=name,
            missing=missing[name],
            expected_missing=expected_missing[name],
            other=other.get(name),
            expected_other=expected_other.get(name),
        )
        for name, bins in expected.bins.items()
        if compared and name not in skip
    ]
    return Drift(
        counts.rows,
        _score(expected, counts),
        tuple(sorted(fields, key=lambda field: -field.psi)),
        tuple(name for name in expected.bins if name in skip),
    )


def _score(expected: Reference, counts: Counts) -> ScoreDrift | None:
    before, now = expected.counts.score, counts.score
    if expected.score is None or not before or not now or not sum(before) or not sum(now):
        return None
    return ScoreDrift(**_shift(expected.score, before, now))


def _shift(bins: Bins, expected: tuple[int, ...], found: tuple[int, ...]) -> dict[str, Any]:
    parts, limit = parts_of_psi(expected, found), chance_of(expected, found)
    n, m = sum(expected), sum(found)
    gains = [a / m - e / n for e, a in zip(expected, found, strict=True)]
    # A gain may add nothing to the index, and is still where the rows went.
    most = max(range(len(gains)), key=lambda i: (parts[i] * (gains[i] > 0), gains[i]))
    return {
        "rows": m, "psi": sum(parts), "chance": limit, "level": level(sum(parts), limit),
        "bin": bins.labels[most], "share": found[most] / m, "expected_share": expected[most] / n,
    }  # fmt: skip


def _moved(before: float, now: float) -> str:
    return f"{before:.1%} → {now:.1%}"
