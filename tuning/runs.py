"""Runs of trials in MLflow, written behind the sweep's back so that it never waits for MLflow."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from training.tracking import Report, RunStatus, StoreAway, Tracking, TrackingError

KEY_TAG = "fraudray.trial"
"""The tag that tells which trial a run is of."""
GATHER_SECONDS = 0.5
"""How long records are held after a silence, so that all they say of a trial goes out at once."""
LONGEST_PAUSE = 15.0
MOST_ATTEMPTS = 5
"""Failures of one record, while the store answers, before it is given up."""


@dataclass(frozen=True)
class RunRecord:
    """What became known of a trial; several records of one key tell of one run.

    Attributes
    ----------
    key
        Names the trial among those below one parent run.
    status
        What the trial is at now. A run that is not RUNNING any more is ended by it.
    texts
        Files to keep, by name.
    began
        Unix time at which the trial began; None for `at`. Told by the first record of a key.
    at
        Unix time of the metrics, and of the end if this is the end; None for now. Records that may
        be written again by another process give it, so that no metric is kept twice.
    """

    key: str
    name: str
    params: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, object] = field(default_factory=dict)
    step: int = 0
    status: RunStatus = "RUNNING"
    texts: Mapping[str, str] = field(default_factory=dict)
    began: float | None = None
    at: float | None = None


class ChildRuns:
    """The runs below a parent run, one a trial, written by a thread of its own.

    Runs that are there already are gone on with: a trial has one run, however many processes tell
    of it one after the other. While the store is away, records wait; when it comes back they are
    written. What MLflow refuses for good is dropped and told in `refused`.

    Parameters
    ----------
    uri
        The MLflow store.
    experiment, parent
        Ids of the experiment and of the parent run, which the caller starts and finishes.

    Examples
    --------
    >>> runs = ChildRuns(uri, experiment, parent)  # doctest: +SKIP
    >>> runs.write(RunRecord("a1", "first", params={"depth": 3}))  # doctest: +SKIP
    >>> runs.write(RunRecord("a1", "first", status="FINISHED"))  # doctest: +SKIP
    >>> runs.close()  # doctest: +SKIP
    True
    """

    def __init__(self, uri: str, experiment: str, parent: str) -> None:
        self.uri, self.experiment, self.parent = uri, experiment, parent
        self.refused: dict[str, str] = {}
        self._away = ""
        self._waiting: dict[str, list[RunRecord]] = {}
        self._in_hand: str | None = None
        self._not_before = 0.0
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="fraudray-runs", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many runs have something that is not written yet."""
        with self._changed:
            return len(self._waiting.keys() | ({self._in_hand} - {None}))

    @property
    def problem(self) -> str:
        """Why the store is waited for, or what it refused, in one line; empty if all is well."""
        refused = [f"trial {key} is not written: {why}" for key, why in self.refused.items()]
        return "; ".join([*([self._away] if self._away else []), *refused[-1:]])

    def write(self, record: RunRecord) -> None:
        """Take a record; returns at once.

        Raises
        ------
        RuntimeError
            After `close`.
        """
        now = time.time()
        record = replace(record, at=now if record.at is None else record.at)
        with self._changed:
            if self._closed:
                raise RuntimeError("these runs are closed")
            if not self._waiting and self._in_hand is None:
                self._not_before = max(self._not_before, time.monotonic() + GATHER_SECONDS)
            self._waiting.setdefault(record.key, []).append(record)
            self._changed.notify_all()

    def flush(self, timeout: float | None = None) -> bool:
        """Wait, at most so many seconds, until all is written or refused; tell whether it is."""
        with self._changed:
            self._not_before = 0.0
            self._changed.notify_all()
            return self._changed.wait_for(
                lambda: not self._waiting and self._in_hand is None, timeout
            )

    def close(self, timeout: float = 10.0) -> bool:
        """Flush, then end the thread; False if records were left that could not be written."""
        written = self.flush(timeout)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout)
        return written

    def _work(self) -> None:
        children: _Children | None = None
        failures = 0
        attempts: dict[str, int] = {}
        while (taken := self._take()) is not None:
            key, records = taken
            try:
                children = children or _Children(self.uri, self.experiment, self.parent)
                children.write(key, records)
                if not self._waiting:
                    children.reconcile()
                failures, self._away = 0, ""
                attempts.pop(key, None)
            except StoreAway as error:
                self._away = str(error)
                answers = children is not None and children.tracking.answers()
                attempts[key] = attempts.get(key, 0) + answers
                if attempts[key] < MOST_ATTEMPTS:
                    failures = 0 if answers else failures + 1
                    pause = min(2.0**failures, LONGEST_PAUSE)
                    self._put_back(key, records, pause, last=answers)
                else:
                    self.refused[key], self._away = str(error), ""
            except TrackingError as error:
                if children is None:  # not this record's fault
                    self._away = str(error)
                    self._put_back(key, records, LONGEST_PAUSE, last=False)
                else:
                    self.refused[key] = str(error)
            except Exception as error:  # the thread outlives whatever a record may hold
                self.refused[key] = f"{type(error).__name__}: {error}"
            self._done()

    def _take(self) -> tuple[str, list[RunRecord]] | None:
        with self._changed:
            while not self._closed:
                rest = self._not_before - time.monotonic()
                if self._waiting and rest <= 0:
                    self._in_hand = next(iter(self._waiting))
                    return self._in_hand, self._waiting.pop(self._in_hand)
                self._changed.wait(rest if self._waiting else None)
            return None

    def _put_back(self, key: str, records: list[RunRecord], pause: float, *, last: bool) -> None:
        with self._changed:
            both = {key: records + self._waiting.pop(key, [])}
            self._waiting = {**self._waiting, **both} if last else {**both, **self._waiting}
            self._not_before = time.monotonic() + pause

    def _done(self) -> None:
        with self._changed:
            self._in_hand = None
            self._changed.notify_all()


