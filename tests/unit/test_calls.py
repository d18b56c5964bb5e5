"""Requests that wait travel together, each gets its own rows, and nothing is lost on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app import calls
from serve_app.calls import Calls, Overloaded, Scores, TooLate
from serve_app.versions import Reference
from training.data import Columns

ONE = Reference("m", "1", "files")


class Died(Exception):
    """What a dead replica leaves behind."""


class Stages:
    """Answers every payment with its own number, as slowly and unreliably as told."""

    def __init__(self, seconds: float = 0.0, dying: int = 0) -> None:
        self.seconds = seconds
        self.dying = dying
        self.sizes: list[int] = []

    async def __call__(self, reference: Reference, columns: Columns) -> Scores:
        assert reference == ONE
        self.sizes.append(len(columns["x"]))
        await asyncio.sleep(self.seconds)
        if self.dying:
            self.dying -= 1
            raise Died
        return columns["x"], (columns["x"] % 2).astype(np.int8)


def lasting(error: Exception) -> bool:
    return not isinstance(error, Died)


def run(stages: Any, requests: list[int], seconds: float = 5.0) -> list[Any]:
    """Score requests of so many payments, all at once; payments are numbered through."""

    async def all_of_them() -> list[Any]:
        way = Calls(ONE, stages, lasting, calls.ROWS)
        deadline = asyncio.get_running_loop().time() + seconds
        starts = np.cumsum([0, *requests])
        asked = [
            way.score({"x": np.arange(start, start + rows, dtype=float)}, rows, deadline)
            for start, rows in zip(starts, requests, strict=False)
        ]
        found = await asyncio.gather(*asked, return_exceptions=True)
        async with asyncio.timeout(5):
            while not way.idle:
                await asyncio.sleep(0.001)
        assert way.waiting_rows == 0
        return found

    return asyncio.run(all_of_them())


@given(st.lists(st.integers(1, 3 * calls.ROWS), min_size=1, max_size=12), st.integers(0, 3))
def test_every_request_gets_its_own_rows_whatever_travels_with_it(
    requests: list[int], dying: int
) -> None:
    stages = Stages(dying=dying)
    found = run(stages, requests)
    numbers = np.concatenate([probability for probability, _ in found])
    np.testing.assert_array_equal(numbers, np.arange(sum(requests)))
    for probability, decision in found:
        np.testing.assert_array_equal(decision, probability % 2)
    assert max(stages.sizes) <= calls.ROWS


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stalls while requests arrive must not make them late."""
    monkeypatch.setattr(calls, "OVERDUE", 60.0)


@pytest.mark.usefixtures("unhurried")
def test_what_waits_goes_together() -> None:
    stages = Stages(seconds=0.01)
    run(stages, [1] * 100)
    # Alone at once; then as many as are worth a second call; then all that came meanwhile.
    assert stages.sizes == [1, calls.SECOND, 99 - calls.SECOND]


def test_after_a_call_of_several_the_next_gather_and_after_one_alone_none_waits() -> None:
    stages = Stages(seconds=0.001)

    async def again_and_again(callers: int) -> None:
        way = Calls(ONE, stages, lasting, calls.ROWS)
        clock = asyncio.get_running_loop().time

        async def caller(pause: float) -> None:
            for _ in range(20):
                await way.score({"x": np.zeros(1)}, 1, clock() + 5)
                await asyncio.sleep(pause)

        await asyncio.gather(*(caller(0.0003 * (i + 1)) for i in range(callers)))

    asyncio.run(again_and_again(1))
    assert stages.sizes == [1] * 20
    stages.sizes.clear()
    asyncio.run(again_and_again(10))
    assert sum(stages.sizes) == 200
    assert len(stages.sizes) < 52  # 20 rounds of callers out of step; some 68 without gathering


def test_one_call_that_does_not_come_back_holds_up_nobody_behind_it() -> None:
    asked = []

    async def first_never(reference: Reference, columns: Columns) -> Scores:
        asked.append(reference)
        if len(asked) == 1:
            await asyncio.sleep(60)
        return columns["x"], np.zeros(len(columns["x"]), np.int8)

    first, second = run(first_never, [1, 1], seconds=1.0)
    assert isinstance(first, TooLate)
    assert second[0].tolist() == [1.0]


