"""How fast a sweep is and what it takes, beside GridSearchCV and plain Ray Tune, with its aims.

Prints the tables and writes them into docs/results/sweep.md, between its markers.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from page import ROOT, origin, with_block

from fraudray import runtime
from training.errors import FraudrayError

PAGE: Final = ROOT / "docs" / "results" / "sweep.md"
PACKAGES: Final = (
    "ray", "mlflow", "scikit-learn", "imbalanced-learn", "xgboost", "numpy", "pandas",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", action="append",
                        choices=["equal", "grid", "tune", "overhead", "memory"],
                        help="one or more; all five by default")  # fmt: skip
    parser.add_argument(
        "--equal-rows", type=int, default=8_000, help="payments to compare scores on"
    )
    parser.add_argument("--rows", type=int, default=160_000,
                        help="payments to race GridSearchCV on")  # fmt: skip
    parser.add_argument("--tune-rows", type=int, default=40_000,
                        help="payments to race Ray Tune on, as it takes longer")  # fmt: skip
    parser.add_argument("--trials", type=int, nargs="+", default=[100, 500, 2_000],
                        help="trivial trials of ours")  # fmt: skip
    parser.add_argument("--tune-trials", type=int, nargs="+", default=[100, 500],
                        help="trivial trials of Tune, which takes so much longer")  # fmt: skip
    parser.add_argument("--memory-rows", type=int, default=1_000_000,
                        help="payments that eight trials share")  # fmt: skip
    parser.add_argument("--quick", action="store_true",
                        help="small sizes, and only print: to see that it runs")  # fmt: skip
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write into")
    given = parser.parse_args(arguments)
    if given.quick:
        given.equal_rows = given.rows = given.tune_rows = 8_000
        given.memory_rows = 100_000
        given.trials, given.tune_trials = [20, 100], [20]
    with TemporaryDirectory() as home:
        os.environ["FRAUDRAY_HOME"] = home
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        # Ray's workers let everything else on the machine go first; those of GridSearchCV do not.
        os.environ.setdefault("RAY_worker_niceness", "0")
        runtime.prepare()
        _run(given, sys.argv[1:] if arguments is None else list(arguments))


def _run(given: argparse.Namespace, words: Sequence[str]) -> None:
    # Ray takes its settings from the environment when it is imported.
    from sweep_case import Case
    from sweep_memory import memory, memory_block
    from sweep_overhead import overhead, overhead_block
    from sweep_speed import Race, equal_block

    race, again = Race(given.rows), Race(given.tune_rows)
    parts: dict[str, Callable[[], str]] = {
        "equal": lambda: equal_block(Case.of(given.equal_rows)),
        "grid": race.grid_block,
        "tune": again.tune_block,
        "overhead": lambda: overhead_block(overhead(given.trials, given.tune_trials)),
        "memory": lambda: memory_block(memory(given.memory_rows), given.memory_rows),
    }
    command = shlex.join(["python", "benchmarks/bench_sweep.py", *words])
    made_by = origin(command if words else "make bench-sweep", PACKAGES)
    for name in given.part or parts:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            block = parts[name]()
            print(block, end="\n\n", flush=True)
            if not given.quick:
                text = given.page.read_text("utf-8")
                given.page.write_text(with_block(text, name, f"{made_by}\n\n{block}"), "utf-8")
        except FraudrayError as error:
            sys.exit(f"{name}: {error}")


if __name__ == "__main__":
    main()
