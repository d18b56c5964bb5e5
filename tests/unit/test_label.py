"""The label of a file is found by name and values, or asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from training.data import check
from training.errors import UsageError
from training.propose import propose

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
        ({"label": [0, 0, 0], "b": [1, 2, 3]}, None, "no column holds two values"),
        ({"label": [0, 1, None], "b": [1, 2, 3]}, None, "no column holds two values"),
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
