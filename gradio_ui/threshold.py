"""The page Threshold: what each threshold costs and finds, and the one the graph decides by."""

from __future__ import annotations

import math
from typing import Any

import gradio as gr

from gradio_ui.desk import Desk
from gradio_ui.events import HIDDEN, PRIVATE, filled, told
from gradio_ui.look import Raw, bold, card, empty, paragraph, percent
from gradio_ui.orders import confirmation, operator_key
from gradio_ui.tradeoff import Costs, Tradeoff

_TITLE = (
    "<h1>Threshold</h1>"
    "<p>From which probability on a payment is an alert, and what that is worth.</p>"
)
_LOADING = empty(
    "Opening the model",
    "Its threshold curve is read from MLflow; the first time takes a few seconds.",
)
_ADDRESS = """threshold => {
  const address = new URL(window.location);
  address.searchParams.set("at", threshold);
  window.history.replaceState(null, "", address);
}"""
_MOST = 1e9


def page(desk: Desk) -> None:
    """Lay out the page."""
    view = _Thresholds(desk)
    gr.HTML(_TITLE, apply_default_css=False)
    said = gr.HTML(_LOADING, apply_default_css=False)
    with gr.Column(visible=False) as main:
        with gr.Row(elem_classes="fr-main"):
            with gr.Column(scale=5, min_width=320):
                slider = gr.Slider(
                    0, 1, step=1, label="Threshold, along the whole curve", interactive=True,
                    info="To the left more alerts, to the right fewer.", buttons=[],
                    elem_classes="fr-slider",
                )  # fmt: skip
                exact = gr.Number(
                    label="Threshold, as a probability", interactive=True, step=0.001,
                    info="Alerts from this probability of fraud on.",
                )  # fmt: skip
                with gr.Row():
                    missed = gr.Number(
                        label="A missed fraud costs", interactive=True, min_width=140
                    )
                    alarm = gr.Number(label="A false alarm costs", interactive=True, min_width=140)
                numbers = gr.HTML("", apply_default_css=False)
            with gr.Column(scale=6, min_width=320):
                pictures = gr.HTML("", apply_default_css=False)
        gr.HTML("<h2>What the policies choose</h2>", apply_default_css=False)
        policies = gr.HTML("", apply_default_css=False)
        jumps = gr.Radio([], label="Take the threshold of a policy", interactive=True)
        gr.HTML("<h2>Let the running model decide by it</h2>", apply_default_css=False)
        with gr.Row(elem_classes="fr-orders"):
            key = operator_key()
            apply = gr.Button("Apply to the running model", scale=1)
        confirm, question, yes, no = confirmation("Yes, apply it")
        outcome = gr.HTML("", apply_default_css=False)

    views = [numbers, pictures, policies]
    money = [missed, alarm]
    whole = [said, main, slider, exact, *money, jumps, *views]
    filled(view.opened, None, whole, said, {main: HIDDEN})
    latest: dict[str, Any] = PRIVATE | {"trigger_mode": "always_last"}
    slider.input(told(view.slid, numbers), [slider, *money], [exact, *views], **latest)
    exact.input(told(view.typed, numbers), [exact, *money], [slider, *views], **latest)
    jumps.input(told(view.jumped, numbers), [jumps, *money], [slider, exact, *views], **PRIVATE)
    priced = told(view.priced, numbers), [exact, *money], views
    gr.on([m.input for m in money], *priced, **latest)
    exact.change(None, exact, None, js=_ADDRESS, **PRIVATE)
    asking = [confirm, question, outcome]
    apply.click(told(view.ask, outcome, {confirm: HIDDEN}), exact, asking, **PRIVATE)
    no.click(lambda: (HIDDEN, "", ""), None, asking, **PRIVATE)
    done = yes.click(
        told(view.carry_out, outcome), [key, exact], [*asking, key],
        **(PRIVATE | {"show_progress": "minimal"}),
    )  # fmt: skip
    done.then(*priced, **PRIVATE)


