"""Commands about the versions in the registry."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fraudray.commands.options import json_option, option, registered_option, spec_option
from training.errors import UsageError

if TYPE_CHECKING:
    from training.tracking import Mode, Tracking

_FOLLOWS = "a graph that runs follows within about a second"


@click.group()
def models() -> None:
    """The versions in the registry: list them, read their cards, say which one serves and how.

    These commands write to the registry. A graph that runs follows within about a second.
    """


@models.command("list")
@spec_option
@registered_option
@json_option
def models_list(spec: str, registered_model: str | None, as_json: bool) -> None:
    """List every version with its test metrics and why it was or was not promoted."""
    from fraudray.output import put_json, table
    from training.spec import DatasetSpec
    from training.tracking import Tracking

    tracking = Tracking()
    names = [registered_model] if registered_model else tracking.models(DatasetSpec.load(spec).name)
    versions = [version for name in names for version in tracking.versions(name)]
    challengers = {(name, tracking.look(name).challenger) for name in names}
    if as_json:
        put_json([asdict(version) for version in versions])
        return
    heads = ("model", "version", "", "family", "SMOTE", "threshold", "test PR-AUC", "decision")
    rows = [
        (
            v.model, v.version,
            "champion" if v.champion
            else "challenger" if (v.model, v.version) in challengers
            else "",
            v.tags.get("family", ""),
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
    from fraudray.output import put_page
    from fraudray.pipeline import version_or_champion
    from training import card

    if out is not None and out.suffix not in (".html", ".md"):
        raise UsageError(f"--out {out}: expected a name that ends in .html or .md")
    tracking, model = _registry(spec, registered_model)
    _, bundle = version_or_champion(tracking, model, version)
    if out is None:
        click.echo(card.markdown(bundle))
    else:
        put_page("--out", out, (card.html if out.suffix == ".html" else card.markdown)(bundle))


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


@models.command("threshold")
@option("--threshold", type=click.FloatRange(0, 1, min_open=True), metavar="T",
        help="Payments are alerts from this probability on.")  # fmt: skip
@option("--policy", metavar="POLICY",
        help="Choose it as `fraudray train --policy` does, on the validation rows of the "
             "champion. Amounts of single payments are no longer known: min-cost takes flat costs "
             "(min-cost=200:5), or those that the champion was made with.")  # fmt: skip
@spec_option
@registered_option
@json_option
def models_threshold(
    threshold: float | None, policy: str | None, spec: str, registered_model: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Let the champion decide by another threshold, given or chosen anew.

    That is a new version of the same model, which becomes champion; `models rollback` takes it
    back.

    \b
    Examples:
      fraudray models threshold --threshold 0.3
      fraudray models threshold --policy 'recall>=0.9'
    """
    from fraudray.output import put_json, say
    from fraudray.pipeline import champion
    from training.rechoose import rechosen

    if (threshold is None) == (policy is None):
        raise UsageError("give either --threshold or --policy")
    tracking, model = _registry(spec, registered_model)
    version, _ = champion(tracking, model)
    wanted = f"threshold={threshold!r}" if policy is None else policy
    choice = rechosen(tracking.fetch(version, original=True), wanted)
    reason = (
        f"version {version.version} with the threshold {choice.threshold:.6g} ({choice.policy})"
    )
    made = tracking.rethreshold(version, choice, reason)
    tracking.promote(model, made.version, reason)
    if as_json:
        told = {"threshold": choice.threshold, "policy": choice.policy, "met": choice.met}
        put_json({"model": model, "champion": made.version, **told})
        return
    say(f"{model}: version {made.version} is the champion, {reason}; {_FOLLOWS}")
    say(
        f"On its validation rows: precision {choice.precision:.3f}, recall {choice.recall:.3f}, "
        f"{choice.alerts_per_10000:,.1f} alerts per 10,000 payments"
        + ("" if choice.met else "; no threshold meets the policy, this one comes nearest")
    )


@models.command("challenger")
@click.argument("version", required=False)
@option(
    "--shadow",
    is_flag=True,
    help="It scores what the champion answers, and only the statistics tell. The default.",
)
@option(
    "--share",
    type=click.FloatRange(0, 1),
    metavar="S",
    help="It answers this part of the requests, from 0 to 1.",
)
@option("--none", "nobody", is_flag=True, help="Let no version challenge the champion.")
@spec_option
@registered_option
@json_option
def models_challenger(
    version: str | None, shadow: bool, share: float | None, nobody: bool, spec: str,
    registered_model: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Let VERSION run beside the champion.

    \b
    Examples:
      fraudray models challenger 2
      fraudray models challenger 2 --share 0.1
      fraudray models challenger --none
    """
    from fraudray.output import put_json, say

    if (version is None) != nobody:
        raise UsageError("give either a VERSION or --none")
    if shadow + nobody + (share is not None) > 1:
        raise UsageError("give one of --shadow, --share and --none")
    tracking, model = _registry(spec, registered_model)
    mode: Mode = "shadow" if share is None else "share"
    tracking.challenge(model, version, mode=mode, share=share or 0.0)
    if as_json:
        put_json({"model": model, **asdict(tracking.look(model))})
    elif version is None:
        say(f"{model}: no version challenges the champion; {_FOLLOWS}")
    else:
        does = "only watches" if share is None else f"answers {share:.4%} of the requests"
        say(f"{model}: version {version} challenges the champion and {does}; {_FOLLOWS}")


@models.command("history")
@spec_option
@registered_option
@json_option
def models_history(spec: str, registered_model: str | None, as_json: bool) -> None:
    """List the last 100 changes of the champion, the newest first, and why they were made."""
    from fraudray.output import put_json, table

    tracking, model = _registry(spec, registered_model)
    changes = [
        asdict(c) | {"at": datetime.fromtimestamp(c.at, UTC).isoformat(timespec="seconds")}
        for c in tracking.history(model)
    ]
    if as_json:
        put_json(changes)
        return
    heads = ("at", "version", "action", "reason")
    table(f"Champions of {model}", heads, [[c[head] for head in heads] for c in changes])


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
        say(f"{version.model}: version {version.version} is the champion; {_FOLLOWS}")
