"""Score files of any size on Ray Data.

The file is cut into numbered pieces without being read; workers read, check and score them, and
Ray Data hands the scored pieces back in order, so that one output file is written from front to
back. A piece is small and Ray Data holds the workers back while the writer is busy, so memory does
not grow with the file. Every piece is kept on disk until the output is whole: a run that was
stopped goes on where it was, and writes the same bytes as one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from serve_app.formats import CsvSink, ParquetSink, Sink, csv_refuses
from serve_app.journal import Count, Journal
from serve_app.pieces import ADDED, Plan, Scorer, plan
from serve_app.versions import Reference
from training.data import MAX_BAD_SHARE, require_share
from training.errors import DataRefused, FraudrayError, UsageError
from training.source import Source
from training.spec import DatasetSpec

FORMAT = 1
"""Of what an unfinished run leaves behind."""
_SHOWN = 3  # problems quoted in an error
_IN_FLIGHT = 256 << 20  # bytes of scored pieces that wait for the writer

Progress = Callable[[int, int], None]
"""Called with the rows done, and the rows there are."""


@dataclass(frozen=True)
class Job:
    """A file that can be scored, and where its rows are to go.

    Attributes
    ----------
    source, out
        What is read and what is written, each CSV or Parquet by its ending.
    max_bad_share
        Share of bad rows above which the file is refused.
    """

    source: Source
    out: Path
    plan: Plan
    spec: DatasetSpec
    max_bad_share: float


@dataclass(frozen=True)
class Scored:
    """A file that was scored.

    Attributes
    ----------
    rows, bad, alerts
        Rows written; rows that break the spec, which are not; rows decided as fraud.
    resumed
        Rows that an earlier run had scored.
    startup_seconds
        Until the first piece was read.
    seconds
        From then until the last was written.
    rows_per_second
        Of the rows scored in this run.
    peak_worker_mb
        Most memory that one worker ever had.
    """

    file: str
    out: str
    model: str
    version: str
    rows: int
    bad: int
    alerts: int
    resumed: int
    rejected_file: str | None
    startup_seconds: float
    seconds: float
    rows_per_second: float
    peak_worker_mb: float
    workers: int


def prepare(
    source: Source,
    out: Path,
    spec: DatasetSpec,
    *,
    max_bad_share: float = MAX_BAD_SHARE,
    replace: bool = False,
) -> Job:
    """Check all that can be checked before Ray starts, and cut the file into pieces.

    Parameters
    ----------
    replace
        Whether an output that is there already may be replaced.

    Raises
    ------
    UsageError
        If the output has another ending, is there already or cannot be, or a column of the file
        has a name that scoring adds.
    FraudrayError, DataRefused
        If the file cannot be read, has no rows, or lacks required inputs.
    """
    require_share(max_bad_share)
    if out.suffix not in (".csv", ".parquet"):
        raise UsageError(f"{out}: expected a name that ends in .csv or .parquet")
    if not out.parent.is_dir():
        raise UsageError(f"{out}: expected an existing folder, {out.parent} is none")
    if not source.remote and Path(source.url).resolve() == out.resolve():
        raise UsageError(f"{out}: is the file to be scored; write to another one")
    if out.is_dir() or (out.exists() and not replace):
        raise UsageError(f"{out}: is there already; name another file, or replace it by --restart")
    cut = plan(source, spec)
    if clash := [name for name in ADDED if name in cut.schema.names]:
        raise UsageError(f"{source.name}: has columns that scoring adds: {', '.join(clash)}")
    if out.suffix == ".csv" and (refused := csv_refuses(cut.schema)):
        raise UsageError(f"{out}: CSV cannot hold {', '.join(refused)}; write .parquet")
    return Job(source, out, cut, spec, max_bad_share)


def score_file(
    job: Job,
    reference: Reference,
    *,
    workers: int,
    restart: bool = False,
    progress: Progress = lambda _done, _rows: None,
    tell: Callable[[str], None] = lambda _text: None,
) -> Scored:
    """Score a file on the Ray cluster that this process is connected to.

    The output has the file's columns and those of `ADDED`, its rows in their order. Rows that
    break the spec are left out and listed in `<name of the file>.rejected.csv` beside the output.

    Parameters
    ----------
    workers
        Processes that score, each with one core.
    restart
        Forget what an earlier run left.
    tell
        Called with what a person should know.

    Raises
    ------
    UsageError
        If another process writes the same output.
    DataRefused
        If too many rows break the spec, or all of them; they are listed all the same.
    """
    begun = time.time()
    journal = Journal(job.out)
    with journal.held():
        if left := journal.begin(_about(job, reference), restart=restart):
            tell(f"What an earlier run left is not used: {left}")
        total = sum(journal.counts, Count())
        resumed = total.rows
        if resumed:
            tell(f"Going on with an earlier run: {resumed + total.bad:,} rows are scored already")
        first, peak = time.time(), 0.0
        try:
            with _sink(job, journal.unfinished) as sink:
                for number in range(len(journal.counts)):
                    sink.append(journal.content(number))
                progress(total.rows + total.bad, job.plan.rows)
                for number, piece in enumerate(_scored(job, reference, journal, workers)):
                    journal.keep(piece.count, piece.content, piece.rejected)
                    sink.append(piece.content)
                    total += piece.count
                    first = piece.begun if number == 0 else min(first, piece.begun)
                    peak = max(peak, piece.peak_mb)
                    progress(total.rows + total.bad, job.plan.rows)
            rejected = journal.write_rejected(job.source.rejected_name) if total.bad else None
            _require_good(job, journal, total, rejected)
        except DataRefused:
            journal.forget()
            raise
        journal.finish()
    seconds = time.time() - first
    return Scored(
        file=job.source.name,
        out=str(job.out),
        model=reference.model,
        version=reference.version,
        rows=total.rows,
        bad=total.bad,
        alerts=total.alerts,
        resumed=resumed,
        rejected_file=str(rejected) if rejected else None,
        startup_seconds=first - begun,
        seconds=seconds,
        rows_per_second=(total.rows - resumed) / max(seconds, 1e-9),
        peak_worker_mb=peak,
        workers=workers,
    )


@dataclass(frozen=True)
class _Piece:
    count: Count
    content: Any
    rejected: bytes
    begun: float
    peak_mb: float


def _scored(job: Job, reference: Reference, journal: Journal, workers: int) -> Iterator[_Piece]:
    """The pieces that the journal lacks, in order, as the workers finish them."""
    todo = range(len(journal.counts), len(job.plan.pieces))
    if not todo:
        return
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_options.preserve_order = True
    context.execution_options.resource_limits = ray.data.ExecutionResources.for_limits(
        object_store_memory=_IN_FLIGHT
    )
    numbers = ray.data.from_items([{"number": n} for n in todo], override_num_blocks=len(todo))
    scored = numbers.map_batches(
        Scorer,
        fn_constructor_args=(reference, job.plan),
        fn_constructor_kwargs={"as_csv": job.out.suffix == ".csv"},
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(todo))),
        num_cpus=1,
        ray_remote_args_fn=_no_restarts,
    )
    wanted = iter(todo)
    try:
        for batch in scored.iter_batches(batch_size=None, batch_format="pyarrow"):
            for place in range(len(batch)):
                yield _piece(batch.slice(place, 1), next(wanted))
    except (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError) as error:
        told = " ".join(str(error).split())[:200]
        raise FraudrayError(
            f"a worker was lost: {told}; the same command goes on from here"
        ) from None


def _no_restarts() -> dict[str, Any]:
    """What is done is kept; and Ray's core warns, on the terminal, of actors that may restart."""
    return {"max_restarts": 0, "max_task_retries": 0}


