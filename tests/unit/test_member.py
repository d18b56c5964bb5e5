"""A replica's part in the rollout: what it waits for, and what it does not wait for."""

from __future__ import annotations

import asyncio

import pytest

from serve_app import member
from serve_app.member import Follow, Member
from serve_app.versions import Plan, Reference, Report

ONE = Reference("m", "1", "files")
COMING = Plan(1, (ONE,))
SERVING = Plan(2, (ONE,), ONE)


def follower(plans: list[Plan]) -> Follow:
    """A rollout that tells one plan after the other, and then the last one again and again."""

    async def follow(report: Report) -> Plan:
        del report
        await asyncio.sleep(0.02)
        return plans.pop(0) if len(plans) > 1 else plans[0]

    return follow


def waited(plans: list[Plan], patience: float) -> tuple[float, Plan]:
    """Seconds that a new ingress waits before it takes requests, and the plan it then has."""

    async def go() -> tuple[float, Plan]:
        one: Member[str] = Member("a", "ingress", lambda r: r.version, follower(plans))
        await one.join()
        began = asyncio.get_running_loop().time()
        await one.in_service(patience)
        seconds = asyncio.get_running_loop().time() - began
        await one.leave()
        return seconds, one.plan

    return asyncio.run(go())


def test_a_replica_joins_once_the_rollout_knows_what_is_to_serve() -> None:
    assert waited([Plan()] * 3 + [SERVING], 0.0)[1] == SERVING


def test_an_ingress_takes_requests_once_a_version_that_is_to_come_has_come() -> None:
    assert waited([COMING] * 5 + [SERVING], 60.0)[1] == SERVING


def test_an_ingress_does_not_wait_for_what_is_there_or_is_not_to_come() -> None:
    for plan in (SERVING, Plan(1)):
        seconds, then = waited([plan], 60.0)
        assert then == plan
        assert seconds < 30.0


def test_an_ingress_waits_no_longer_than_it_may() -> None:
    assert waited([COMING], 0.1)[1] == COMING


def test_a_rollout_that_has_vanished_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(member, "ANSWER", 0.05)
    monkeypatch.setattr(member, "PATIENCE", 0.01)
    asked = 0

    async def silent_once(report: Report) -> Plan:
        nonlocal asked
        del report
        asked += 1
        if asked == 1:
            await asyncio.sleep(60)
        return SERVING

    async def go() -> Plan:
        one: Member[str] = Member("a", "model", lambda r: r.version, silent_once)
        await one.join()
        await one.leave()
        return one.plan

    assert asyncio.run(go()) == SERVING
    assert asked == 2
