"""Blocks of HTML that every page is built from; all that they are given is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Literal

Tone = Literal["plain", "alert", "pass", "notice"]
NOTHING = "\N{EN DASH}"
"""Stands where there is no value."""
_SIGNS: dict[str, str] = {"alert": "!", "pass": "✓", "notice": "i"}


class Raw(str):
    """HTML that one of these blocks, or a chart, has made: it is not escaped again."""

    __slots__ = ()


def text(content: object) -> Raw:
    """Anything as HTML: what is `Raw` stays as it is, None is a dash."""
    if isinstance(content, Raw):
        return content
    return Raw(NOTHING if content is None else escape(str(content)))


def joined(*parts: object) -> Raw:
    """Several pieces one after the other; those that are empty are left out."""
    return Raw("\n".join(text(part) for part in parts if part not in (None, "")))


def paragraph(*parts: object) -> Raw:
    """One paragraph of several pieces; before a stop or a comma there is no space."""
    said = ""
    for piece in map(text, parts):
        said += piece if not said or piece.startswith((".", ",", ";", ":")) else f" {piece}"
    return Raw(f"<p>{said}</p>")


def bold(content: object) -> Raw:
    """What matters in a sentence."""
    return Raw(f"<b>{text(content)}</b>")


def code(content: object) -> Raw:
    """What is to be typed, or what was."""
    return Raw(f"<code>{text(content)}</code>")


def link(label: object, url: str) -> Raw:
    """A link that opens beside the page; one that is no http(s) address is only text."""
    if not url.startswith(("http://", "https://", "/")):
        return text(label)
    beside = "" if url.startswith("/") else ' target="_blank" rel="noopener noreferrer"'
    return Raw(f'<a href="{escape(url)}"{beside}>{text(label)}</a>')


def items(entries: Iterable[object]) -> Raw:
    """A list with bullets."""
    return Raw(f"<ul>{''.join(f'<li>{text(entry)}</li>' for entry in entries)}</ul>")


def badge(label: object, tone: Tone = "plain") -> Raw:
    """A short word on a coloured ground, as beside a version."""
    return Raw(f'<span class="fr-badge fr-{tone}">{text(label)}</span>')


def card(title: object, *body: object, tone: Tone = "plain", role: str = "", level: int = 2) -> Raw:
    """One framed part of a page.

    Parameters
    ----------
    title
        Its heading; empty for none.
    role
        What a screen reader is told: `status` for news, `alert` for what needs attention now.
    level
        Of the heading, from 2 to 4.
    """
    sign = (
        f'<span class="fr-sign" aria-hidden="true">{_SIGNS[tone]}</span>' if tone in _SIGNS else ""
    )
    heading = f"<h{level}>{sign}{text(title)}</h{level}>" if title else ""
    spoken = f' role="{escape(role)}"' if role else ""
    return Raw(f'<section class="fr-card fr-{tone}"{spoken}>{heading}{joined(*body)}</section>')


def notice(title: object, *body: object) -> Raw:
    """Say that something is wrong, and in `body` what to do about it."""
    return card(title, *map(_paragraphs, body), tone="notice", role="alert")


def empty(title: object, *body: object) -> Raw:
    """Say that there is nothing yet, and how that changes."""
    return card(title, *map(_paragraphs, body), role="status")


def facts(entries: Mapping[str, object]) -> Raw:
    """Names beside their values."""
    rows = "".join(f"<dt>{text(k)}</dt><dd>{text(v)}</dd>" for k, v in entries.items())
    return Raw(f'<dl class="fr-facts">{rows}</dl>')


def figures(entries: Mapping[str, object]) -> Raw:
    """A few numbers written large, each under its name."""
    cells = "".join(f"<div><dt>{text(k)}</dt><dd>{text(v)}</dd></div>" for k, v in entries.items())
    return Raw(f'<dl class="fr-figures">{cells}</dl>')


def table(headers: Sequence[object], rows: Iterable[Sequence[object]], caption: object = "") -> Raw:
    """A table that scrolls inside its own frame; numbers stand to the right.

    Parameters
    ----------
    rows
        One entry for each header. What is an int or a float is written by `number`.
    caption
        What the table shows, for everyone and for screen readers above all.
    """
    head = "".join(f'<th scope="col">{text(h)}</th>' for h in headers)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    above = f"<caption>{text(caption)}</caption>" if caption else ""
    name = f' aria-label="{escape(str(caption))}"' if caption else ' aria-label="Table"'
    return Raw(
        f'<div class="fr-table" role="region" tabindex="0"{name}><table>{above}'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def details(summary: object, *body: object) -> Raw:
    """What is shown to those who open it."""
    return Raw(f"<details><summary>{text(summary)}</summary>{joined(*body)}</details>")


def copyable(name: object, content: str, *, address: bool = False) -> Raw:
    """A text with a button that copies it; an address is copied whole and can be followed."""
    shown = f'<a href="{escape(content)}">{escape(content)}</a>' if address else escape(content)
    label = escape(f"Copy: {name}")
    return Raw(
        f'<figure class="fr-copy"><figcaption>{text(name)}<button type="button" '
        f'aria-label="{label}" onclick="frCopy(this)">Copy</button></figcaption>'
        f'<pre tabindex="0" role="region" aria-label="{text(name)}"><code>{shown}</code></pre>'
        "</figure>"
    )


def columns(*parts: object) -> Raw:
    """Parts beside each other where there is room, else one under the other."""
    return Raw(f'<div class="fr-columns">{"".join(f"<div>{text(p)}</div>" for p in parts)}</div>')


def percent(share: float | None, digits: int = 2) -> str:
    """A share for people; what is not quite 0 or 1 does not read as if it were."""
    if share is None:
        return NOTHING
    step = 10.0 ** -(digits + 2)
    if 0 < share <= step / 2:
        return f"under {step:.{digits}%}"
    if 1 - step / 2 <= share < 1:
        return f"over {1 - step:.{digits}%}"
    return f"{share:.{digits}%}"


def number(value: float | None, digits: int = 4) -> str:
    """A number for people: whole ones in groups of three, others to so many digits that count."""
    if value is None or value != value:  # noqa: PLR0124 (only NaN differs from itself)
        return NOTHING
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) >= 10**digits:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def milliseconds(value: float | None) -> str:
    """A duration as it is felt."""
    if value is None:
        return NOTHING
    return f"{value:.1f} ms" if value < 1000 else f"{value / 1000:.1f} s"


def _cell(content: object) -> str:
    if isinstance(content, (int, float)) and not isinstance(content, bool):
        return f'<td class="fr-number">{number(content)}</td>'
    return f"<td>{text(content)}</td>"


def _paragraphs(part: object) -> Raw:
    return part if isinstance(part, Raw) else paragraph(part)