class _Thresholds:
    """What the page shows, and the one order that is given on it."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._last: tuple[Any, Tradeoff] | None = None

    def opened(self, request: gr.Request) -> tuple[Any, ...]:
        """The threshold in service, or the one that the address names."""
        tradeoff = self._tradeoff()
        threshold = _number(dict(request.query_params).get("at"))
        if threshold is None:
            threshold = float(tradeoff.bundle.choice.threshold)
        spec = tradeoff.bundle.spec.costs
        costs = Costs(spec.missed_fraud, spec.false_alarm)
        about = self.desk.about()
        said = card("", paragraph(
            bold(about["name"]), "version", bold(about["version"]), "alerts from",
            bold(percent(about["threshold"])), f"on, chosen by the policy {about['policy']}.",
            "Nothing below changes that until you apply it.",
        ))  # fmt: skip
        return (
            said, gr.Column(visible=True),
            gr.Slider(maximum=tradeoff.steps, value=tradeoff.step_of(threshold)),
            threshold, costs.missed, costs.alarm,
            gr.Radio([(o.name, o.letter) for o in tradeoff.optima(costs)], value=None),
            *_views(tradeoff, threshold, costs),
        )  # fmt: skip

    def slid(self, step: float, missed: Any, alarm: Any) -> tuple[Any, ...]:
        """The slider was moved."""
        tradeoff = self._tradeoff()
        threshold = tradeoff.at(step)
        return threshold, *_views(tradeoff, threshold, _costs(missed, alarm))

    def typed(self, threshold: Any, missed: Any, alarm: Any) -> tuple[Any, ...]:
        """A threshold was typed."""
        tradeoff = self._tradeoff()
        given = _number(threshold)
        if given is None:
            return gr.skip(), _WRONG, gr.skip(), gr.skip()
        step = gr.Slider(value=tradeoff.step_of(given))
        return step, *_views(tradeoff, given, _costs(missed, alarm))

    def jumped(self, letter: str | None, missed: Any, alarm: Any) -> tuple[Any, ...]:
        """A policy was chosen."""
        tradeoff = self._tradeoff()
        costs = _costs(missed, alarm)
        optima = {optimum.letter: optimum.threshold for optimum in tradeoff.optima(costs)}
        threshold = optima.get(letter or "", tradeoff.bundle.choice.threshold)
        step = gr.Slider(value=tradeoff.step_of(threshold))
        return step, threshold, *_views(tradeoff, threshold, costs)

    def priced(self, threshold: Any, missed: Any, alarm: Any) -> tuple[Any, ...]:
        """A cost was changed, or the threshold in service."""
        return self.typed(threshold, missed, alarm)[1:]

    def ask(self, threshold: Any) -> tuple[Any, ...]:
        """Say what is about to be done, and have it confirmed."""
        given = _number(threshold)
        if given is None or given == 0:
            return HIDDEN, "", _WRONG
        about = self.desk.about()
        question = paragraph(
            "The running model will alert from", bold(percent(given)), "on; now it does from",
            bold(f"{percent(about['threshold'])}."), "Everybody who asks it is answered so from "
            "then on. Rolling back, on the page Model, undoes it.",
        )  # fmt: skip
        return gr.Column(visible=True), question, ""

    def carry_out(self, key: str, threshold: Any) -> tuple[Any, ...]:
        """Have the graph decide by it, with the operator's key."""
        given = _number(threshold)
        if given is None or given == 0:
            return HIDDEN, "", _WRONG, gr.skip()
        moved = self.desk.order(key, lambda operator: operator.threshold(threshold=given))
        said = card(
            "Applied",
            paragraph("Version", bold(moved["version"]), "decides now: it alerts from",
                      bold(percent(given)), "on, in every part of the graph."),
            tone="pass", role="status",
        )  # fmt: skip
        return HIDDEN, "", said, ""

    def _tradeoff(self) -> Tradeoff:
        """Of the version in service; made anew when that is another."""
        bundle = self.desk.champion()
        known = self._last
        if known is None or known[0] is not bundle:
            known = (bundle, Tradeoff(bundle))
            self._last = known
        return known[1]


_WRONG = card(
    "This is no threshold",
    paragraph("Give a probability above 0 and up to 1, such as 0.25."),
    tone="notice", role="alert",
)  # fmt: skip


def _views(tradeoff: Tradeoff, threshold: float, costs: Costs) -> tuple[Raw, Raw, Raw]:
    return (
        tradeoff.numbers(threshold, costs),
        tradeoff.pictures(threshold, costs),
        tradeoff.policies(costs),
    )


def _number(given: Any) -> float | None:
    """A probability, from a control or an address."""
    try:
        value = float(given)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) and 0 <= value <= 1 else None


def _costs(missed: Any, alarm: Any) -> Costs:
    def cost(given: Any) -> float:
        known = isinstance(given, int | float) and math.isfinite(given)
        return min(max(float(given), 0.0), _MOST) if known else 0.0

    return Costs(cost(missed), cost(alarm))