def _piece(batch: pa.Table, number: int) -> _Piece:
    row = {name: batch.column(name)[0] for name in batch.column_names}
    if error := row["error"].as_py():
        raise DataRefused(error)
    if row["number"].as_py() != number:
        raise AssertionError("Ray Data has not kept the order of the pieces")
    count = Count(*(row[name].as_py() for name in ("rows", "bad", "alerts")))
    return _Piece(count, row["content"].as_buffer(), row["rejected"].as_py(),
                  row["begun"].as_py(), row["peak_mb"].as_py())  # fmt: skip


def _about(job: Job, reference: Reference) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "file": [part.name for part in job.plan.parts],
        "content of the file": job.plan.identity,
        "plan": [len(job.plan.pieces), job.plan.rows],
        "model": reference.model,
        "version": reference.version,
        "bundle": reference.files,
        "spec": job.spec.to_dict(),
    }


def _require_good(job: Job, journal: Journal, total: Count, rejected: Path | None) -> None:
    rows = total.rows + total.bad
    if rejected is None or (total.rows and total.bad <= job.max_bad_share * rows):
        return
    raise DataRefused(
        f"{job.source.name}: {total.bad:,} of {rows:,} rows break the spec {job.spec.name!r} "
        f"({journal.examples(_SHOWN)}); all are listed in {rejected}"
    )


def _sink(job: Job, path: Path) -> Sink:
    if job.out.suffix == ".csv":
        return CsvSink(path, [*job.plan.schema.names, *ADDED])
    return ParquetSink(path)
