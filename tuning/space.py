"""Space: what a sweep may try, as data.

A space is a TOML file: a table for what every family shares and a table for each family, which
holds a list or a range for each parameter. A space is written without a look at the data; `bind`
holds it against them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from training.errors import DataRefused, UsageError
from training.recipe import MOST_WEIGHT
from training.resample import NEIGHBOURS
from tuning.axis import Axis, Values
from tuning.bound import BoundSpace
from tuning.notation import SAMPLING, plain, read

DEFAULT_SPACE = "default"
"""The space that is meant if none is named."""


class SpaceError(UsageError):
    """A space that cannot be used; the message lists every mistake found."""


@dataclass(frozen=True)
class Space:
    """Families with their parameters, and what resampling, weight and features they share.

    Attributes
    ----------
    source
        The file it was read from, for messages.
    families
        By name, in the order in which they take turns: what each parameter may be. A parameter
        that is not named keeps its default.
    smote
        Ratios of frauds to legitimate rows after resampling, 0 for none; `auto` for those that
        `ratios` finds for the data.
    neighbours
        Of SMOTE; without effect where there is none.
    fraud_weight
        What a fraud weighs against a legitimate row; `balanced` for legitimate rows per fraud.
    derived
        With the features that the spec derives, without, or both.

    Examples
    --------
    >>> space = Space.load("default").narrowed(["xgboost"])
    >>> list(space.bind(natural=0.01, fewest_frauds=50, data="payments.csv").smote)
    [0.0, 0.046, 0.22]
    """

    source: str
    families: Mapping[str, Mapping[str, Axis]]
    smote: tuple[float, ...] | Literal["auto"] = "auto"
    neighbours: tuple[int, ...] = (NEIGHBOURS,)
    fraud_weight: tuple[float | Literal["balanced"], ...] = (1.0,)
    derived: tuple[bool, ...] = (True,)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], source: str = "space") -> Space:
        """Check plain types, as TOML has them.

        Raises
        ------
        SpaceError
            With every mistake found, each with its place.
        """
        fields, found = read(content)
        if found:
            raise SpaceError(f"{source}: {'; '.join(map(str, found))}")
        return cls(source=source, **fields)

    def to_dict(self) -> dict[str, Any]:
        """Plain types; `from_dict` reads them back to an equal space."""
        shared = ["smote", "neighbours", "fraud_weight", "derived"]
        if not any(self.smote):
            shared.remove("neighbours")  # there are none to choose
        return {
            SAMPLING: {name: plain(getattr(self, name)) for name in shared},
            **{
                family: {name: plain(axis) for name, axis in axes.items()}
                for family, axes in self.families.items()
            },
        }

    @classmethod
    def load(cls, name_or_path: str = DEFAULT_SPACE) -> Space:
        """Read a space shipped with fraudray by its name, or one of your own by its path.

        Raises
        ------
        SpaceError
            If there is no such space, or it has mistakes.
        """
        shipped = resources.files("tuning") / "spaces"
        own = name_or_path.endswith(".toml")
        source = Path(name_or_path if own else str(shipped / f"{name_or_path}.toml"))
        try:
            content = tomllib.loads(source.read_text(encoding="utf-8"))
        except FileNotFoundError:
            names = sorted(Path(f.name).stem for f in shipped.iterdir())
            raise SpaceError(
                f"no space {name_or_path!r}: give the path of a .toml file or one of "
                f"{', '.join(names)}"
            ) from None
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SpaceError(f"{source}: cannot be read as TOML: {error}") from None
        return cls.from_dict(content, name_or_path if own else f"the space {name_or_path}")

    def narrowed(self, models: Sequence[str]) -> Space:
        """The space with these families alone, in the order given.

        Raises
        ------
        UsageError
            If none is given, or the space has no such family.
        """
        there = ", ".join(self.families)
        if not models:
            raise UsageError(f"no model family given; {self.source} has {there}")
        for name in models:
            if name not in self.families:
                raise UsageError(f"{self.source} has no model family {name!r}; it has {there}")
        return replace(self, families={name: self.families[name] for name in models})

    def bind(
        self, *, natural: float, fewest_frauds: int, data: str, derives: bool = True
    ) -> BoundSpace:
        """Hold the space against the data that it is for.

        Parameters
        ----------
        natural
            Frauds per legitimate row as they come; of several folds the highest.
        fewest_frauds
            Frauds in the rows that a model is fitted on; of several folds the fewest.
        data
            The file, for messages.
        derives
            Whether the spec derives features. If not, none are there to leave out.

        Raises
        ------
        UsageError
            If a SMOTE ratio is not above the natural one.
        DataRefused
            If there are too few frauds for SMOTE's neighbours.
        """
        smote = ratios(natural) if self.smote == "auto" else self.smote
        for ratio in smote:
            if 0 < ratio <= natural:
                raise UsageError(
                    f"{self.source}: sampling.smote: {ratio:g} is not above the natural ratio of "
                    f"frauds to legitimate rows of {data}, {natural:.4g}; SMOTE can only add frauds"
                )
        most = max(self.neighbours)
        if any(smote) and fewest_frauds <= most:
            raise DataRefused(
                f"{data}: a fold has only {fewest_frauds} frauds to fit on; SMOTE with {most} "
                f"neighbours needs more than {most}. Get more labelled frauds, or do without by "
                f"smote = [0] in the space"
            )
        balanced = min(float(f"{1 / natural:.3g}"), MOST_WEIGHT)
        weights = (balanced if w == "balanced" else w for w in self.fraud_weight)
        return BoundSpace(
            source=self.source,
            families=self.families,
            smote=smote,
            neighbours=Values(self.neighbours),
            fraud_weight=Values(tuple(dict.fromkeys(weights))),
            derived=Values(self.derived if derives else (True,)),
        )


def ratios(natural: float) -> tuple[float, ...]:
    """SMOTE ratios to try: none, and two that part the way from natural to balanced evenly.

    Where frauds are nearly half of the rows there is nothing to resample, and fewer are tried.

    Parameters
    ----------
    natural
        Frauds per legitimate row as they come.
    """
    steps = (float(f"{natural**power:.2g}") for power in (2 / 3, 1 / 3))
    return (0.0, *dict.fromkeys(step for step in steps if natural * 1.05 < step <= 1))
