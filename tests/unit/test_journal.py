"""A journal gives back what was written, also when its writer was cut off."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from training.errors import FraudrayError, UsageError
from training.fit import Recipe
from tuning.journal import Journal, Look, names
from tuning.trials import Trial


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FRAUDRAY_HOME", str(tmp_path))
    return tmp_path


def _points(count: int) -> list[tuple[Recipe, ...]]:
    return [
        tuple(Recipe("xgboost", {"n_estimators": n, "max_depth": depth}) for n in (10, 20))
        for depth in range(1, count + 1)
    ]


def _filled(count: int) -> Journal:
    journal = Journal("nightly")
    journal.describe({"asked": "for"})
    for place, point in enumerate(_points(count)):
        journal.drawn(2 * place + 1, point)
        journal.told(
            [
                Trial(2 * place + 1 + i, recipe, "done", {"pr_auc": 0.5 + place / 100})
                for i, recipe in enumerate(point)
            ]
        )
    return journal


def test_what_was_written_is_read_in_the_order_drawn() -> None:
    journal = _filled(3)
    journal.drawn(7, _points(4)[3])

    trials = journal.trials()

    assert [trial.number for trial in trials] == list(range(1, 9))
    assert [trial.status for trial in trials] == ["done"] * 6 + ["waiting"] * 2
    assert trials[4].metrics == {"pr_auc": 0.52}
    assert [trial.recipe for trial in trials] == [r for point in _points(4) for r in point]
    assert journal.settings == {"asked": "for"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.floats(0, 1))
def test_a_journal_cut_off_anywhere_is_read_up_to_there_and_written_on(share: float) -> None:
    journal = _filled(3)
    file = journal.folder / "journal.jsonl"
    content = file.read_bytes()
    whole = journal.trials()
    file.write_bytes(content[: int(len(content) * share)])

    before = [trial for trial in journal.trials() if trial.status == "done"]
    assert before == whole[: len(before)]
    with journal.locked():
        journal.told(whole)
    assert [t for t in journal.read().trials.values() if t.status == "done"][-6:] == whole
    file.unlink()


def test_looks_are_kept_beside_what_was_measured() -> None:
    journal = _filled(1)
    point = _points(2)[1]
    journal.drawn(3, point)
    seen = Trial(3, point[0], "waiting", {"pr_auc": 0.2})
    look = Look(point[0].key, 0, 0.25)

    journal.told([seen], look)

    assert journal.read().looks == [look]
    assert journal.trials()[2] == seen


def test_a_damaged_line_is_told_with_its_number() -> None:
    journal = _filled(1)
    file = journal.folder / "journal.jsonl"
    file.write_bytes(b"{]\n" + file.read_bytes())

    with pytest.raises(FraudrayError, match=r"journal\.jsonl: line 1 is damaged"):
        journal.trials()


def test_an_unknown_sweep_is_refused_with_those_there_are() -> None:
    _filled(1)

    with pytest.raises(UsageError, match=r"no sweep 'weekly' in .*; there are: nightly"):
        Journal("weekly").require_there()
    with pytest.raises(UsageError, match="there is a sweep 'nightly' already"):
        Journal("nightly").require_new()
    assert names() == ["nightly"]


def test_one_process_at_a_time_runs_a_sweep_and_a_dead_one_leaves_no_lock() -> None:
    journal = _filled(1)
    code = (
        "from tuning.journal import Journal\n"
        "with Journal('nightly').locked(): print('locked', flush=True); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "locked\n"

    assert journal.running
    with (
        pytest.raises(UsageError, match="'nightly' is being run by another process"),
        journal.locked(),
    ):
        pass
    other.kill()
    other.wait()
    other.stdout.close()
    assert not journal.running
    with journal.locked():
        assert journal.exists
