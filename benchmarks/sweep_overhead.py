"""What a trial costs beyond its fits: trivial trials of ours, and Ray Tune's own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from page import met, table
from sweep_ours import cluster_cpus, ray_running, run

from training.threshold import DEFAULT_POLICY
from tuning.objective import Fold
from tuning.samplers import sampler
from tuning.space import Space

MORE_MS: Final = 70.0
"""Than Tune's own, at most."""
FLAT: Final = 1.3
"""Of the milliseconds for the fewest trials, what those for the most may take."""
ROWS: Final = 60  # of a fold; a fit takes a few milliseconds then, which count as overhead
SPACE: Final = {
    "sampling": {"smote": [0]},
    "logistic-regression": {"C": {"low": 1e-3, "high": 1e3, "log": True}},
}


@dataclass(frozen=True)
class Overhead:
    """Milliseconds a trial, by the number of trials."""

    ours: dict[int, float]
    pruning: dict[int, float]
    function: dict[int, float]
    trainable: dict[int, float]


def overhead(sizes: Sequence[int], tune_sizes: Sequence[int]) -> Overhead:
    """Measure; nothing is taken off ours, not even the fits."""
    with ray_running():
        cpus = cluster_cpus()
        run(_random(2 * cpus), _folds(), concurrency=cpus, scheduler="none")  # imports, once
        return Overhead(
            ours={n: _ours(n, cpus, "none") for n in sizes},
            pruning={n: _ours(n, cpus, "asha") for n in tune_sizes},
            function={n: _tune(_function, n) for n in tune_sizes},
            trainable={n: _tune(_trainable(), n) for n in tune_sizes[:1]},
        )


def overhead_block(found: Overhead) -> str:
    """The table."""
    tune = min([*found.function.values(), *found.trainable.values()])
    most = max(found.ours.values())
    first, last = (found.ours[end(found.ours)] for end in (min, max))
    lines = {
        "Ray Tune, function, no callback": found.function,
        "Ray Tune, class, no callback": found.trainable,
        "fraudray": found.ours,
        "fraudray, with ASHA": found.pruning,
    }
    sizes = sorted({size for line in lines.values() for size in line})
    rows = [
        [name, *(f"{line[size]:.0f}" if size in line else "" for size in sizes)]
        for name, line in lines.items()
    ]
    return "\n\n".join(
        [
            table(["ms a trial", *(f"{size:,} trials" for size in sizes)], rows),
            f"At most {most:.0f} ms against Tune's {tune:.0f} ms, "
            f"{met(most <= tune + MORE_MS, f'at most {MORE_MS:g} ms more')}; from the fewest "
            f"trials to the most {last / first:.2f}-fold, "
            f"{met(last <= FLAT * first, f'at most {FLAT:g}')}.",
        ]
    )


def _ours(trials: int, cpus: int, scheduler: str) -> float:
    folds, drawn = _folds(), _random(trials)
    began = time.perf_counter()
    run(drawn, folds, concurrency=cpus, scheduler=scheduler)
    return 1e3 * (time.perf_counter() - began) / trials


def _random(trials: int) -> Any:
    space = Space.from_dict(SPACE).bind(natural=0.5, fewest_frauds=20, data="trivial rows")
    return sampler("random", space, trials=trials, policy=DEFAULT_POLICY, seed=0)


def _folds() -> dict[bool, list[Fold]]:
    rng = np.random.default_rng(0)
    label = (np.arange(ROWS) % 3 == 0).astype(np.int8)
    matrix = rng.normal(size=(ROWS, 2)) + label[:, None]
    costs = {"missed": np.ones(ROWS), "alarm": 0.1}
    return {True: [Fold(matrix, label, matrix, label, costs)] * 3}  # type: ignore[arg-type]


def _tune(trainable: Any, trials: int) -> float:
    """Tune with one actor a core, reused, and no logger; its state is saved as it always is."""
    from ray import tune

    with TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            trainable,
            param_space={"x": tune.grid_search(list(range(trials)))},
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(
                storage_path=folder,
                verbose=0,
                # A class that keeps nothing: Tune would take it for failed, and its actor away.
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        began = time.perf_counter()
        tuner.fit()
        return 1e3 * (time.perf_counter() - began) / trials


def _function(config: dict[str, Any]) -> None:
    from ray import tune

    tune.report({"score": config["x"]})


def _trainable() -> Any:
    from ray import tune

    class Constant(tune.Trainable):  # type: ignore[misc]
        def step(self) -> dict[str, Any]:
            return {"score": 1, "done": True}

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            del new_config
            return True

    return Constant
