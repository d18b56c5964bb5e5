"""Commands that make and measure models: train, tune, evaluate."""

from __future__ import annotations

import click

from fraudray import runtime
from fraudray.commands.options import (
    FAMILIES,
    file_argument,
    json_option,
    max_bad_option,
    name_of,
    option,
    policy_option,
    registered_option,
    seed_option,
    spec_option,
    split_options,
    split_plan,
)


@click.command()
@file_argument
@spec_option
@option("--model", required=True, type=click.Choice(FAMILIES), help="Model family.")
@option("--smote", default=0.0, metavar="R",
        help="Frauds per legitimate row after resampling training rows; 0 for none.")  # fmt: skip
@option("--fraud-weight", default=1.0, metavar="W",
        help="What a fraud weighs against a legitimate row in fitting.")  # fmt: skip
@policy_option
@split_options
@max_bad_option
@seed_option
@registered_option
@json_option
def train(
    file: str, spec: str, model: str, smote: float, fraud_weight: float, policy: str,
    split_by: str, gap_days: float, max_bad: float, seed: int, registered_model: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    r"""Fit one model, choose its threshold, measure it once, register it.

    The first version becomes champion; a later one only if it beats the champion on rows that
    neither has seen.

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
        family=model, smote=smote, fraud_weight=fraud_weight, policy=policy, seed=seed
    )
    Policy.parse(policy).costs(loaded)
    material = pipeline.audited(file, loaded, split_plan(split_by, gap_days), max_bad)
    audit_report(material.report, brief=True)
    tracking = Tracking()
    target = registered_model or f"fraudray-{loaded.name}"
    tracking.check_target(target, loaded.name)
    say(f"Fitting {recipe.label} ...")
    bundle = fit.train(material.dataset, material.parts, recipe, material.report, threads=2)
    with tracking.run("fraudray-train", pipeline.timestamped(model)) as run:
        published = pipeline.publish(tracking, run, target, bundle, material)
    put_json(published.to_dict()) if as_json else published_report(published)


@click.command()
@file_argument
@spec_option
@option(
    "--name", metavar="NAME", callback=name_of, help="Name of the sweep. Default: spec and time."
)
@option("--models", default=",".join(FAMILIES), metavar="a,b", help="Families to try.")
@option("--trials", default=24, type=click.IntRange(1), help="Recipes to try.")
@option("--folds", default=3, type=click.IntRange(2), help="Folds of the cross-validation.")
@option("--concurrency", default=2, type=click.IntRange(1), help="Trials at a time.")
@policy_option
@split_options
@max_bad_option
@seed_option
@registered_option
@json_option
def tune(
    file: str, spec: str, name: str | None, models: str, trials: int, folds: int,
    concurrency: int, policy: str, split_by: str, gap_days: float, max_bad: float, seed: int,
    registered_model: str | None, as_json: bool,
) -> None:  # fmt: skip
    r"""Search model families, SMOTE ratios, hyperparameters and thresholds in parallel on Ray.

    Every trial is cross-validated inside the training rows and becomes a run in MLflow below one
    parent run. The winner is refitted, calibrated, measured once on the test rows, and registered.

    \b
    Example:
      fraudray tune payments.csv --trials 30 --models xgboost,random-forest
    """
    from fraudray.output import put_json
    from fraudray.pipeline import audited
    from fraudray.reports import audit_report, published_report
    from fraudray.search import Search
    from training.spec import DatasetSpec
    from training.threshold import Policy
    from training.tracking import Tracking
    from tuning.sweep import require_new

    loaded = DatasetSpec.load(spec)
    search = Search(
        models=tuple(m.strip() for m in models.split(",") if m.strip()),
        trials=trials, folds=folds, concurrency=concurrency, policy=policy, seed=seed,
    )  # fmt: skip
    Policy.parse(policy).costs(loaded)
    material = audited(file, loaded, split_plan(split_by, gap_days), max_bad)
    audit_report(material.report, brief=True)
    prepared = search.prepare(material)
    tracking = Tracking()
    target = registered_model or f"fraudray-{loaded.name}"
    tracking.check_target(target, loaded.name)
    if name is not None:
        require_new(name)
    with runtime.stoppable():
        try:
            runtime.start_ray()
            published = prepared.run(tracking, name=name, model=target)
        finally:
            runtime.stop_ray()
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
    r"""Measure the champion on a labelled file, with the counts behind every figure.

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
