"""The page's assembly: header, form and answer, and the server they run on."""

from __future__ import annotations

import os
import sys
import threading
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from gradio_ui.score import PRIVATE, WAITING, form, notice, percent
from serve_app.client import Client, ServiceError

RETRY_SECONDS = 3
FOLDER = Path(__file__).parent
# Fonts that are on the machine already: the page asks no other host for anything.
THEME = gr.themes.Base(
    primary_hue=gr.themes.colors.blue,
    neutral_hue=gr.themes.colors.slate,
    font=["system-ui", "Segoe UI", "Roboto", "sans-serif"],
    font_mono=["ui-monospace", "Consolas", "monospace"],
).set(
    body_background_fill="*neutral_50",
    # The greys and the blue that come with Gradio are too pale to be read easily on white.
    block_info_text_color="*neutral_500",
    body_text_color_subdued="*neutral_500",
    block_label_text_color="*neutral_700",
    block_title_text_color="*neutral_700",
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700",
    input_background_fill="white",
    input_border_width="1px",
    input_border_color="*neutral_300",
    input_border_color_dark="*neutral_600",
)


def page(client: Client) -> gr.Blocks:
    """Lay out the page. What it shows is asked of the service when a browser loads it."""
    with gr.Blocks(title="fraudray", analytics_enabled=False) as blocks:
        header = gr.HTML(heading(""), apply_default_css=False)
        about = gr.State(None)  # what the form is made from
        retry = gr.Button("Try again", visible=False, elem_classes="fr-retry")
        timer = gr.Timer(RETRY_SECONDS, active=False)
        with gr.Row(visible=False, elem_classes="fr-main") as main:
            left = gr.Column(scale=6, min_width=320)
            with gr.Column(scale=5, min_width=320, elem_classes="fr-result"):
                result = gr.HTML(WAITING, apply_default_css=False)
                curl = gr.Code(
                    label="The same request with curl", language="shell", visible=False,
                    show_line_numbers=False, wrap_lines=True, interactive=False,
                    lines=3, buttons=["copy"],
                )  # fmt: skip

        def look() -> tuple[Any, ...]:
            found, said = in_service(client)
            down = found is None
            # A service that went away takes nothing with it: the form stays as it was filled in.
            return (
                gr.skip() if down else found, said, gr.Button(visible=down), gr.Timer(active=down),
                gr.skip() if down else gr.Row(visible=True),
            )  # fmt: skip

        shown = [about, header, retry, timer, main]
        gr.on([blocks.load, retry.click, timer.tick], look, outputs=shown, **PRIVATE)

        with left:

            @gr.render(inputs=about, triggers=[about.change], show_progress="hidden")
            def inputs(about: dict[str, Any]) -> None:
                done = form(client, about, result, curl)
                done.then(look, outputs=shown, **PRIVATE)

    return blocks


def in_service(client: Client) -> tuple[dict[str, Any] | None, str]:
    """Ask which model is in service: what a form needs of it, if it is up, and the header."""
    try:
        about = client.model()
        # Without the version: a form is not made anew, and so emptied, when only that moves.
        return {key: about[key] for key in ("name", "inputs")}, heading(model_html(about))
    except ServiceError as error:
        problem = str(error)
    except (LookupError, TypeError):
        problem = f"{client.url} answers, but not as fraudray's graph does"
    again = "This page asks again every few seconds and goes on by itself once there is an answer."
    body = f"<p>{escape(problem[:1].upper() + problem[1:])}.</p><p>{again}</p>"
    return None, heading(notice("The service cannot be reached", body))


def heading(content: str) -> str:
    """Put the name of the page above `content`."""
    return f'<header class="fr-head"><h1>fraudray</h1>{content}</header>'


def model_html(about: dict[str, Any]) -> str:
    """Say which model decides, how, and how well it did on rows it never saw."""
    m = about["metrics"]["test"]
    found, alerts = m["true_positives"], m["true_positives"] + m["false_positives"]
    name, version, family, policy = (
        escape(about[key]) for key in ("name", "version", "family", "policy")
    )
    return f"""<p><b>{name}</b> version <b>{version}</b> ({family}) is in service.
It alerts from a probability of {percent(about["threshold"])}, chosen by the policy {policy}.</p>
<p>Tested on {m["rows"]:,} payments that it had never seen.
Recall {_percent(m["recall"])}: it found {found:,} of {m["frauds"]:,} frauds.
Precision {_percent(m["precision"])}: {found:,} of its {alerts:,} alerts were fraud.
PR-AUC {"unknown" if m["pr_auc"] is None else format(m["pr_auc"], ".3f")}.</p>"""


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.1%}"


def run(*, url: str, host: str = "127.0.0.1", port: int = 7860) -> None:
    """Serve the page until Ctrl-C.

    Parameters
    ----------
    url
        Where the graph listens. It need not be up yet.
    host, port
        Where the page listens; the port must be free.
    """
    # Gradio calls its own server once, and must not send that through a proxy.
    os.environ["NO_PROXY"] = ",".join(filter(None, [os.environ.get("NO_PROXY"), host, "localhost"]))
    with Client(url, timeout=10) as client:
        blocks = page(client).queue(default_concurrency_limit=8)
        try:
            blocks.launch(
                server_name=host, server_port=port, prevent_thread_lock=True, quiet=True,
                share=False, ssr_mode=False, mcp_server=False,
                enable_monitoring=False, run_history=False, footer_links=[],
                # Nothing is uploaded, and no one else is to call this server.
                max_file_size=1, app_kwargs={"openapi_url": None},
                theme=THEME, css_paths=FOLDER / "page.css", favicon_path=FOLDER / "favicon.svg",
            )  # fmt: skip
            sys.stderr.write(f"The page is at http://{host}:{port} (Ctrl-C ends it)\n")
            threading.Event().wait()
        except KeyboardInterrupt:
            pass
        finally:
            blocks.close(verbose=False)