@dataclass
class _Run:
    """A run as far as it is known to be written.

    Attributes
    ----------
    found
        Its status when it was found, until something is added to it.
    """

    run_id: str
    status: RunStatus
    found: RunStatus | None = None
    written: dict[str, object] = field(default_factory=dict)

    def news(self, kind: str, values: Mapping[str, object]) -> dict[str, object]:
        """Those of the values that are not written yet."""
        return {k: v for k, v in values.items() if self.written.get(f"{kind} {k}", self) != v}

    def note(self, kind: str, values: Mapping[str, object]) -> None:
        self.written |= {f"{kind} {k}": v for k, v in values.items()}


class _Children:
    """The runs below a parent, as MLflow has them, and how they become what the records say."""

    def __init__(self, uri: str, experiment: str, parent: str) -> None:
        self.tracking = Tracking(uri)
        self.experiment, self.parent = experiment, parent
        self._runs: dict[str, _Run] = {}
        self._doubted: set[str] = set()
        self._find()

    def write(self, key: str, records: Sequence[RunRecord]) -> None:
        """Bring a run to where its records are; safe to repeat."""
        last = records[-1]
        run = self._runs.get(key) or self._begin(key, records)
        if run.found == "FINISHED" or (
            run.found != "RUNNING" and all(record.status == run.found for record in records)
        ):
            return  # written by an earlier process, whole: its end is written last
        run.found = None
        try:
            self._add(run, records)
        except StoreAway:
            raise
        except TrackingError as error:
            if last.status != "RUNNING":  # no run stays open for what MLflow does not take
                self.tracking.log(run.run_id, tags={"refused": str(error)[:500]})
                self.tracking.finish(run.run_id, last.status, ended=last.at)
            raise

    def reconcile(self) -> None:
        """Discard runs that came to be although no answer said so."""
        if self._doubted:
            self._find()
            self._doubted.clear()

    def _begin(self, key: str, records: Sequence[RunRecord]) -> _Run:
        if key in self._doubted:
            self._find()
            if key in self._runs:
                return self._runs[key]
        first = records[0]
        tags = {k: v for record in records for k, v in record.tags.items()}
        try:
            run_id = self.tracking.start(
                self.experiment, first.name,
                parent=self.parent, tags={**tags, KEY_TAG: key},
                began=first.at if first.began is None else first.began,
            )  # fmt: skip
        except StoreAway:
            self._doubted.add(key)
            raise
        self._runs[key] = run = _Run(run_id, "RUNNING")
        run.note("tag", tags)
        return run

    def _add(self, run: _Run, records: Sequence[RunRecord]) -> None:
        last = records[-1]
        if last.status == "RUNNING" != run.status:
            self.tracking.reopen(run.run_id)
            run.status = "RUNNING"
        after = replace(run, written=dict(run.written))
        params = after.news("param", {k: v for r in records for k, v in r.params.items()})
        tags = after.news("tag", {k: v for r in records for k, v in r.tags.items()})
        reports = []
        for record in records:
            measured = {name: (value, record.step) for name, value in record.metrics.items()}
            if news := after.news("metric", measured):
                values = {name: record.metrics[name] for name in news}
                reports.append(Report(values, record.step, record.at or 0.0))
                after.note("metric", news)
        if params or tags or reports:
            self.tracking.record(run.run_id, params=params, reports=reports, tags=tags)
            after.note("param", params)
            after.note("tag", tags)
            run.written = after.written  # only now: what failed has to be written again
        for name, text in {k: v for r in records for k, v in r.texts.items()}.items():
            self.tracking.text(run.run_id, text, name)
        if last.status != "RUNNING":
            self.tracking.finish(run.run_id, last.status, ended=last.at)
            run.status = last.status

    def _find(self) -> None:
        """Learn what is there; of twins the one in use stays, else a whole one, else the first."""
        found = self.tracking.children(self.experiment, self.parent, KEY_TAG)
        for key, twins in found.items():
            known = self._runs.get(key)
            kept = min(
                twins,
                key=lambda c: (known is None or c.run_id != known.run_id, c.status != "FINISHED"),
            )
            for twin in twins:
                if twin is not kept:
                    self.tracking.discard(twin.run_id)
            if known is None:
                self._runs[key] = _Run(kept.run_id, kept.status, found=kept.status)
