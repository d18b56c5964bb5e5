"""The leaderboard: every trial of a sweep in a table, the best first."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from training.models import family, with_defaults
from tuning.objective import METRIC, direction
from tuning.trials import Trial

_ORDER = ("done", "pruned", "stopped", "running", "waiting", "failed")


def leaderboard(trials: Sequence[Trial], metric: str = METRIC) -> pd.DataFrame:
    """Every trial with its configuration and metrics.

    Finished trials come first, the best on top and of equal ones the first drawn; then the others
    by what became of them, failed ones last.

    Parameters
    ----------
    metric
        What the sweep judges by, one of `tuning.objective.METRICS`.

    Returns
    -------
    DataFrame
        A row per trial: `number`, `key`, `status`, `family`, what all families share, a column
        `params.<name>` for each parameter (missing where the family has none of that name), the
        metrics, `seconds`, `node`, `began` and `ended` (Unix time, 0 where it has not), `failure`.
    """
    rows: list[dict[str, object]] = [
        {
            "number": t.number,
            "key": t.key,
            "status": t.status,
            "family": t.recipe.family,
            "smote": t.recipe.smote,
            "neighbours": t.recipe.neighbours,
            "fraud_weight": t.recipe.fraud_weight,
            "derived": t.recipe.derived,
            **{f"params.{name}": value for name, value in _params(t).items()},
            **t.metrics,
            "seconds": t.seconds,
            "node": t.node,
            "began": t.began,
            "ended": t.ended,
            "failure": t.failure,
        }
        for t in trials
    ]
    frame = pd.DataFrame(rows, columns=_columns(rows, metric))
    turned = -direction(metric) * frame[metric].astype(float)
    place = frame["status"].map(_ORDER.index)
    return (
        frame.assign(_place=place, _turned=turned)
        .sort_values(["_place", "_turned", "number"], na_position="last", ignore_index=True)
        .drop(columns=["_place", "_turned"])
    )


def _params(trial: Trial) -> dict[str, float]:
    return with_defaults(family(trial.recipe.family), trial.recipe.params)


def _columns(rows: Sequence[dict[str, object]], metric: str) -> list[str]:
    """Columns by what they are about, whichever trial had one first."""
    seen = list(dict.fromkeys(name for row in rows for name in row))
    first = ["number", "key", "status", "family", "smote", "neighbours", "fraud_weight", "derived"]
    last = ["seconds", "node", "began", "ended", "failure"]
    params = [name for name in seen if name.startswith("params.")]
    metrics = dict.fromkeys([metric, *seen])
    return [*first, *params, *(m for m in metrics if m not in {*first, *params, *last}), *last]
