"""The page Score: one payment, the decision on it, why, and what would turn it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import gradio as gr

from gradio_ui import answer
from gradio_ui.desk import Desk, Trouble
from gradio_ui.events import PRIVATE, filled
from gradio_ui.form import Form
from gradio_ui.look import Raw, badge, bold, card, empty, facts, paragraph, percent
from gradio_ui.metrics import SCORES
from serve_app.client import BadRequest
from serve_app.contract import Record

EXAMPLES = {
    "legitimate": "A legitimate payment",
    "fraudulent": "A fraudulent payment",
    "borderline": "A borderline payment",
}
"""Names of the buttons by the kind of example that each fills in."""

_TITLE = "<h1>Score a payment</h1>"
_LOADING = empty("Asking which model is in service", "This takes a moment.")
_WAITING = empty(
    "No payment scored yet",
    paragraph("Fill in a payment, or start from an example, and press", bold("Score this payment")),
)
_SOURCE = (
    "The examples are real payments that the model was tested on and never learned from; what "
    "became of them is known."
)
# The address follows the payment, so that it can be sent to somebody.
_ADDRESS = "link => { if (link) window.history.replaceState(null, '', link); }"


def page(desk: Desk) -> None:
    """Lay out the page."""
    gr.HTML(_TITLE, apply_default_css=False)
    said = gr.HTML(_LOADING, apply_default_css=False)
    known = gr.State(None)  # what the form is made from
    with gr.Row(visible=False, elem_classes="fr-main") as main:
        left = gr.Column(scale=6, min_width=320)
        with gr.Column(scale=5, min_width=320, elem_classes="fr-result"):
            result = gr.HTML(_WAITING, apply_default_css=False)
            request = gr.HTML("", apply_default_css=False)
    link = gr.Textbox(visible="hidden", label="Link")

    scores = _Scores(desk)
    # Nothing that was filled in or found is taken away while the graph is.
    again = filled(scores.opened, known, [known, said, main, result, request, link], said)
    link.change(None, link, None, js=_ADDRESS, **PRIVATE)

    with left:

        @gr.render(inputs=known, triggers=[known.change], show_progress="hidden")
        def fields(model: dict[str, Any]) -> None:
            form = Form(model["inputs"], model["given"])
            with gr.Row(elem_classes="fr-examples"):
                buttons = {kind: gr.Button(EXAMPLES[kind], size="sm") for kind in model["kinds"]}
            hint = gr.HTML(paragraph(_SOURCE) if buttons else "", apply_default_css=False)
            form.lay_out()
            button = gr.Button("Score this payment", variant="primary")
            for kind, example in buttons.items():
                example.click(
                    scores.example(kind, form), None, [*form.widgets, hint, result, request],
                    **PRIVATE,
                )  # fmt: skip
            gr.on(
                [button.click, *form.entered],
                lambda *values: scores.scored(form.payment(values)),
                form.widgets, [result, request, link],
                scroll_to_output=True, show_progress_on=result,
                **(PRIVATE | {"show_progress": "minimal"}),
            ).then(*again, **PRIVATE)  # fmt: skip


class _Scores:
    """What the page shows, as the graph has it at the moment."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def opened(self, known: dict[str, Any] | None, request: gr.Request) -> tuple[Any, ...]:
        """Which model is in service; at first also the payment that the address holds."""
        skip = gr.skip()
        about = self.desk.about()
        try:
            summary, fresh = model_html(about), _known(about)
        except (LookupError, TypeError) as error:
            raise self.desk.stranger() from error
        up = (summary, gr.Row(visible=True))
        # A form is not made anew, and so emptied, when only the version moves.
        if known is not None and all(known[name] == fresh[name] for name in fresh):
            return skip, *up, skip, skip, skip
        given = Form(about["inputs"]).from_query(request.query_params)
        shown = self.scored(given) if given and known is None else (skip, skip, skip)
        return fresh | {"given": given}, *up, *shown

    def scored(self, payment: Record) -> tuple[Any, Any, Any]:
        """Score a payment: the outcome, whatever it is, the request to copy, and the link."""
        SCORES.labels("score").inc()
        start = time.perf_counter()
        try:
            explained = self.desk.ask(lambda: self.desk.client.explain(payment))
            model = str(self.desk.about()["name"])
        except (Trouble, BadRequest) as error:
            return answer.refused(error), "", gr.skip()
        took = 1000 * (time.perf_counter() - start)
        link = answer.link_to(payment)
        shown = answer.answer_html(model, explained, took)
        return shown, answer.request_html(self.desk.url, payment, link), link

    def example(self, kind: str, form: Form) -> Any:
        """What the button of a kind of example does."""

        def fill() -> list[Any]:
            try:
                found = {e["kind"]: e for e in self.desk.about()["examples"]}[kind]
            except (Trouble, LookupError):
                return [*([gr.skip()] * len(form.widgets)), gr.skip(), gr.skip(), gr.skip()]
            became = "fraud" if found["label"] else "legitimate"
            hint = paragraph("Filled in: a payment that turned out to be", bold(became), ".")
            return [*form.values(found["payment"]), hint, _WAITING, ""]

        return fill


def model_html(about: Mapping[str, Any]) -> Raw:
    """Say which model decides, how, and how well it did on rows it never saw."""
    m = about["metrics"]["test"]
    found, alerts = m["true_positives"], m["true_positives"] + m["false_positives"]
    challenger = about.get("challenger")
    beside = "" if challenger is None else badge(f"challenger: version {challenger['version']}")
    area = "unknown" if m["pr_auc"] is None else f"{m['pr_auc']:.3f}"
    return card(
        "",
        paragraph(
            bold(about["name"]), "version", bold(about["version"]), f"({about['family']})",
            "is in service. It alerts from a probability of", bold(percent(about["threshold"])),
            f", chosen by the policy {about['policy']}.", beside,
        ),
        facts({
            f"Tested on {m['rows']:,} payments": "that it had never seen",
            "Recall": f"{_share(m['recall'])}: it found {found:,} of {m['frauds']:,} frauds",
            "Precision": f"{_share(m['precision'])}: {found:,} of its {alerts:,} alerts were fraud",
            "PR-AUC": area,
        }),
    )  # fmt: skip


def _known(about: Mapping[str, Any]) -> dict[str, Any]:
    kinds = [e["kind"] for e in about.get("examples", []) if e["kind"] in EXAMPLES]
    return {"name": about["name"], "inputs": about["inputs"], "kinds": kinds}


def _share(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.1%}"
