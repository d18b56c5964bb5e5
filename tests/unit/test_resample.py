"""SMOTE adds frauds up to a ratio and touches nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from imblearn.over_sampling import SMOTE
from numpy.typing import NDArray

from fraudray.commands import making
from training.errors import DataRefused, UsageError
from training.resample import NEIGHBOURS, Neighbourhood, smote


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


@pytest.mark.parametrize("neighbours", [1, NEIGHBOURS, 9])
@pytest.mark.parametrize("frauds", range(NEIGHBOURS + 1))
def test_too_few_frauds_for_neighbours_are_refused_with_their_number(
    frauds: int, neighbours: int
) -> None:
    matrix, label = _rows(frauds, 200)
    if frauds > neighbours:
        assert smote(matrix, label, ratio=0.5, seed=0, neighbours=neighbours)[1].sum() == 100
        return

    with pytest.raises(DataRefused, match=f"more than {neighbours} frauds .* there are {frauds}"):
        smote(matrix, label, ratio=0.5, seed=0, neighbours=neighbours)


@st.composite
def _any_rows(draw: st.DrawFn) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """Matrices with twins and zeros and ones among the rows, in either order in memory."""
    frauds, legitimate = draw(st.integers(2, 60)), draw(st.integers(61, 300))
    matrix, label = _rows(frauds, legitimate)
    matrix = np.hstack([matrix.round(draw(st.integers(0, 9))), matrix[:, :2] > 0])
    return (np.asfortranarray(matrix) if draw(st.booleans()) else matrix), label


@given(
    rows=_any_rows(),
    neighbours=st.integers(1, 12),
    ratio=st.floats(0.0, 1.0),
    seeds=st.lists(st.integers(0, 2**31), min_size=1, max_size=3),
)
def test_every_resampling_of_one_neighbourhood_is_that_of_imbalanced_learn(
    rows: tuple[NDArray[np.float64], NDArray[np.int8]],
    neighbours: int,
    ratio: float,
    seeds: list[int],
) -> None:
    matrix, label = rows
    frauds, legitimate = int(label.sum()), int((label == 0).sum())
    neighbours = min(neighbours, frauds - 1)
    known = Neighbourhood.of(matrix, label, neighbours)
    before = matrix.copy()

    for seed in seeds:
        for share in {max(ratio, min(1.0, (frauds + 1.5) / legitimate)), 1.0}:
            made = smote(matrix, label, ratio=share, seed=seed, neighbours=neighbours, known=known)

            plain = SMOTE(sampling_strategy=share, k_neighbors=neighbours, random_state=seed)
            for mine, theirs in zip(made, plain.fit_resample(matrix, label), strict=True):
                np.testing.assert_array_equal(mine, theirs)
                assert mine.dtype == theirs.dtype
    np.testing.assert_array_equal(matrix, before)


def test_a_neighbourhood_that_is_known_is_not_searched_again() -> None:
    matrix, label = _rows(20, 200)
    frauds = matrix[label == 1]
    # Were every fraud its only neighbour, all that SMOTE makes between them would be copies.
    alone = Neighbourhood(frauds, np.arange(20).repeat(6).reshape(20, 6))

    made = smote(matrix, label, ratio=1.0, seed=0, known=alone)[0][len(matrix) :]

    assert len(made) == 180
    assert {tuple(row) for row in made} <= {tuple(row) for row in frauds}


def test_a_neighbourhood_of_other_rows_or_another_size_is_refused() -> None:
    matrix, label = _rows(20, 200)
    others = Neighbourhood.of(*_rows(21, 200))

    for known, neighbours in ((others, NEIGHBOURS), (Neighbourhood.of(matrix, label), 3)):
        with pytest.raises(ValueError, match="not that of 20 frauds with"):
            smote(matrix, label, ratio=0.5, seed=0, neighbours=neighbours, known=known)


def test_train_offers_as_many_neighbours_as_there_are_by_default() -> None:
    assert making.NEIGHBOURS == NEIGHBOURS
