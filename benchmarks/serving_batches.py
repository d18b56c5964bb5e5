"""Many payments a request, as JSON and as Arrow, beside scoring them in process."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import httpx
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from page import Broken, met, table
from serving_case import SAME, Case, lists
from serving_graph import replicas
from serving_load import ARROW, JSON, Load, write_bodies, wrk
from serving_servers import graph

from fraudray.runtime import free_ports

JSON_ROWS: Final = 1_000
ARROW_ROWS: Final = 10_000
LEAST: Final = 60_000  # rows a second as JSON
SHARE: Final = 0.3  # of scoring in process, as Arrow
CONNECTIONS: Final = (1, 2, 4, 8)
PATH: Final = "/v1/predict/batch"


@dataclass(frozen=True)
class Batches:
    """Loads by connections, and rows a second of one process before and after them.

    Attributes
    ----------
    settings
        Replicas of the graph after the last load.
    """

    json: list[Load]
    arrow: list[Load]
    bare: tuple[float, float]
    settings: str


def batches(case: Case, *, seconds: float, warm: float) -> Batches:
    """Measure the graph with lists of 1,000 and streams of 10,000 payments.

    Raises
    ------
    Broken
        If its probabilities are not the offline ones.
    """
    as_json = lists(case.bodies, JSON_ROWS)
    as_arrow = list(_streams(case))
    before = bare(case, seconds)
    (dashboard,) = free_ports(1)
    with graph(dashboard).running(case) as url:
        first = [a["probability"] for a in json.loads(_post(url, as_json[0], JSON))]
        _require(case, np.array(first), "JSON")
        with pa.ipc.open_stream(_post(url, as_arrow[0], ARROW)) as stream:
            _require(case, stream.read_all()["probability"].to_numpy(), "Arrow")

        def loads(bodies: list[bytes], content: str) -> list[Load]:
            path = write_bodies(case.folder / "batches.bodies", bodies)
            wrk(url + PATH, path, connections=4, seconds=warm, content=content)
            return [wrk(url + PATH, path, connections=c, seconds=seconds, content=content)
                    for c in CONNECTIONS]  # fmt: skip

        found = loads(as_json, JSON), loads(as_arrow, ARROW)
        settings = replicas(case, dashboard)
    return Batches(*found, (before, bare(case, seconds)), settings)


def batches_block(found: Batches) -> str:
    """The table and its aims."""
    alone = max(found.bare)
    rows = [["in process, one thread", f"{ARROW_ROWS:,}", "", f"{alone:,.0f}", "1.00", "", "", ""]]
    best: dict[str, float] = {}
    for name, size, loads in (
        ("JSON", JSON_ROWS, found.json), ("Arrow", ARROW_ROWS, found.arrow),
    ):  # fmt: skip
        for load in loads:
            speed = load.throughput * size
            best[name] = max(best.get(name, 0.0), speed)
            rows.append([name, f"{size:,}", str(load.connections), f"{speed:,.0f}",
                         f"{speed / alone:.2f}", f"{load.p50:.0f}", f"{load.p99:.0f}",
                         str(load.failed)])  # fmt: skip
    heads = ["payments as", "a request", "connections", "rows a second", "of in process",
             "p50, ms", "p99, ms", "failed"]  # fmt: skip
    return "\n\n".join(
        [
            table(heads, rows),
            f"JSON at its best: {met(best['JSON'] >= LEAST, f'{LEAST:,} rows a second')}. Arrow at "
            f"its best: {best['Arrow'] / alone:.2f} of in process, "
            f"{met(best['Arrow'] / alone >= SHARE, f'at least {SHARE:g}')}. "
            f"Replicas after the last load: {found.settings}.",
        ]
    )


def bare(case: Case, seconds: float) -> float:
    """Rows a second of the bundle's score on columns that lie ready."""
    columns = {name: values[:ARROW_ROWS] for name, values in case.columns.items()}
    case.champion.score(columns)
    begin, done = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        case.champion.score(columns)
        done += len(next(iter(columns.values())))
    return done / (time.perf_counter() - begin)


def _streams(case: Case) -> Iterator[bytes]:
    payments = pa.table({n: pa.array(v, from_pandas=True) for n, v in case.columns.items()})
    for start in range(0, len(payments) - ARROW_ROWS + 1, ARROW_ROWS):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, payments.schema) as stream:
            stream.write_table(payments.slice(start, ARROW_ROWS))
        yield sink.getvalue().to_pybytes()


def _post(url: str, body: bytes, content: str) -> bytes:
    answer = httpx.post(url + PATH, content=body, headers={"Content-Type": content},
                        timeout=60, trust_env=False)  # fmt: skip
    if answer.status_code != 200:
        raise Broken(f"a batch was answered {answer.status_code}: {answer.text[:200]}")
    return answer.content


def _require(case: Case, got: NDArray[Any], how: str) -> None:
    apart = float(np.abs(got - case.expected["1"][: len(got)]).max())
    if len(got) == 0 or not apart <= SAME:
        raise Broken(f"batches as {how}: probabilities are {apart:.2g} from the offline ones")
