"""A version takes traffic when every replica holds it, and leaves when nobody can ask for it."""

from __future__ import annotations

from collections import Counter
from typing import Any, get_args

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from serve_app.rollout import RETRY, SILENCE, Rollout, Wanted
from serve_app.versions import Challenge, Plan, Reference, Report, Stage

STAGES = get_args(Stage)


def version(number: int) -> Reference:
    return Reference("fraudray-payments", str(number), f"files-{number}")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Replica:
    """A replica as `Member` behaves: it loads what the plan says, then follows the plan."""

    def __init__(self, name: str, stage: Stage, broken: frozenset[str] = frozenset()) -> None:
        self.name = name
        self.stage: Stage = stage
        self.broken = broken
        self.plan = Plan()
        self.held: set[str] = set()
        self.failed: dict[str, str] = {}
        self.busy: set[str] = set()

    def report(self, to: Rollout) -> None:
        to.heard(
            Report(self.name, self.stage, self.plan, frozenset(self.held), dict(self.failed),
                   frozenset(self.busy))
        )  # fmt: skip

    def follow(self, plan: Plan) -> None:
        wanted = {r.version for r in plan.load}
        self.held = wanted - self.broken
        self.failed = dict.fromkeys(wanted & self.broken, "its disk is full")
        self.plan = plan

    @property
    def stamps(self) -> set[str]:
        """Versions that it may send down the graph from now on, or has sent."""
        found = [self.plan.champion, self.plan.challenger and self.plan.challenger.reference]
        return self.busy | {r.version for r in found if r is not None}


def a_graph(clock: Clock | None = None) -> tuple[Rollout, list[Replica]]:
    return Rollout(clock=clock or Clock()), [Replica(stage, stage) for stage in STAGES]


def turn(rollout: Rollout, replicas: list[Replica], times: int = 3) -> None:
    """Everybody reports and follows."""
    for _ in range(times):
        for replica in replicas:
            replica.report(rollout)
            replica.follow(rollout.plan)


def want(rollout: Rollout, wanted: Wanted, bad: dict[Reference, str] | None = None) -> None:
    rollout.want(wanted, {r: (bad or {}).get(r) for r in rollout.untested(wanted)})


def test_a_version_waits_for_the_last_replica() -> None:
    rollout, replicas = a_graph()
    want(rollout, Wanted(version(1)))
    turn(rollout, replicas[:3])
    assert rollout.plan.champion is None
    turn(rollout, replicas)
    assert rollout.plan.champion == version(1)
    want(rollout, Wanted(version(2)))
    turn(rollout, replicas[1:])
    assert rollout.plan.champion == version(1)
    assert rollout.lacking == {"ingress": 1, "features": 0, "model": 0, "threshold": 0}
    turn(rollout, replicas)
    assert rollout.plan.champion == version(2)
    assert rollout.plan.load == (version(2),)
    assert rollout.promotions == 1
    assert rollout.replicas == dict.fromkeys(STAGES, 1)


def test_replicas_follow_one_after_the_other() -> None:
    rollout, replicas = a_graph()
    assert rollout.followed == {stage: [] for stage in STAGES}
    for number in (1, 2):
        want(rollout, Wanted(version(number)))
        turn(rollout, replicas, times=4)
    assert rollout.followed == {stage: [version(2)] for stage in STAGES}
    want(rollout, Wanted(version(3)))
    turn(rollout, replicas, times=2)
    turn(rollout, replicas[:1], times=2)
    others = {stage: [version(2)] for stage in STAGES}
    assert rollout.followed == others | {"ingress": [version(3)]}


def test_a_failed_load_counts_once_however_often_it_is_reported() -> None:
    clock = Clock()
    rollout, replicas = a_graph(clock)
    want(rollout, Wanted(version(1)))
    turn(rollout, replicas)
    replicas[2].broken = frozenset({"2"})
    want(rollout, Wanted(version(2)))
    turn(rollout, replicas, times=5)
    assert rollout.failed_loads == Counter(model=1)
    clock.now += RETRY
    turn(rollout, replicas)
    want(rollout, Wanted(version(2)), {version(2): "its files were changed"})
    turn(rollout, replicas)
    assert rollout.failed_loads == Counter(model=1, rollout=1)


def test_an_old_version_stays_until_its_last_request_is_answered() -> None:
    rollout, replicas = a_graph()
    want(rollout, Wanted(version(1)))
    turn(rollout, replicas)
    replicas[0].busy = {"1"}
    want(rollout, Wanted(version(2)))
    turn(rollout, replicas)
    assert rollout.plan.champion == version(2)
    assert set(rollout.plan.load) == {version(1), version(2)}
    replicas[0].busy = set()
    turn(rollout, replicas)
    assert rollout.plan.load == (version(2),)


def test_a_version_that_fails_its_test_changes_nothing() -> None:
    clock = Clock()
    rollout, replicas = a_graph(clock)
    want(rollout, Wanted(version(1)))
    turn(rollout, replicas)
    bad = {version(2): "the self-test is off"}
    want(rollout, Wanted(version(2)), bad)
    turn(rollout, replicas)
    assert rollout.plan.champion == version(1)
    assert [f.version for f in rollout.plan.failed] == ["2"]
    assert rollout.refusal(Wanted(version(2))) == "version 2: the self-test is off"
    assert rollout.untested(Wanted(version(2))) == []
    clock.now += RETRY  # whatever was wrong with it may have been mended
    turn(rollout, replicas)
    want(rollout, Wanted(version(2)))
    turn(rollout, replicas)
    assert rollout.plan.champion == version(2)


