"""Pages for people: one file each, with style and pictures inside, that open anywhere."""

from __future__ import annotations

import base64
import io
from functools import cache
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from training.home import VERSION

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def render(template: str, **content: Any) -> str:
    """Fill a template of `training/pages`; texts are escaped where the page is HTML.

    Parameters
    ----------
    template
        File name, ending in .html or .md.
    content
        What the template names; a name that is missing is an error.
    """
    return _environment().get_template(template).render(version=VERSION, **content)


def picture(figure: Figure, alt: str) -> Markup:
    """A figure inside the page, sharp at any size; `alt` says in words what it shows."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    data = base64.b64encode(buffer.getvalue()).decode()
    return Markup('<img alt="{}" src="data:image/svg+xml;base64,{}">').format(alt, data)


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("training", "pages"),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
