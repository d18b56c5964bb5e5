"""Commands about the versions in the registry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fraudray.commands.options import json_option, option, registered_option, spec_option
from training.errors import UsageError

if TYPE_CHECKING:
    from training.tracking import Tracking


@click.group()
def models() -> None:
    """List the versions in the registry, read their cards, promote and roll back."""


@models.command("list")
@spec_option
@registered_option
@json_option
def models_list(spec: str, registered_model: str | None, as_json: bool) -> None:
    """List every version with its test metrics and why it was or was not promoted."""
    from dataclasses import asdict

    from fraudray.output import put_json, table
    from training.spec import DatasetSpec
    from training.tracking import Tracking

    tracking = Tracking()
    names = [registered_model] if registered_model else tracking.models(DatasetSpec.load(spec).name)
    versions = [version for name in names for version in tracking.versions(name)]
    if as_json:
        put_json([asdict(version) for version in versions])
        return
    heads = ("model", "version", "", "family", "SMOTE", "threshold", "test PR-AUC", "decision")
    rows = [
        (
            v.model, v.version, "champion" if v.champion else "", v.tags.get("family", ""),
            v.tags.get("smote", ""), v.tags.get("threshold", "")[:6],
            v.tags.get("test_pr_auc", "")[:6], v.tags.get("decision", ""),
        )
        for v in versions
    ]  # fmt: skip
    table(f"Registered models of {spec}", heads, rows)


@models.command("card")
@click.argument("version", required=False)
@option("--out", type=click.Path(path_type=Path), metavar="FILE",
        help="File to write, ending in .html (with pictures) or .md.")  # fmt: skip
@spec_option
@registered_option
def models_card(
    version: str | None, out: Path | None, spec: str, registered_model: str | None
) -> None:
    """Write the model card of VERSION, by default of the champion.

    What the model is for, how it was made and measured, beside what needs no model, and its
    weaknesses. Without --out it goes to standard output as Markdown.

    \b
    Example:
      fraudray models card --out card.html
    """
    from fraudray.output import say
    from fraudray.pipeline import champion
    from training import card

    if out is not None and out.suffix not in (".html", ".md"):
        raise UsageError(f"--out {out}: expected a name that ends in .html or .md")
    tracking, model = _registry(spec, registered_model)
    bundle = (
        champion(tracking, model)[1]
        if version is None
        else tracking.fetch(tracking.version(model, version))
    )
    if out is None:
        click.echo(card.markdown(bundle))
        return
    try:
        out.write_text((card.html if out.suffix == ".html" else card.markdown)(bundle), "utf-8")
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be written: {error.strerror}") from None
    say(f"Wrote {out}")


@models.command("promote")
@click.argument("version")
@spec_option
@registered_option
@json_option
def models_promote(version: str, spec: str, registered_model: str | None, as_json: bool) -> None:
    """Make VERSION the champion, whatever the gate said."""
    tracking, model = _registry(spec, registered_model)
    _crowned(tracking.promote(model, version, "promoted by hand"), as_json)


@models.command("rollback")
@spec_option
@registered_option
@json_option
def models_rollback(spec: str, registered_model: str | None, as_json: bool) -> None:
    """Make the version that was champion before champion again."""
    tracking, model = _registry(spec, registered_model)
    _crowned(tracking.rollback(model), as_json)


def _registry(spec: str, given: str | None) -> tuple[Tracking, str]:
    from fraudray.pipeline import registered_model
    from training.spec import DatasetSpec
    from training.tracking import Tracking

    tracking = Tracking()
    return tracking, registered_model(tracking, DatasetSpec.load(spec), given)


def _crowned(version: Any, as_json: bool) -> None:
    from fraudray.output import put_json, say

    if as_json:
        put_json({"model": version.model, "champion": version.version})
    else:
        say(f"{version.model}: version {version.version} is the champion; "
            f"a graph that runs already serves it after a restart")  # fmt: skip