def test_a_version_that_one_replica_cannot_load_is_given_up() -> None:
    rollout, replicas = a_graph()
    want(rollout, Wanted(version(1)))
    turn(rollout, replicas)
    replicas[2].broken = frozenset({"2"})
    want(rollout, Wanted(version(2)))
    turn(rollout, replicas)
    assert rollout.plan.champion == version(1)
    assert rollout.plan.load == (version(1),)
    assert "a replica of model cannot load it: its disk is full" in rollout.plan.failed[0].reason


def test_a_silent_replica_holds_nothing_up_for_long() -> None:
    clock = Clock()
    rollout, replicas = a_graph(clock)
    replicas.append(Replica("another", "model"))
    want(rollout, Wanted(version(1)))
    turn(rollout, replicas)
    dead = replicas.pop()
    want(rollout, Wanted(version(2)))
    turn(rollout, replicas)
    assert rollout.plan.champion == version(1), dead.name
    clock.now += SILENCE
    turn(rollout, replicas)
    assert rollout.plan.champion == version(2)


def test_one_that_says_good_bye_holds_nothing_up() -> None:
    rollout, replicas = a_graph()
    replicas.append(Replica("another", "model"))
    want(rollout, Wanted(version(1)))
    turn(rollout, replicas)
    want(rollout, Wanted(version(2)))
    turn(rollout, replicas[:4])
    rollout.left("another")
    assert rollout.plan.champion == version(2)


def test_a_challenger_comes_changes_and_goes() -> None:
    rollout, replicas = a_graph()
    want(rollout, Wanted(version(1), Challenge(version(2), "shadow", 0.0)))
    turn(rollout, replicas)
    assert rollout.plan.challenger == Challenge(version(2), "shadow", 0.0)
    want(rollout, Wanted(version(1), Challenge(version(2), "share", 0.3)))
    assert rollout.plan.challenger == Challenge(version(2), "share", 0.3)
    want(rollout, Wanted(version(2)))  # promoted: it is nobody's challenger any more
    turn(rollout, replicas)
    assert (rollout.plan.champion, rollout.plan.challenger) == (version(2), None)
    assert rollout.plan.load == (version(2),)


def test_a_restarted_rollout_goes_on_with_what_serves() -> None:
    before, replicas = a_graph()
    want(before, Wanted(version(1)))
    turn(before, replicas)
    after = Rollout(clock=Clock())
    want(after, Wanted(version(2)))
    generation = before.plan.generation
    turn(after, replicas[:1], times=1)
    assert after.plan.champion == version(1)
    assert after.plan.generation > generation
    turn(after, replicas)
    assert after.plan.champion == version(2)


class Anything(RuleBasedStateMachine):
    """Replicas come, go, die and lag in any order; operators change their minds."""

    replicas = Bundle("replicas")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.rollout = Rollout(clock=self.clock)
        self.alive: list[Replica] = []
        self.seen: dict[str, Plan] = {}
        self.born = 0

    @rule(target=replicas, stage=st.sampled_from(STAGES))
    def start(self, stage: Stage) -> Replica:
        self.born += 1
        replica = Replica(f"{stage}-{self.born}", stage)
        replica.report(self.rollout)
        replica.follow(self.rollout.plan)
        self.alive.append(replica)
        return replica

    @rule(replica=replicas)
    def report(self, replica: Replica) -> None:
        if replica in self.alive:
            replica.report(self.rollout)

    @rule(replica=replicas)
    def follow(self, replica: Replica) -> None:
        if replica in self.alive:
            replica.follow(self.rollout.plan)

    @rule(replica=replicas, data=st.data())
    def send(self, replica: Replica, data: Any) -> None:
        stamps = sorted(replica.stamps - replica.busy)
        if replica.stage == "ingress" and stamps and replica in self.alive:
            replica.busy.add(data.draw(st.sampled_from(stamps)))

    @rule(replica=replicas)
    def answer(self, replica: Replica) -> None:
        replica.busy.clear()

    @rule(replica=consumes(replicas), politely=st.booleans())
    def stop(self, replica: Replica, politely: bool) -> None:
        if replica in self.alive:
            self.alive.remove(replica)
            if politely:
                self.rollout.left(replica.name)

    @rule(number=st.integers(1, 4), rival=st.none() | st.integers(1, 4), bad=st.booleans())
    def name(self, number: int, rival: int | None, bad: bool) -> None:
        challenge = None if rival in (None, number) else Challenge(version(rival), "share", 0.5)
        wanted = Wanted(version(number), challenge)
        want(self.rollout, wanted, {version(number): "bad"} if bad else None)

    @rule()
    def everybody_reports_and_time_passes(self) -> None:
        for replica in self.alive:
            replica.report(self.rollout)
        self.clock.now += SILENCE / 2

    @invariant()
    def what_may_be_asked_for_is_loaded(self) -> None:
        loaded = {r.version for r in self.rollout.plan.load}
        champion = self.rollout.plan.champion
        assert champion is None or champion.version in loaded
        for replica in self.alive:
            if replica.stage == "ingress" and replica.name in self.rollout._members:
                assert replica.stamps <= loaded


TestAnything = Anything.TestCase
TestAnything.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
