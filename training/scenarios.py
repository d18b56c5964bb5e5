"""What may become of payments after a model was trained, to try what watches it.

A scenario changes simulated payments. Sent to a running graph, or given to `fraudray drift`, they
must be noticed; docs/simulator.md says by which alerts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import pandas as pd

NEW_PATTERN: Final = "store-credit-resale"
"""`fraudPattern` of the frauds that no training file has."""
NEW_SHARE: Final = 0.75
"""Of the payments; an attack by machines outnumbers the customers while it lasts."""

Scenario = Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]


def _new_fraud_pattern(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Fresh accounts buy electronics by the dozen, on store credit, around 1,500 EUR."""
    attack = {
        "accountAgeDays": 1,
        "paymentMethodAgeDays": 0.0,
        "paymentMethod": "storecredit",
        "Category": "electronics",
        "numItems": 40,
        "amount": np.round(1_500 * np.exp(0.1 * rng.normal(size=len(frame))), 2),
        "label": 1,
        "fraudPattern": NEW_PATTERN,
    }
    honest = rng.random(len(frame)) >= NEW_SHARE
    return frame.assign(**{f: frame[f].where(honest, value) for f, value in attack.items()})


def _broken_field(frame: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """A system before this one no longer sends the amount."""
    del rng
    return frame.assign(amount=np.nan)


SCENARIOS: Final[dict[str, Scenario]] = {
    "new-fraud-pattern": _new_fraud_pattern,
    "broken-field": _broken_field,
}


def befall(frame: pd.DataFrame, scenario: str, *, seed: int = 0) -> pd.DataFrame:
    """Payments as they are when a scenario has come true.

    Parameters
    ----------
    frame
        What `simulate` made, shape (n, 12); it is left as it is.
    scenario
        One of `SCENARIOS`.
    seed
        The same one changes the same payments.

    Returns
    -------
    DataFrame of shape (n, 12)

    Examples
    --------
    >>> from training.simulate import simulate
    >>> bool(befall(simulate(100), "broken-field")["amount"].isna().all())
    True
    """
    return SCENARIOS[scenario](frame, np.random.default_rng(seed))
