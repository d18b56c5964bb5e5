"""Commands about the decision log."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import click

from fraudray.commands.options import json_option, option
from training.errors import UsageError


@click.group()
def decisions() -> None:
    """Keep the log of the graph's decisions from growing for ever.

    It is the database that $FRAUDRAY_DECISIONS names (default decisions.db in $FRAUDRAY_HOME).
    """


@decisions.command("prune")
@option("--before", type=click.DateTime(["%Y-%m-%d"]), metavar="DATE",
        help="Remove what was decided before this day, UTC.")  # fmt: skip
@option("--days", type=click.FloatRange(1, 36_500), metavar="N",
        help="Remove what was decided more than N days ago.")  # fmt: skip
@option("--dry-run", is_flag=True, help="Only count.")
@json_option
def prune(before: datetime | None, days: float | None, dry_run: bool, as_json: bool) -> None:
    """Remove old decisions, and the labels of what is gone.

    Losses stay, and so does the last request of every ingress. Labels younger than the date stay as
    well. The graph may run meanwhile; a call that was stopped goes on when it is given again. A
    SQLite file keeps its size, and new decisions use the room.

    \b
    Example:
      fraudray decisions prune --days 365 --dry-run
    """
    from fraudray.output import put_json, say
    from serve_app.decisions import DecisionStore
    from serve_app.retention import Pruned
    from serve_app.writer import store_url

    if (before is None) == (days is None):
        raise UsageError("expected either --before or --days")
    limit = before.replace(tzinfo=UTC).timestamp() if before else time.time() - 86400 * (days or 0)
    if limit > time.time():
        raise UsageError(f"--before {before:%Y-%m-%d}: expected a day that has begun")
    store = DecisionStore(store_url())
    if dry_run:
        found = store.old(limit)
        pruned = Pruned(sum(o.requests for o in found), sum(o.payments for o in found))
    else:
        pruned = store.prune(limit)
    store.close()
    if as_json:
        put_json({**pruned._asdict(), "before": limit, "dry_run": dry_run})
        return
    day = datetime.fromtimestamp(limit, UTC).isoformat(" ", "minutes")
    counts = f"{pruned.payments:,} decisions of {pruned.requests:,} requests"
    if dry_run:
        say(f"{store}: {counts} before {day} would be removed, with their labels")
    else:
        say(f"{store}: removed {counts} before {day} and {pruned.labels:,} labels")
