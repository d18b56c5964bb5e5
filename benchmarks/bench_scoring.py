"""How fast payments are scored, made and audited, each figure beside its aim.

Prints the tables and writes them into docs/results/scoring.md, between its markers.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from batch import batch, batch_block
from many_rows import many_rows, many_rows_block
from one_row import one_row, one_row_block
from page import ROOT, origin, with_block

from training.errors import FraudrayError

PAGE: Final = ROOT / "docs" / "results" / "scoring.md"
PACKAGES: Final = ("ray", "numpy", "pandas", "pyarrow", "scikit-learn", "xgboost", "treelite")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", action="append", choices=["one-row", "many-rows", "batch"],
                        help="one or more; all three by default")  # fmt: skip
    parser.add_argument("--fit-rows", type=int, default=40_000, help="payments to fit models to")
    parser.add_argument("--repeats", type=int, default=200, help="payments scored one by one")
    parser.add_argument("--audit-rows", type=int, default=1_000_000, help="payments to audit")
    parser.add_argument("--batch-rows", type=int, default=5_000_000, help="payments in the file")
    parser.add_argument("--memory-rows", type=int, nargs=2, default=[1_000_000, 10_000_000],
                        help="payments in the files that memory is compared on")  # fmt: skip
    parser.add_argument("--quick", action="store_true",
                        help="small sizes, and only print: to see that it runs")  # fmt: skip
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write into")
    given = parser.parse_args(arguments)
    if given.quick:
        given.fit_rows, given.repeats, given.audit_rows = 6_000, 20, 20_000
        given.batch_rows, given.memory_rows = 100_000, [50_000, 200_000]
    parts: dict[str, Callable[[], str]] = {
        "one-row": lambda: one_row_block(one_row(given.fit_rows, given.repeats)),
        "many-rows": lambda: many_rows_block(many_rows(given.audit_rows)),
        "batch": lambda: batch_block(batch(given.batch_rows, tuple(given.memory_rows))),
    }
    words = sys.argv[1:] if arguments is None else list(arguments)
    command = shlex.join(["python", "benchmarks/bench_scoring.py", *words])
    made_by = origin(command if words else "make bench-scoring", PACKAGES)
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
