"""The label of a file is found by name and values, or asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from training.data import check
from training.errors import UsageError
from training.propose import propose
from training.spec import DatasetSpec

RNG = np.random.default_rng(6)


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("Class", ["0", "0", "1"], ("0", "1")),
        ("is_fraud", [True, False, False], ("0", "1")),
        ("isFraud", ["yes", "no", "no"], ("no", "yes")),
        ("target", ["good", "good", "stolen"], ("good", "stolen")),
        ("y", [2, 1, 1], ("1", "2")),
        ("fraud_reported", ["Y", "Y", "N"], ("N", "Y")),  # the word counts more than the numbers
        ("outcome_of_it", ["ok", "theft", "ok"], ("ok", "theft")),
    ],
)
def test_the_label_and_its_values_are_found(
    name: str, values: list[Any], expected: tuple[str, str]
) -> None:
    frame = pd.DataFrame({"amount": RNG.random(60), name: values * 20})

    spec = propose(frame, name="mine").spec

    assert (spec.label, spec.label_values) == (name, expected)
    dataset = check(frame, spec, source="file")
    assert dataset.rejected.empty
    fraud = "1" if expected == ("0", "1") else expected[1]
    assert dataset.label.tolist() == [str(v).replace("True", "1") == fraud for v in values * 20]


def test_a_label_is_preferred_by_its_name_and_by_the_request() -> None:
    frame = pd.DataFrame({"amount": RNG.random(60), "vip": [0, 1, 1] * 20, "label": [0, 0, 1] * 20})

    assert propose(frame, name="mine").spec.label == "label"
    asked = propose(frame, name="mine", label="vip")
    assert asked.spec.label == "vip"
    assert "most of them" in asked.reasons["vip"]
    assert asked.spec.columns["label"].role == "annotation"


@pytest.mark.parametrize(
    ("columns", "label", "message"),
    [
        ({"a": [0, 1, 1], "b": ["x", "y", "x"]}, None, "a, b; name the right one with --label"),
        ({"isFraud": [0, 1, 1], "Class": [0, 1, 0]}, None, "isFraud, Class; name the right one"),
        ({"a": [1, 2, 3]}, None, "no column holds two values.*--label: a"),
        ({"label": [0, 0, 0], "b": [1, 2, 2]}, None, "'label' is .* holds only '0' in 3 rows"),
        ({"label": [0, 1, None], "b": [1, 2, 2]}, None, "'label' is .* empty in 33.3% of 3 rows"),
        ({"is_fraud": [0, 1, 2], "b": [1, 2, 2]}, None, "'is_fraud' .* holds 3 different values"),
        ({"is_fraud": [None] * 3, "b": [1, 2, 2]}, None, "'is_fraud' .* holds no value"),
        ({"is_fraud": [0, 1, 2], "class": [1, 2, 2]}, None, "'is_fraud' .* right column with --la"),
        ({"label": [0, 1, 2], "target_market": ["a", "b", "b"]}, None, "'label' is named like"),
        ({"a\x1b[2J": [1, 2, 3]}, None, r"no column holds two values.*--label: $"),
        ({"a\x1b[2J": [1, 2, 3]}, "b", r"no column 'b'; there are $"),
        ({"isFraud": [0, 1, 1]}, "isfraud", "no column 'isfraud'; did you mean 'isFraud'"),
        ({"a": [1, 2, 3]}, "a", "expected a column of two values, 'a' has 3"),
        ({"label": [0, 1, 1]}, None, "no column can be a feature; there is only the label"),
        ({"label": [0, 1, 1], "x": [7, 7, 7]}, None, "no column can be a feature; x: No feature"),
    ],
)
def test_a_label_that_cannot_be_told_is_asked_for(
    columns: dict[str, list[Any]], label: str | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        propose(pd.DataFrame(columns), name="mine", label=label)


def test_the_rows_that_were_looked_at_are_named_where_the_file_has_more() -> None:
    frame = pd.DataFrame({"is_fraud": [0] * 40, "channel": ["web", "app"] * 20})

    with pytest.raises(UsageError, match="holds only '0' in the first 40 rows: mend it"):
        propose(frame, name="mine", seen="the first 40 rows")
    with pytest.raises(UsageError, match="'amount' has 40 in the first 40 rows"):
        propose(
            frame.assign(amount=range(40)), name="mine", label="amount", seen="the first 40 rows"
        )


def test_a_number_that_is_named_like_a_label_does_not_stand_before_a_label_that_fits() -> None:
    frame = pd.DataFrame(
        {
            "y": range(60),
            "fraud_score": range(60),
            "amount": RNG.random(60),
            "isFraud": [0, 0, 1] * 20,
        }
    )

    assert propose(frame, name="mine").spec.label == "isFraud"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["Yes", "No"], ("Yes", "No")),
        ([True, False], ("1", "0")),
        (["true", "false"], ("1", "0")),
    ],
)
def test_a_yes_is_fraud_only_where_the_name_speaks_of_it(
    values: list[Any], expected: tuple[str, str]
) -> None:
    rows = [values[0]] * 58 + [values[1]] * 2
    frame = pd.DataFrame({"amount": RNG.random(60), "approved": rows, "isFraud": rows})

    asked = propose(frame, name="mine", label="approved").spec

    assert asked.label_values == expected
    assert check(frame, asked, source="file").label.sum() == 2
    named = propose(frame, name="mine", label="isFraud").spec
    assert check(frame, named, source="file").label.sum() == 58


@pytest.mark.parametrize("values", [[0, 0, 1], [True, True, False], ["false", "true", "1.0"]])
def test_the_label_of_true_and_false_may_be_turned_round(values: list[Any]) -> None:
    frame = pd.DataFrame({"amount": RNG.random(60), "isFraud": values * 20})
    spec = propose(frame, name="mine").spec
    turned = DatasetSpec.from_dict(spec.to_dict() | {"label_values": ["1", "0"]})

    dataset = check(frame, turned, source="file")

    assert dataset.rejected.empty
    assert (dataset.label == 1 - check(frame, spec, source="file").label).all()


@pytest.mark.parametrize(("empty", "refused"), [(5, False), (50, True)])
def test_rows_without_a_label_are_told_and_so_is_that_the_file_will_be_refused(
    empty: int, refused: bool
) -> None:
    labels = ["0", "1"] * 250
    labels[:empty] = [""] * empty
    frame = pd.DataFrame({"amount": RNG.random(500), "is_fraud": labels})

    reason = propose(frame, name="mine", label="is_fraud").reasons["is_fraud"]

    assert f"{empty} rows hold none and will be set aside" in reason
    assert ("a file is refused" in reason) is refused
    if not refused:
        assert propose(frame, name="mine").spec.label == "is_fraud"
