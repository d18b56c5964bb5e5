"""The page that scores one payment: its form, made from what `/model` says, and the answer."""

from __future__ import annotations

import json
import shlex
import time
from html import escape
from typing import Any

import gradio as gr

from gradio_ui.desk import Desk
from serve_app.client import Client, ServiceError
from serve_app.contract import Answer, BadRequest, Problem, Record

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
"""Settings of an event that is for this page and no one else."""

EXAMPLES: dict[str, Record] = {
    "Everyday payment": {
        "accountAgeDays": 420, "numItems": 2, "localTime": 18.5, "paymentMethod": "paypal",
        "paymentMethodAgeDays": 210, "Category": "food", "isWeekend": 0, "amount": 36.9,
    },
    "Suspicious payment": {
        "accountAgeDays": 1, "numItems": 3, "localTime": 3.2, "paymentMethod": "creditcard",
        "paymentMethodAgeDays": 0.02, "Category": "electronics", "isWeekend": 0, "amount": 480,
    },
}  # fmt: skip
"""Payments of the built-in spec to start from; another spec has its fields' examples only."""

WAITING = """<section class="fr-card"><h2>No payment scored yet</h2>
<p>Fill in a payment, or start from an example, and press <b>Score this payment</b>.</p>
</section>"""

UNKNOWN = ("Unknown", "")


def form(client: Client, about: dict[str, Any], result: Any, curl: Any) -> Any:
    """Make the form of a model's inputs; its answers go to `result` and `curl`.

    Returns
    -------
    The event of a payment having been scored.
    """
    fields = about["inputs"]
    starts = {"Example values": {f["name"]: f["example"] for f in fields}}
    starts |= {k: v for k, v in EXAMPLES.items() if v.keys() <= {f["name"] for f in fields}}
    with gr.Row():
        buttons = [gr.Button(name, size="sm", min_width=140) for name in starts]
    with gr.Row(elem_classes="fr-fields"):
        widgets = [_widget(field) for field in fields]
    button = gr.Button("Score this payment", variant="primary")

    for fill, start in zip(buttons, starts.values(), strict=True):
        values = [_initial(field, start.get(field["name"])) for field in fields]
        fill.click(lambda values=values: values, outputs=widgets, **PRIVATE)

    def score(*values: Any) -> tuple[str, Any]:
        # What is empty is left out, so that the service says so itself where it is required.
        payment = {
            f["name"]: v for f, v in zip(fields, values, strict=True) if v is not None and v != ""
        }
        command = gr.Code(curl_command(client.url, payment), visible=True)
        return scored(client, about["name"], payment), command

    return button.click(score, widgets, [result, curl], scroll_to_output=True, **PRIVATE)


def scored(client: Client, model: str, payment: Record) -> str:
    """Score a payment and say the outcome, whatever it is, in HTML."""
    start = time.perf_counter()
    try:
        answer = client.predict([payment])[0]
    except BadRequest as bad:
        count = len(bad.problems)
        title = f"Not scored: {count} {'entry needs' if count == 1 else 'entries need'} a change"
        return notice(title, f"<ul>{''.join(map(_problem, bad.problems))}</ul>")
    except ServiceError as error:
        return notice("Not scored: the service did not answer", f"<p>{escape(str(error))}</p>")
    return answer_html(model, answer, 1000 * (time.perf_counter() - start))


def notice(title: str, body: str) -> str:
    """Say that something is wrong; `body` is HTML."""
    title = f"<h2>{escape(title)}</h2>"
    return f'<section class="fr-card fr-notice" role="alert">{title}{body}</section>'


def _problem(problem: Problem) -> str:
    value = problem["value"]
    held = "empty" if value is None else f"<code>{escape(str(value))}</code>"
    field, expectation = escape(problem["field"] or "the request"), escape(problem["expectation"])
    return f"<li><b>{field}</b> must be {expectation}; it is {held}</li>"


def answer_html(model: str, answer: Answer, latency: float) -> str:
    """Show one answer of `model`, which took `latency` milliseconds."""
    p, threshold = answer["probability"], answer["threshold"]
    kind, sign, verdict, side = (
        ("alert", "!", "Alert: looks fraudulent", "reaches")
        if answer["decision"]
        else ("pass", "✓", "Let through", "is below")
    )
    told = f"Probability of fraud {percent(p)} {side} the threshold of {percent(threshold)}"
    # The label of the threshold hangs on whichever side of its mark has room.
    anchor = "fr-left" if threshold > 0.5 else "fr-right"
    mark = f'class="{anchor}" style="left:{threshold:.2%}"'
    facts = {
        "Probability": f'<data value="{p!r}">{p:.6f}</data>',
        "Threshold": f"{threshold:.6f}",
        "Model": f"{escape(model)} version {escape(answer['model_version'])}",
        "Request id": f"<code>{escape(answer['request_id'])}</code>",
        "Answered in": f"{latency:.1f} ms, measured from this page",
    }
    rows = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts.items())
    return f"""<section class="fr-card fr-{kind}" role="status">
<h2><span class="fr-sign" aria-hidden="true">{sign}</span>{verdict}</h2>
<p>{told}.</p>
<div class="fr-gauge" role="img" aria-label="{told}">
  <div class="fr-bar"><i style="width:{p:.2%}"></i></div>
  <b {mark}><span>threshold {percent(threshold)}</span></b>
  <small><span>0%</span><span>100%</span></small>
</div>
<dl>{rows}</dl></section>"""


def percent(share: float) -> str:
    """A share for people; what is not quite 0 or 1 does not read as if it were."""
    if 0 < share < 0.0001:
        return "under 0.01%"
    return "over 99.99%" if 0.9999 < share < 1 else f"{share:.2%}"


def curl_command(url: str, payment: Record) -> str:
    """Ask the same of the service from a shell."""
    return (
        f"curl -s {shlex.quote(url + '/predict')} \\\n"
        f"  -H 'content-type: application/json' \\\n"
        f"  -d {shlex.quote(json.dumps(payment))}"
    )


def _widget(field: dict[str, Any]) -> Any:
    """Make the control for one input. The service alone says what is out of range."""
    low, high = field["minimum"], field["maximum"]
    span = "" if low is None or high is None else f" {low:g} to {high:g}."
    common = {
        "label": f"{field['name']} ({field['unit']})" if field["unit"] else field["name"],
        "info": f"{field['description']}{span}{'' if field['required'] else ' Optional.'}",
        "value": _initial(field, field["example"]),
        "min_width": 220,
        "interactive": True,  # an example fills it, which Gradio takes for an output otherwise
    }
    unknown = [] if field["required"] else [UNKNOWN]
    match field["type"]:
        case "number":
            return gr.Number(**common)
        case "category":
            return gr.Dropdown([*field["categories"], *unknown], allow_custom_value=True, **common)
        case "boolean":
            return gr.Radio([("Yes", 1), ("No", 0), *unknown], **common)
        case _:
            return gr.Textbox(**common)


def _initial(field: dict[str, Any], value: Any) -> Any:
    if field["type"] == "number":
        return value
    return "" if value is None else int(value) if field["type"] == "boolean" else value


def page(desk: Desk) -> None:
    """Lay out the page."""
    del desk
