"""Which versions a graph serves: what names one, and what the rollout tells every replica."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Self
from weakref import WeakValueDictionary

from training.bundle import ModelBundle
from training.home import bundle_folder
from training.threshold import Choice

if TYPE_CHECKING:
    from training.tracking import Version

Mode = Literal["shadow", "share"]
Stage = Literal["ingress", "features", "model", "threshold"]

# Versions that differ in their threshold alone share the model: it is in memory once.
_LOADED: WeakValueDictionary[str, ModelBundle] = WeakValueDictionary()


@dataclass(frozen=True)
class Reference:
    """One version, as every call down the graph carries it.

    Attributes
    ----------
    model, version
        In the registry.
    files
        Of its bundle on disk; see `training.tracking.Version`.
    choice
        The threshold where it is another one than the bundle's own.
    """

    model: str
    version: str
    files: str
    choice: Choice | None = None

    @classmethod
    def of(cls, version: Version) -> Self:
        """The registry's version, as it is passed on."""
        return cls(version.model, version.version, version.files, version.choice)

    def load(self) -> ModelBundle:
        """Its bundle, tested on its own sample: from memory or disk, else from the registry.

        Raises
        ------
        BundleError
            If it must not be used.
        TrackingError
            If it is not here and the registry does not give it.
        """
        bundle = _LOADED.get(self.files)
        if bundle is None:
            bundle = _LOADED[self.files] = self._read()
        return bundle if self.choice is None else bundle.with_choice(self.choice)

    def _read(self) -> ModelBundle:
        folder = bundle_folder(self.files)
        if folder.exists():
            return ModelBundle.load(folder)
        from training.tracking import Tracking  # seconds to import, and seldom needed

        tracking = Tracking()
        return tracking.fetch(tracking.version(self.model, self.version), original=True)


@dataclass(frozen=True)
class Challenge:
    """A second version beside the champion.

    Attributes
    ----------
    mode
        `shadow`: it scores what the champion answered, and nobody is told. `share`: it answers.
    share
        Part of the requests that it answers, from 0 to 1.
    """

    reference: Reference
    mode: Mode
    share: float


@dataclass(frozen=True)
class Failure:
    """A version that was wanted and does not serve."""

    version: str
    reason: str
    at: float


@dataclass(frozen=True)
class Plan:
    """What the rollout tells every replica.

    Attributes
    ----------
    generation
        Another number for every plan.
    load
        Versions to hold, whether or not they take traffic yet.
    champion, challenger
        The versions that ingresses may stamp on requests: all replicas hold them.
    failed
        Versions that were wanted and are not served, the latest first.
    """

    generation: int = 0
    load: tuple[Reference, ...] = ()
    champion: Reference | None = None
    challenger: Challenge | None = None
    failed: tuple[Failure, ...] = ()


@dataclass(frozen=True)
class Report:
    """What a replica tells the rollout.

    Attributes
    ----------
    member
        The replica.
    plan
        The plan that it follows.
    held
        Versions that it has loaded and tested.
    failed
        Versions that it could not load, with the reason.
    busy
        Versions with requests on their way; an ingress alone knows.
    """

    member: str
    stage: Stage
    plan: Plan
    held: frozenset[str]
    failed: dict[str, str] = field(default_factory=dict)
    busy: frozenset[str] = frozenset()
