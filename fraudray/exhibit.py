"""What people look at in a sweep's run in MLflow, at its end and while it goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from training.tracking import Tracking, TrackingError
from tuning.report import SweepFacts, html, leaderboard, parameter_shares, pictures
from tuning.trials import ENDED, Trial

PAUSE = 30.0
"""Seconds between two looks at a sweep that goes on."""
DRAWING = 30.0
"""Seconds for which the end waits until what is being drawn is drawn."""
SHARE = 20
"""Pauses are so many times as long as what is drawn takes, since it takes that from the sweep."""


class Exhibit:
    """Leaderboard, pictures and page in a sweep's run.

    Parameters
    ----------
    parent
        Id of the sweep's run.
    """

    def __init__(self, tracking: Tracking, parent: str) -> None:
        self.tracking, self.parent = tracking, parent

    def show(self, facts: SweepFacts, trials: Sequence[Trial]) -> None:
        """Keep all of it.

        Raises
        ------
        TrackingError
            If the store does not take it.
        """
        self._overview(facts, trials)
        self.tracking.text(self.parent, html(facts, trials), "sweep.html")

    @contextmanager
    def renewed(self, facts: SweepFacts, trials: Callable[[], Sequence[Trial]]) -> Iterator[None]:
        """Show leaderboard and pictures every now and then for as long as the block takes.

        A store that is away is passed over: what it missed, it is shown the next time.
        """
        over = threading.Event()
        thread = threading.Thread(
            target=self._renew, args=(facts, trials, over), name="fraudray-exhibit", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(DRAWING)

    def _renew(
        self, facts: SweepFacts, trials: Callable[[], Sequence[Trial]], over: threading.Event
    ) -> None:
        shown, pause = 0, PAUSE
        while not over.wait(pause):
            there = trials()
            ended = sum(trial.status in ENDED for trial in there)
            if ended == shown:
                continue
            began = time.monotonic()
            with suppress(TrackingError):
                self._overview(facts, there)
                shown = ended
            pause = max(PAUSE, SHARE * (time.monotonic() - began))

    def _overview(self, facts: SweepFacts, trials: Sequence[Trial]) -> None:
        table = leaderboard(trials, facts.metric)
        self.tracking.text(self.parent, table.to_csv(index=False), "leaderboard.csv")
        counted = parameter_shares(facts, trials)
        self.tracking.text(self.parent, counted.to_csv(index=False), "importance.csv")
        for name, figure in pictures(facts, trials).items():
            self.tracking.figure(self.parent, figure, f"{name}.png")
