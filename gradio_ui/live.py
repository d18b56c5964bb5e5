"""The page Live: what the running graph did in the last minutes, and the pages beside this one."""

from __future__ import annotations

from typing import Any

import gradio as gr

from gradio_ui.desk import Desk
from gradio_ui.events import AGAIN, PRIVATE, on_load, told
from gradio_ui.look import Raw, badge, card, empty, link, paragraph
from gradio_ui.neighbours import Neighbours
from gradio_ui.traffic import traffic

SECONDS = 3.0
"""Between two looks."""

_LOADING = empty("Asking the graph", "It sums up its last minutes.")


def page(desk: Desk) -> None:
    """Lay out the page."""
    neighbours = Neighbours.from_environment()
    gr.HTML("<h1>Live traffic</h1>", apply_default_css=False)
    follow = gr.Checkbox(
        True, label="Keep up to date", info=f"Asks the graph every {SECONDS:g} seconds.",
        interactive=True, elem_classes="fr-follow",
    )  # fmt: skip
    graph = gr.HTML(_LOADING, apply_default_css=False)
    beside = gr.HTML("", apply_default_css=False)
    timer = gr.Timer(SECONDS, active=True)

    look = told(lambda: traffic(desk.stats(), desk.about()), graph, more=AGAIN)
    on_load(look, outputs=graph)
    on_load(lambda: beside_html(neighbours), outputs=beside)
    timer.tick(look, None, graph, **PRIVATE)
    timer.tick(lambda: beside_html(neighbours), None, beside, **PRIVATE)
    follow.input(lambda on: gr.Timer(active=on), follow, timer, **PRIVATE)


def beside_html(neighbours: Neighbours) -> Raw:
    """The other programs' pages, and which of them are running."""
    return card("Further pages", *(_neighbour(one, runs) for one, runs in neighbours.all()))


def _neighbour(one: Any, runs: bool) -> Raw:
    if runs:
        return paragraph(link(one.name, one.url), badge("running", "pass"), one.shows)
    where = f"Nothing answers at {one.url}. {one.start}"
    return paragraph(one.name, badge("not running"), where)
