"""The command line: what a person types, and the exit code they get.

0 success, 1 failure, 2 wrong usage, 3 the data was refused, 130 stopped by Ctrl-C. Results go to
standard output, progress and errors to standard error. Heavy imports wait until a command needs
them, so that `--help` answers at once.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings

import click

from fraudray import runtime
from fraudray.commands import (
    data,
    decisions,
    keys,
    making,
    registry,
    running,
    sweeping,
    watching,
)
from training.errors import FraudrayError, UsageError
from training.home import VERSION, home


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(VERSION, prog_name="fraudray")
def cli() -> None:
    """Detect fraudulent payments: search for a model, serve it, see what it does.

    \b
    A first tour:
      fraudray simulate --rows 50000 --seed 1 --out payments.csv
      fraudray audit payments.csv          what is suspicious about the file
      fraudray tune payments.csv           search for the best model, keep it in MLflow
      fraudray serve                       answer HTTP requests with it
      fraudray predict payments.csv        (in another terminal) score payments
      fraudray score payments.csv --out scored.csv     without a graph, any size
      fraudray demo                        all of it at once

    State lives in $FRAUDRAY_HOME (default .fraudray in the current folder);
    MLFLOW_TRACKING_URI names another MLflow store.
    Exit codes: 0 success, 1 failure, 2 wrong usage, 3 the data was refused,
    130 stopped by Ctrl-C.
    """


for _command in (
    data.simulate, data.spec, data.audit, making.train, sweeping.tune, sweeping.sweeps,
    making.evaluate, making.drift, registry.models, running.serve, running.deploy, running.status,
    running.predict, running.score, running.explain, running.ui, running.demo, watching.monitoring,
    keys.keys, decisions.decisions, running.doctor,
):  # fmt: skip
    cli.add_command(_command)


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
