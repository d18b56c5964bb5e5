"""The command line: what a person types, and the exit code they get.

0 success, 1 failure, 2 wrong usage, 3 the data was refused, 130 stopped by Ctrl-C. Results go to
standard output, progress and errors to standard error. Heavy imports wait until a command needs
them, so that `--help` answers at once.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fraudray import runtime
from training.errors import DataRefused, FraudrayError, UsageError
from training.home import VERSION, home

if TYPE_CHECKING:
    from training.tracking import Tracking

PORT = click.IntRange(1, 65535)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_PORT = 8000
UI_PORT = 7860
# Those of training.models, which takes a second to import; a test holds the two equal.
FAMILIES = ("logistic-regression", "random-forest", "xgboost")


def _name(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """A name that can stand in a registry, a folder and a filter."""
    del context, parameter
    if value is not None and not _NAME.fullmatch(value):
        raise click.BadParameter(
            f"{value!r}: a name starts with a letter or digit and holds only those, '.', '_', '-'"
        )
    return value


def _option(*names: str, **settings: Any) -> Callable[[F], F]:
    return click.option(*names, show_default=settings.get("default") is not None, **settings)


spec_option = _option(
    "--spec", default="payments", metavar="SPEC",
    help="Columns of the file: a built-in spec's name, or a .toml file of your own.",
)  # fmt: skip
json_option = _option("--json", "as_json", is_flag=True, help="Write the result as JSON.")
seed_option = _option(
    "--seed", default=0, type=click.IntRange(0, 2**32 - 1), help="Seed of every draw."
)
policy_option = _option(
    "--policy", default="max-f1", metavar="POLICY",
    help="How the threshold is chosen: max-f1, max-fbeta=2, 'recall>=0.9', 'precision>=0.5' or "
         "'alert-rate<=0.01'.",
)  # fmt: skip
registered_option = _option(
    "--registered-model", metavar="NAME", callback=_name,
    help="Name in the registry. Default: fraudray-SPEC.",
)  # fmt: skip
host_option = _option("--host", default="127.0.0.1", help="Address to listen on.")
url_option = _option(
    "--url", default=f"http://127.0.0.1:{DEFAULT_PORT}", help="Where the graph listens."
)
file_argument = click.argument("file", metavar="FILE")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(VERSION, prog_name="fraudray")
def cli() -> None:
    r"""Detect fraudulent payments: search for a model, serve it, see what it does.

    \b
    A first tour:
      fraudray simulate --rows 50000 --seed 1 --out payments.csv
      fraudray audit payments.csv          what is suspicious about the file
      fraudray tune payments.csv           search for the best model, keep it in MLflow
      fraudray serve                       answer HTTP requests with it
      fraudray predict payments.csv        (in another terminal) score payments
      fraudray demo                        all of it at once

    State lives in $FRAUDRAY_HOME (default .fraudray in the current folder);
    MLFLOW_TRACKING_URI names another MLflow store.
    Exit codes: 0 success, 1 failure, 2 wrong usage, 3 the data was refused,
    130 stopped by Ctrl-C.
    """


@cli.command()
@_option("--rows", default=50_000, type=click.IntRange(1), help="Payments to make.")
@seed_option
@_option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE",
         help="File to write, ending in .csv or .parquet.")  # fmt: skip
@json_option
def simulate(rows: int, seed: int, out: Path, as_json: bool) -> None:
    r"""Make realistic payments with about 1 % fraud. The same seed gives the same bytes.

    \b
    Example:
      fraudray simulate --rows 50000 --seed 1 --out payments.csv
    """
    from fraudray.output import put_json, say
    from training import simulate as simulation

    frame = simulation.simulate(rows, seed=seed)
    simulation.write(frame, out)
    frauds = int(frame["label"].sum())
    say(f"{out}: {rows:,} payments, {frauds:,} labelled as fraud ({frauds / rows:.2%})")
    if as_json:
        put_json({"file": str(out), "rows": rows, "frauds": frauds, "seed": seed})


@cli.command()
@file_argument
@spec_option
@_option("--strict", is_flag=True, help="Refuse the file (exit code 3) if there is an error.")
@json_option
def audit(file: str, spec: str, strict: bool, as_json: bool) -> None:
    """Say in plain words what is suspicious about a file, before anything is trained on it.

    Columns that give the label away by their value or by being missing, duplicates, conflicting
    labels, and how many frauds each part of the split would have.
    """
    from fraudray.output import put_json
    from fraudray.pipeline import audited
    from fraudray.reports import audit_report
    from training.spec import DatasetSpec

    _, report = audited(file, DatasetSpec.load(spec))
    put_json(report.to_dict()) if as_json else audit_report(report)
    if strict and report.errors:
        raise DataRefused(
            f"{file}: refused for {len(report.errors)} errors found by the audit "
            f"({', '.join(f.code for f in report.errors)})"
        )


@cli.command()
@file_argument
@spec_option
@_option("--model", required=True, type=click.Choice(FAMILIES), help="Model family.")
@_option("--smote", default=0.0, metavar="R",
         help="Frauds per legitimate row after resampling training rows; 0 for none.")  # fmt: skip
@policy_option
@seed_option
@registered_option
@json_option
def train(
    file: str, spec: str, model: str, smote: float, policy: str, seed: int,
    registered_model: str | None, as_json: bool,
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
    from training.tracking import Tracking

    loaded = DatasetSpec.load(spec)
    recipe = fit.Recipe(family=model, smote=smote, policy=policy, seed=seed)
    dataset, report = pipeline.audited(file, loaded)
    audit_report(report, error=True)
    tracking = Tracking()
    target = registered_model or f"fraudray-{loaded.name}"
    tracking.check_target(target, loaded.name)
    say(f"Fitting {recipe.label} ...")
    bundle = fit.train(dataset, recipe, report, threads=2)
    with tracking.run("fraudray-train", pipeline.timestamped(model)) as run:
        published = pipeline.publish(tracking, run, target, bundle, dataset)
    put_json(published.to_dict()) if as_json else published_report(published)


@cli.command()
@file_argument
@spec_option
@_option(
    "--name", metavar="NAME", callback=_name, help="Name of the sweep. Default: spec and time."
)
@_option("--models", default=",".join(FAMILIES), metavar="a,b", help="Families to try.")
@_option("--trials", default=24, type=click.IntRange(1), help="Recipes to try.")
@_option("--folds", default=3, type=click.IntRange(2), help="Folds of the cross-validation.")
@_option("--concurrency", default=2, type=click.IntRange(1), help="Trials at a time.")
@policy_option
@seed_option
@registered_option
@json_option
def tune(
    file: str, spec: str, name: str | None, models: str, trials: int, folds: int,
    concurrency: int, policy: str, seed: int, registered_model: str | None, as_json: bool,
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
    from training.tracking import Tracking
    from tuning.sweep import require_new

    loaded = DatasetSpec.load(spec)
    search = Search(
        models=tuple(m.strip() for m in models.split(",") if m.strip()),
        trials=trials, folds=folds, concurrency=concurrency, policy=policy, seed=seed,
    )  # fmt: skip
    dataset, report = audited(file, loaded)
    audit_report(report, error=True)
    prepared = search.prepare(dataset, report)
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


@cli.command()
@file_argument
@spec_option
@_option("--by", metavar="COLUMN", help="Also measure each value of this column apart.")
@registered_option
@json_option
def evaluate(
    file: str, spec: str, by: str | None, registered_model: str | None, as_json: bool
) -> None:
    r"""Measure the champion on a labelled file, with the counts behind every figure.

    Twins are rows identical to a training row: the model has seen their answer, so they flatter it.

    \b
    Example:
      fraudray evaluate holdout.csv --by dataset
    """
    from fraudray import pipeline
    from fraudray.evaluation import evaluate_by, evaluation_table
    from fraudray.output import put_json
    from training.data import load
    from training.spec import DatasetSpec
    from training.tracking import Tracking

    loaded = DatasetSpec.load(spec)
    dataset = load(file, loaded)
    tracking = Tracking()
    model = pipeline.registered_model(tracking, loaded, registered_model, newest=True)
    version, bundle = pipeline.champion(tracking, model)
    groups = evaluate_by(bundle, dataset, by)
    if as_json:
        put_json({"model": version.model, "version": version.version,
                  "threshold": bundle.choice.threshold, "groups": groups})  # fmt: skip
    else:
        evaluation_table(version, bundle, groups, by)


@cli.group()
def models() -> None:
    """List, promote and roll back the versions in the registry."""


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


@cli.command()
@host_option
@_option("--port", default=DEFAULT_PORT, type=PORT, help="Port of the graph.")
@_option("--dashboard-port", default=8265, type=PORT,
         help="Port of the Ray dashboard.")  # fmt: skip
@spec_option
@registered_option
def serve(
    host: str, port: int, dashboard_port: int, spec: str, registered_model: str | None
) -> None:
    r"""Serve the champion over HTTP until Ctrl-C.

    \b
    Then, in another terminal:
      curl localhost:8000/predict -H 'content-type: application/json' -d '{"accountAgeDays": 29,
        "numItems": 1, "localTime": 14.5, "paymentMethod": "paypal", "paymentMethodAgeDays": 28}'
    and open http://localhost:8000/docs
    """
    from fraudray.output import say
    from fraudray.serving import Graph
    from training.spec import DatasetSpec

    graph = Graph(host, port, dashboard_port)
    graph.check(DatasetSpec.load(spec), registered_model)
    with runtime.stoppable():
        try:
            graph.start()
            runtime.wait_for_signal()
        finally:
            say("Stopping ...")
            runtime.stop_ray(serving=True)


@cli.command()
@file_argument
@spec_option
@url_option
@json_option
def predict(file: str, spec: str, url: str, as_json: bool) -> None:
    """Score the payments of a CSV or Parquet file, or of standard input (-), CSV or JSON.

    Writes one line per payment, in order: decision (1 is fraud), probability, threshold,
    model version and request id.
    """
    from fraudray.evaluation import answers_of
    from fraudray.output import put_json, say
    from training.spec import DatasetSpec

    loaded = DatasetSpec.load(spec)
    answers = answers_of(file, sys.stdin, loaded, url)
    if as_json:
        put_json(answers)
    else:
        click.echo("decision,probability,threshold,model_version,request_id")
        for a in answers:
            click.echo(
                f"{a['decision']},{a['probability']},{a['threshold']},{a['model_version']},"
                f"{a['request_id']}"
            )
    alerts = sum(int(answer["decision"]) for answer in answers)
    say(f"{len(answers):,} payments scored, {alerts:,} alerts")


@cli.command()
@host_option
@_option("--port", default=UI_PORT, type=PORT, help="Port of the page.")
@url_option
def ui(host: str, port: int, url: str) -> None:
    """Open the page for people: score one payment against a running graph."""
    from gradio_ui.app import run

    runtime.require_free({"the page": port}, host)
    with runtime.stoppable():
        run(url=url, host=host, port=port)


@cli.command()
@click.argument("file", metavar="[FILE]", required=False)
@spec_option
@_option("--rows", default=40_000, type=click.IntRange(2_000), help="Payments to simulate.")
@_option("--trials", default=12, type=click.IntRange(1), help="Recipes to try.")
@seed_option
@_option("--port", default=DEFAULT_PORT, type=PORT, help="Port of the graph.")
@_option("--ui-port", default=UI_PORT, type=PORT, help="Port of the page.")
@_option("--mlflow-port", default=5000, type=PORT, help="Port of the MLflow page.")
@_option("--dashboard-port", default=8265, type=PORT, help="Port of the Ray dashboard.")
def demo(
    file: str | None, spec: str, rows: int, trials: int, seed: int,
    port: int, ui_port: int, mlflow_port: int, dashboard_port: int,
) -> None:  # fmt: skip
    """Show all of it: simulate, search, register, serve, score, with every page open.

    With FILE, uses that payments file instead, and a registered model of its own. Stays up until
    Ctrl-C.
    """
    click.echo("Loading Ray and MLflow ...", err=True)
    from fraudray.demo import Demo, Ports
    from training.spec import DatasetSpec

    Demo(
        file=file, spec=DatasetSpec.load(spec), rows=rows, trials=trials, seed=seed,
        ports=Ports(graph=port, page=ui_port, mlflow=mlflow_port, dashboard=dashboard_port),
    ).run()  # fmt: skip


@cli.command()
@json_option
def doctor(as_json: bool) -> None:
    """Check this machine: Python, packages, cores, memory, the MLflow store, ports, leftovers."""
    from fraudray.doctor import examine
    from fraudray.output import put_json, table

    checks = examine()
    if as_json:
        put_json([check.__dict__ for check in checks])
    else:
        table("fraudray doctor", ("check", "", "found"),
              [(c.name, "ok" if c.ok else c.severity, c.found) for c in checks])  # fmt: skip
    if any(not c.ok and c.severity == "error" for c in checks):
        raise FraudrayError("something above must be mended first")


def main(arguments: list[str] | None = None) -> None:
    """Run a command line and leave with its exit code; no traceback reaches a person."""
    runtime.prepare()
    warnings.simplefilter("ignore")
    try:
        code = cli.main(arguments, prog_name="fraudray", standalone_mode=False) or 0
    except click.ClickException as error:
        error.show()
        code = UsageError.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped", err=True)
        code = 130
    except FraudrayError as error:
        click.echo(f"error: {error}", err=True)
        code = error.exit_code
    except BrokenPipeError:
        sys.stderr.close()  # the reader, `head` say, has had enough
        code = 0
    except Exception as error:
        click.echo(f"error: {_unexpected(error)}", err=True)
        code = 1
    sys.exit(code)


def _unexpected(error: Exception) -> str:
    """One line for an error that nobody foresaw; the traceback goes to a file."""
    path = home() / "error.log"
    told = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    try:
        home().mkdir(parents=True, exist_ok=True)
        # For its owner alone: a traceback may quote anything.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.writelines(traceback.format_exception(error))
    except OSError:
        return told
    return f"{told} (unforeseen; please report it with {path})"
