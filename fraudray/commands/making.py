"""Commands that make and measure models: train, evaluate, drift."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fraudray.commands.options import (
    FAMILIES,
    file_argument,
    html_option,
    json_option,
    max_bad_option,
    option,
    policy_option,
    promote_option,
    registered_option,
    seed_option,
    spec_option,
    split_options,
    split_plan,
)

if TYPE_CHECKING:
    from tuning.select import Promotion

# That of training.resample, which takes a second to import; a test holds the two equal.
NEIGHBOURS = 5


@click.command()
@file_argument
@spec_option
@option("--model", required=True, type=click.Choice(FAMILIES), help="Model family.")
@option("--smote", default=0.0, metavar="R",
        help="Frauds per legitimate row after resampling training rows; 0 for none.")  # fmt: skip
@option("--neighbours", default=NEIGHBOURS, metavar="K",
        help="Nearest frauds that SMOTE draws between.")  # fmt: skip
@option("--fraud-weight", default=1.0, metavar="W",
        help="What a fraud weighs against a legitimate row in fitting.")  # fmt: skip
@option("--no-derived", is_flag=True, help="Leave out the features that the spec derives.")
@policy_option
@split_options
@max_bad_option
@seed_option
@registered_option
@promote_option
@json_option
def train(
    file: str, spec: str, model: str, smote: float, neighbours: int, fraud_weight: float,
    no_derived: bool, policy: str, split_by: str, gap_days: float, max_bad: float, seed: int,
    registered_model: str | None, promote: Promotion, as_json: bool,
) -> None:  # fmt: skip
    """Fit one model, choose its threshold, measure it once, register it.

    The first version becomes champion; a later one only if it beats the champion, beyond what
    chance would give, on rows that neither has seen.

    \b
    Example:
      fraudray train payments.csv --model xgboost --policy 'recall>=0.8'
    """
    from fraudray import pipeline
    from fraudray.output import put_json, say
    from fraudray.reports import audit_report, published_report
    from training import fit
    from training.spec import DatasetSpec
    from training.threshold import Policy
    from training.tracking import Tracking

    loaded = DatasetSpec.load(spec)
    recipe = fit.Recipe(
        family=model, smote=smote, neighbours=neighbours, fraud_weight=fraud_weight,
        derived=not no_derived, policy=policy, seed=seed,
    )  # fmt: skip
    Policy.parse(policy).costs(loaded)
    material = pipeline.audited(file, loaded, split_plan(split_by, gap_days), max_bad)
    audit_report(material.report, brief=True)
    tracking = Tracking()
    target = registered_model or f"fraudray-{loaded.name}"
    tracking.check_target(target, loaded.name)
    say(f"Fitting {recipe.label} ...")
    bundle = fit.train(material.dataset, material.parts, recipe, material.report, threads=2)
    with tracking.run("fraudray-train", pipeline.timestamped(model)) as run:
        published = pipeline.publish(tracking, run, target, bundle, material, promote=promote)
    put_json(published.to_dict()) if as_json else published_report(published)


@click.command()
@file_argument
@spec_option
@option("--by", metavar="COLUMN", help="Also measure each value of this column apart.")
@max_bad_option
@registered_option
@json_option
def evaluate(
    file: str, spec: str, by: str | None, max_bad: float, registered_model: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Measure the champion on a labelled file, with the counts behind every figure.

    Twins are rows identical to one that the model learned from: it has seen their answer, so they
    flatter it.

    \b
    Example:
      fraudray evaluate holdout.csv --by dataset
    """
    from fraudray import pipeline
    from fraudray.evaluation import evaluate_by, evaluation_table
    from fraudray.output import put_json
    from training.spec import DatasetSpec
    from training.tracking import Tracking

    loaded = DatasetSpec.load(spec)
    dataset = pipeline.loaded(file, loaded, max_bad)
    tracking = Tracking()
    model = pipeline.registered_model(tracking, loaded, registered_model, newest=True)
    version, bundle = pipeline.champion(tracking, model)
    groups = evaluate_by(bundle, dataset, by)
    if as_json:
        put_json({"model": version.model, "version": version.version,
                  "threshold": bundle.choice.threshold, "groups": groups})  # fmt: skip
    else:
        evaluation_table(version, bundle, groups, by)


@click.command()
@file_argument
@spec_option
@option("--version", metavar="V", help="The version to compare with. Default: the champion.")
@max_bad_option
@html_option
@registered_option
@json_option
def drift(
    file: str, spec: str, version: str | None, max_bad: float, html: Path | None,
    registered_model: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Tell how far a file's payments are from those that the champion was made from.

    Field by field and for the scores, the one that moved furthest first. The file may be of any
    size and needs no label. A shift counts as one only beyond what chance gives in so few rows;
    a field that follows the time of day needs a file that spans a day, one that follows the week a
    week.

    \b
    Example:
      fraudray drift yesterday.parquet --html drift.html
    """
    from fraudray import pipeline
    from fraudray.output import put_json, put_page, say
    from fraudray.reports import drift_report
    from training.drift.file import drift_of
    from training.source import Source
    from training.spec import DatasetSpec
    from training.tracking import Tracking

    tracking = Tracking()
    model = pipeline.registered_model(
        tracking, DatasetSpec.load(spec), registered_model, newest=True
    )
    meant, bundle = pipeline.version_or_champion(tracking, model, version)
    named = f"{meant.model} version {meant.version}"
    say(f"Comparing {Source(file).name} with the payments that {named} was made from ...")
    found = drift_of(file, bundle, max_bad_share=max_bad)
    if found.rejected_file:
        rows = found.bad_rows + found.drift.rows
        say(f"warning: {found.bad_rows:,} of {rows:,} rows break the spec {bundle.spec.name!r}; "
            f"they are set aside in {found.rejected_file}")  # fmt: skip
    if as_json:
        put_json({"model": meant.model, "version": meant.version} | found.to_dict())
    else:
        drift_report(found, meant)
    if html is not None:
        from training.drift.page import drift_html

        put_page("--html", html, drift_html(found, bundle.reference, named))
