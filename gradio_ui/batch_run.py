"""One file scored from end to end: what is counted on the way, and the files that come of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gradio_ui.cells import sheet
from gradio_ui.desk import Desk
from gradio_ui.judging import Verdicts, inputs_of, judge, why
from gradio_ui.payments_file import PaymentsFile, Piece
from serve_app.contract import Problem

EDGES = (0.0, 0.0001, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0)
"""Bins of the histogram: finer where most payments lie."""
MOST_SHOWN = 500
"""Rows in the table on the page: those with the highest probability."""
MOST_PROBLEMS = 100
"""Problems in the table on the page."""

_OURS = ("probability", "decision", "threshold", "model_version")


class BatchRun:
    """Scores a file, piece by piece, in bounded memory.

    Parameters
    ----------
    folder
        Where the results are written.

    Attributes
    ----------
    scored_file, rejected_file
        The results, whole once `run` has ended.
    rejected
        Rows that were set aside.
    thresholds, versions
        Rows by what they were decided by: more than one if that changed meanwhile.
    expected
        The sum of all probabilities: so many frauds, if these can be believed.
    shown
        Rows for the table, the highest probability first, with their lines.
    problems
        The first problems, each with its line.
    """

    def __init__(self, desk: Desk, file: PaymentsFile, folder: Path, stem: str) -> None:
        self.desk, self.file = desk, file
        self.scored_file = folder / f"{stem}.scored.csv"
        self.rejected_file = folder / f"{stem}.rejected.csv"
        self.inputs = inputs_of(desk.about(), file.columns)
        self.scored = self.rejected = self.alerts = 0
        self.expected = 0.0
        self.counts: NDArray[np.int64] = np.zeros(len(EDGES) - 1, np.int64)
        self.thresholds: Counter[float] = Counter()
        self.versions: Counter[str] = Counter()
        self.shown: pa.Table | None = None
        self.problems: list[tuple[int, Problem]] = []
        # A column of the file that is called as one of ours keeps its name.
        self.ours = [self._free(name) for name in _OURS]
        self.line, self.problem = self._free("line"), self._free("problem")

    @property
    def done(self) -> int:
        """Rows that were looked at."""
        return self.scored + self.rejected

    def run(self) -> Iterator[None]:
        """Do it; yields after every piece."""
        from pyarrow import csv

        texts = [*self.file.columns]
        with ExitStack() as open_files:

            def writer(path: Path, names: Sequence[str]) -> Any:
                schema = sheet(_texts({name: [] for name in names})).schema
                return open_files.enter_context(csv.CSVWriter(path, schema))

            scored = writer(self.scored_file, [*texts, *self.ours])
            rejected = writer(self.rejected_file, [self.line, self.problem, *texts])
            for piece in self.file.pieces():
                verdicts = judge(self.desk, piece.rows.select(self.inputs))
                self._count(verdicts)
                answered = self._answered(piece, verdicts)
                scored.write_table(sheet(answered.drop_columns([self.line])))
                self._keep(answered)
                self._reject(piece, verdicts, rejected)
                yield

    def _free(self, name: str) -> str:
        while name in self.file.columns:
            name = f"fraudray_{name}"
        return name

    def _count(self, verdicts: Verdicts) -> None:
        self.scored += len(verdicts.scored)
        self.alerts += int(verdicts.decision.sum())
        self.expected += float(verdicts.probability.sum())
        self.counts = self.counts + np.histogram(verdicts.probability, EDGES)[0]
        self.thresholds.update(verdicts.threshold.tolist())
        self.versions.update(verdicts.version.tolist())

    def _answered(self, piece: Piece, verdicts: Verdicts) -> pa.Table:
        """The rows that were scored, with their lines and answers."""
        rows = piece.rows.take(verdicts.scored)
        answers = (
            pa.array(verdicts.probability), pa.array(verdicts.decision),
            pa.array(verdicts.threshold), pa.array(verdicts.version.tolist(), pa.string()),
        )  # fmt: skip
        for name, values in zip(self.ours, answers, strict=True):
            rows = rows.append_column(name, values)
        return rows.append_column(self.line, pa.array(piece.lines[verdicts.scored]))

    def _keep(self, answered: pa.Table) -> None:
        """Keep the rows with the highest probabilities for the table."""
        by = [(self.ours[0], "descending"), (self.line, "ascending")]
        candidates = answered.sort_by(by).slice(0, MOST_SHOWN)
        if self.shown is not None:
            both = pa.concat_tables([self.shown, candidates])
            candidates = both.sort_by(by).slice(0, MOST_SHOWN)
        self.shown = candidates

    def _reject(self, piece: Piece, verdicts: Verdicts, rejected: Any) -> None:
        """Write the rows that were set aside with all that is wrong with them."""
        places = sorted(verdicts.problems)
        if places:
            lines = piece.lines[places]
            told = _texts({
                self.line: [str(line) for line in lines.tolist()],
                self.problem: [why(verdicts.problems[place]) for place in places],
            })  # fmt: skip
            rows = piece.rows.take(places)
            for name in rows.column_names:
                told = told.append_column(name, rows[name])
            rejected.write_table(sheet(told))
        for misfit in piece.misfits:
            # Which value belongs to which column is what nobody knows here.
            one: dict[str, list[str | None]] = {
                self.line: [str(misfit.line)],
                self.problem: [f"{misfit.why}: {misfit.text}"],
                **{name: [None] for name in self.file.columns},
            }
            rejected.write_table(sheet(_texts(one)))
        self.rejected += len(places) + len(piece.misfits)
        found = [(int(piece.lines[p]), each) for p in places for each in verdicts.problems[p]]
        found += [
            (m.line, Problem(payment=0, field="the line", expectation=m.why, value=m.text[:100]))
            for m in piece.misfits
        ]
        room = MOST_PROBLEMS - len(self.problems)
        self.problems += sorted(found, key=lambda each: each[0])[:room]


def _texts(columns: Mapping[str, Sequence[str | None]]) -> pa.Table:
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
