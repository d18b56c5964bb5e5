"""Commands that search for the best model: tune, sweeps."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from fraudray import runtime
from fraudray.commands.options import (
    DEFAULT_TRIALS,
    file_argument,
    json_option,
    max_bad_option,
    name_of,
    option,
    policy_option,
    promote_option,
    registered_option,
    seed_option,
    spec_option,
    split_options,
    split_plan,
)
from training.errors import UsageError

if TYPE_CHECKING:
    from fraudray.sweeping import Sweep

# What a resumed sweep may be told anew; the rest is what its trials depend on.
_ANEW = ("file", "resume", "address", "metrics", "concurrency", "time_budget", "as_json")


def _listening(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Refuse at once what is no place to listen at."""
    del context, parameter
    if value is not None:
        from tuning.metrics import listening

        listening(value)
    return value


def running_options(command: Callable[..., None]) -> Callable[..., None]:
    """How a sweep is run: nothing that its results depend on."""
    for decorate in (
        option("--time-budget", type=click.FloatRange(1), metavar="SECONDS",
               help="End the trials after this time; the best so far wins."),
        option("--concurrency", type=click.IntRange(1), metavar="N",
               help="Batches of trials at a time. Default: one on every CPU."),
        option("--metrics", metavar="[HOST:]PORT", callback=_listening,
               help="Serve metrics of the sweep for Prometheus there while it runs."),
        option("--address", metavar="HOST:PORT",
               help="Join the Ray cluster there instead of starting one on this machine."),
    ):  # fmt: skip
        command = decorate(command)
    return command


@click.command()
@file_argument
@spec_option
@option(
    "--name", metavar="NAME", callback=name_of, help="Name of the sweep. Default: spec and time."
)
@option("--resume", metavar="NAME", callback=name_of,
        help="Go on with this sweep, which was stopped or killed.")  # fmt: skip
@option("--space", default="default", metavar="SPACE",
        help="What may be tried: default, grid, or a .toml file of your own.")  # fmt: skip
@option("--models", metavar="a,b", help="Families to try. Default: all of the space.")
@option("--algorithm", default="random", type=click.Choice(["random", "grid", "tpe"]),
        help="Draw configurations at random, all of a grid, or by what others scored.")  # fmt: skip
@option("--scheduler", default="none", type=click.Choice(["none", "asha"]),
        help="asha gives up what is behind after few trees or folds.")  # fmt: skip
@option("--trials", type=click.IntRange(1), metavar="N",
        help=f"Configurations to try. Default: {DEFAULT_TRIALS}; all of a grid; with a time "
             "budget as many as fit.")  # fmt: skip
@option("--metric", default="pr_auc", metavar="METRIC",
        help="What is searched for: pr_auc, roc_auc, or f1, precision, recall or cost_per_10000 at "
             "the policy's threshold.")  # fmt: skip
@option("--folds", default=3, type=click.IntRange(2), help="Folds of the cross-validation.")
@policy_option
@running_options
@promote_option
@split_options
@max_bad_option
@seed_option
@registered_option
@json_option
@click.pass_context
def tune(
    context: click.Context, /, *, file: str, spec: str, name: str | None, resume: str | None,
    space: str, models: str | None, algorithm: str, scheduler: str, trials: int | None,
    metric: str, folds: int, policy: str, promote: Any, split_by: str, gap_days: float,
    max_bad: float, seed: int, registered_model: str | None, as_json: bool, **how: Any,
) -> None:  # fmt: skip
    """Search families, hyperparameters, SMOTE ratios and thresholds in parallel on Ray.

    Every trial is cross-validated inside the training rows and becomes a run in MLflow below one
    parent run. The winner is refitted, calibrated, measured once on the test rows, and registered.
    Ctrl-C stops and keeps what is finished.

    \b
    Examples:
      fraudray tune payments.csv --trials 60 --algorithm tpe --scheduler asha
      fraudray tune payments.csv --space my-space.toml --metric cost_per_10000 --policy min-cost
      fraudray tune payments.csv --resume nightly
    """
    from fraudray.order import Order, placed
    from fraudray.pipeline import timestamped
    from fraudray.reports import audit_report
    from fraudray.search import Search
    from fraudray.sweeping import Sweep
    from training.source import Source
    from training.spec import DatasetSpec
    from training.threshold import Policy
    from training.tracking import Tracking
    from tuning.journal import Journal
    from tuning.space import Space

    if resume is not None:
        _only_anew(context)
        _go_on(resume, file, as_json=as_json, **how)
        return
    loaded = DatasetSpec.load(spec)
    chosen = Space.load("grid" if algorithm == "grid" and space == "default" else space)
    if models is not None:
        chosen = chosen.narrowed([m.strip() for m in models.split(",") if m.strip()])
    if trials is None and algorithm != "grid" and how["time_budget"] is None:
        trials = DEFAULT_TRIALS
    search = Search(
        space=chosen, algorithm=algorithm, scheduler=scheduler, trials=trials, folds=folds,
        metric=metric, policy=policy, seed=seed,
    )  # fmt: skip
    Policy.parse(policy).costs(loaded)
    journal = Journal(name or timestamped(loaded.name))
    journal.require_new()
    tracking = Tracking()
    order = Order(
        file=placed(file), spec=loaded.to_dict(), search=search,
        model=registered_model or f"fraudray-{loaded.name}", split=split_plan(split_by, gap_days),
        max_bad=max_bad, promote=promote, time_budget=how["time_budget"],
    )  # fmt: skip
    tracking.check_target(order.model, loaded.name)
    prepared = order.prepare()
    audit_report(prepared.material.report, brief=True)
    # A URL may hold a password.
    shown = {file: Source(file).name}
    command = shlex.join(["fraudray", *(shown.get(word, word) for word in sys.argv[1:])])
    with journal.locked():
        journal.require_new()
        _run(
            lambda: Sweep.begin(journal, order, prepared, tracking, command), as_json=as_json, **how
        )


