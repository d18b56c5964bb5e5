"""The desk put together: its pages, their look, and the server they run on."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
from starlette.routing import Route

from gradio_ui import about, batch, experiments, guard, live, metrics, model, score, threshold
from gradio_ui.desk import Desk
from gradio_ui.events import on_load
from gradio_ui.metrics import VIEWS
from serve_app.client import Client

MOST_UPLOADED = 64 * 1024 * 1024
"""Bytes of a file that is dropped on the page Batch."""
KEPT_SECONDS = 1800
"""How long what the page Batch gives back can be downloaded; then it is deleted."""
AT_ONCE = 24
"""Handlers of one kind that run at the same time."""
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


@dataclass(frozen=True)
class Page:
    """One page of the desk: its name in the navigation, its path, and what lays it out."""

    name: str
    path: str
    lay_out: Callable[[Desk], None]


PAGES = (
    Page("Score", "", score.page),
    Page("Batch", "batch", batch.page),
    Page("Threshold", "threshold", threshold.page),
    Page("Model", "model", model.page),
    Page("Experiments", "experiments", experiments.page),
    Page("Live", "live", live.page),
    Page("About", "about", about.page),
)


def assemble(desk: Desk) -> gr.Blocks:
    """Lay out every page. What they show is asked for when a browser opens them."""
    blocks = gr.Blocks(title="fraudray", analytics_enabled=False, delete_cache=(60, KEPT_SECONDS))
    for page in PAGES:
        with blocks.route(page.name, page.path) if page.path else blocks:
            gr.Navbar(main_page_name=PAGES[0].name)
            title = f"() => {{ document.title = '{page.name} · fraudray'; return []; }}"
            on_load(VIEWS.labels(page.path or "score").inc, js=title)
            page.lay_out(desk)
    # What is rendered while a page is open counts as of this one, and only Score renders anything.
    blocks.current_page = ""
    return blocks


def run(
    *, url: str, host: str = "127.0.0.1", port: int = 7860,
    login: tuple[str, str] | None = None,
) -> None:  # fmt: skip
    """Serve the page until Ctrl-C.

    Parameters
    ----------
    url
        Where the graph listens. It need not be up yet.
    host, port
        Where the page listens; the port must be free.
    login
        User and password that it asks for; see `guard.login`.
    """
    # Gradio calls its own server once, and must not send that through a proxy.
    os.environ["NO_PROXY"] = ",".join(filter(None, [os.environ.get("NO_PROXY"), host, "localhost"]))
    with Client(url, timeout=10) as client:
        blocks = assemble(Desk(client)).queue(default_concurrency_limit=AT_ONCE)
        try:
            blocks.launch(
                server_name=host, server_port=port, prevent_thread_lock=True, quiet=True,
                share=False, ssr_mode=False, mcp_server=False,
                enable_monitoring=False, run_history=False, footer_links=[],
                auth=login, auth_message="The fraud desk of fraudray" if login else None,
                max_file_size=MOST_UPLOADED,
                # No one else is to call this server.
                app_kwargs={
                    "openapi_url": None,
                    "routes": [Route("/metrics", metrics.respond)],
                    "middleware": guard.middleware(host),
                },
                theme=THEME, css_paths=FOLDER / "page.css", head_paths=FOLDER / "head.html",
                favicon_path=FOLDER / "favicon.svg",
            )  # fmt: skip
            sys.stderr.write(f"The page is at http://{host}:{port} (Ctrl-C ends it)\n")
            threading.Event().wait()
        except KeyboardInterrupt:
            pass
        finally:
            blocks.close(verbose=False)
