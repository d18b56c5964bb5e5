"""What one ingress has answered and the decision log does not hold yet.

A ledger lives on the event loop of its process and is called for every request, so it only keeps
what it is given; arrays are made once for many requests, in `take`.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serve_app.delivery import LATENCY_EDGES, Comparison, Delivery, FloatArray, Role, latency_bucket
from serve_app.tally import Seen
from training.errors import FraudrayError

_Decided = tuple[
    float, str, str, Role, float, int,
    Sequence[float] | FloatArray, Sequence[int] | NDArray[np.integer],
]  # fmt: skip
"""The decisions of one request, as `Ledger.decided` is told them."""


class Count(NamedTuple):
    """Decisions of one ledger since it began."""

    numbered: int
    dropped: int


class Ledger:
    """Decisions and answers of one process until they are acknowledged.

    The number of decisions made is kept in a small file that outlives a killed process, so that
    `left_behind` can say how many were made there and never delivered.

    Parameters
    ----------
    name
        A name that no ledger had before.
    folder
        Where the file is; made if need be.
    capacity
        Rows kept at most; what is decided beyond it is counted and dropped.

    Raises
    ------
    FraudrayError
        If the name was used before or the folder cannot be written.
    """

    def __init__(self, name: str, folder: Path, capacity: int = 200_000) -> None:
        self.name = name
        self.capacity = capacity
        self._path = folder / f"{name}.count"
        self._file, self._map = _counter(self._path)
        # One store of eight bytes cannot be torn by a kill.
        self._count = memoryview(self._map).cast("Q")
        self._next = 0  # sequence number
        self._held = 0  # rows, those of the unacknowledged delivery included
        self._number = 0
        self._unacknowledged: Delivery | None = None
        self._taken: list[_Decided] = []  # what the unacknowledged delivery was made of
        self._decided: list[_Decided] = []
        self._counted = 0  # of these, from the first, are in the log's counts already
        self._dropped_ever = 0
        self._begin()

    def decided(
        self,
        request_id: str,
        version: str,
        role: Role,
        threshold: float,
        probability: Sequence[float] | FloatArray,
        decision: Sequence[int] | NDArray[np.integer],
    ) -> None:
        """Note the decisions of one request, (n,) each; the sequences must not change later.

        To be called before the answer leaves: what was answered has been counted then.
        """
        rows = len(probability)
        if self._held + rows > self.capacity:
            self._dropped += rows
            self._dropped_ever += rows
            self._count[1] = self._dropped_ever
            return
        self._held += rows
        self._next += rows
        self._count[0] = self._next
        self._decided.append(
            (time.time(), request_id, version, role, threshold, rows, probability, decision)
        )

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Note one answer; `route` is one of a few, never a caller's path."""
        buckets = self._answered.get((route, status))
        if buckets is None:
            buckets = self._answered[route, status] = [0] * (len(LATENCY_EDGES) + 1) + [0.0]
        buckets[latency_bucket(seconds)] += 1
        buckets[-1] += seconds

    def refused(self, reason: str) -> None:
        """Note one request refused; `reason` is one of a few."""
        self._refused[reason] = self._refused.get(reason, 0) + 1

    def compared(
        self,
        champion: str,
        challenger: str,
        own: Sequence[float] | FloatArray,
        other: Sequence[float] | FloatArray,
        own_decision: Sequence[int] | NDArray[np.integer],
        other_decision: Sequence[int] | NDArray[np.integer],
    ) -> None:
        """Note what a shadow said beside the champion, (n,) each."""
        seen = Comparison(
            len(own),
            int(np.count_nonzero(np.asarray(own_decision) != np.asarray(other_decision))),
            float(np.abs(np.asarray(own) - np.asarray(other)).sum()),
        )
        pair = champion, challenger
        self._compared[pair] = self._compared.get(pair, Comparison()).plus(seen)

    def shadow_dropped(self, rows: int) -> None:
        """Note rows that no shadow scored."""
        self._shadow_dropped += rows

    def seen(self, seen: Mapping[str, Seen]) -> None:
        """Note what was counted for drift, by version."""
        for version, counted in seen.items():
            self._seen[version] = counted.plus(self._seen.get(version))

    def take(self) -> Delivery | None:
        """The delivery not acknowledged yet, or else all since the last one; None if nothing.

        The same delivery comes again until it is acknowledged, as often as it takes; only what
        it says is `held` may have grown.
        """
        if self._unacknowledged is None and self._something():
            self._number += 1
            self._unacknowledged = self._delivery()
            self._taken, self._decided, self._counted = self._decided, [], 0
            self._begin()
        if self._unacknowledged is not None and self._unacknowledged.held != self._held:
            self._unacknowledged = replace(self._unacknowledged, held=self._held)
        return self._unacknowledged

    def acknowledge(self, delivery: Delivery, *, kept: bool = True) -> None:
        """Forget a delivery that the decision log has counted.

        Parameters
        ----------
        kept
            Whether its database holds the decisions, too; if not, they come with the next delivery.
        """
        if self._unacknowledged is None or delivery.number != self._unacknowledged.number:
            return
        if kept:
            self._held -= len(delivery.probability)
        else:
            self._counted = len(self._taken)
            self._decided = self._taken + self._decided
        self._unacknowledged, self._taken = None, []

    def close(self) -> None:
        """End. With something not acknowledged yet, the file stays and says how much."""
        if self.take() is None:
            self._path.unlink(missing_ok=True)
        self._count.release()
        self._map.close()
        os.close(self._file)

    def _begin(self) -> None:
        # Of each the buckets, and then the sum of seconds.
        self._answered: dict[tuple[str, int], list[float]] = {}
        self._refused: dict[str, int] = {}
        self._compared: dict[tuple[str, str], Comparison] = {}
        self._shadow_dropped = 0
        self._dropped = 0
        self._seen: dict[str, Seen] = {}

    def _something(self) -> bool:
        return bool(
            self._decided
            or self._answered
            or self._refused
            or self._compared
            or self._shadow_dropped
            or self._dropped
            or self._seen
        )

    def _delivery(self) -> Delivery:
        columns = zip(*self._decided, strict=True) if self._decided else [()] * 8
        at, request_id, version, role, threshold, rows, probability, decision = columns
        total = sum(rows)
        return Delivery(
            ledger=self.name,
            number=self._number,
            first=self._next - total,
            at=np.array(at, np.float64),
            request_id=request_id,
            version=version,
            role=role,
            threshold=np.array(threshold, np.float64),
            rows=np.array(rows, np.int64),
            counted=self._counted,
            probability=np.fromiter(_rows(probability), np.float64, total),
            decision=np.fromiter(_rows(decision), np.int8, total),
            answered={key: np.array(b[:-1], np.int64) for key, b in self._answered.items()},
            seconds={key: b[-1] for key, b in self._answered.items()},
            refused=self._refused,
            compared=self._compared,
            shadow_dropped=self._shadow_dropped,
            dropped=self._dropped,
            seen=self._seen,
            held=self._held,
        )


