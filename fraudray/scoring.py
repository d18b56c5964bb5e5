"""What `score` does: a whole file through the champion, on a Ray cluster of its own."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fraudray import runtime
from fraudray.output import console, say
from fraudray.pipeline import champion
from fraudray.pipeline import registered_model as find_model
from serve_app.batch import Progress, Scored, prepare, score_file
from serve_app.versions import Reference
from training.data import MAX_BAD_SHARE
from training.source import Source
from training.spec import DatasetSpec
from training.tracking import Tracking

_EVERY = 5.0  # seconds between lines of progress where there is no terminal


def score(
    file: str,
    out: Path,
    *,
    spec: DatasetSpec,
    registered_model: str | None = None,
    workers: int | None = None,
    max_bad_share: float = MAX_BAD_SHARE,
    restart: bool = False,
) -> dict[str, Any]:
    """Score a file with the champion, write its rows with their answers, and tell of it.

    Parameters
    ----------
    spec
        Says which registered model is meant; rows are checked against the model's own.
    registered_model
        Default: see `fraudray.pipeline.registered_model`.
    workers
        Processes that score, one core each. Default, and most: as many as there are cores.
    restart
        Begin anew, whatever an earlier run left, and replace the output.

    Returns
    -------
    dict
        The fields of `serve_app.batch.Scored`.

    Raises
    ------
    FraudrayError
        See `serve_app.batch.prepare` and `serve_app.batch.score_file`.
    """
    tracking = Tracking()
    version, bundle = champion(tracking, find_model(tracking, spec, registered_model))
    job = prepare(
        Source(file), out, bundle.spec, max_bad_share=max_bad_share, replace=restart
    )  # fmt: skip
    reference = Reference.of(version)
    say(f"Scoring {job.source.name} with {version.model} version {version.version} ...")
    begun = time.monotonic()
    with runtime.stoppable():
        try:
            runtime.start_ray()
            processes = _workers(workers)
            up = time.monotonic() - begun
            with _shown() as progress:
                scored = score_file(
                    job, reference, workers=processes, restart=restart, progress=progress,
                    tell=say,
                )  # fmt: skip
        except KeyboardInterrupt:
            say("Stopped; the same command goes on from here")
            raise
        finally:
            runtime.stop_ray()
    scored = replace(scored, startup_seconds=scored.startup_seconds + up)
    _report(scored)
    return asdict(scored)


def _report(scored: Scored) -> None:
    say(f"{scored.out}: {scored.rows:,} rows, {scored.alerts:,} alerts by {scored.model} "
        f"version {scored.version}")  # fmt: skip
    if scored.rejected_file:
        say(f"{scored.bad:,} rows break the spec and are left out; see {scored.rejected_file}")
    say(f"{scored.rows_per_second:,.0f} rows a second in {scored.seconds:.1f} s with "
        f"{scored.workers} workers, after {scored.startup_seconds:.1f} s to start; "
        f"at most {scored.peak_worker_mb:,.0f} MB in a worker")  # fmt: skip


def _workers(wanted: int | None) -> int:
    import ray

    there = int(ray.cluster_resources().get("CPU", 1))
    return min(wanted or there, there)  # one more would wait for a core for ever


@contextmanager
def _shown() -> Iterator[Progress]:
    """A bar on a terminal; else a line every few seconds."""
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    shown = ("[progress.description]{task.description}", BarColumn(), MofNCompleteColumn(),
             TimeRemainingColumn())  # fmt: skip
    with Bar(*shown, console=console(error=True)) as bar:
        task = bar.add_task("rows", total=None)

        def update(done: int, rows: int) -> None:
            speed = bar.tasks[0].speed
            told = f"{speed:,.0f} rows/s" if speed else "rows"
            bar.update(task, completed=done, total=rows, description=told)

        yield update


def _lines(now: Callable[[], float] = time.monotonic) -> Progress:
    """Counted from the first piece on: before it the workers start."""
    told = now()
    base: tuple[int, float] | None = None
    before: int | None = None

    def show(done: int, rows: int) -> None:
        nonlocal told, base, before
        before = done if before is None else before
        if done == before:
            return
        base = base or (done, now())
        if now() - told < _EVERY or done == base[0]:
            return
        told = now()
        speed = (done - base[0]) / max(told - base[1], 1e-9)
        left = max(rows - done, 0) / speed
        say(f"{done:,} of {rows:,} rows, {speed:,.0f} a second, {left:,.0f} s left")

    return show
