"""Journal: what a sweep has drawn and measured, on disk, so that a killed one can go on.

A folder per sweep under the home folder. `sweep.json` says what was asked for, `journal.jsonl`
gains a line for every point drawn, every trial that ends and every worker that dies. Both are plain
data: nothing that is read back can run.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from training.errors import FraudrayError, UsageError
from training.home import home
from training.recipe import Recipe
from tuning.bound import Point
from tuning.trials import Trial


class Look(NamedTuple):
    """What a point scored on a rung.

    Attributes
    ----------
    key
        Of its first recipe.
    score
        Higher is better.
    """

    key: str
    rung: int
    score: float


class Kept(NamedTuple):
    """What a journal holds.

    Attributes
    ----------
    points
        By the number of their first trial.
    trials
        By key, as they were last told of.
    deaths
        Keys of the points that were at hand when a worker died, once for each death.
    """

    points: dict[int, Point]
    trials: dict[str, Trial]
    looks: list[Look]
    deaths: list[str]


class Journal:
    """The folder of one sweep.

    Parameters
    ----------
    name
        Of the sweep.

    Examples
    --------
    >>> Journal("nightly").exists
    False
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = sweeps_folder() / name
        self._settings = self.folder / "sweep.json"
        self._lines = self.folder / "journal.jsonl"

    @property
    def exists(self) -> bool:
        """Whether there is such a sweep."""
        return self._settings.is_file()

    def require_new(self) -> None:
        """Check that no sweep bears the name.

        Raises
        ------
        UsageError
            If one does.
        """
        if self.exists:
            raise UsageError(
                f"there is a sweep {self.name!r} already; choose another --name, or go on with it "
                f"by --resume"
            )

    def require_there(self) -> None:
        """Check that there is such a sweep.

        Raises
        ------
        UsageError
            If there is none; the message lists those there are.
        """
        if not self.exists:
            there = ", ".join(names()) or "none"
            raise UsageError(
                f"there is no sweep {self.name!r} in {sweeps_folder()}; there are: {there}"
            )

    @property
    def settings(self) -> dict[str, Any]:
        """What `describe` was last given.

        Raises
        ------
        UsageError
            If there is no such sweep.
        FraudrayError
            If its file is damaged.
        """
        self.require_there()
        try:
            content: dict[str, Any] = json.loads(self._settings.read_text("utf-8"))
        except ValueError as error:
            raise FraudrayError(f"{self._settings}: is damaged ({error})") from None
        return content

    def describe(self, settings: Mapping[str, Any]) -> None:
        """Keep what the sweep is, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        scratch = self._settings.with_suffix(".part")
        with scratch.open("w", encoding="utf-8") as file:
            json.dump(settings, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(self._settings)

    def drawn(self, number: int, point: Point) -> None:
        """Note that a point is about to be tried; its first trial bears this number."""
        self._append({"number": number, "point": [asdict(recipe) for recipe in point]})

    def told(self, trials: Sequence[Trial], look: Look | None = None) -> None:
        """Note what became of trials, and how their point did on a rung that is not the last."""
        looks = [] if look is None else [look._asdict()]
        self._append(*({"trial": trial.to_dict()} for trial in trials), *looks)

    def died(self, key: str, why: str) -> None:
        """Note that a worker died; the point at hand is named by its first recipe's key."""
        self._append({"died": key, "why": why})

    def read(self) -> Kept:
        """All that was noted.

        A last line that was cut off by the death of its writer counts as never written.
        """
        kept = Kept({}, {}, [], [])
        for line in self._whole_lines():
            if "point" in line:
                point = tuple(Recipe(**recipe) for recipe in line["point"])
                kept.points[line["number"]] = point
            elif "trial" in line:
                trial = Trial.from_dict(line["trial"])
                kept.trials[trial.key] = trial
            elif "died" in line:
                kept.deaths.append(line["died"])
            else:
                kept.looks.append(Look(**line))
        return kept

    def trials(self) -> list[Trial]:
        """Every trial drawn, in that order, as it was last told of."""
        kept = self.read()
        return [
            kept.trials.get(recipe.key, Trial(number + place, recipe))
            for number, point in sorted(kept.points.items())
            for place, recipe in enumerate(point)
        ]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from running this sweep; the lock goes with the process.

        Raises
        ------
        UsageError
            If one does.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("a+", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise UsageError(
                    f"the sweep {self.name!r} is being run by another process of this machine"
                ) from None
            self._mend()
            yield

    @property
    def running(self) -> bool:
        """Whether a process of this machine runs it now."""
        try:
            with (self.folder / "lock").open("r", encoding="utf-8") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return False

    def _append(self, *entries: Mapping[str, Any]) -> None:
        content = "".join(json.dumps(entry) + "\n" for entry in entries).encode()
        # One write each: a killed process leaves whole lines, but for the one it was at.
        with self._lines.open("ab", buffering=0) as file:
            file.write(content)
            os.fsync(file.fileno())

    def _whole_lines(self) -> Iterator[dict[str, Any]]:
        if not self._lines.is_file():
            return
        with self._lines.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise FraudrayError(
                        f"{self._lines}: line {number} is damaged ({error})"
                    ) from None

    def _mend(self) -> None:
        """Cut off what a killed writer left of its last line."""
        if self._lines.is_file():
            content = self._lines.read_bytes()
            if whole := content.rfind(b"\n") + 1:
                os.truncate(self._lines, whole)
            elif content:
                self._lines.unlink()


def sweeps_folder() -> Path:
    """Where sweeps keep their state."""
    return home() / "sweeps"


def names() -> list[str]:
    """The sweeps that there are, the newest first."""
    found = [path.parent for path in sweeps_folder().glob("*/sweep.json")]
    return [path.name for path in sorted(found, key=lambda p: -(p / "sweep.json").stat().st_mtime)]
