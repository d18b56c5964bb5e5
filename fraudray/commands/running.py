"""Commands that score, serve and show, from `score` to `doctor`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from fraudray import runtime, targets
from fraudray.commands.options import (
    GRAPH_PORT,
    PAGE_PORT,
    PORT,
    file_argument,
    host_option,
    json_option,
    max_bad_option,
    option,
    registered_option,
    seed_option,
    spec_option,
    url_option,
)
from training.errors import FraudrayError, UsageError


@click.command()
@file_argument
@option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE",
        help="File to write, ending in .csv or .parquet.")  # fmt: skip
@spec_option
@registered_option
@option("--workers", type=click.IntRange(1), metavar="N",
        help="Processes that score, a core each. Default: as many as there are cores.")  # fmt: skip
@max_bad_option
@option("--restart", is_flag=True, help="Start over instead of going on where a run was stopped.")
@json_option
def score(
    file: str, out: Path, spec: str, registered_model: str | None, workers: int | None,
    max_bad: float, restart: bool, as_json: bool,
) -> None:  # fmt: skip
    """Score a file of any size with the champion, without a running graph.

    Streams CSV or Parquet through Ray Data in bounded memory. Rows keep their order and columns,
    and get probability, decision (1 is fraud), threshold and model_version. Rows that break the
    spec are left out and listed beside the result. A run that was stopped goes on where it was
    when the same command is given again.

    \b
    Example:
      fraudray score payments.parquet --out scored.parquet
    """
    from fraudray.output import put_json
    from fraudray.scoring import score as run
    from training.spec import DatasetSpec

    result = run(
        file, out, spec=DatasetSpec.load(spec), registered_model=registered_model,
        workers=workers, max_bad_share=max_bad, restart=restart,
    )  # fmt: skip
    if as_json:
        put_json(result)


@click.command()
@file_argument
@spec_option
@option("--top", default=3, type=click.IntRange(1, 1000), metavar="N",
        help="Payments to explain: those with the highest probability.")  # fmt: skip
@max_bad_option
@registered_option
@json_option
def explain(
    file: str, spec: str, top: int, max_bad: float, registered_model: str | None, as_json: bool
) -> None:
    """Say why the champion suspects the payments of a file that it suspects most.

    Each field's contribution to the score, exact (TreeSHAP for trees), the largest first, and the
    nearest change of a single field that would turn the decision.

    \b
    Example:
      fraudray explain payments.csv --top 5
    """
    from fraudray import pipeline
    from fraudray.evaluation import explained_rows, explanation_table
    from fraudray.output import put_json
    from training.spec import DatasetSpec
    from training.tracking import Tracking

    loaded = DatasetSpec.load(spec)
    dataset = pipeline.loaded(file, loaded, max_bad, labelled=False)
    tracking = Tracking()
    model = pipeline.registered_model(tracking, loaded, registered_model, newest=True)
    version, bundle = pipeline.champion(tracking, model)
    rows = explained_rows(bundle, dataset, top)
    if as_json:
        put_json({"model": version.model, "version": version.version, "payments": rows})
    else:
        explanation_table(version, rows, dataset.bad_rows)


@click.command()
@host_option
@option("--port", default=GRAPH_PORT, type=PORT, help="Port of the graph.")
@option("--dashboard-port", default=8265, type=PORT,
         help="Port of the Ray dashboard.")  # fmt: skip
@spec_option
@registered_option
def serve(
    host: str, port: int, dashboard_port: int, spec: str, registered_model: str | None
) -> None:
    """Serve the champion over HTTP until Ctrl-C.

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


@click.command()
@option("--address", default="http://127.0.0.1:8265", metavar="URL",
        help="The Ray dashboard of the cluster.")  # fmt: skip
@host_option
@option("--port", default=GRAPH_PORT, type=PORT, help="Port of the graph.")
@option("--no-keys", is_flag=True, help="Let callers in without a key; on loopback only.")
@spec_option
@registered_option
def deploy(
    address: str, host: str, port: int, no_keys: bool, spec: str, registered_model: str | None
) -> None:
    """Put the graph on a Ray cluster that runs already, or change its configuration there.

    The cluster has to have fraudray and this registry (MLFLOW_TRACKING_URI) at hand. A version is
    no part of the configuration: deploying again reverts no promotion.

    \b
    Example:
      fraudray deploy --address http://127.0.0.1:8265
    """
    from fraudray.output import say
    from fraudray.pipeline import registered_model as named
    from fraudray.serving import deploy as run
    from training.spec import DatasetSpec
    from training.tracking import Tracking

    model = named(Tracking(), DatasetSpec.load(spec), registered_model, newest=True)
    run(model, address=address, host=host, port=port, keys=not no_keys)
    say(f"{model} is deployed; `fraudray status --address {address}` tells how it does")


@click.command()
@option("--address", default="http://127.0.0.1:8265", metavar="URL",
        help="The Ray dashboard of the cluster.")  # fmt: skip
@url_option
@json_option
def status(address: str, url: str, as_json: bool) -> None:
    """Tell how a running graph does: its deployments, the version in service, what was refused.

    Exits with 1 if it cannot answer.
    """
    from fraudray.output import put_json
    from fraudray.serving import status as ask
    from fraudray.serving import status_report

    found = ask(address, url)
    if as_json:
        put_json(found)
    else:
        status_report(found)
    if not found["ready"]:
        raise FraudrayError(f"the graph at {url} does not answer payments now")


@click.command()
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


@click.command()
@host_option
@option("--port", default=PAGE_PORT, type=PORT, help="Port of the page.")
@url_option
def ui(host: str, port: int, url: str) -> None:
    """Open the page for people: score payments, look at models, move the threshold.

    It talks to a running graph and reads MLflow. Where --host lets other machines in, it asks for
    the user and the password that FRAUDRAY_UI_USER and FRAUDRAY_UI_PASSWORD hold.
    """
    from gradio_ui.guard import login

    try:
        asked = login(host, os.environ)
    except ValueError as error:
        raise UsageError(str(error)) from None
    runtime.require_free({"the page": port}, host)
    from gradio_ui.app import run

    targets.announce("page", host, port)
    with runtime.stoppable():
        run(url=url, host=host, port=port, login=asked)


@click.command()
@click.argument("file", metavar="[FILE]", required=False)
@spec_option
@option("--rows", default=40_000, type=click.IntRange(2_000), help="Payments to simulate.")
@option("--trials", default=24, type=click.IntRange(1), help="Configurations to try.")
@seed_option
@option("--port", default=GRAPH_PORT, type=PORT, help="Port of the graph.")
@option("--ui-port", default=PAGE_PORT, type=PORT, help="Port of the page.")
@option("--mlflow-port", default=5000, type=PORT, help="Port of the MLflow page.")
@option("--dashboard-port", default=8265, type=PORT, help="Port of the Ray dashboard.")
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


@click.command()
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
