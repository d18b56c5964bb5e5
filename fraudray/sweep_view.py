"""What people see of a sweep while it runs: a live view in a terminal, lines where it is piped."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fraudray.output import console, say
from fraudray.reports import settings
from training.errors import printable
from tuning.objective import direction
from tuning.report.facts import LABELS
from tuning.trials import ENDED, Trial

_LATEST = 5
_COLOURS = {
    "stopped": "magenta",
    "done": "green",
    "running": "cyan",
    "waiting": "dim",
    "pruned": "yellow",
    "failed": "red",
}


class SweepView:
    """Shows the trials of a sweep as they go; to be entered while they do.

    Parameters
    ----------
    planned
        Trials there will be; None where nobody knows.
    time_budget
        Seconds; None for no end.
    problem
        Says what keeps MLflow from being written, if anything does.
    """

    def __init__(
        self, name: str, metric: str, *, planned: int | None, time_budget: float | None,
        problem: Callable[[], str] = str,
    ) -> None:  # fmt: skip
        self._name, self._metric, self._planned = name, metric, planned
        self._time_budget, self._problem = time_budget, problem
        self._told = ""
        self._status: dict[str, str] = {}
        self._before = 0  # ended in an earlier life: no measure of how fast this one is
        self._best: Trial | None = None
        self._latest: list[Trial] = []
        self._began = time.monotonic()
        self._live: Live | None = None

    def __enter__(self) -> Self:
        """Begin to show; from here on the time left is measured."""
        self._began = time.monotonic()
        self._before = self._ended
        if self._before:
            say(f"{self._before:,} trials are done already")
        out = console(error=True)
        if out.is_terminal:
            self._live = Live(console=out, get_renderable=self._render, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last state standing."""
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def __call__(self, trial: Trial) -> None:
        """Take up what became of a trial."""
        before = self._status.get(trial.key)
        self._status[trial.key] = trial.status
        if trial.status == "done" and self._better(trial):
            self._best = trial
        came = trial.status in ENDED or (trial.status == "waiting" and trial.metrics)
        if not came or before is None or before == trial.status:
            return
        self._latest = [*self._latest, trial][-_LATEST:]
        if self._live is None:
            mark = "*" if trial is self._best else " "
            place = f"{self._ended:>4}/{self._planned or '?'}"
            said = [f"{place}  {_told(trial, self._metric)}{mark}", self._best_told(), self._left]
            if failed := sum(status == "failed" for status in self._status.values()):
                said.append(f"{failed} failed")
            say("  ".join(filter(None, said)))
            if (problem := self._problem()) != self._told:
                self._told = problem
                say(f"warning: {problem}" if problem else "MLflow is written again")

    @property
    def _ended(self) -> int:
        # A copy: the live view asks from a thread of its own.
        return sum(status in ENDED for status in tuple(self._status.values()))

    def _better(self, trial: Trial) -> bool:
        sign = direction(self._metric)
        best = self._best
        return best is None or sign * trial.metrics[self._metric] > (
            sign * best.metrics[self._metric]
        )

    def _best_told(self) -> str:
        if self._best is None:
            return ""
        values = self._best.metrics
        return (
            f"best {values[self._metric]:.4f} at threshold {values['threshold']:.4f} "
            f"(precision {values['precision']:.2f}, recall {values['recall']:.2f})"
        )

    @property
    def _left(self) -> str:
        """How long it may still take, as the trials of this life went."""
        lasted = time.monotonic() - self._began
        ended = self._ended - self._before
        left = math.inf
        if self._planned and ended:
            left = lasted / ended * max(self._planned - self._ended, 0)
        if self._time_budget is not None:
            left = min(left, max(self._time_budget - lasted, 0))
        return "" if math.isinf(left) else f"about {_span(left)} left"

    def _render(self) -> RenderableType:
        counts = Counter(tuple(self._status.values()))
        head = Text(f"Sweep {self._name}  ", "bold")
        for status, colour in _COLOURS.items():
            if counts[status] or status == "done":
                head.append(f"{counts[status]:,} {status}  ", colour)
        head.append(f"of {self._planned or '?'} trials  {_span(time.monotonic() - self._began)}")
        head.append(f", {self._left}" if self._left else "")
        lines: list[RenderableType] = [head]
        if self._planned:
            bar = Table.grid()  # a bar alone would leave what follows on its line
            bar.add_row(ProgressBar(total=self._planned, completed=self._ended, width=60))
            lines.append(bar)
        if best := self._best:
            lines.append(Text(f"best    {_told(best, self._metric)}", "bold"))
            lines.append(Text(f"        {settings(best.recipe.params)}", "dim"))
            lines.append(
                Text(
                    f"        threshold {best.metrics['threshold']:.4f}, precision "
                    f"{best.metrics['precision']:.3f}, recall {best.metrics['recall']:.3f}"
                )
            )
        latest = Table.grid(padding=(0, 1))
        for trial in self._latest:
            latest.add_row("latest" if trial is self._latest[0] else "", _told(trial, self._metric))
        lines.append(latest)
        if problem := self._problem():
            lines.append(Text(f"warning: {problem}", "red"))
        return Group(*lines)


def _told(trial: Trial, metric: str) -> str:
    """A trial in a line of even columns."""
    recipe = trial.recipe
    head = f"{recipe.family:<19} SMOTE {recipe.smote:<6g}"
    if trial.status == "failed":
        return f"{head} failed: {printable(trial.failure)}"
    if metric not in trial.metrics:
        return f"{head} {trial.status}"
    values = trial.metrics
    told = f"{head} {LABELS[metric]} {values[metric]:.4f}"
    if trial.status != "done":
        return f"{told} {'pruned' if trial.status == 'pruned' else 'at a first look'}"
    return f"{told} precision {values['precision']:.2f} recall {values['recall']:.2f}"


def _span(seconds: float) -> str:
    """A time span as people say it.

    >>> _span(75), _span(3700)
    ('1 min 15 s', '1 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
