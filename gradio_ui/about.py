"""The page About: what this is and how it is built, versions, data, and who made it."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, metadata, version
from pathlib import Path
from typing import Any

import gradio as gr

from gradio_ui.desk import Desk
from gradio_ui.events import filled
from gradio_ui.look import Raw, card, code, columns, facts, items, joined, link, paragraph

PICTURES = Path(__file__).parent / "pictures"
"""Drawn for this project; the README shows the same files."""

_PACKAGES = ("ray", "mlflow", "gradio", "xgboost", "scikit-learn", "numpy", "pyarrow")


def page(desk: Desk) -> None:
    """Lay out the page."""
    gr.HTML("<h1>About fraudray</h1>", apply_default_css=False)
    gr.HTML(_system(), apply_default_css=False)
    data = gr.HTML(paragraph("Asking where the data came from."), apply_default_css=False)
    gr.HTML(columns(_versions(), _maintainers()), apply_default_css=False)
    filled(lambda: (data_html(desk),), None, [data], data)


def _system() -> Raw:
    return joined(
        card(
            "What fraudray is",
            paragraph(
                "fraudray finds fraudulent payments. It searches for the best model in parallel, "
                "keeps every experiment, serves the winner over HTTP as a graph that scales by "
                "itself, and shows on these pages what it does and how well."
            ),
            items(
                [
                    "A decision is a suggestion to look closer, never a proof.",
                    "Every figure was measured on payments that nothing was learned from, with "
                    "the counts behind it.",
                    "Nothing that is shown or typed here leaves your machines: no telemetry, no "
                    "fonts or scripts from elsewhere.",
                ]
            ),
        ),
        card("From payments to decisions", picture("pipeline")),
        card("What runs where", picture("architecture")),
    )


def picture(name: str) -> Raw:
    """One of the pictures, part of the page itself so that it follows its colours."""
    drawn = (PICTURES / f"{name}.svg").read_text("utf-8")
    return Raw(
        f'<div class="fr-picture" tabindex="0" role="group" aria-label="Picture">{drawn}</div>'
    )


def data_html(desk: Desk) -> Raw:
    """Where the data of the model in service came from, as its card says."""
    about, bundle = desk.about(), desk.champion()
    made: dict[str, Any] = bundle.card
    parts = ", ".join(
        f"{name} {part['rows']:,} ({part['frauds']:,} frauds)"
        for name, part in made["parts"].items()
    )
    description = bundle.spec.description
    return card(
        "Where the data came from",
        paragraph(
            # Its name alone: where the file lay is nobody's business.
            f"{about['name']} version {about['version']} was made from "
            f"{made['source'].rpartition('/')[2]} on {made['made'][:10]}."
        ),
        facts(
            {
                "Schema": f"{bundle.spec.name}{f': {description}' if description else ''}",
                "Rows": parts,
                "Parted": f"by {made['split']['method']}",
                "Fingerprint of the data": code(made["fingerprint"]),
                "Columns left out": ", ".join(made["excluded"]) or "none",
            }
        ),
        paragraph(
            "A file called payments-ROWS-SEED.csv is made by the simulator: its payments, people "
            "and frauds are invented."
        ),
    )


def _versions() -> Raw:
    packages = {name: _version(name) for name in _PACKAGES}
    return card(
        "Versions",
        facts({"fraudray": _version("fraudray"), "Python": platform.python_version(), **packages}),
    )


def _maintainers() -> Raw:
    """How to reach who made it, as the package itself says."""
    try:
        known = metadata("fraudray").json
    except PackageNotFoundError:
        return card("Maintainers", paragraph("fraudray is not installed as a package here."))
    who = known.get("author", "The fraudray maintainers")
    licence = known.get("license_expression", "see the file LICENSE")
    addresses = [
        link(label.strip(), url.strip())
        for label, _, url in (each.partition(",") for each in known.get("project_url", ()))
    ]
    return card(
        "Maintainers",
        paragraph(f"{who}. Questions, ideas and reports of errors are welcome as issues in the "
                  "repository that fraudray came from; CONTRIBUTING.md there says how to help."),
        items(addresses) if addresses else "",
        paragraph(f"Licence: {licence}."),
    )  # fmt: skip


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
