"""Workers of a sweep are started once, however short its batches are."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import tune

from tuning.sweep import Patient

pytestmark = pytest.mark.slow


def test_a_worker_that_is_slow_to_start_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Work(tune.Trainable):
        """The first is there at once; others take longer than many trials."""

        def setup(self, config: dict[str, Any]) -> None:
            del config
            try:
                (tmp_path / "first").touch(exist_ok=False)
            except FileExistsError:
                time.sleep(4)
            with (tmp_path / "started").open("a") as log:
                log.write("one\n")

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            del new_config
            return True

        def step(self) -> dict[str, Any]:
            time.sleep(0.2)
            return {"done": True}

    monkeypatch.setenv("FRAUDRAY_HOME", str(tmp_path))
    monkeypatch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        results = tune.Tuner(
            Work,
            param_space={"x": tune.grid_search(list(range(60)))},
            tune_config=tune.TuneConfig(
                scheduler=Patient(), reuse_actors=True, max_concurrent_trials=2
            ),
            run_config=tune.RunConfig(
                storage_path=str(tmp_path / "results"), verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()  # fmt: skip
    finally:
        ray.shutdown()

    assert len(results) == 60
    assert results.num_errors == 0
    assert (tmp_path / "started").read_text().splitlines() == ["one", "one"]
