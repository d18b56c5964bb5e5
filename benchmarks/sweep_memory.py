"""Memory of eight trials at a time: one copy of the folds for all of them."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import numpy as np
import psutil
from page import Broken, met, table
from sweep_case import Case
from sweep_ours import ray_running, run

from training.threshold import DEFAULT_POLICY
from tuning.objective import Fold
from tuning.samplers import sampler
from tuning.space import Space

AT_A_TIME: Final = 8
COPIES: Final = 1.2
"""Of the folds in shared memory, at most; a bit more than one for what else lies there."""
WORKER: Final = ("ray::Judge", "ray::ResourceTrainable")  # how Ray names the process of one
PAUSE: Final = 0.5
FEW: Final = 4_000
MB: Final = 2**20
SPACE: Final = {
    "sampling": {"smote": [0]},
    "logistic-regression": {
        "C": [float(f"{c:.3g}") for c in np.geomspace(1e-6, 1e-4, 3 * AT_A_TIME)]
    },
}
"""Cheap fits, which make nothing of the rows but what they read."""


@dataclass(frozen=True)
class Used:
    """Bytes at the moment when the workers had most to themselves.

    Attributes
    ----------
    folds
        The arrays of all folds, once.
    workers
        How many there were.
    private
        Of all workers, what no other process maps.
    shared
        What they map together with others, each page counted once.
    store
        Most that ever was in the object store.
    """

    folds: int
    workers: int
    private: int
    shared: int
    store: int

    @property
    def own(self) -> float:
        """Private memory of one worker."""
        return self.private / self.workers


def memory(rows: int) -> tuple[Used, Used]:
    """A sweep on so many payments, and one on few, which shows what workers take without data.

    Raises
    ------
    Broken
        If no worker was seen.
    """
    return _used(FEW), _used(rows)


def memory_block(found: tuple[Used, Used], rows: int) -> str:
    """The table."""
    lines = {
        "the folds": [used.folds for used in found],
        "object store": [used.store for used in found],
        "private memory of a worker": [used.own for used in found],
        "shared memory of all workers": [used.shared for used in found],
        f"the folds {AT_A_TIME} times": [used.folds * AT_A_TIME for used in found],
    }
    few, many = found
    copies, grown = many.store / many.folds, AT_A_TIME * (many.own - few.own) / many.folds
    workers = " and ".join(str(used.workers) for used in found)
    return "\n\n".join(
        [
            table(
                ["MB", f"{FEW:,} payments", f"{rows:,} payments"],
                [[name, *(f"{size / MB:,.0f}" for size in sizes)] for name, sizes in lines.items()],
            ),
            f"{workers} workers. Shared memory holds {copies:.2f} copies of the folds, "
            f"{met(copies <= COPIES, f'at most {COPIES:g}')}; what {AT_A_TIME} workers have to "
            f"themselves grows by {grown:.2f} copies, {met(grown <= 1, 'at most 1')}.",
        ]
    )


def _used(rows: int) -> Used:
    case = Case.of(rows, Space.from_dict(SPACE))
    folds = case.folds()
    size = sum(_bytes(fold) for fold in folds[True])
    with ray_running(), Watch() as watch:
        grid = sampler("grid", case.bound, policy=DEFAULT_POLICY, seed=0)
        run(grid, folds, concurrency=AT_A_TIME, scheduler="none")
    return watch.most(size)


class Watch:
    """Looks at the workers of this process's sweep every now and then."""

    def __init__(self) -> None:
        self._seen: list[dict[str, int]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def most(self, folds: int) -> Used:
        """The moment of most workers; of several that of most private memory."""
        seen = max(self._seen, key=lambda m: (m["workers"], m["private"]), default={"workers": 0})
        if not seen["workers"]:
            raise Broken("no worker was seen at work")
        return Used(folds=folds, **seen | {"store": max(m["store"] for m in self._seen)})

    def _look(self) -> None:
        while not self._over.wait(PAUSE):
            self._seen.append(_now())


def _now() -> dict[str, int]:
    """What the workers use now; one that ends under the eye counts no more."""
    private, mapped = [], []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if " ".join(process.cmdline()).startswith(WORKER):
                used = process.memory_full_info()
                private.append(used.uss)
                # What several map is shared out among them, so the sum counts it once.
                mapped.append(used.pss - used.uss)
    return {
        "workers": len(private),
        "private": sum(private),
        "shared": sum(mapped),
        "store": _store(),
    }


def _store() -> int:
    """Bytes in the object store."""
    import ray

    name = "object_store_memory"
    there, free = ray.cluster_resources(), ray.available_resources()
    return int(there.get(name, 0) - free.get(name, there.get(name, 0)))


def _bytes(fold: Fold) -> int:
    arrays = [fold.fit, fold.fit_label, fold.held_out, fold.held_out_label]
    return sum(np.asarray(a).nbytes for a in [*arrays, *fold.held_out_costs.values()])
