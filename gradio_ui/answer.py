"""The outcome of scoring one payment, in HTML: the decision, why, and how to ask for it again."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from gradio_ui import charts
from gradio_ui.desk import Trouble
from gradio_ui.events import trouble
from gradio_ui.look import (
    Raw,
    bold,
    card,
    code,
    copyable,
    details,
    facts,
    items,
    joined,
    milliseconds,
    notice,
    number,
    paragraph,
    percent,
)
from gradio_ui.metrics import ERRORS
from serve_app.client import BadRequest
from serve_app.contract import Explained, Problem, Record

_MOST = 8


def answer_html(model: str, answer: Explained, latency: float) -> Raw:
    """Show one answer of `model`, which took `latency` milliseconds."""
    p, threshold = answer["probability"], answer["threshold"]
    if answer["decision"]:
        tone, verdict, side = "alert", "Alert: looks fraudulent", "reaches"
    else:
        tone, verdict, side = "pass", "Let through", "is below"
    decision = card(
        verdict,
        paragraph(
            "Probability of fraud", bold(percent(p)), side,
            "the threshold of", f"{percent(threshold)}.",
        ),
        charts.gauge(p, threshold),
        facts({
            "Probability": Raw(f'<data value="{p!r}">{p:.6f}</data>'),
            "Threshold": f"{threshold:.6f}",
            "Model": f"{model} version {answer['model_version']}",
            "Request id": code(answer["request_id"]),
            "Answered in": f"{milliseconds(latency)}, measured from this page",
        }),
        tone="alert" if tone == "alert" else "pass", role="status",
    )  # fmt: skip
    return joined(decision, _reasons(answer["reasons"]), _changes(answer["changes"]))


def refused(error: Trouble | BadRequest) -> Raw:
    """Say why a payment was not scored, whatever the reason."""
    if isinstance(error, Trouble):
        return trouble(Trouble(f"Not scored. {error.title}", error.what_to_do))
    ERRORS.labels("refused").inc()
    count = len(error.problems)
    entries = f"{count} {'entry needs' if count == 1 else 'entries need'} a change"
    return notice(f"Not scored: {entries}", items(map(_problem, error.problems)))


def link_to(payment: Record) -> str:
    """The address of a payment on this page."""
    return f"?{urlencode({name: _written(value) for name, value in payment.items()})}"


def request_html(url: str, payment: Record, link: str) -> Raw:
    """The same request as a command, as Python and as an address, to copy."""
    keyed = bool(os.environ.get("FRAUDRAY_KEY"))
    return card(
        "Ask for it again",
        copyable("With curl", curl_command(url, payment, keyed)),
        copyable("With Python", python_code(url, payment)),
        copyable("A link to this payment", link, address=True),
        details(
            "Without the reasons",
            paragraph(code("/v1/predict"), "and", code("client.predict_one"), "answer sooner."),
        ),
    )


def curl_command(url: str, payment: Record, keyed: bool = False) -> str:
    """Ask the same of the service from a shell."""
    key = '  -H "authorization: Bearer $FRAUDRAY_KEY" \\\n' if keyed else ""
    return (
        f"curl -s {shlex.quote(url + '/v1/explain')} \\\n"
        f"  -H 'content-type: application/json' \\\n{key}"
        f"  -d {shlex.quote(json.dumps(payment))}"
    )


def python_code(url: str, payment: Record) -> str:
    """Ask the same of the service from Python."""
    fields = "".join(f"    {name!r}: {value!r},\n" for name, value in payment.items())
    return (
        "from fraudray import Client\n\n"
        f"payment = {{\n{fields}}}\n"
        f"with Client({url!r}) as client:\n"
        "    answer = client.explain(payment)\n"
        'print(answer["decision"], answer["probability"])'
    )


def _reasons(reasons: Sequence[Mapping[str, Any]]) -> Raw:
    if not reasons:
        return card("Why", paragraph("No field moved the score from where the model begins."))
    shown = [(f"{r['field']}: {_value(r['value'])}", r["contribution"]) for r in reasons[:_MOST]]
    rest = len(reasons) - len(shown)
    more = paragraph(f"{rest} more moved it less.") if rest else ""
    return card(
        "Why",
        charts.signed_bars(shown),
        more,
        details("The same in words", items(r["text"] for r in reasons)),
    )


def _changes(changes: Sequence[Mapping[str, Any]]) -> Raw:
    title = "What would turn the decision"
    if not changes:
        return card(title, paragraph("No change of a single field that was tried would turn it."))
    first, *others = (change["text"] for change in changes)
    return card(
        title,
        paragraph("The nearest change of a single field:", bold(f"{first}.")),
        details("Others, the nearest first", items(others)) if others else "",
    )


def _problem(problem: Problem) -> Raw:
    value = problem["value"]
    held = "empty" if value is None else code(value)
    field = bold(problem["field"] or "the request")
    return joined(field, "must be", f"{problem['expectation']};", "it is", held)


def _value(value: float | str | None) -> str:
    if value is None:
        return "missing"
    return value if isinstance(value, str) else number(value, 5)


def _written(value: Any) -> str:
    return repr(value) if isinstance(value, float) else str(value)