def _rows(requests: Sequence[Any]) -> Iterator[Any]:
    # An array is quicker to go through as a list.
    return chain.from_iterable(r.tolist() if isinstance(r, np.ndarray) else r for r in requests)


def left_behind(folder: Path) -> dict[str, Count]:
    """What ledgers counted whose process has ended without closing them empty.

    Ledgers still open, which hold a lock that ends with their process, are left out.
    """
    found = {}
    for path in folder.glob("*.count"):
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                found[path.stem] = Count(*struct.unpack("@QQ", file.read()))
        except (BlockingIOError, FileNotFoundError):
            continue  # still open, or closed just now
    return found


def forget(folder: Path, name: str) -> None:
    """Remove what a ledger left behind, once that is known elsewhere."""
    (folder / f"{name}.count").unlink(missing_ok=True)


def _counter(path: Path) -> tuple[int, mmap.mmap]:
    """A new locked file of two counts and its memory."""
    new = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            # It gets its name when it is locked: before, it would look left behind.
            fcntl.flock(file, fcntl.LOCK_EX)
            os.write(file, bytes(16))
            os.link(new, path)
            return file, mmap.mmap(file, 16)
        except BaseException:
            os.close(file)
            raise
        finally:
            new.unlink()
    except OSError as error:
        message = f"{path}: the count of decisions cannot be written: {error.strerror}"
        raise FraudrayError(message) from None
