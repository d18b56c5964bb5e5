"""Champions: which versions serve, which did before, and which one challenges.

MLflow's aliases are the only truth about who serves; a person may set them in MLflow as well. What
is kept beside them, in tags of the registered model, is the story of it. Every change is a tag of
its own, so that two writers at once lose none: of two promotions at the same moment the alias bears
the one written last, and the history has both, in an order that may be the other one. Who dies
between the alias and the tag leaves a champion that the history lacks, never the reverse.
"""

from __future__ import annotations

import json
import math
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from mlflow.exceptions import MlflowException
from pydantic import TypeAdapter, ValidationError

from training.errors import UsageError
from training.tracking.registry import CHAMPION, Registry, Version, alias_of
from training.tracking.store import TrackingError

CHALLENGER = "challenger"
"""The registry alias of the version beside the champion."""
Mode = Literal["shadow", "share"]
Action = Literal["promote", "rollback", "threshold"]

_HOW = "fraudray.challenger"
# A number that grows, and what tells two apart that took the same number.
_CHANGE = re.compile(r"fraudray\.change\.(?P<number>[0-9]{8})\.[0-9a-f]{8}")
_CHANGES = 100
_REASON = 500  # characters; a tag holds 5,000 in PostgreSQL, and JSON may need six for one
_BEFORE = "fraudray.champions"  # those of versions of fraudray that kept no history, latest last


@dataclass(frozen=True)
class Look:
    """Who serves, read at one moment.

    Attributes
    ----------
    champion, challenger
        Numbers of versions; never the same.
    mode, share
        Of the challenger: it only watches, or it answers that part of the requests.
    """

    champion: str | None = None
    challenger: str | None = None
    mode: Mode = "shadow"
    share: float = 0.0


@dataclass(frozen=True)
class Challenger:
    """The version beside the champion, and what it is let do; see `Look`."""

    version: Version
    mode: Mode
    share: float


@dataclass(frozen=True)
class Change:
    """One change of the champion.

    Attributes
    ----------
    at
        Unix time.
    version
        The champion from then on.
    action
        `threshold` is a promotion that changed nothing but the threshold.
    """

    at: float
    version: str
    action: Action
    reason: str


@dataclass(frozen=True)
class _How:
    version: str
    mode: Mode
    share: float


_HOW_JSON, _CHANGE_JSON = TypeAdapter(_How), TypeAdapter(Change)


