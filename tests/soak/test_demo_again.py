"""The demo as a person uses it: stopped, started again on the same state, and on real data."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]


def _up_and_down(start: Callable[..., Any], *arguments: str, home: Path) -> Any:
    begun = time.monotonic()
    demo = start(*arguments, home=home)
    up = time.monotonic() - begun
    assert httpx.get(f"{demo.url}/health").status_code == 200
    begun = time.monotonic()
    code, left = demo.stop()
    print(demo.output)
    print(f"up after {up:.0f} s, down after {time.monotonic() - begun:.0f} s, exit code {code}, "
          f"{len(left)} processes left")  # fmt: skip
    assert code == 0
    assert not left
    return demo, up


def test_the_demo_stops_cleanly_and_starts_again_on_its_state(
    start_demo: Callable[..., Any], tmp_path: Path
) -> None:
    _, first = _up_and_down(start_demo, home=tmp_path)
    again, second = _up_and_down(start_demo, home=tmp_path)

    assert max(first, second) < 240
    # The same data makes the same model, which does not beat itself.
    assert "an earlier champion keeps serving" in again.output


def test_the_demo_runs_on_the_real_file(
    start_demo: Callable[..., Any], shared: Path, tmp_path: Path
) -> None:
    demo, up = _up_and_down(start_demo, str(shared / "data" / "payment_fraud.csv"), home=tmp_path)

    assert up < 240
    before, _ = demo.output.split("Sweep ", 1)
    assert "accountAgeDays separates the classes alone" in before
    assert "isWeekend is missing exactly on the frauds" in before
    assert "fraudray-payments-payment-fraud-" in demo.output
