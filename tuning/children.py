"""Runs below a parent as MLflow has them, and what is told of trials, which they come to say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from training.tracking import Report, RunStatus, StoreAway, Tracking, TrackingError

KEY_TAG = "fraudray.trial"
"""The tag that tells which trial a run is of."""


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


class Children:
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
