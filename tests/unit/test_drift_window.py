"""Drift of what is served: counted at ingresses, added up, the same as of all payments at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app import tally
from serve_app.delivery import Delivery
from serve_app.drift import COVERED, DAY, HOUR, STEP, DriftWindow
from serve_app.ledger import Ledger
from serve_app.tally import Seen, Tally, Yardstick
from serve_app.versions import Challenge
from training.bundle import ModelBundle
from training.data import Columns, Dataset, records_of
from training.drift import measure
from training.reference import Reference
from training.spec import DatasetSpec

SPEC = DatasetSpec.from_dict(
    {
        "name": "tiny",
        "label": "y",
        "columns": {
            "x": {},
            "hour": {"cycle": "day"},
            "c": {"type": "category"},
            "free": {"type": "boolean", "cycle": "week"},
        },
    }
)
ROWS = 240


def payments(seed: int, rows: int = ROWS) -> Columns:
    """Numbers, hours and categories, some of them missing; each seed has one of its own."""
    random = np.random.default_rng(seed)
    c = random.choice(
        np.array(["a", "b", None, f"own{seed}"], object), rows, p=[0.5, 0.3, 0.1, 0.1]
    )
    x = np.where(random.random(rows) < 0.1, np.nan, random.normal(seed, 1, rows))
    return {"x": x, "hour": random.uniform(0, 24, rows), "c": c, "free": np.ones(rows)}


def scores(seed: int, rows: int = ROWS) -> np.ndarray:
    return np.random.default_rng(seed).random(rows) ** 2


REFERENCE = Reference.of(payments(0), SPEC).with_scores(scores(0))
YARDSTICK = Yardstick(REFERENCE, frozenset({"hour"}), frozenset({"free"}), 0.01)
LATER, LATER_SCORES = payments(1), scores(1)


def some(rows: list[int]) -> Columns:
    return {name: values[rows] for name, values in LATER.items()}


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Delivery:
    """A delivery of one decision of version 3."""
    ledger = Ledger("one", tmp_path_factory.mktemp("ledger"))
    ledger.decided("id", "3", "champion", 0.5, [0.1], [0])
    delivery = ledger.take()
    assert delivery is not None
    return delivery


def told(blank: Delivery, rows: list[int], version: str = "3") -> Delivery:
    seen = Seen(YARDSTICK, REFERENCE.count(some(rows), LATER_SCORES[rows]))
    return replace(blank, seen={version: seen})


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, HOUR - 2 * STEP)), max_size=ROWS, min_size=ROWS
    ),
)
def test_windows_of_any_cut_measure_what_all_rows_do(
    blank: Delivery, cut: list[tuple[int, int]]
) -> None:
    window, begin = DriftWindow(), 1_700_000_000
    places: dict[tuple[int, int], list[int]] = {}
    for row, place in enumerate(cut):
        places.setdefault(place, []).append(row)
    for (_, second), rows in sorted(places.items(), key=lambda item: item[0][1]):
        window.add(told(blank, rows), begin + second)
    found = window.measure(begin + HOUR - 2 * STEP)
    expected = measure(REFERENCE, REFERENCE.count(LATER, LATER_SCORES), skip={"hour", "free"})
    assert found == expected
    assert window.rows == ROWS
    assert window.missing["x"] == np.isnan(LATER["x"]).sum()
    assert window.unknown == {"c": (LATER["c"] == "own1").sum(), "free": 0}


def test_a_field_of_the_day_is_told_when_a_day_is_covered(blank: Delivery) -> None:
    window, part = DriftWindow(), ROWS // COVERED
    begin = 1_700_000_000 // HOUR * HOUR
    for hour in range(COVERED):
        found = window.measure(begin + hour * HOUR)
        assert found is None or found.skipped == ("hour", "free")
        window.add(told(blank, list(range(hour * part, (hour + 1) * part))), begin + hour * HOUR)
    late = window.measure(begin + (COVERED - 1) * HOUR)
    assert late is not None
    assert late.skipped == ("free",)  # no window spans a week
    rows = {field.name: field.rows for field in late.fields}
    assert rows == {"hour": COVERED * part, "x": part, "c": part}
    assert [f.psi for f in late.fields] == sorted((f.psi for f in late.fields), reverse=True)
    gone = window.measure(begin + DAY + HOUR)
    assert gone is not None
    assert gone.skipped == ("hour", "free")  # what is left of the day no longer covers one
    assert window.measure(begin + 2 * DAY) is None


def test_two_hours_a_day_apart_are_no_day(blank: Delivery) -> None:
    window, begin = DriftWindow(), 1_700_000_000 // HOUR * HOUR
    window.add(told(blank, [0, 1, 2]), begin)
    window.add(told(blank, [3, 4, 5]), begin + DAY - HOUR)
    found = window.measure(begin + DAY - HOUR)
    assert found is not None
    assert found.skipped == ("hour", "free")


def test_versions_do_not_mix_and_a_challenger_brings_its_window(blank: Delivery) -> None:
    window, now = DriftWindow(), 1_700_000_000.0
    assert window.summary(now) is None
    window.add(told(blank, [0, 1, 2]), now)
    window.add(told(blank, [3, 4], version="4"), now)
    summary = window.summary(now)
    assert summary is not None
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert (summary["version"], summary["seconds"], summary["rows"]) == ("3", HOUR, 3)
    window.add(replace(blank, version=("4",), seen={}), now)
    promoted = window.summary(now)
    assert promoted is not None
    assert (promoted["version"], promoted["rows"]) == ("4", 2)
    assert window.rows == 3  # only what a champion answered
    window.add(replace(blank, version=("5",), seen={}), now)
    assert window.summary(now) is None


@given(st.lists(st.integers(1, 3 * tally.MOST), max_size=6))
def test_a_tally_keeps_all_that_has_room_and_a_part_of_the_rest(sizes: list[int]) -> None:
    noting = Tally()
    for size in sizes:
        columns = {
            "x": np.arange(float(size)),
            "hour": np.zeros(size),
            "c": np.full(size, "a", object),
        }
        noting.note("3", YARDSTICK, columns, np.linspace(0, 1, size))
    counted = {version: noted.counted() for version, noted in noting.take().items()}
    assert noting.take() == {}
    assert counted.keys() == ({"3"} if sizes else set())
    if sizes:
        rows = counted["3"].counts.rows
        assert rows == sum(counted["3"].counts.score or ())
        if sum(sizes) <= tally.MOST:
            assert rows == sum(sizes)
        else:
            assert tally.MOST // 2 < rows <= tally.MOST


def test_what_an_ingress_answered_is_counted_once_and_probes_are_not(
    local_graph: Callable[..., Any], bundles: dict[str, ModelBundle], fresh: Dataset
) -> None:
    graph = local_graph()
    for version, family in (("1", "xgboost"), ("2", "random-forest")):
        graph.add(version, bundles[family])
    graph.want("1", Challenge(graph.references["2"], "shadow", 0.0))
    rows = fresh.take(np.arange(120))
    records = list(records_of(rows, list(fresh.spec.inputs)))

    async def ask() -> None:
        transport = httpx.ASGITransport(graph)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            await client.get("/ready")
            answers = [client.post("/v1/predict", json=record) for record in records[:40]]
            answers += [client.post("/v1/predict/batch", json=records[40:])]
            assert {a.status_code for a in await asyncio.gather(*answers)} == {200}
            await client.get("/ready")

    async def all_of_it() -> None:
        started, over = asyncio.Event(), asyncio.Event()

        async def receive() -> dict[str, Any]:
            if started.is_set():
                await over.wait()
                return {"type": "lifespan.shutdown"}
            return {"type": "lifespan.startup"}

        async def send(message: Any) -> None:
            if message["type"] == "lifespan.startup.complete":
                started.set()

        running = asyncio.create_task(graph({"type": "lifespan"}, receive, send))
        await started.wait()
        await ask()
        over.set()
        await running

    asyncio.run(all_of_it())
    window = DriftWindow()
    for delivery in graph.deliveries:
        window.add(delivery, 1_000_000.0)
    assert window.champion == "1"
    for version, family in (("1", "xgboost"), ("2", "random-forest")):
        bundle = bundles[family]
        expected = bundle.reference.count(rows.columns, bundle.score(rows.columns))
        counted = [d.seen[version].counts for d in graph.deliveries if version in d.seen]
        assert sum(counted, start=bundle.reference.empty()) == expected
