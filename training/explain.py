"""Why a payment got its score: what each field contributed, in numbers and in words.

A model says what the columns of its matrix contributed. People know fields, so the columns are
summed back to them: those of a category add up to it, and a derived feature is shared equally among
its inputs. Nothing is lost by that: base and fields together are still the model's margin, which is
its log-odds or, for a forest, its probability. Calibration comes after and never reverses an order,
so it changes the scale of a contribution and not its direction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.data import Columns
from training.errors import DataRefused
from training.features import FeatureEngineering
from training.preprocess import Matrix

if TYPE_CHECKING:
    from training.models import Model


@dataclass(frozen=True)
class Attribution:
    """Which fields the columns of a matrix belong to.

    Attributes
    ----------
    fields
        The k input columns the features use, in the order of the spec.
    shares
        Shape (d, k): the part of a column's contribution that goes to a field. Rows add up to 1.
    """

    fields: tuple[str, ...]
    shares: NDArray[np.float64]

    @classmethod
    def of(cls, features: FeatureEngineering) -> Self:
        """Read from fitted features which inputs every column is made from."""
        fields = tuple(features.inputs_)
        shares = np.zeros((len(features.feature_names_), len(fields)))
        column = 0
        for name, encoder in features.encoders_.items():
            derived = features.spec.features.get(name)
            inputs = derived.inputs if derived else (name,)
            following = column + len(encoder.names(name))
            for source in inputs:
                shares[column:following, fields.index(source)] += 1 / len(inputs)
            column = following
        return cls(fields, shares)


@dataclass(frozen=True)
class Explanation:
    """What n payments' fields contributed, in the model's margin unit.

    Attributes
    ----------
    base
        Shape (n,): what the model says of a payment it knows nothing about; the same in all rows.
    fields
        The k fields.
    values
        Shape (n, k): how far each field moved the payment from there; above 0 towards fraud.
    margin
        Shape (n,): what the model says; base and values add up to it.
    """

    base: NDArray[np.float64]
    fields: tuple[str, ...]
    values: NDArray[np.float64]
    margin: NDArray[np.float64]


def explain(
    model: Model,
    features: FeatureEngineering,
    matrix: Matrix,
    background: NDArray[np.float64],
) -> Explanation:
    """Explain the rows of a matrix.

    Parameters
    ----------
    matrix
        Shape (n, d), from the same features.
    background
        Shape (d,): mean row of the training matrix at natural prevalence.
    """
    attribution = Attribution.of(features)
    contributions = model.contributions(matrix, background)
    return Explanation(
        base=contributions[:, -1],
        fields=attribution.fields,
        values=contributions[:, :-1] @ attribution.shares,
        margin=model.margin(matrix),
    )


@dataclass(frozen=True)
class Reason:
    """One field's part in a score.

    Attributes
    ----------
    value
        As it was given; None where it is missing.
    contribution
        In the model's margin unit; above 0 towards fraud.
    text
        In plain words.
    """

    field: str
    value: float | str | None
    contribution: float
    text: str


def reasons(
    explanation: Explanation,
    features: FeatureEngineering,
    columns: Columns,
    row: int,
    *,
    most: int = 5,
) -> list[Reason]:
    """Say what moved one payment, the largest contribution first, of equal ones the spec's order.

    Parameters
    ----------
    features, columns
        What the explained matrix was made by and from.
    row
        Place of the payment in the explanation and in the columns.
    most
        Reasons to give. There may be fewer: a field that changed nothing is no reason.
    """
    values = explanation.values[row]
    order = np.argsort(-np.abs(values), kind="stable")
    found = []
    for place in order[:most]:
        contribution = float(values[place])
        if contribution == 0:
            break
        field = explanation.fields[place]
        value = columns[field][row] if field in columns else None
        value = None if pd.isna(value) else value if isinstance(value, str) else float(value)
        effect = "raises" if contribution > 0 else "lowers"
        text = f"{field} is {in_words(features, field, value)}: {effect} the risk"
        found.append(Reason(field, value, contribution, text))
    return found


def importance(explanation: Explanation) -> dict[str, float]:
    """Mean absolute contribution per field over all rows, the most important field first.

    Raises
    ------
    DataRefused
        If nothing was explained.
    """
    if not len(explanation.values):
        raise DataRefused("the importance of fields needs at least 1 explained row, there are 0")
    means = np.abs(explanation.values).mean(axis=0)
    order = np.argsort(-means, kind="stable")
    return {explanation.fields[place]: float(means[place]) for place in order}


def in_words(features: FeatureEngineering, field: str, value: float | str | None) -> str:
    """A value of a field as people say it, with its unit."""
    if value is None:
        return f"missing (taken as {in_words(features, field, features.fill_[field])})"
    column = features.spec.columns[field]
    if isinstance(value, str):
        known = f"{field}={value}" in features.encoders_[field].names(field)
        return value if known else f"{value} (not seen in training)"
    if column.type == "boolean":
        return "yes" if value else "no"
    # A unit of several words does not go behind a number.
    unit = f"({column.unit})" if " " in column.unit else column.unit
    return f"{value:.10g} {unit}".rstrip()
