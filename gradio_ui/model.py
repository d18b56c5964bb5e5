"""The page Model: the champion's card, another version beside it, and who serves next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from gradio_ui.desk import Desk, Trouble
from gradio_ui.duel import duel, history, shadow_of, version_named
from gradio_ui.events import HIDDEN, PRIVATE, filled, told
from gradio_ui.look import Raw, card, code, empty, joined, paragraph
from gradio_ui.model_card import card_html
from gradio_ui.orders import confirmation, operator_key

_LOADING = empty("Opening the model", "The first time takes a few seconds.")
_ALONE = empty(
    "No other version",
    paragraph(
        "There is nothing to compare with yet.", code("fraudray tune"), "or",
        code("fraudray train"), "makes another version of this model.",
    ),
)  # fmt: skip
_WAIT = PRIVATE | {"show_progress": "minimal"}
_ADDRESS = """(version) => {
  const address = new URL(window.location);
  version ? address.searchParams.set("version", version) : address.searchParams.delete("version");
  window.history.replaceState(null, "", address);
}"""


@dataclass(frozen=True)
class Order:
    """What an operator is about to have done.

    Attributes
    ----------
    version
        To be promoted; None rolls back.
    """

    version: str | None


def page(desk: Desk) -> None:
    """Lay out the page."""
    view = _Model(desk)
    gr.HTML("<h1>The model in service</h1>", apply_default_css=False)
    about = gr.HTML(_LOADING, apply_default_css=False)
    with gr.Column(visible=False) as rest:
        gr.HTML("<h2>Beside another version</h2>", apply_default_css=False)
        other = gr.Dropdown([], label="Version", filterable=False, interactive=True)
        versus = gr.HTML("", apply_default_css=False)
        gr.HTML("<h2>Who decides</h2>", apply_default_css=False)
        with gr.Row(elem_classes="fr-orders"):
            key = operator_key()
            promote = gr.Button("Promote the version chosen above", scale=1)
            back = gr.Button("Roll back to the champion before", scale=1)
        order = gr.State(None)
        confirm, question, yes, no = confirmation("Yes, do it")
        outcome = gr.HTML("", apply_default_css=False)
        gr.HTML("<h2>Champions so far</h2>", apply_default_css=False)
        past = gr.HTML("", apply_default_css=False)

    asking = [order, confirm, question, outcome]
    whole = filled(view.opened, None, [about, rest, other, versus, past], about, {rest: HIDDEN})
    other.input(told(view.beside, versus), other, versus, **_WAIT)
    other.change(None, other, None, js=_ADDRESS, **PRIVATE)
    not_asked = {order: None, confirm: HIDDEN}
    promote.click(told(view.ask_to_promote, outcome, not_asked), other, asking, **PRIVATE)
    back.click(told(view.ask_to_roll_back, outcome, not_asked), None, asking, **PRIVATE)
    no.click(lambda: (None, HIDDEN, "", ""), None, asking, **PRIVATE)
    done = yes.click(told(view.carry_out, outcome), [key, order], [*asking, key], **_WAIT)
    done.then(*whole, **PRIVATE)


class _Model:
    """What the page shows, and the orders that are given on it."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def opened(self, request: gr.Request) -> tuple[Any, ...]:
        """The champion, beside the version that the address names or else its challenger."""
        asked = dict(request.query_params).get("version")
        self.desk.forget()  # who serves is what this page is about: no old answer will do
        about = self.desk.about()
        name, champion = str(about["name"]), str(about["version"])
        challenger = (about.get("challenger") or {}).get("version")
        versions = [v for v in self.desk.versions() if v.version != champion]
        known = [v.version for v in versions]
        wanted = [v for v in (asked, challenger) if v in known] + known
        chosen = wanted[0] if wanted else None
        choices = [(version_named(v, champion, challenger), v.version) for v in versions]
        return (
            joined(card_html(name, champion, self.desk.champion()), *_refused(about)),
            gr.Column(visible=True),
            gr.Dropdown(choices, value=chosen, visible=bool(versions)),
            self.beside(chosen),
            history(self.desk.look_up(lambda tracking: tracking.history(name))),
        )

    def beside(self, other: str | None) -> Raw:
        """The champion beside another version."""
        if other is None:
            return _ALONE
        champion = str(self.desk.about()["version"])
        found = {v.version: v for v in self.desk.versions()}
        if other not in found or champion not in found:
            raise Trouble("This version is gone", "Load the page anew to see those there are.")
        return duel(
            found[champion], self.desk.champion(), found[other], self.desk.bundle(other),
            shadow_of(self.desk.stats(), champion, other),
        )  # fmt: skip

    def ask_to_promote(self, version: str | None) -> tuple[Any, ...]:
        """Say what a promotion does, and ask whether it is meant."""
        now = self.desk.about()["version"]
        if version is None:
            return None, HIDDEN, "", _ALONE
        said = card(
            f"Let version {version} decide?",
            paragraph(
                f"Version {now} decides now. As soon as version {version} has passed its own test "
                "everywhere, every new payment is decided by it. Nothing is restarted, and you can "
                "roll back."
            ),
            level=3,
        )
        return Order(version), gr.Column(visible=True), said, ""

    def ask_to_roll_back(self) -> tuple[Any, ...]:
        """Say what a rollback does, and ask whether it is meant."""
        now = self.desk.about()["version"]
        said = card(
            f"Roll back from version {now}?",
            paragraph(
                f"The version that was champion before version {now} decides again, without a "
                f"restart. Version {now} stays registered."
            ),
            level=3,
        )
        return Order(None), gr.Column(visible=True), said, ""

    def carry_out(self, key: str, order: Order | None) -> tuple[Any, ...]:
        """Have the graph do it; the key is not kept."""
        if order is None:
            return None, HIDDEN, "", "", gr.skip()
        version = order.version
        did = self.desk.order(
            key, lambda c: c.rollback() if version is None else c.promote(version)
        )
        said = card(
            f"Version {did['version']} decides now",
            "Every ingress of the running graph follows it.", tone="pass", role="status",
        )  # fmt: skip
        return None, HIDDEN, "", said, ""


def _refused(about: dict[str, Any]) -> list[Raw]:
    """Versions that the graph would not take, and why."""
    return [
        card(f"Version {f['version']} was refused", f["reason"], tone="notice")
        for f in about.get("failed", ())
    ]
