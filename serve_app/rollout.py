"""Rollout: a version takes traffic when every replica of every stage holds it, and not before.

The registry's alias is the only truth. What it names is loaded and tested here, then by every
replica; only then may ingresses stamp it on requests. A version that fails anywhere never takes
traffic, and what served before goes on.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, get_args

from serve_app.versions import Challenge, Failure, Plan, Reference, Report, Stage

SILENCE: Final = 10.0
"""Seconds after which a replica that says nothing counts as gone."""
RETRY: Final = 60.0
"""Seconds until a version that failed is tried again."""
_REMEMBERED: Final = 5  # failures that a plan tells


@dataclass(frozen=True)
class Wanted:
    """What the registry's aliases name."""

    champion: Reference | None
    challenger: Challenge | None = None

    @property
    def references(self) -> list[Reference]:
        """The versions named."""
        return _named(self.champion, self.challenger)


@dataclass(frozen=True)
class _Member:
    report: Report
    heard: float


class Rollout:
    """Decides what replicas load and which version is stamped on requests; knows no Ray.

    Parameters
    ----------
    clock
        Seconds, never going back.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._members: dict[str, _Member] = {}
        self.wanted = Wanted(None)
        self._passed: set[Reference] = set()
        self._refused: dict[Reference, float] = {}
        # Above every number that a rollout before this one gave.
        self.plan = Plan(generation=int(time.time() * 1000))
        self.promotions = 0
        self.failed_loads: Counter[str] = Counter()
        """By stage; `rollout` where the test that comes before theirs failed."""

    def untested(self, wanted: Wanted) -> list[Reference]:
        """Versions that have to pass their test before they can be wanted."""
        now = self._clock()
        self._refused = {r: at for r, at in self._refused.items() if now - at < RETRY}
        return [r for r in wanted.references if r not in self._passed and r not in self._refused]

    def want(self, wanted: Wanted, tested: Mapping[Reference, str | None]) -> None:
        """Follow the registry.

        Parameters
        ----------
        tested
            For each of `untested`, why it must not serve; None where it may.
        """
        for reference, reason in tested.items():
            if reason is None:
                self._passed.add(reference)
            else:
                self.failed_loads["rollout"] += 1
                self._refuse(reference, reason)
        self.wanted = wanted
        self.settle()

    def heard(self, report: Report) -> None:
        """Note what a replica holds."""
        if self.plan.champion is None and report.plan.champion is not None:
            # This rollout was restarted: what the replicas serve goes on.
            self._passed.update(report.plan.load)
            self.plan = replace(report.plan, generation=self.plan.generation + 1)
        before = self._members.get(report.member)
        known = before.report.failed if before else {}
        self.failed_loads[report.stage] += len(report.failed.keys() - known)
        self._members[report.member] = _Member(report, self._clock())
        serving = _named(self.plan.champion, self.plan.challenger)
        for reference in self.plan.load:
            # One replica that cannot load what the others serve is that replica's trouble.
            if reference.version in report.failed and reference not in serving:
                told = f"a replica of {report.stage} cannot load it: "
                self._refuse(reference, told + report.failed[reference.version])
        self.settle()

    def left(self, member: str) -> None:
        """Forget a replica that leaves."""
        self._members.pop(member, None)
        self.settle()

    def settle(self) -> None:
        """Move on as far as the replicas have come."""
        now = self._clock()
        self._members = {n: m for n, m in self._members.items() if now - m.heard < SILENCE}
        champion, challenger = self.plan.champion, self.plan.challenger
        aim, rival = self.wanted.champion, self.wanted.challenger
        if aim is not None and aim != champion and self._everywhere(aim):
            self.promotions += champion is not None
            champion = aim
        if rival is None or champion is None or rival.reference == champion:
            challenger = None
        elif rival != challenger and self._everywhere(rival.reference):
            challenger = rival
        if challenger is not None and challenger.reference == champion:
            challenger = None
        self._move(champion, challenger)

    def settled(self, wanted: Wanted) -> bool:
        """Whether what is wanted is what every ingress stamps."""
        plans = [self.plan]
        plans += [m.report.plan for m in self._members.values() if m.report.stage == "ingress"]
        return all(
            p.champion == wanted.champion and p.challenger == wanted.challenger for p in plans
        )

    def refusal(self, wanted: Wanted) -> str | None:
        """Why one of the versions wanted does not serve, if it was refused."""
        refused = {r.version for r in wanted.references if r in self._refused}
        return next(
            (f"version {f.version}: {f.reason}" for f in self.plan.failed if f.version in refused),
            None,
        )

    @property
    def replicas(self) -> Counter[Stage]:
        """Replicas per stage that report."""
        return Counter(report.stage for report in self._reports)

    @property
    def followed(self) -> dict[Stage, list[Reference | None]]:
        """Per stage, the champion that each of its replicas follows; None for none."""
        found: dict[Stage, list[Reference | None]] = {stage: [] for stage in get_args(Stage)}
        for report in self._reports:
            found[report.stage].append(report.plan.champion)
        return found

    @property
    def lacking(self) -> dict[Stage, int]:
        """Replicas per stage that lack a version which they should hold."""
        found: dict[Stage, int] = dict.fromkeys(get_args(Stage), 0)
        versions = {r.version for r in self.plan.load}
        for report in self._reports:
            found[report.stage] += not versions <= report.held
        return found

    @property
    def _reports(self) -> list[Report]:
        # The list is made at once: another thread may ask, for metrics.
        return [member.report for member in list(self._members.values())]

    def _everywhere(self, reference: Reference) -> bool:
        return (
            reference in self._passed
            and {m.report.stage for m in self._members.values()} == set(get_args(Stage))
            and all(reference.version in m.report.held for m in self._members.values())
        )

    def _move(self, champion: Reference | None, challenger: Challenge | None) -> None:
        keep = _named(champion, challenger)
        keep += [r for r in self.wanted.references if r in self._passed and r not in keep]
        keep += [r for r in self.plan.load if r not in keep and self._may_be_used(r)]
        load = tuple(keep)
        before = self.plan
        if (champion, challenger, set(load)) != (
            before.champion, before.challenger, set(before.load)
        ):  # fmt: skip
            self.plan = replace(
                before, generation=before.generation + 1, load=load, champion=champion,
                challenger=challenger,
            )  # fmt: skip

    def _may_be_used(self, reference: Reference) -> bool:
        """Whether an ingress may have a request on its way with a version of the present plan."""
        if reference in self._refused:
            return False
        if reference in _named(self.plan.champion, self.plan.challenger):
            return True  # it leaves with the plan that comes, and then with the ingresses
        return any(
            reference.version in m.report.busy or m.report.plan.generation < self.plan.generation
            for m in self._members.values()
            if m.report.stage == "ingress"
        )

    def _refuse(self, reference: Reference, reason: str) -> None:
        self._refused[reference] = self._clock()
        self._passed.discard(reference)
        failure = Failure(reference.version, " ".join(reason.split())[:300], time.time())
        others = [f for f in self.plan.failed if f.version != reference.version]
        self.plan = replace(
            self.plan,
            generation=self.plan.generation + 1,
            load=tuple(r for r in self.plan.load if r != reference),
            failed=(failure, *others)[:_REMEMBERED],
        )


def _named(champion: Reference | None, challenger: Challenge | None) -> list[Reference]:
    found = [champion, challenger.reference if challenger else None]
    return [r for r in found if r is not None]
