"""What the rules and dashboards are held to, and where their links lead."""

from __future__ import annotations

import os
from typing import Final

RUNBOOK_URL: Final = os.environ.get(
    "FRAUDRAY_RUNBOOK_URL", "https://github.com/fraudray/fraudray/blob/main/docs/runbook.md"
)
"""Where docs/runbook.md can be read; alerts and panels link to its sections."""
GRAFANA_URL: Final = os.environ.get("FRAUDRAY_GRAFANA_URL", "http://127.0.0.1:3000")
"""Where alerts find the dashboards; the variable is the page's own."""

INTERVAL: Final = 30
"""Seconds between two evaluations of the rules; Ray reports every ten."""

AVAILABILITY: Final = 0.999
"""Share of scoring requests that are not answered with 5xx."""
FAST: Final = 0.99
"""Share of single predictions, of those that succeed, that take less than `FAST_SECONDS`."""
FAST_SECONDS: Final = 0.25
"""A checkout waits for the answer; a bucket of the histogram ends here, so that the share is exact.

One connection is answered in about 20 ms and a loaded laptop in 100 to 280, so more than this is
either overload or a fault.
"""
BURNS: Final = (
    ("1h", "5m", 14.4, "page"),
    ("6h", "30m", 6, "page"),
    ("1d", "2h", 3, "ticket"),
    ("3d", "6h", 1, "ticket"),
)
"""Long window, short window, how many times too fast the budget burns, severity.

The first two use 2 % of a month's budget in an hour and 5 % in six, the others 10 % in one day and
in three. The short window ends the alert soon after the trouble has.
"""
FEWEST_FAILURES: Final = 5
"""Requests that must have failed or been slow in the long window: one among few is no alert."""

ALERT_RATE_FACTOR: Final = 3
"""Times the expected alert rate, above or below, from which something is wrong with the model."""
FEWEST_ALERTS: Final = 0.001
"""Expected alert rate of a champion that hardly alerts: of nothing, nothing is a multiple."""
SIGMAS: Final = 5
"""Standard deviations that chance alone does not exceed, among as many payments as were seen."""
FEWEST_PAYMENTS: Final = 100
"""Payments in the window of a rate, below which it says nothing."""
DRIFTED: Final = 0.25
"""Population stability index from which a distribution counts as another one, by convention."""
BROKEN_SHARE: Final = 0.2
"""Share of the payments that used to have a field, or a known value in it, and no longer do."""
PRECISION_KEPT: Final = 0.8
"""Part of a version's best precision of the last 30 days that it has to keep."""
FEWEST_LABELS: Final = 100
"""Labelled alerts of a version, below which its precision says nothing."""
OVERLOAD_SHARE: Final = 0.01
"""Share of requests refused for want of capacity that calls for more of it."""
LIVELY: Final = 0.1
"""Requests a second, over an hour, that count as traffic whose end is worth an alert."""