@pytest.mark.usefixtures("unhurried")
def test_beyond_what_may_wait_a_request_is_refused_at_once() -> None:
    stages = Stages(seconds=0.05)
    on_their_way = 1 + calls.SECOND
    found = run(stages, [1] * (on_their_way + calls.WAITING + 7))
    refused = [f for f in found if isinstance(f, Overloaded)]
    assert len(refused) == 7
    assert sum(stages.sizes) == on_their_way + calls.WAITING


def test_who_waits_too_long_is_told_and_not_scored() -> None:
    stages = Stages(seconds=0.3)
    found = run(stages, [1] * (1 + calls.SECOND + 5), seconds=0.1)
    assert all(isinstance(f, TooLate) for f in found)
    assert sum(stages.sizes) == 1 + calls.SECOND


def test_an_error_of_a_stage_itself_reaches_those_it_concerns() -> None:
    async def broken(reference: Reference, columns: Columns) -> Scores:
        raise ValueError(f"{reference.version} {len(columns['x'])}")

    found = run(broken, [1, 2, 3])
    assert [type(f) for f in found] == [ValueError] * 3


def test_nobody_is_sent_again_for_whom_nobody_waits() -> None:
    stages = Stages(dying=10**6)
    (found,) = run(stages, [1], seconds=0.12)
    assert isinstance(found, TooLate)
    assert len(stages.sizes) <= 4


@pytest.mark.parametrize("cancel", [True, False])
def test_a_caller_who_goes_away_takes_nothing_from_the_others(cancel: bool) -> None:
    stages = Stages(seconds=0.02)

    async def some_leave() -> list[Any]:
        way = Calls(ONE, stages, lasting, calls.ROWS)
        deadline = asyncio.get_running_loop().time() + 5
        score: Callable[[int], Any] = lambda i: way.score(  # noqa: E731
            {"x": np.array([float(i)])}, 1, deadline
        )
        tasks = [asyncio.ensure_future(score(i)) for i in range(20)]
        await asyncio.sleep(0)
        if cancel:
            for task in tasks[::2]:
                task.cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = asyncio.run(some_leave())
    for number, one in enumerate(found):
        if cancel and number % 2 == 0:
            assert isinstance(one, asyncio.CancelledError)
        else:
            assert one[0].tolist() == [float(number)]


def test_a_call_that_nobody_answers_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "STUCK", 0.05)
    asked = []

    async def silent_once(reference: Reference, columns: Columns) -> Scores:
        asked.append(reference)
        if len(asked) == 1:
            await asyncio.sleep(60)
        return columns["x"], np.zeros(len(columns["x"]), np.int8)

    (found,) = run(silent_once, [3])
    assert found[0].tolist() == [0.0, 1.0, 2.0]
    assert len(asked) == 2


def test_what_comes_after_a_slow_answer_is_not_sent_twice_for_being_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calls, "STUCK", 0.05)
    stages = Stages(seconds=0.3)

    async def one_after_the_other() -> list[int]:
        way, loop = Calls(ONE, stages, lasting, calls.ROWS), asyncio.get_running_loop()
        sizes = []
        for _ in range(3):
            await way.score({"x": np.arange(2.0)}, 2, loop.time() + 5)
            sizes.append(len(stages.sizes))
        return sizes

    # The first call is sent again and again in its 0.3 s; those after it but once.
    first, second, third = asyncio.run(one_after_the_other())
    assert first > 1
    assert (second - first, third - second) == (1, 1)


def test_a_call_that_is_sent_again_still_counts_where_it_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ray sends the next call to whom it has sent fewer: cancelled, both would have none."""
    monkeypatch.setattr(calls, "STUCK", 0.02)
    hanging, hung, answered = 0, 0, 0

    async def fewest_first(reference: Reference, columns: Columns) -> Scores:
        nonlocal hanging, hung, answered
        assert reference == ONE
        if hanging == 0:
            hanging, hung = hanging + 1, hung + 1
            try:
                await asyncio.sleep(60)
            finally:
                hanging -= 1
        answered += 1
        return columns["x"], np.zeros(len(columns["x"]), np.int8)

    async def ten() -> None:
        way, loop = Calls(ONE, fewest_first, lasting, calls.ROWS), asyncio.get_running_loop()
        for _ in range(10):
            await way.score({"x": np.arange(1.0)}, 1, loop.time() + 5)

    asyncio.run(ten())
    assert (hung, answered) == (1, 10)  # one of them has waited, not ten
