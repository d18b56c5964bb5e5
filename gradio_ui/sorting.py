"""A table whose rows a click on a head puts in order, in the browser alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from gradio_ui.look import Raw, number, text

SORT: Final = """
element.addEventListener("click", event => {
  const button = event.target.closest("th button");
  if (!button) return;
  const head = button.closest("th"), table = button.closest("table"), body = table.tBodies[0];
  const falls = head.getAttribute("aria-sort") !== "descending", at = head.cellIndex;
  for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", falls ? "descending" : "ascending");
  const value = row => row.cells[at].dataset.value ?? row.cells[at].textContent;
  const order = (a, b) => {
    const [x, y] = [value(a), value(b)], numeric = x !== "" && y !== "" && !isNaN(x) && !isNaN(y);
    if (x === "" || y === "") return (x === "") - (y === "");
    return (falls ? -1 : 1) * (numeric ? x - y : x.localeCompare(y));
  };
  body.append(...[...body.rows].sort(order));
});
"""
"""What a `gr.HTML` that holds such a table is given as `js_on_load`."""


def sortable(
    heads: Sequence[str], rows: Iterable[Sequence[object]], caption: str, sorted_by: int
) -> Raw:
    """A table with a button in every head; empty cells come last whichever way it is sorted.

    Parameters
    ----------
    sorted_by
        The column that the rows come in the falling order of.
    """
    shown = "".join(
        f'<th scope="col"{_sorted(place == sorted_by)}><button type="button">{escape(head)}'
        "</button></th>"
        for place, head in enumerate(heads)
    )
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return Raw(
        f'<div class="fr-table fr-sortable" role="region" tabindex="0" '
        f'aria-label="{escape(caption)}"><table><caption>{escape(caption)}</caption>'
        f"<thead><tr>{shown}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _sorted(by_this: bool) -> str:
    return ' aria-sort="descending"' if by_this else ""


def _cell(content: object) -> str:
    if content is None:
        return '<td data-value=""></td>'
    if isinstance(content, int | float):
        return f'<td class="fr-number" data-value="{content!r}">{number(content)}</td>'
    return f"<td>{text(content)}</td>"
