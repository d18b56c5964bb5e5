"""Watch: the rollout's side of the registry. What its aliases name, and what operators change."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from serve_app.rollout import Wanted
from serve_app.versions import Challenge, Reference
from training.errors import FraudrayError
from training.home import home
from training.rechoose import rechosen
from training.tracking import StoreAway, Tracking, TrackingError, Version

_REFERENCE = TypeAdapter(Reference)
_log = logging.getLogger("ray.serve")


class Refused(FraudrayError):
    """An order that is not carried out; `status` says what kind of refusal it is, as in HTTP."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Watch:
    """One registered model."""

    def __init__(self, model: str) -> None:
        self.model = model
        self._path = home() / "serving" / f"{model}.json"
        self._known: dict[str, Reference] = {}
        self._opened: Tracking | None = None

    def wanted(self) -> Wanted:
        """What the aliases name now.

        Raises
        ------
        TrackingError
            If the registry does not say.
        """
        look = self._tracking.look(self.model)
        champion = look.champion and self._reference(look.champion)
        challenger = look.challenger and self._reference(look.challenger)
        return Wanted(
            champion or None,
            Challenge(challenger, look.mode, look.share) if challenger else None,
        )

    def last_good(self) -> Wanted:
        """The version that served last on this machine, for when the registry is away."""
        try:
            return Wanted(_REFERENCE.validate_json(self._path.read_bytes()))
        except (OSError, ValidationError):
            return Wanted(None)

    def keep(self, champion: Reference) -> None:
        """Note the version that serves, for `last_good`."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            scratch = self._path.with_suffix(".new")
            scratch.write_text(json.dumps(asdict(champion)), "utf-8")
            scratch.replace(self._path)
        except OSError as error:
            _log.warning("the version in service cannot be noted on disk: %s", error)

    def test(self, reference: Reference) -> str | None:
        """Load a version and test it on its own sample: why it must not serve, or None."""
        try:
            if self._opened is None:  # the registry is away: the manifest on disk has to do
                reference.load()
            else:
                version = self._opened.version(self.model, reference.version)
                self._opened.fetch(version)
        except Exception as error:  # whatever is wrong with it
            return str(error) or type(error).__name__
        return None

    def carry_out(self, kind: str, what: dict[str, Any]) -> Wanted:
        """Change the registry as an operator orders; what it names then.

        A version is tested before it is named, so that a bad one changes nothing.

        Raises
        ------
        Refused
            With the reason.
        """
        with _explained():
            match kind:
                case "promote":
                    version = self._sound(what["version"])
                    self._tracking.promote(self.model, version.version, "promoted by an operator")
                case "rollback":
                    self._roll_back()
                case "threshold":
                    self._decide_otherwise(what)
                case "challenger":
                    rival = what["version"] and self._sound(what["version"]).version
                    self._tracking.challenge(
                        self.model, rival, mode=what["mode"], share=what["share"]
                    )
            return self.wanted()

    def history(self) -> list[dict[str, Any]]:
        """Changes of the champion, the newest first."""
        with _explained():
            return [
                asdict(change) | {"at": datetime.fromtimestamp(change.at, UTC).isoformat()}
                for change in self._tracking.history(self.model)
            ]

    def _roll_back(self) -> None:
        before = self._tracking.look(self.model).champion
        version = self._tracking.rollback(self.model, "by an operator")
        reason = self.test(self._reference(version.version))
        if reason is not None and before is not None:
            told = f"version {version.version} must not serve: {reason}"
            self._tracking.promote(self.model, before, told)
            raise Refused(409, told)

    def _decide_otherwise(self, what: dict[str, Any]) -> None:
        champion = self._tracking.champion(self.model)
        if champion is None:
            raise Refused(409, f"{self.model} has no champion whose threshold could be changed")
        bundle = self._tracking.fetch(champion, original=True)
        choice = rechosen(bundle, what["policy"] or f"threshold={what['threshold']!r}")
        reason = f"threshold {choice.threshold:.6g} set by an operator ({choice.policy})"
        version = self._tracking.rethreshold(champion, choice, reason)
        self._tracking.promote(self.model, version.version, reason)

    def _sound(self, number: str) -> Version:
        try:
            version = self._tracking.version(self.model, number)
        except StoreAway:
            raise
        except TrackingError as error:
            raise Refused(404, str(error)) from None
        reason = self.test(self._reference(number))
        if reason is not None:
            raise Refused(409, f"version {number} must not serve: {reason}")
        return version

    def _reference(self, number: str) -> Reference:
        if number not in self._known:
            version = self._tracking.version(self.model, number)
            try:
                self._known[number] = Reference.of(version)
            except TrackingError:  # its threshold is damaged: its test will say so
                return Reference(version.model, version.version, version.files)
        return self._known[number]

    @property
    def _tracking(self) -> Tracking:
        if self._opened is None:
            self._opened = Tracking()
        return self._opened


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except Refused:
        raise
    except StoreAway as error:
        raise Refused(503, str(error)) from None
    except FraudrayError as error:
        raise Refused(409, str(error)) from None
