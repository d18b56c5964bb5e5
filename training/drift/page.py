"""The page of a file's drift: one file, pictures of expected beside found inside."""

from __future__ import annotations

from markupsafe import Markup

from training.drift.file import FileDrift
from training.drift.pictures import shares_figure
from training.html import Table, each_text, picture, render
from training.reference import LARGE, MODERATE, Reference

MOST_PICTURES = 60
"""Fields with a picture; the others are listed."""


def drift_html(found: FileDrift, reference: Reference, model: str) -> str:
    """Make the page.

    Parameters
    ----------
    reference
        Of the model, whose bins the file was counted in.
    model
        Its name and version, in words.
    """
    drift = found.drift
    pictured = drift.fields[:MOST_PICTURES]
    return render(
        "drift.html",
        **each_text(
            {
                "title": f"Drift of {found.source}",
                "model": model,
                "tiles": _tiles(found),
                "moved": [(f.level, f"{f.name}: {f.told()}") for f in drift.shifted],
                "score": drift.score and {"level": drift.score.level, "told": drift.score.told()},
                "skipped": found.left_out(),
                "rest": _rest(found),
                "limits": f"above {MODERATE:g} is a moderate shift, above {LARGE:g} a large one",
            }
        ),
        fields=pictured,
        pictures={field.name: _picture(field.name, found, reference) for field in pictured},
        score_picture=_score_picture(found, reference),
    )


def _tiles(found: FileDrift) -> list[tuple[str, str, str]]:
    drift = found.drift
    large = sum(field.level == "large" for field in drift.fields)
    aside = f"{found.bad_rows:,} more break the spec" if found.bad_rows else "all keep the spec"
    tiles = [
        ("Payments", f"{drift.rows:,}", aside),
        ("Fields that moved", f"{len(drift.shifted)} of {len(drift.fields)}",
         f"{large} of them by far" if large else "beyond chance"),
        ("Alerts", f"{found.alert_rate:.2%}", f"{found.expected_alert_rate:.2%} expected"),
    ]  # fmt: skip
    if drift.score:
        shift = "steady" if drift.score.level == "steady" else f"a {drift.score.level} shift"
        tiles.insert(2, ("PSI of the scores", f"{drift.score.psi:.2f}", shift))
    if found.begins and found.ends:
        tiles.append(("From", found.begins[:10], f"to {found.ends[:10]}"))
    return tiles


def _rest(found: FileDrift) -> Table:
    return Table(
        ("Field", "PSI", "By chance up to", "Missing, expected", "found", "What moved"),
        [
            (f.name, f"{f.psi:.2f}", f"{f.chance:.2f}", f"{f.expected_missing:.1%}",
             f"{f.missing:.1%}", f.told())
            for f in found.drift.fields[MOST_PICTURES:]
        ],
        (0, 5),
    )  # fmt: skip


def _picture(name: str, found: FileDrift, reference: Reference) -> Markup:
    labels = reference.bins[name].labels
    expected, now = reference.counts.columns[name], found.counts.columns[name]
    return picture(
        shares_figure(labels, expected, now),
        f"{name}: share of the rows in each bin, expected beside found",
    )


def _score_picture(found: FileDrift, reference: Reference) -> Markup | None:
    expected, now = reference.counts.score, found.counts.score
    if reference.score is None or expected is None or now is None:
        return None
    return picture(
        shares_figure(reference.score.labels, expected, now),
        "Scores: share of the rows in each bin, expected beside found",
    )
