"""A bundle's kept curve chooses as the rows would that it was made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import pytest

from training.audit import Audit
from training.bundle import ModelBundle
from training.curve import Curve
from training.data import Dataset
from training.errors import UsageError
from training.fit import Recipe, train
from training.rechoose import rechosen
from training.split import Split
from training.threshold import Choice, Policy


@pytest.fixture(scope="module")
def flat(
    dataset: Dataset, parts: Split, report: Audit, recipe: Callable[..., Recipe]
) -> ModelBundle:
    """A small model whose curve is priced in flat costs."""
    return train(
        dataset, parts, recipe("logistic-regression", smote=0.0, policy="min-cost=200:5"), report
    )


def _from_rows(bundle: ModelBundle, dataset: Dataset, parts: Split, policy: str) -> Choice:
    rows, chosen_by = dataset.take(parts.validation), Policy.parse(policy)
    curve = Curve.of(rows.label, bundle.score(rows.columns), **chosen_by.row_costs(rows))
    return chosen_by.choose(curve)


@pytest.mark.parametrize(
    "policy", ["max-f1", "recall>=0.8", "alert-rate<=0.01", "threshold=0.2", "min-cost",
               "min-cost=200:5", "min-cost=0:1"],
)  # fmt: skip
def test_a_policy_chooses_on_the_kept_curve_what_it_would_on_the_rows(
    policy: str, bundles: dict[str, ModelBundle], dataset: Dataset, parts: Split
) -> None:
    bundle = bundles["logistic-regression"]

    choice = rechosen(bundle, policy)

    expected = asdict(_from_rows(bundle, dataset, parts, policy))
    assert asdict(choice) == {
        k: v if isinstance(v, str | bool) else pytest.approx(v) for k, v in expected.items()
    }
    assert bundle.with_choice(choice).choice == choice


def test_amounts_that_the_curve_does_not_hold_are_refused_where_they_decide(
    bundle: ModelBundle, flat: ModelBundle
) -> None:
    for made, policy in ((bundle, "min-cost=amount:7"), (flat, "min-cost")):
        with pytest.raises(UsageError, match="needs the amount of every payment"):
            rechosen(made, policy)

    floor = rechosen(flat, "recall>=0.8")
    at = Curve.from_frame(flat.curve)
    assert floor.recall >= 0.8
    assert floor.cost_per_10000 == pytest.approx(
        float(at.cost[at.at(floor.threshold)]) / at.rows * 10_000
    )


def test_no_such_policy_is_refused(bundle: ModelBundle) -> None:
    for policy in ("luck", "threshold=0", "threshold=nan", "min-cost=shoes:5"):
        with pytest.raises(UsageError):
            rechosen(bundle, policy)
