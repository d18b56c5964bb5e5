"""SMOTE adds frauds up to a ratio and touches nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from training.errors import DataRefused, UsageError
from training.resample import NEIGHBOURS, smote


def _rows(frauds: int, legitimate: int) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    rng = np.random.default_rng(frauds * 1000 + legitimate)
    label = rng.permutation(np.repeat([1, 0], [frauds, legitimate])).astype(np.int8)
    return rng.normal(size=(len(label), 4)) + label[:, None], label


def test_ratio_0_returns_the_rows_as_they_are() -> None:
    matrix, label = _rows(2, 50)

    same, labels = smote(matrix, label, ratio=0, seed=0)

    assert same is matrix
    assert labels is label


@given(
    frauds=st.integers(NEIGHBOURS + 1, 40),
    legitimate=st.integers(50, 300),
    ratio=st.floats(0.01, 1.0),
    seed=st.integers(0, 2**31),
)
def test_the_ratio_is_reached_and_the_input_rows_come_first_unchanged(
    frauds: int, legitimate: int, ratio: float, seed: int
) -> None:
    matrix, label = _rows(frauds, legitimate)
    ratio = max(ratio, min(1.0, (frauds + 1.5) / legitimate))

    rows, labels = smote(matrix, label, ratio=ratio, seed=seed)

    np.testing.assert_array_equal(rows[: len(matrix)], matrix)
    np.testing.assert_array_equal(labels[: len(label)], label)
    assert (labels[len(label) :] == 1).all()
    assert int(labels.sum()) == int(ratio * legitimate)
    known = matrix[label == 1]
    assert (rows[len(matrix) :] >= known.min(axis=0) - 1e-9).all()
    assert (rows[len(matrix) :] <= known.max(axis=0) + 1e-9).all()


def test_a_ratio_that_asks_for_less_than_one_row_more_adds_none() -> None:
    matrix, label = _rows(6, 50)

    rows, labels = smote(matrix, label, ratio=0.125, seed=0)  # 6.25 frauds

    np.testing.assert_array_equal(rows, matrix)
    np.testing.assert_array_equal(labels, label)


def test_the_same_seed_gives_the_same_rows() -> None:
    matrix, label = _rows(20, 200)
    draws = [smote(matrix, label, ratio=0.5, seed=seed)[0] for seed in (4, 4, 5)]

    np.testing.assert_array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])


@pytest.mark.parametrize("ratio", [-0.1, 0.1, 0.05, 1.01, float("nan"), float("inf")])
def test_a_ratio_that_is_not_above_the_natural_one_and_at_most_1_is_refused(ratio: float) -> None:
    matrix, label = _rows(20, 200)

    with pytest.raises(UsageError, match=r"natural ratio .* 0\.1, and at most 1"):
        smote(matrix, label, ratio=ratio, seed=0)


def test_rows_of_frauds_alone_have_no_ratio_to_reach() -> None:
    matrix, label = _rows(20, 0)

    with pytest.raises(UsageError):
        smote(matrix, label, ratio=1.0, seed=0)


@pytest.mark.parametrize("frauds", range(NEIGHBOURS + 1))
def test_too_few_frauds_for_neighbours_are_refused_with_their_number(frauds: int) -> None:
    matrix, label = _rows(frauds, 200)

    with pytest.raises(DataRefused, match=f"there are {frauds}"):
        smote(matrix, label, ratio=0.5, seed=0)
