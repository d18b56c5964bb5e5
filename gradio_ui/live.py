"""The page Live."""

from __future__ import annotations

import gradio as gr

from gradio_ui.desk import Desk
from gradio_ui.look import empty


def page(desk: Desk) -> None:
    """Lay out the page."""
    del desk
    gr.HTML(empty("Live", "This page is being written."), apply_default_css=False)
