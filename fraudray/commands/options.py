"""Options that several commands share, each defined once."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from training.split import SplitPlan

PORT = click.IntRange(1, 65535)
GRAPH_PORT = 8000
PAGE_PORT = 7860
DEFAULT_TRIALS = 24
# Those of training.models, which takes a second to import; a test holds the two equal.
FAMILIES = ("logistic-regression", "random-forest", "xgboost")
# Those of tuning.select, likewise.
PROMOTIONS = ("auto", "never", "always")

F = TypeVar("F", bound=Callable[..., Any])

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def name_of(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """A name that can stand in a registry, a folder and a filter."""
    del context, parameter
    if value is not None and not _NAME.fullmatch(value):
        raise click.BadParameter(
            f"{value!r}: a name starts with a letter or digit and holds only those, '.', '_', '-'"
        )
    return value


def option(*names: str, **settings: Any) -> Callable[[F], F]:
    """An option that shows its default, where it has one."""
    return click.option(*names, show_default=settings.get("default") is not None, **settings)


def split_options(command: F) -> F:
    """How rows are parted; the command gets `split_by` and `gap_days`, for `split_plan`."""
    for decorate in (
        option(
            "--gap-days", default=0.0, type=click.FloatRange(0), metavar="D",
            help="Days to leave out before validation and test rows: as long as labels take to "
                 "arrive. Needs a timestamp.",
        ),
        option(
            "--split", "split_by", default="auto",
            type=click.Choice(["auto", "time", "hash", "entity"]),
            help="How rows are parted: by time, by a hash of the row, or all rows of a payer "
                 "together. auto: by time where there is a timestamp, else by hash.",
        ),
    ):  # fmt: skip
        command = decorate(command)
    return command


def split_plan(split_by: Any, gap_days: float) -> SplitPlan:
    """What `split_options` say."""
    from training.split import SplitPlan

    return SplitPlan(by=split_by, gap_days=gap_days)


spec_option = option(
    "--spec", default="payments", metavar="SPEC",
    help="Columns of the file: a built-in spec's name, or a .toml file of your own.",
)  # fmt: skip
json_option = option("--json", "as_json", is_flag=True, help="Write the result as JSON.")
html_option = option(
    "--html", type=click.Path(path_type=Path), metavar="PAGE",
    help="Also write the report as a page with pictures.",
)  # fmt: skip
seed_option = option(
    "--seed", default=0, type=click.IntRange(0, 2**32 - 1), help="Seed of every draw."
)
max_bad_option = option(
    "--max-bad", default=0.01, type=click.FloatRange(0, 1), metavar="SHARE",
    help="Share of rows that may break the spec and are set aside; above it the file is refused.",
)  # fmt: skip
policy_option = option(
    "--policy", default="max-f1", metavar="POLICY",
    help="How the threshold is chosen: max-f1, max-fbeta=2, 'recall>=0.9', 'precision>=0.5', "
         "'alert-rate<=0.01', min-cost (the spec's costs), min-cost=100:5 (of a missed fraud and "
         "a false alarm), min-cost=amount:5 (a missed fraud costs what that column says), or "
         "threshold=0.5 itself.",
)  # fmt: skip
registered_option = option(
    "--registered-model", metavar="NAME", callback=name_of,
    help="Name in the registry. Default: fraudray-SPEC.",
)  # fmt: skip
promote_option = option(
    "--promote", default="auto", type=click.Choice(PROMOTIONS),
    help="Whether the new version becomes champion. auto: if it is the first, or its PR-AUC is "
         "higher than the champion's beyond chance, on rows that neither has learned from.",
)  # fmt: skip
host_option = option("--host", default="127.0.0.1", help="Address to listen on.")
url_option = option(
    "--url", default=f"http://127.0.0.1:{GRAPH_PORT}", help="Where the graph listens."
)
file_argument = click.argument("file", metavar="FILE")
