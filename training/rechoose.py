"""Another threshold for a bundle that is there, chosen on the curve that it keeps."""

from __future__ import annotations

from training.bundle import ModelBundle
from training.curve import Curve
from training.errors import UsageError
from training.threshold import Choice, Policy


def rechosen(bundle: ModelBundle, policy: str) -> Choice:
    """The threshold that a policy chooses on the validation rows a bundle was made with.

    The curve holds no amounts of single payments: it can be priced anew by flat costs only. Under
    a policy that does not go by cost, `cost_per_10000` stays in the money that it was made in.

    Parameters
    ----------
    bundle
        As its files have it, not with another choice: its policy says what the curve is priced in.
    policy
        As `Policy.parse` reads it; `threshold=0.3` takes that one.

    Raises
    ------
    UsageError
        If there is no such policy, or it needs amounts that the curve does not hold.
    """
    wanted, curve = Policy.parse(policy), Curve.from_frame(bundle.curve)
    costs = wanted.costs(bundle.spec)
    if costs != Policy.parse(bundle.choice.policy).costs(bundle.spec):
        if costs.amount is None:
            curve = curve.priced(costs.missed_fraud, costs.false_alarm)
        elif wanted.kind == "min-cost":
            raise UsageError(
                f"the policy {wanted.text!r} needs the {costs.amount} of every payment, which a "
                f"bundle does not keep; train with that policy, or give flat costs as in "
                f"min-cost=200:5"
            )
    return wanted.choose(curve)
