"""How far the payments of the last while are from those that the model was made from, in HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gradio_ui import charts
from gradio_ui.look import (
    NOTHING,
    Raw,
    badge,
    card,
    figures,
    joined,
    paragraph,
    percent,
    table,
)

_END = 0.5
"""The PSI of a bar of full length: twice that of a large shift."""


def drift(stats: Mapping[str, Any]) -> list[Raw]:
    """Its card; none where the graph tells of no drift at all, as older ones do.

    Parameters
    ----------
    stats
        As /v1/stats answers. What is told of drift is null while nothing was counted, and else
        what `training.drift.Drift.to_dict` gives, with `version` and `seconds`.
    """
    if "drift" not in stats:
        return []
    found = stats["drift"]
    if not found or not _enough(found):
        rows = found["rows"] if found else 0
        wanted = (
            f"{rows:,} so far. In so few, chance alone moves every field as far as a large shift "
            f"would." if rows else "Drift shows here once some have been scored."
        )  # fmt: skip
        return [card("Drift", paragraph("Not enough payments yet:", wanted))]
    fields = sorted(found["fields"], key=lambda field: -field["psi"])
    moved = [field for field in fields if field["level"] != "steady"]
    return [
        card(
            joined("Drift", _verdict(moved)),
            paragraph(
                f"How far the payments of the last {_span(found['seconds'])} are from those that "
                f"version {found['version']} was made from."
            ),
            _figures(found, moved, len(fields)),
            charts.bars(
                [(field["name"], field["psi"]) for field in fields],
                _words(fields, moved), ".2f", end=_END,
                marks={f"{name}, {at:g}": at for name, at in found["limits"].items()},
            ),
            paragraph(
                f"PSI above {found['limits']['moderate']:g} is a moderate shift, above "
                f"{found['limits']['large']:g} a large one, unless chance alone gives as much in "
                f"so few payments. Bars end at {_END:g}."
            ),
            _table(fields),
            _cyclic(found),
        )
    ]  # fmt: skip


def _enough(found: Mapping[str, Any]) -> bool:
    """Whether a large shift of any field could be told from chance."""
    return any(field["chance"] < found["limits"]["large"] for field in found["fields"])


def _verdict(moved: Sequence[Mapping[str, Any]]) -> Raw:
    if not moved:
        return badge("steady", "pass")
    what = "1 field moved" if len(moved) == 1 else f"{len(moved)} fields moved"
    return badge(what, "notice")


def _figures(found: Mapping[str, Any], moved: Sequence[Mapping[str, Any]], fields: int) -> Raw:
    score = found["score"]
    return figures(
        {
            "Payments compared": f"{found['rows']:,}",
            "Fields that moved": f"{len(moved)} of {fields}",
            "PSI of the scores": NOTHING if score is None else f"{score['psi']:.2f}",
            "Scores": NOTHING if score is None else score["level"],
        }
    )


def _table(fields: Sequence[Mapping[str, Any]]) -> Raw:
    heads = ("Field", "PSI", "Chance gives up to", "Payments", "Missing", "Rare or new values",
             "What moved")  # fmt: skip
    rows = [
        (field["name"], round(field["psi"], 3), round(field["chance"], 3), field["rows"],
         _against(field, "missing"), _against(field, "other"), field["told"])
        for field in fields
    ]  # fmt: skip
    return table(heads, rows, "Drift by field; shares as expected → as found")


def _against(field: Mapping[str, Any], share: str) -> str:
    if field[share] is None:
        return NOTHING
    return f"{percent(field[f'expected_{share}'])} → {percent(field[share])}"


def _cyclic(found: Mapping[str, Any]) -> Raw | str:
    """What is said of fields that follow the time of day or of the week."""
    said = []
    longer = [field["name"] for field in found["fields"] if field["rows"] != found["rows"]]
    if longer:
        said.append(f"Over the last 24 hours, because of the time of day: {', '.join(longer)}.")
    if found["skipped"]:
        said.append(
            f"Not compared: {', '.join(found['skipped'])}. What follows the time of day is, once a "
            f"day is covered; what follows the week, in files of a week by fraudray drift."
        )
    return paragraph(" ".join(said)) if said else ""


def _words(fields: Sequence[Mapping[str, Any]], moved: Sequence[Mapping[str, Any]]) -> str:
    said = "; ".join(f"{field['name']} {field['psi']:.2f}" for field in moved or fields[:1])
    return f"Drift by field: {f'moved are {said}' if moved else f'none moved, at most {said}'}"


def _span(seconds: float) -> str:
    if seconds >= 7200:
        return f"{seconds / 3600:g} hours"
    return f"{seconds / 60:.0f} minutes"
