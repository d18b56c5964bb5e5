"""What every order on a page has: the operator's key, and the question whether it is meant."""

from __future__ import annotations

import gradio as gr


def operator_key() -> gr.Textbox:
    """Where an operator types the key, which is not kept."""
    return gr.Textbox(
        label="Operator key", type="password", max_lines=1, scale=2,
        info="Empty where the service asks for none, as on this machine alone.",
    )  # fmt: skip


def confirmation(yes: str) -> tuple[gr.Column, gr.HTML, gr.Button, gr.Button]:
    """A question, hidden until it is asked, with `yes` as the answer that has the order done.

    Returns
    -------
    The whole of it, the question itself, and the buttons for yes and for no.
    """
    with gr.Column(visible=False, elem_classes="fr-confirm") as whole:
        question = gr.HTML("", apply_default_css=False)
        with gr.Row():
            agree = gr.Button(yes, variant="primary")
            leave = gr.Button("No, leave it")
    return whole, question, agree, leave