class Champions(Registry):
    """The registry of an MLflow store with the roles of its versions."""

    def look(self, model: str) -> Look:
        """Who serves; one read of some milliseconds, to be repeated every second.

        A model that is not there has neither. A challenger set in MLflow, without a word of how,
        only watches.
        """
        with self._explained():
            found = self._registered(model)
        champion, challenger = alias_of(found, CHAMPION), alias_of(found, CHALLENGER)
        if found is None or challenger is None or challenger == champion:
            return Look(champion)
        try:
            how = _HOW_JSON.validate_json(found.tags.get(_HOW, ""), strict=True)
        except ValidationError:
            return Look(champion, challenger)
        if how.version != challenger or not 0 <= how.share <= 1:
            return Look(champion, challenger)
        return Look(champion, challenger, how.mode, how.share)

    def champion(self, model: str) -> Version | None:
        """The version that serves, if there is one."""
        return self.aliased(model, CHAMPION)

    def aliased(self, model: str, alias: str) -> Version | None:
        """The version that bears an alias, if there is one."""
        with self._explained():
            version = alias_of(self._registered(model), alias)
        return None if version is None else self.version(model, version)

    def challenger(self, model: str) -> Challenger | None:
        """The version beside the champion, if there is one."""
        found = self.look(model)
        if found.challenger is None:
            return None
        return Challenger(self.version(model, found.challenger), found.mode, found.share)

    def challenge(
        self, model: str, version: str | None, *, mode: Mode = "shadow", share: float = 0.0
    ) -> Challenger | None:
        """Set a version beside the champion, or none.

        Parameters
        ----------
        mode, share
            It scores what the champion answers and nobody is told, or it answers that part of the
            requests, from 0 to 1; in shadow the share is 0.

        Raises
        ------
        UsageError
            If there is no such mode or share.
        TrackingError
            If there is no such version, or it is the champion.
        """
        if mode not in get_args(Mode):
            raise UsageError(f"mode: expected shadow or share, found {mode!r}")
        if not (math.isfinite(share) and 0 <= share <= 1):
            raise UsageError(f"share: expected a number from 0 to 1, found {share}")
        if version is None:
            self._unchallenge(model)
            return None
        chosen = self.version(model, version)
        if chosen.champion:
            raise TrackingError(
                f"version {chosen.version} of {model} is the champion; "
                f"its challenger has to be another one"
            )
        how = _How(chosen.version, mode, float(share) if mode == "share" else 0.0)
        with self._explained():
            # The alias comes second: until then the word is of no version, which only watches.
            self._client.set_registered_model_tag(model, _HOW, json.dumps(asdict(how)))
            self._set_alias(model, CHALLENGER, chosen.version)
        return Challenger(chosen, how.mode, how.share)

    def promote(self, model: str, version: str, reason: str) -> Version:
        """Make a version the champion and record why; if it is that already, nothing changes."""
        chosen, before = self.version(model, version), self.champion(model)
        if not chosen.champion:
            same = before is not None and before.files == chosen.files
            self._crown(model, chosen.version, "threshold" if same else "promote", reason)
        return self.version(model, version)

    def rollback(self, model: str, reason: str = "") -> Version:
        """Make the version that was champion before the present one champion again.

        Raises
        ------
        TrackingError
            If there was none before.
        """
        there = {v.version: v for v in self.versions(model)}
        present = next((v.version for v in there.values() if v.champion), None)
        with self._explained():
            tags = self._client.get_registered_model(model).tags
        line = line_of(json.loads(tags.get(_BEFORE, "[]")), _changes(model, tags))
        back = next((v for v in reversed(line) if v in there and v != present), None)
        if back is None:
            raise TrackingError(f"{model} has had no other champion to go back to")
        told = f"rolled back from version {present}"
        self._crown(model, back, "rollback", f"{told}: {reason}" if reason else told)
        return self.version(model, back)

    def history(self, model: str) -> list[Change]:
        """The last 100 changes of the champion that were made by fraudray, the newest first.

        Raises
        ------
        TrackingError
            If there is no such model, or one of the changes is damaged.
        """
        with self._explained():
            return _changes(model, self._client.get_registered_model(model).tags)

    def _crown(self, model: str, version: str, action: Action, reason: str) -> None:
        with self._explained():
            change = Change(time.time(), version, action, reason[:_REASON])
            # The alias is the truth; if this is cut off, the rest is only the story of it.
            self._set_alias(model, CHAMPION, version)
            found = self._client.get_registered_model(model)
            names = sorted(filter(_CHANGE.fullmatch, found.tags))
            number = int(names[-1].split(".")[2]) + 1 if names else 1
            self._client.set_registered_model_tag(
                model, f"fraudray.change.{number:08}.{secrets.token_hex(4)}",
                json.dumps(asdict(change), ensure_ascii=False),
            )  # fmt: skip
            self._client.set_model_version_tag(model, version, "decision", reason)
            for name in names[: 1 - _CHANGES]:
                self._client.delete_registered_model_tag(model, name)
        if alias_of(found, CHALLENGER) == version:
            self._unchallenge(model)

    def _set_alias(self, model: str, alias: str, version: str) -> None:
        try:
            self._client.set_registered_model_alias(model, alias, version)
        except MlflowException as error:
            if self._away(error):
                raise
            # Where several set an alias that is not there yet, MLflow inserts the first and refuses
            # the others; now it is there and can be changed. What is wrong is refused again.
            self._client.set_registered_model_alias(model, alias, version)

    def _unchallenge(self, model: str) -> None:
        with self._explained():
            self._client.delete_registered_model_tag(model, _HOW)
            self._client.delete_registered_model_alias(model, CHALLENGER)


def line_of(before: Iterable[str], changes: Iterable[Change]) -> list[str]:
    """The champions one can go back to, the present one last.

    Parameters
    ----------
    before
        Such a line from before the first change.
    changes
        The newest first.
    """
    line = list(before)
    for change in reversed(list(changes)):
        if change.action == "rollback":
            while line and line[-1] != change.version:
                line.pop()
        if line[-1:] != [change.version]:
            line.append(change.version)
    return line


def _changes(model: str, tags: Mapping[str, str]) -> list[Change]:
    found = []
    for name, text in tags.items():
        if numbered := _CHANGE.fullmatch(name):
            try:
                change = _CHANGE_JSON.validate_json(text, strict=True)
            except ValidationError:
                raise TrackingError(
                    f"{model}: its tag {name} is damaged; delete it in MLflow"
                ) from None
            found.append((numbered["number"], change.at, change))
    return [change for *_, change in sorted(found, key=lambda f: f[:2], reverse=True)]
