"""The recording rules: what alerts and the first page ask again and again, worked out once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from grafana import queries as q
from grafana.promql import by, in_rule, rate, served
from grafana.settings import BURNS, FEWEST_ALERTS, FEWEST_LABELS


@dataclass(frozen=True)
class Record:
    """One recording rule.

    Parameters
    ----------
    series
        The selector that others read it by; its name is the rule's.
    """

    series: str
    expression: str

    def to_dict(self) -> dict[str, Any]:
        """As Prometheus reads it."""
        return {"record": in_rule(self.series), "expr": in_rule(self.expression)}


def _increase(selector: str, window: str) -> str:
    return f"increase({selector}[{window}])"


def _of_champion(decisions: str, window: str) -> str:
    """Decisions of the version that is in service now: another was expected to alert otherwise."""
    return f"{_increase(decisions, window)} and on ({q.VERSION}) {q.IN_SERVICE}"


WINDOWS: Final = sorted({w for long, short, *_ in BURNS for w in (long, short)} - {"5m"})
TRAFFIC: Final = (
    Record(q.SCORING_RATE, by(q.APPLICATION, rate(q.SCORING))),
    Record(q.FAILING_RATE, q.or_none(by(q.APPLICATION, rate(q.FAILING)), q.SCORING_RATE)),
    Record(q.PREDICTED_RATE, by(q.APPLICATION, rate(q.PREDICTED))),
    Record(
        q.SLOW_RATE,
        f"{q.PREDICTED_RATE}"
        f" - ({q.or_none(by(q.APPLICATION, rate(q.PREDICTED_FAST)), q.PREDICTED_RATE)})",
    ),
    Record(q.failing_share("5m"), f"{q.FAILING_RATE} / {q.SCORING_RATE}"),
    Record(q.slow_share("5m"), f"{q.SLOW_RATE} / {q.PREDICTED_RATE}"),
)
SHARES: Final = tuple(
    record
    for window in WINDOWS
    for record in (
        Record(q.failing_share(window), q.over(q.FAILING_RATE, q.SCORING_RATE, window)),
        Record(q.slow_share(window), q.over(q.SLOW_RATE, q.PREDICTED_RATE, window)),
    )
)
BUDGET: Final = (
    Record(q.failing_share("30d"), q.over(q.FAILING_RATE, q.SCORING_RATE, "30d")),
    Record(q.slow_share("30d"), q.over(q.SLOW_RATE, q.PREDICTED_RATE, "30d")),
)
MODEL: Final = (
    Record(q.DECISIONS_IN, by(q.APPLICATION, _of_champion(q.DECIDED, "5m"))),
    Record(
        q.ALERT_RATE,
        f"({q.or_none(by(q.APPLICATION, _of_champion(q.ALERTED, '5m')), q.DECISIONS_IN)})"
        f" / {q.DECISIONS_IN}",
    ),
    Record(
        q.EXPECTED_ALERT_RATE,
        f"clamp_min({by(q.APPLICATION, served('ray_fraudray_expected_alert_rate'), 'max')}, "
        f"{FEWEST_ALERTS})",
    ),
    Record(
        q.PAYMENTS_SEEN,
        by(q.APPLICATION, _increase(served("ray_fraudray_payments_seen_total"), "10m")),
    ),
    *(
        Record(
            q.odd_share(kind),
            by(q.FEATURE, _increase(served(f"ray_fraudray_{kind}_total"), "10m"))
            + f" / on ({q.APPLICATION}) group_left () {q.PAYMENTS_SEEN}",
        )
        for kind in ("missing", "unknown")
    ),
    Record(q.SURE_PRECISION, f"{q.LIVE_PRECISION} and {q.LABELLED_ALERTS} >= {FEWEST_LABELS}"),
)
