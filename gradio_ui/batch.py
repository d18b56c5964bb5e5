"""The page Batch: a file is dropped, checked row by row, scored, and given back."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from gradio_ui import charts
from gradio_ui.batch_run import EDGES, MOST_PROBLEMS, BatchRun
from gradio_ui.desk import Desk, Trouble
from gradio_ui.events import PRIVATE, filled, trouble
from gradio_ui.look import (
    Raw,
    card,
    code,
    columns,
    empty,
    figures,
    joined,
    number,
    paragraph,
    percent,
    table,
)
from gradio_ui.metrics import SCORES
from gradio_ui.payments_file import MOST_ROWS, PaymentsFile
from gradio_ui.sorting import SORT, sortable
from serve_app.client import BadRequest

AT_ONCE = 4
"""Files that are scored at the same time; others wait their turn."""

_WAITING = empty(
    "No file yet", "Drop one above. It is scored as soon as it is here, and then deleted."
)


def page(desk: Desk) -> None:
    """Lay out the page."""
    gr.HTML("<h1>Score a file</h1>", apply_default_css=False)
    gr.HTML(
        paragraph(f"Score a whole file, CSV or Parquet, of at most {MOST_ROWS:,} rows."),
        apply_default_css=False,
    )
    about = gr.HTML("", apply_default_css=False)
    file = gr.File(
        label="Payments, CSV or Parquet", file_types=[".csv", ".parquet"], file_count="single",
        interactive=True, height=150,
    )  # fmt: skip
    stop = gr.Button("Stop", visible=False, variant="stop")
    state = gr.HTML(_WAITING, apply_default_css=False)
    with gr.Row(visible=False) as downloads:
        scored = gr.DownloadButton("Download the scored rows", variant="primary")
        rejected = gr.DownloadButton("Download the rejected rows")
    result = gr.HTML("", apply_default_css=False, js_on_load=SORT)

    def score(dropped: str | None) -> Iterator[tuple[Any, ...]]:
        yield from _scored(desk, dropped)

    shown = [file, stop, state, downloads, scored, rejected, result]
    filled(lambda: (_about(desk),), None, [about], about)
    going = file.upload(
        score, file, shown, concurrency_limit=AT_ONCE, concurrency_id="batch", **PRIVATE
    )
    # First it ends, then that is said: what it was about to show must not come after.
    ending = stop.click(None, None, None, cancels=[going], **PRIVATE)
    ending.then(_stopped, None, shown, **PRIVATE)


def _about(desk: Desk) -> Raw:
    """Which columns a file needs, with one to begin from."""
    fields = desk.about()["inputs"]
    needed = [code(f["name"]) for f in fields if f["required"]]
    others = [code(f["name"]) for f in fields if not f["required"]]
    names = ",".join(f["name"] for f in fields)
    example = ",".join("" if f["example"] is None else f"{f['example']}" for f in fields)
    link = (
        f'<a download="payments.csv" href="data:text/csv;charset=utf-8,'
        f'{quote(names + chr(10) + example + chr(10))}">An example to begin from</a>'
    )
    return joined(
        paragraph("The first line names the columns, and these must be there:",
                  Raw(", ".join(needed)), "." if not others else ""),
        paragraph("These may be there:", Raw(", ".join(others)), ". Others are kept as they are.")
        if others else "",
        paragraph(Raw(link), "(CSV). Rows that break the contract are set aside with the reason."),
    )  # fmt: skip


def _scored(desk: Desk, dropped: str | None) -> Iterator[tuple[Any, ...]]:
    """Score a file that was dropped; it and all that came of it are deleted, whatever happens."""
    if dropped is None:
        return
    path = Path(dropped)
    folder = Path(tempfile.mkdtemp(prefix="fraudray-batch-"))
    try:
        run = BatchRun(desk, PaymentsFile(path), folder, _stem(path))
        yield _going(run)
        for _ in run.run():
            yield _going(run)
        SCORES.labels("batch").inc(run.scored)
        both = gr.DownloadButton(value=str(run.scored_file), visible=run.scored > 0)
        bad = gr.DownloadButton(value=str(run.rejected_file), visible=run.rejected > 0)
        yield (
            gr.File(value=None), gr.Button(visible=False), _totals(run), gr.Row(visible=True),
            both, bad, _details(run),
        )  # fmt: skip
    except (Trouble, BadRequest) as error:
        yield _ended(trouble(error))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        path.unlink(missing_ok=True)


def _going(run: BatchRun) -> tuple[Any, ...]:
    """How far it has come."""
    share = min(run.done / max(run.file.expected, 1), 1.0)
    told = f"{run.done:,} of about {run.file.expected:,} rows"
    said = card(
        "Scoring",
        Raw(
            f'<div class="fr-progress" role="progressbar" aria-valuemin="0" aria-valuemax="100" '
            f'aria-valuenow="{100 * share:.0f}" aria-label="{told}">'
            f'<i style="width:{share:.1%}"></i></div>'
        ),
        paragraph(f"{told}, {run.alerts:,} alerts, {run.rejected:,} rejected so far."),
    )
    return (
        gr.skip(), gr.Button(visible=True), said, gr.Row(visible=False), gr.skip(), gr.skip(), "",
    )  # fmt: skip


def _ended(said: Raw) -> tuple[Any, ...]:
    return (
        gr.File(value=None), gr.Button(visible=False), said, gr.Row(visible=False),
        gr.DownloadButton(value=None), gr.DownloadButton(value=None), "",
    )  # fmt: skip


def _stopped() -> tuple[Any, ...]:
    return _ended(empty("Stopped", "Nothing of the file is kept. Drop it again to begin anew."))


def _totals(run: BatchRun) -> Raw:
    """The sums, and what a person should know of them."""
    thresholds = sorted(run.thresholds)
    versions = ", ".join(sorted(run.versions))
    told = [f"Decided by version {versions} at the threshold {_listed(thresholds)}."]
    if len(thresholds) > 1:
        told.append("What decides was changed meanwhile: each row says by what it was decided.")
    unused = [name for name in run.file.columns if name not in run.inputs]
    if unused:
        told.append(f"Not used by the model: {', '.join(unused)}.")
    if not run.scored:
        told = ["No row could be scored. What is wrong with each stands below."]
    return card(
        f"{run.scored:,} payments scored",
        figures(
            {
                "Alerts": f"{run.alerts:,}",
                "Share of alerts": percent(run.alerts / run.scored if run.scored else None),
                "Frauds to expect": f"{run.expected:,.1f}" if run.scored else None,
                "Rows rejected": f"{run.rejected:,}",
            }
        ),
        *map(paragraph, told),
        tone="plain" if run.scored else "notice",
        role="status",
    )


def _details(run: BatchRun) -> Raw:
    """Histogram, rejected rows and the table."""
    parts: list[Raw] = []
    if run.scored:
        threshold = run.thresholds.most_common(1)[0][0]
        told = (
            f"Probabilities of {run.scored:,} payments; {run.alerts:,} reach the threshold of "
            f"{percent(threshold)}"
        )
        drawn = charts.histogram(
            EDGES, {"payments": run.counts.tolist()}, threshold,
            x_label="probability of fraud", told=told,
        )  # fmt: skip
        parts.append(card("Where the probabilities lie", drawn))
    if run.problems:
        parts.append(card("Rejected rows", *_problems(run)))
    return joined(columns(*parts), _rows(run))


def _problems(run: BatchRun) -> list[Raw]:
    rows = [
        (line, p["field"], p["expectation"], "empty" if p["value"] is None else str(p["value"]))
        for line, p in run.problems
    ]
    heads = ("Line", "Field", "Must be", "Is")
    more = "The download has all of them." if len(run.problems) >= MOST_PROBLEMS else ""
    shown = table(heads, rows, "What is wrong with rows, the header being line 1")
    return [shown, paragraph(more)] if more else [shown]


def _rows(run: BatchRun) -> Raw:
    """The rows with the highest probabilities, to be sorted by any column."""
    if run.shown is None or not len(run.shown):
        return Raw("")
    probability, decision, *_ = run.ours
    heads = ["Line", "Probability", "Decision", *run.file.columns]
    content = run.shown.to_pydict()
    rows = zip(
        content[run.line], content[probability],
        ("alert" if d else "let through" for d in content[decision]),
        *([_value(v) for v in content[name]] for name in run.file.columns),
        strict=True,
    )  # fmt: skip
    count = len(run.shown)
    which = "All rows" if count == run.scored else f"The {count:,} most suspicious rows"
    return sortable(heads, rows, f"{which}; a click on a head sorts them", 1)


def _value(value: Any) -> Any:
    """A cell to be sorted by: what reads as a number is one."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+\.?\d*(?:[eE][+-]?\d+)?", value):
        return float(value)
    return value if value is None or type(value) in (int, float) else str(value)[:100]


def _listed(numbers: list[float]) -> str:
    return ", ".join(map(number, numbers))


def _stem(path: Path) -> str:
    """The name for what is downloaded, without what a file system or a browser may not like."""
    return re.sub(r"[^\w.-]+", "_", path.stem)[:80] or "payments"
