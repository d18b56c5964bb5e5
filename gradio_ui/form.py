"""Form: the fields of one payment, made from the inputs that /v1/model names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from serve_app.contract import Record

UNKNOWN = ("Unknown", "")
_YES_NO = {"1": 1, "0": 0, "true": 1, "false": 0, "yes": 1, "no": 0}


class Form:
    """A control for every input of a model. The service alone says what is out of range.

    Parameters
    ----------
    inputs
        As /v1/model describes them.
    given
        A payment to begin with; without one, the example values of the inputs.
    """

    def __init__(self, inputs: Sequence[Mapping[str, Any]], given: Record | None = None) -> None:
        self.inputs = inputs
        self.given = given or {field["name"]: field["example"] for field in inputs}
        self.widgets: list[Any] = []

    def lay_out(self) -> None:
        """Place the controls."""
        with gr.Row(elem_classes="fr-fields"):
            self.widgets = [self._widget(field) for field in self.inputs]

    @property
    def entered(self) -> list[Any]:
        """Events of Enter having been pressed in a field."""
        return [w.submit for w in self.widgets if isinstance(w, gr.Number | gr.Textbox)]

    def payment(self, values: Sequence[Any]) -> Record:
        """What the controls hold.

        What is empty is left out, so that the service says so itself where it is required.
        """
        return {
            field["name"]: value
            for field, value in zip(self.inputs, values, strict=True)
            if value is not None and value != ""
        }

    def values(self, payment: Record) -> list[Any]:
        """What the controls are to show of a payment."""
        return [shown(field, payment.get(field["name"])) for field in self.inputs]

    def from_query(self, query: Mapping[str, str]) -> Record:
        """The payment that an address holds, if it names any of the inputs.

        What is no number where one is expected stays as it is: the service refuses it by name.
        """
        return {
            field["name"]: _read(field, query[field["name"]])
            for field in self.inputs
            if query.get(field["name"], "") != ""
        }

    def _widget(self, field: Mapping[str, Any]) -> Any:
        low, high = field["minimum"], field["maximum"]
        if low is not None and high is not None:
            span = f" {low:g} to {high:g}."
        elif low is not None:
            span = f" {low:g} or more."
        else:
            span = "" if high is None else f" {high:g} or less."
        whole = " A whole number." if field["integer"] and field["type"] == "number" else ""
        common = {
            "label": f"{field['name']} ({field['unit']})" if field["unit"] else field["name"],
            "info": f"{field['description']}{span}{whole}{_optional(field)}".strip(),
            "value": shown(field, self.given.get(field["name"])),
            "min_width": 220,
            "interactive": True,  # an example fills it, which Gradio takes for an output otherwise
        }
        unknown = [] if field["required"] else [UNKNOWN]
        match field["type"]:
            case "number":
                return gr.Number(placeholder="empty", **common)
            case "category":
                offered = [*field["categories"], *unknown]
                return gr.Dropdown(offered, allow_custom_value=True, **common)
            case "boolean":
                return gr.Radio([("Yes", 1), ("No", 0), *unknown], **common)
            case _:
                return gr.Textbox(**common)


def shown(field: Mapping[str, Any], value: Any) -> Any:
    """A value as the control of its field takes it; what it cannot show is empty."""
    if field["type"] == "number":
        return value if isinstance(value, int | float) else None
    if field["type"] == "boolean":
        return int(value) if value in (0, 1) else ""
    return "" if value is None else str(value)


def _read(field: Mapping[str, Any], text: str) -> Any:
    if field["type"] == "boolean":
        return _YES_NO.get(text.strip().lower(), text)
    if field["type"] != "number":
        return text
    try:
        value = float(text)
    except ValueError:
        return text
    if not math.isfinite(value):
        return text
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


def _optional(field: Mapping[str, Any]) -> str:
    return "" if field["required"] else " Optional."