@click.group()
def sweeps() -> None:
    """List the sweeps there are, read their reports, go on with one that was cut off."""


@sweeps.command("list")
@json_option
def sweeps_list(as_json: bool) -> None:
    """List every sweep with how far it is and what it found, the newest first."""
    from fraudray.output import put_json, table
    from fraudray.sweeps import overview
    from tuning.journal import Journal, names

    found = [overview(Journal(name)) for name in names()]
    if as_json:
        put_json(found)
        return
    heads = ("sweep", "begun", "state", "trials", "metric", "best", "outcome")
    rows = [
        (
            f["name"], f["began"][:16].replace("T", " "), f["state"],
            f"{f['ended']} of {f['planned'] or '?'}", f["metric"],
            "-" if f["best"] is None else f"{f['best']:.4f}", f["outcome"],
        )
        for f in found
    ]  # fmt: skip
    table("Sweeps", heads, rows)


@sweeps.command("report")
@click.argument("name", callback=name_of)
@option("--out", type=click.Path(path_type=Path), metavar="FILE.html",
        help="File to write. Default: NAME.html in the current folder.")  # fmt: skip
def sweeps_report(name: str, out: Path | None) -> None:
    """Write a sweep as an HTML page: what was tried, what mattered, what won and why."""
    from fraudray.output import say
    from fraudray.sweeps import page

    path = out or Path(f"{name}.html")
    if path.suffix != ".html":
        raise UsageError(f"--out must end in .html, it is {str(path)!r}")
    text = page(name)
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise UsageError(f"--out {path}: cannot be written ({error.strerror})") from None
    say(f"Written to {path}")


@sweeps.command("resume")
@click.argument("name", callback=name_of)
@running_options
@json_option
def sweeps_resume(name: str, as_json: bool, **how: Any) -> None:
    """Go on with a sweep that was stopped or killed, as if nothing had happened."""
    _go_on(name, None, as_json=as_json, **how)


def _only_anew(context: click.Context) -> None:
    """Refuse settings beside --resume that would have to change trials already done."""
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if (name := parameter.name or "") not in _ANEW
        and context.get_parameter_source(name) == ParameterSource.COMMANDLINE
    ]
    if given:
        listed = ", ".join(given)
        raise UsageError(
            f"--resume goes on with the settings the sweep was begun with; leave out {listed}"
        )


def _go_on(name: str, file: str | None, *, as_json: bool, **how: Any) -> None:
    from fraudray.order import placed
    from fraudray.sweeping import Sweep
    from training.tracking import Tracking
    from tuning.journal import Journal

    journal = Journal(name)
    journal.require_there()
    with journal.locked():
        sweep = Sweep.resume(journal, Tracking(), None if file is None else placed(file))
        _run(lambda: sweep, as_json=as_json, **how)


def _run(make: Callable[[], Sweep], *, as_json: bool, address: str | None, **how: Any) -> None:
    """Run a sweep on a cluster; one that cannot be had leaves no trace of the sweep."""
    from fraudray.cluster import join
    from fraudray.output import put_json
    from fraudray.reports import published_report

    with runtime.stoppable():
        try:
            runtime.start_ray() if address is None else join(address)
            published = make().run(**how)
        finally:
            runtime.stop_ray()
    put_json(published.to_dict()) if as_json else published_report(published)
