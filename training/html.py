"""Pages for people: one file each, with style and pictures inside, that open anywhere."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from jinja2 import (
    ChoiceLoader,
    Environment,
    PackageLoader,
    StrictUndefined,
    select_autoescape,
)  # fmt: skip
from markupsafe import Markup

from training.errors import printable
from training.home import VERSION

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Table:
    """Rows of texts under their heads; those in `words` are read, the others compared."""

    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    words: tuple[int, ...] = (0,)


def render(template: str, package: str = "training", /, **content: Any) -> str:
    """Fill a template; texts are escaped where the page is HTML.

    Parameters
    ----------
    template
        File name, ending in .html or .md.
    package
        Whose folder `pages` holds it; it may build on the templates of `training`.
    content
        What the template names; a name that is missing is an error.
    """
    return _environment(package).get_template(template).render(version=VERSION, **content)


def each_text(content: Any, change: Callable[[str], str] = str) -> Any:
    """The same content, every text of it on one line, printable, and changed."""
    match content:
        case str():
            return change(printable(" ".join(content.split())))
        case dict():
            return {name: each_text(part, change) for name, part in content.items()}
        case list() | tuple():
            return [each_text(part, change) for part in content]
        case Table():
            head, rows = each_text(content.head, change), each_text(content.rows, change)
            return replace(content, head=head, rows=rows)
    return content


def picture(figure: Figure, alt: str) -> Markup:
    """A figure inside the page, sharp at any size; `alt` says in words what it shows."""
    from matplotlib import rc_context

    buffer = io.BytesIO()
    # Otherwise the identifiers inside are drawn at random, and no page equals another.
    with rc_context({"svg.hashsalt": alt}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    data = base64.b64encode(buffer.getvalue()).decode()
    return Markup('<img alt="{}" src="data:image/svg+xml;base64,{}">').format(alt, data)


@cache
def _environment(package: str) -> Environment:
    return Environment(
        loader=ChoiceLoader([PackageLoader(package, "pages"), PackageLoader("training", "pages")]),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
