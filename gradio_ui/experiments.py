"""The page Experiments: sweeps live and past, their trials, and each trial's curve."""

from __future__ import annotations

from typing import Any

import gradio as gr

from gradio_ui import sweeps
from gradio_ui.desk import Desk
from gradio_ui.events import AGAIN, HIDDEN, PRIVATE, Handler, on_load, told
from gradio_ui.look import Raw, code, empty, paragraph
from gradio_ui.neighbours import Neighbours
from gradio_ui.trials import leaderboard, trial_html

SECONDS = 5.0
"""Between two looks at a sweep that goes on."""

_LOADING = empty("Looking for sweeps", "MLflow is asked; the first time that takes a few seconds.")
_NONE = empty(
    "No sweep yet",
    paragraph("Search for a model with", code("fraudray tune payments.csv"), "and it shows here."),
)
_PICK = empty("No trial chosen", "Choose one above, or in the table, to see its threshold curve.")
# The address follows what is chosen, so that it can be sent to somebody.
_ADDRESS = """(sweep, trial) => {
  const address = new URL(window.location);
  for (const [name, value] of Object.entries({sweep, trial}))
    value ? address.searchParams.set(name, value) : address.searchParams.delete(name);
  window.history.replaceState(null, "", address);
}"""


def page(desk: Desk) -> None:
    """Lay out the page."""
    view = _Experiments(desk, Neighbours.from_environment())
    gr.HTML("<h1>Experiments</h1>", apply_default_css=False)
    with gr.Row(visible=False, elem_classes="fr-pick") as picks:
        sweep = gr.Dropdown([], label="Sweep", filterable=False, interactive=True, min_width=300)
        trial = gr.Dropdown([], label="Trial", filterable=True, interactive=True, min_width=300)
    overview = gr.HTML(_LOADING, apply_default_css=False)
    board = gr.HTML("", apply_default_css=False)
    detail = gr.HTML("", apply_default_css=False)
    timer = gr.Timer(SECONDS, active=False)
    outputs = [picks, sweep, trial, overview, board, detail, timer]

    def telling(handler: Handler) -> Handler:
        # What was chosen stays chosen, and the page goes on asking.
        asking = {board: "", detail: "", timer: gr.update(active=True)}
        return told(handler, overview, asking, more=AGAIN)

    renewing = telling(view.renewed), [sweep, trial], outputs
    on_load(*renewing)
    timer.tick(*renewing, **PRIVATE)
    sweep.input(telling(view.of_sweep), sweep, outputs, **PRIVATE)
    trial.input(told(view.of_trial, detail), [sweep, trial], detail, **PRIVATE)
    for chosen in (sweep, trial):
        chosen.change(None, [sweep, trial], None, js=_ADDRESS, **PRIVATE)


class _Experiments:
    """What the page shows, as MLflow has it at the moment."""

    def __init__(self, desk: Desk, neighbours: Neighbours) -> None:
        self.desk, self.neighbours = desk, neighbours

    def renewed(self, sweep: str | None, trial: str | None, request: gr.Request) -> tuple[Any, ...]:
        """What is chosen, before that what the address names, else the newest sweep."""
        asked = dict(request.query_params)
        return self._shown(sweep or asked.get("sweep"), trial or asked.get("trial"))

    def of_sweep(self, sweep: str | None) -> tuple[Any, ...]:
        """Another sweep, of which no trial is chosen yet."""
        return self._shown(sweep, None)

    def of_trial(self, sweep: str | None, trial: str | None) -> Raw:
        """One trial with its curve."""
        found = next((run for run in self._sweeps() if run.run_id == sweep), None)
        return _PICK if found is None else self._detail(self._trials(found), trial)

    def _shown(self, asked: str | None, trial: str | None) -> tuple[Any, ...]:
        found = self._sweeps()
        if not found:
            return HIDDEN, gr.skip(), gr.skip(), _NONE, "", "", gr.Timer(active=True)
        sweep = next((run for run in found if run.run_id == asked), found[0])
        trials = self._trials(sweep)
        known = {run.run_id for run in trials}
        chosen = trial if trial in known else None
        importance = self.desk.look_up(lambda t: t.kept_text(sweep.run_id, "importance.csv"))
        ranked = sweeps.ranked(sweep, trials)
        return (
            gr.Row(visible=True),
            gr.Dropdown([(sweeps.named(run), run.run_id) for run in found], value=sweep.run_id),
            gr.Dropdown(
                [(sweeps.trial_named(sweep, run), run.run_id) for run in ranked], value=chosen
            ),
            sweeps.overview(sweep, trials, importance, self._address(sweep)),
            leaderboard(sweep, trials) if trials else empty("No trial yet", _FIRST),
            self._detail(trials, chosen),
            gr.Timer(active=sweep.status == "RUNNING"),
        )

    def _detail(self, trials: list[Any], trial: str | None) -> Raw:
        chosen = next((run for run in trials if run.run_id == trial), None)
        if chosen is None:
            return _PICK
        curve = self.desk.look_up(lambda t: t.kept_text(chosen.run_id, "threshold_curve.csv"))
        return trial_html(chosen, curve, self._address(chosen))

    def _sweeps(self) -> list[Any]:
        return self.desk.look_up(lambda tracking: tracking.sweeps())

    def _trials(self, sweep: Any) -> list[Any]:
        return self.desk.look_up(lambda tracking: tracking.trials(sweep))

    def _address(self, run: Any) -> str | None:
        """Where MLflow's page shows a run; None where none is known to run."""
        from training.tracking import place_of  # MLflow takes seconds to import

        page: str | None = self.desk.look_up(lambda tracking: tracking.page(run))
        if page is None and self.neighbours.mlflow.runs:
            page = f"{self.neighbours.mlflow.url}/{place_of(run)}"
        return page


_FIRST = "The first ones show here as soon as a worker takes them up."
