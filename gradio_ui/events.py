"""How pages are wired: events that are nobody else's, with trouble told and everything counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from gradio_ui import metrics
from gradio_ui.desk import Trouble
from gradio_ui.look import Raw, notice
from serve_app.client import BadRequest
from serve_app.contract import problem_text

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
"""Settings of an event that is for this page and no one else."""


def on_load(
    handler: Callable[..., Any], inputs: Any = None, outputs: Any = None, **more: Any
) -> Any:
    """Have `handler` called when a browser opens the page that is being laid out.

    A parameter of the type `gr.Request` is given the request, with the query of its address.
    """
    root = gr.context.Context.root_block
    if root is None:
        raise RuntimeError("on_load is called while a page is laid out")
    return root.load(handler, inputs, outputs, **(PRIVATE | more))


def trouble(error: Trouble | BadRequest) -> Raw:
    """The notice of what went wrong, which is counted as well."""
    if isinstance(error, BadRequest):
        metrics.ERRORS.labels("refused").inc()
        count = len(error.problems)
        entries = f"{count} {'entry needs' if count == 1 else 'entries need'} a change"
        return notice(entries, *map(problem_text, error.problems))
    metrics.ERRORS.labels("trouble").inc()
    return notice(error.title, error.what_to_do)
