"""Leaky procedures beside an honest one: what each claims, what its model then delivers.

Prints the tables and writes them into docs/honest-evaluation.md, between its markers.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from original import PRECISION, RECALL, THRESHOLD, Original, read, rebuild
from page import ROOT, origin, table, with_block
from procedures import HONEST, PROCEDURES, Figures, Outcome, present_and_later, run

from training.data import Dataset, check
from training.errors import FraudrayError, UsageError
from training.models import FAMILIES
from training.simulate import simulate
from training.spec import DatasetSpec

PAGE: Final = ROOT / "docs" / "honest-evaluation.md"
PACKAGES: Final = ("scikit-learn", "imbalanced-learn", "xgboost")
SPLITS: Final = 5  # random splits of the real file

Measure = Callable[[Figures], float]
MEASURES: Final[dict[str, Measure]] = {
    "PR-AUC": lambda f: f.pr_auc,
    "precision": lambda f: f.precision,
    "recall": lambda f: f.recall,
    "F1": lambda f: f.f1,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000, help="payments in a simulated file")
    parser.add_argument("--seeds", type=int, default=8, help="simulated files")
    parser.add_argument("--family", action="append", choices=list(FAMILIES), help="one or more")
    parser.add_argument("--real", type=Path, default=_real_file(), help="the real payments file")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write into")
    given = parser.parse_args(arguments)
    words = sys.argv[1:] if arguments is None else list(arguments)
    command = shlex.join(["benchmarks/honest_evaluation.py", *words])
    command = f"python {command}" if words else "make honest-evaluation"
    try:
        write(given.page, "simulated", simulated_block(
            given.rows, given.seeds, given.family or list(FAMILIES), command))  # fmt: skip
        if given.real.exists():
            write(given.page, "real", real_block(given.real, command))
        else:
            print(f"{given.real}: is not there; its table stays as it was", file=sys.stderr)
    except FraudrayError as error:
        sys.exit(f"{error}")


def write(page: Path, name: str, block: str) -> None:
    """Print a block and put it into the page."""
    print(block, end="\n\n", flush=True)
    page.write_text(with_block(page.read_text("utf-8"), name, block), "utf-8")


def simulated_block(rows: int, seeds: int, families: Sequence[str], command: str) -> str:
    """One table per family, and what accuracy alone would say."""
    if seeds < 1:
        raise UsageError(f"seeds: expected 1 or more, got {seeds}")
    spec = DatasetSpec.load("payments")
    files = [
        check(simulate(rows, seed=seed), spec, source=f"simulated payments, seed {seed}")
        for seed in range(seeds)
    ]
    outcomes: list[Outcome] = []
    for name in families:
        for seed, dataset in enumerate(files):
            print(f"{name}, seed {seed} ...", file=sys.stderr, flush=True)
            outcomes += run(dataset, name, seed=seed)
    later = [present_and_later(dataset)[1] for dataset in files]
    honest = [o for o in outcomes if o.procedure == HONEST]
    claimed = [o.claim for o in honest if o.family == families[0]]
    tables = [
        f"**{name}**\n\n{family_table([o for o in outcomes if o.family == name])}"
        for name in families
    ]
    return "\n\n".join(
        [
            origin(command, PACKAGES),
            f"{rows:,} simulated payments, {_seeds(seeds)}: mean, and least to most. The honest "
            f"claim rests on {_counts(c.frauds for c in claimed)} frauds in "
            f"{claimed[0].rows:,} test rows; what is delivered, on "
            f"{_counts(d.label.sum() for d in later)} frauds in {len(later[0]):,} later payments.",
            *tables,
            "**Accuracy alone**",
            accuracy_table(honest, later),
        ]
    )


def family_table(outcomes: Sequence[Outcome]) -> str:
    """Claimed beside delivered, one line per procedure."""
    heads = ["procedure"]
    for name in MEASURES:
        heads += [f"{name} claimed", "delivered"]
    lines = []
    for procedure in PROCEDURES:
        mine = [o for o in outcomes if o.procedure == procedure]
        cells = [procedure.name]
        for measure in MEASURES.values():
            cells += [
                spread([measure(o.claim) for o in mine]),
                spread([measure(o.delivered) for o in mine]),
            ]
        lines.append([*cells, spread([o.threshold for o in mine])])
    return table([*heads, "threshold"], lines)


def accuracy_table(honest: Sequence[Outcome], later: Sequence[Dataset]) -> str:
    """An alert on nothing beside the honest models, on the later payments."""
    frauds = [int(d.label.sum()) for d in later]
    none = [1 - count / len(d) for count, d in zip(frauds, later, strict=True)]
    lines = [["alert on nothing", spread(none, 3), f"0 of {sum(frauds)}"]]
    for name in dict.fromkeys(o.family for o in honest):
        figures = [o.delivered for o in honest if o.family == name]
        found = f"{sum(f.found for f in figures)} of {sum(f.frauds for f in figures)}"
        lines.append([f"{name}, honest", spread([f.accuracy for f in figures], 3), found])
    return table(["model", "accuracy on later payments", "frauds found"], lines)


def real_block(path: Path, command: str) -> str:
    """The original's claim beside the same model on rows as they come."""
    dataset = read(path)
    models = [rebuild(dataset, seed=seed) for seed in range(SPLITS)]
    fitted = models[0].fitted
    share = np.mean([m.weekend_share for m in models])
    balanced = f"training rows after SMOTE: {fitted.rows:,}, half of them frauds"
    lines = [
        ["the claim, as quoted", "training rows after SMOTE", f"{PRECISION}", f"{RECALL}",
         *["not said"] * 3],
        _real_line("the model rebuilt", balanced, models, lambda m: m.fitted),
        _real_line("the same model", "test rows as they come", models, lambda m: m.test),
        _real_line("the same model", "test rows, weekend known: all frauds on the kind of day "
                   "that gaps were filled with", models, lambda m: m.same_day),
        _real_line("the same model", "test rows, weekend known: frauds on any day, as often as "
                   "others", models, lambda m: m.any_day),
        _real_line("the same model", "test rows, weekend known: all frauds on the other kind of "
                   "day", models, lambda m: m.other_day),
    ]  # fmt: skip
    heads = ["model", "measured on", "precision", "recall", "PR-AUC", "frauds found",
             "false alarms"]  # fmt: skip
    return "\n\n".join(
        [
            origin(command, PACKAGES),
            f"The real file, {len(dataset):,} rows with {int(dataset.label.sum())} frauds, "
            f"threshold {THRESHOLD} throughout. {SPLITS} random splits, 15 % of the rows for test: "
            f"mean, and least to most; counts are added over the {SPLITS}. Of legitimate test "
            f"payments {share:.1%} are on a weekend.",
            table(heads, lines),
        ]
    )


def _real_line(
    model: str, rows: str, models: Sequence[Original], pick: Callable[[Original], Figures]
) -> list[str]:
    figures = [pick(m) for m in models]
    return [
        model,
        rows,
        spread([f.precision for f in figures], 3),
        spread([f.recall for f in figures], 3),
        spread([f.pr_auc for f in figures]),
        f"{sum(f.found for f in figures):,} of {sum(f.frauds for f in figures):,}",
        f"{sum(f.false_alarms for f in figures):,}",
    ]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean, least and most; one number where they are one.

    >>> spread([0.5, 0.75])
    '0.62 (0.50-0.75)'
    """
    mean, low, high = (f"{v:.{digits}f}" for v in (np.mean(values), min(values), max(values)))
    return mean if low == high else f"{mean} ({low}-{high})"


def _counts(counts: Iterable[int]) -> str:
    return ", ".join(f"{count}" for count in counts)


def _seeds(seeds: int) -> str:
    return "seed 0" if seeds == 1 else f"seeds 0 to {seeds - 1}"


def _real_file() -> Path:
    shared = ROOT / os.environ.get("FRAUDRAY_SHARED", "../shared")
    return shared / "data" / "payment_fraud.csv"


if __name__ == "__main__":
    main()
