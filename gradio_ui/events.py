"""How pages are wired: events that are nobody else's, with trouble told and everything counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import gradio as gr

from gradio_ui import metrics
from gradio_ui.desk import Trouble
from gradio_ui.look import Raw, joined, notice, paragraph
from serve_app.client import BadRequest
from serve_app.contract import problem_text

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
"""Settings of an event that is for this page and no one else."""
RETRY_SECONDS = 3.0
"""Between two tries to fill a page."""
HIDDEN: Any = gr.update(visible=False)
"""What is not there for now."""

AGAIN = "This page asks again every few seconds and goes on by itself once there is an answer."

Handler = Callable[..., Any]


def on_load(handler: Handler, inputs: Any = None, outputs: Any = None, **more: Any) -> Any:
    """Have `handler` called when a browser opens the page that is being laid out.

    A parameter of the type `gr.Request` is given the request, with the query of its address.
    """
    root = gr.context.Context.root_block
    if root is None:
        raise RuntimeError("on_load is called while a page is laid out")
    return root.load(handler, inputs, outputs, **(PRIVATE | more))


def filled(
    handler: Handler, inputs: Any, outputs: Sequence[Any], where: Any,
    meanwhile: Mapping[Any, Any] | None = None,
) -> tuple[Handler, Any, list[Any]]:  # fmt: skip
    """Have `handler` fill the page that a browser opens; while there is trouble, again and again.

    Parameters
    ----------
    handler
        Returns a tuple, with an entry for each of `outputs`.
    where, meanwhile
        Of trouble; see `told`.

    Returns
    -------
    Handler, inputs and outputs of an event that fills the page anew.
    """
    timer = gr.Timer(RETRY_SECONDS, active=False)

    @wraps(handler)
    def fill(*given: Any) -> tuple[Any, ...]:
        return *handler(*given), gr.Timer(active=False)

    trying = {timer: gr.update(active=True)} | dict(meanwhile or {})
    filling = told(fill, where, trying, more=AGAIN), inputs, [*outputs, timer]
    on_load(*filling)
    timer.tick(*filling, **PRIVATE)
    return filling


def told(
    handler: Handler, where: Any, also: Mapping[Any, Any] | None = None, *, more: str = ""
) -> Handler:
    """`handler`, which shows trouble at `where` in plain words instead of what it would return.

    Parameters
    ----------
    also
        What becomes of other outputs then; those that are not named stay as they are.
    more
        A sentence after the trouble.
    """

    @wraps(handler)
    def telling(*given: Any) -> Any:
        try:
            return handler(*given)
        except (Trouble, BadRequest) as error:
            return {where: joined(trouble(error), more and paragraph(more))} | dict(also or {})

    return telling


def trouble(error: Trouble | BadRequest) -> Raw:
    """The notice of what went wrong, which is counted as well."""
    if isinstance(error, BadRequest):
        metrics.ERRORS.labels("refused").inc()
        count = len(error.problems)
        entries = f"{count} {'entry needs' if count == 1 else 'entries need'} a change"
        return notice(entries, *map(problem_text, error.problems))
    metrics.ERRORS.labels("trouble").inc()
    return notice(error.title, error.what_to_do)
