"""Commands about files of payments: make one, describe one, audit one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fraudray.commands.options import (
    file_argument,
    html_option,
    json_option,
    max_bad_option,
    option,
    seed_option,
    spec_option,
    split_options,
    split_plan,
)
from training.errors import DataRefused, UsageError, printable

SCENARIOS = ("new-fraud-pattern", "broken-field")
SAMPLE_ROWS = 100_000
"""Rows that `spec init` looks at."""


@click.command()
@option("--rows", default=50_000, type=click.IntRange(1), help="Payments to make.")
@seed_option
@option("--scenario", type=click.Choice(SCENARIOS),
        help="What has happened since a model was trained: three of four payments are of a new "
             "pattern of fraud, or the amount is no longer sent.")  # fmt: skip
@option("--out", required=True, type=click.Path(path_type=Path), metavar="FILE",
        help="File to write, ending in .csv or .parquet.")  # fmt: skip
@json_option
def simulate(rows: int, seed: int, scenario: str | None, out: Path, as_json: bool) -> None:
    """Make realistic payments with about 1 % fraud. The same seed gives the same bytes.

    With a scenario, make such as a model has not seen, to try what watches it.

    \b
    Example:
      fraudray simulate --rows 50000 --seed 1 --out payments.csv
      fraudray simulate --seed 2 --scenario broken-field --out later.csv
      fraudray drift later.csv
    """
    from fraudray.output import put_json, say
    from training import scenarios
    from training import simulate as simulation

    frame = simulation.simulate(rows, seed=seed)
    if scenario is not None:
        frame = scenarios.befall(frame, scenario, seed=seed)
    simulation.write(frame, out)
    frauds = int(frame["label"].sum())
    say(f"{out}: {rows:,} payments, {frauds:,} labelled as fraud ({frauds / rows:.2%})")
    if as_json:
        put_json(
            {"file": str(out), "rows": rows, "frauds": frauds, "seed": seed, "scenario": scenario}
        )


@click.group()
def spec() -> None:
    """Describe a file of other columns: propose a spec, and check one."""


@spec.command("init")
@file_argument
@option("--out", type=click.Path(path_type=Path), metavar="SPEC",
        help="File to write, ending in .toml. Default: named after FILE, here.")  # fmt: skip
@option("--label", metavar="COLUMN", help="The column that says what was fraud.")
@option("--name", metavar="NAME", help="Name of the spec. Default: after FILE.")
@json_option
def spec_init(
    file: str, out: Path | None, label: str | None, name: str | None, as_json: bool
) -> None:
    """Propose a spec from a CSV or Parquet file: what each column is, its range, the label.

    Read what it wrote: only you know which columns are known when a payment is decided.

    \b
    Example:
      fraudray spec init transactions.csv --label is_fraud --out transactions.toml
      fraudray audit transactions.csv --spec transactions.toml
    """
    from fraudray.output import put_json, say
    from training.propose import propose, spec_name, titled
    from training.read import head
    from training.source import Source

    name = name or spec_name(file)
    out = out or Path(f"{name}.toml")
    if out.suffix != ".toml":
        raise UsageError(f"--out {out}: expected a name that ends in .toml")
    if out.exists():
        raise UsageError(f"{out} is there already; choose another --out")
    sample = head(file, SAMPLE_ROWS + 1)
    seen = None
    if len(sample) > SAMPLE_ROWS:
        sample = sample.head(SAMPLE_ROWS)
        spread = Source(file).parts()[0].parquet  # a CSV file is read from its start
        seen = (
            f"{SAMPLE_ROWS:,} rows from all over the file"
            if spread
            else (f"the first {SAMPLE_ROWS:,} rows")
        )
    proposal = propose(sample, name=name, label=label, seen=seen)
    try:
        out.write_text(proposal.toml(), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{out}: cannot be written: {error.strerror}") from None
    roles: dict[str, list[str]] = {}
    for column, found in proposal.spec.columns.items():
        roles.setdefault(found.role, []).append(column)
    say(f"{out}: a spec of {len(proposal.spec.columns)} columns, the label is "
        f"{printable(proposal.spec.label)}")  # fmt: skip
    for column, reason in proposal.reasons.items():
        say(f"  {titled(column)}: {reason}")
    say(f"Read it, mend it, then: fraudray audit {file} --spec {out}")
    if as_json:
        content: dict[str, Any] = {
            "file": str(out), "label": proposal.spec.label, "roles": roles,
            "reasons": dict(proposal.reasons),
        }  # fmt: skip
        put_json(content)


@spec.command("check")
@click.argument("spec_file", metavar="SPEC")
@json_option
def spec_check(spec_file: str, as_json: bool) -> None:
    """Check a spec, a .toml file or a built-in one's name: every mistake at once."""
    from fraudray.output import put_json, say
    from training.spec import DatasetSpec, SpecError

    try:
        loaded = DatasetSpec.load(spec_file)
    except SpecError as error:
        if not error.mistakes:
            raise  # there is no such file, or it is no TOML
        for mistake in error.mistakes:
            say(f"  {mistake}")
        counted = "1 mistake" if len(error.mistakes) == 1 else f"{len(error.mistakes)} mistakes"
        raise SpecError(f"{spec_file}: {counted}") from None
    if as_json:
        put_json(loaded.to_dict())
    say(f"{spec_file}: {loaded.name} has {len(loaded.inputs)} inputs and "
        f"{len(loaded.features)} derived features; no mistakes")  # fmt: skip


@click.command()
@file_argument
@spec_option
@split_options
@max_bad_option
@option("--strict", is_flag=True, help="Refuse the file (exit code 3) if there is an error.")
@html_option
@option("--log", "logged", is_flag=True, help="Also keep the report in MLflow.")
@json_option
def audit(
    file: str, spec: str, split_by: str, gap_days: float, max_bad: float, strict: bool,
    html: Path | None, logged: bool, as_json: bool,
) -> None:  # fmt: skip
    """Say in plain words what is suspicious about a file, before anything is trained on it.

    Columns that give the label away by their value or by being missing, columns that look like
    the future, duplicates, conflicting labels, drift, and how many frauds each part of the split
    would have. `train` and `tune` keep the same report in MLflow.

    \b
    Example:
      fraudray audit payments.csv --html audit.html
    """
    from fraudray.output import put_json, put_page, say
    from fraudray.pipeline import audited, log_audit, timestamped
    from fraudray.reports import audit_report
    from training.audit import audit_html
    from training.spec import DatasetSpec

    material = audited(file, DatasetSpec.load(spec), split_plan(split_by, gap_days), max_bad)
    report = material.report
    put_json(report.to_dict()) if as_json else audit_report(report)
    if html is not None:
        put_page("--html", html, audit_html(report))
    if logged:
        from training.tracking import Tracking

        tracking = Tracking()
        with tracking.run("fraudray-audit", timestamped(Path(file).stem)) as run:
            log_audit(tracking, run, report)
        say(f"Kept in MLflow as a run of the experiment fraudray-audit ({tracking.shown})")
    if strict and report.errors:
        raise DataRefused(
            f"{file}: refused for {len(report.errors)} errors found by the audit "
            f"({', '.join(f.code for f in report.errors)})"
        )
