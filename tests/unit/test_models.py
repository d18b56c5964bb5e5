"""One list of checks that every model family passes."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from training.errors import UsageError
from training.fit import Recipe
from training.models import FAMILIES, ForestModel, LinearModel, Model, family, with_defaults

Fitted = dict[str, Model]


@pytest.fixture(scope="module")
def rows() -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    rng = np.random.default_rng(8)
    matrix = np.hstack([rng.normal(size=(600, 5)), rng.integers(0, 2, (600, 3)).astype(float)])
    risk = matrix[:, 0] + matrix[:, 1] * matrix[:, 5] + rng.normal(size=600)
    return matrix, (risk > 1.8).astype(np.int8)


@pytest.fixture(scope="module")
def fit(
    rows: tuple[NDArray[np.float64], NDArray[np.int8]], recipe: Callable[..., Recipe]
) -> Callable[..., Model]:
    def make(name: str, seed: int = 3, threads: int = 1) -> Model:
        return family(name).fit(*rows, recipe(name).params, seed=seed, threads=threads)

    return make


@pytest.fixture(scope="module")
def fitted(fit: Callable[..., Model]) -> Fitted:
    return {name: fit(name) for name in FAMILIES}


@pytest.fixture(scope="module")
def unseen() -> NDArray[np.float64]:
    return np.random.default_rng(9).normal(size=(200, 8)) * 3


each_family = pytest.mark.parametrize("name", FAMILIES)


@each_family
def test_bytes_carry_a_model_without_a_bit_lost(
    name: str, fitted: Fitted, unseen: NDArray[np.float64]
) -> None:
    content = fitted[name].to_bytes()
    again = FAMILIES[name].from_bytes(content)

    np.testing.assert_array_equal(again.probability(unseen), fitted[name].probability(unseen))
    assert again.to_bytes() == content


@each_family
def test_probabilities_are_probabilities_whatever_the_matrix(
    name: str, fitted: Fitted, unseen: NDArray[np.float64]
) -> None:
    for scale in (0, 1e-30, 1, 1e30):
        probability = fitted[name].probability(unseen * scale)

        assert probability.shape == (200,)
        assert probability.dtype == np.float64
        assert ((probability >= 0) & (probability <= 1)).all()


@each_family
def test_a_model_tells_the_classes_apart(
    name: str, fitted: Fitted, rows: tuple[NDArray[np.float64], NDArray[np.int8]]
) -> None:
    matrix, label = rows
    probability = fitted[name].probability(matrix)

    assert probability[label == 1].mean() > 3 * probability[label == 0].mean()


@each_family
@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_seed_gives_the_same_bytes_on_any_number_of_threads(
    name: str, threads: int, fit: Callable[..., Model], fitted: Fitted
) -> None:
    assert fit(name, threads=threads).to_bytes() == fitted[name].to_bytes()


@each_family
def test_another_seed_matters_only_where_something_is_drawn(
    name: str, fit: Callable[..., Model], fitted: Fitted
) -> None:
    same = fit(name, seed=4).to_bytes() == fitted[name].to_bytes()

    assert same == (name == "logistic-regression")


@each_family
def test_one_by_one_equals_the_batch(
    name: str, fitted: Fitted, unseen: NDArray[np.float64]
) -> None:
    model = fitted[name]
    single = [model.probability(unseen[i : i + 1])[0] for i in range(len(unseen))]

    np.testing.assert_allclose(single, model.probability(unseen), rtol=1e-12, atol=0)


@each_family
def test_the_bytes_are_no_pickle(name: str, fitted: Fitted) -> None:
    content = fitted[name].to_bytes()
    magic = {
        "logistic-regression": b"PK\x03\x04",  # a .npz file
        "random-forest": (4).to_bytes(4, "little"),  # treelite's major version
        "xgboost": b"{",  # UBJSON
    }

    assert content.startswith(magic[name])
    with pytest.raises((pickle.UnpicklingError, EOFError, KeyError, ValueError, IndexError)):
        pickle.loads(content)  # noqa: S301


def test_arrays_of_objects_which_would_be_pickles_are_refused() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, weights=np.array([{}], object), intercept=0.0)

    with pytest.raises(ValueError, match="allow_pickle"):
        LinearModel.from_bytes(buffer.getvalue())


@each_family
def test_an_unknown_parameter_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} has no parameter depth; it has "):
        with_defaults(FAMILIES[name], {"depth": 3})


@each_family
def test_parameters_not_given_have_their_defaults(name: str) -> None:
    first, *others = FAMILIES[name].defaults
    settings = with_defaults(FAMILIES[name], {first: 7})

    assert settings == {first: 7} | {other: FAMILIES[name].defaults[other] for other in others}


def test_an_unknown_family_names_those_there_are() -> None:
    with pytest.raises(UsageError, match="logistic-regression, random-forest, xgboost"):
        family("perceptron")


def test_a_forest_scores_as_scikit_learn_does(
    rows: tuple[NDArray[np.float64], NDArray[np.int8]],
    unseen: NDArray[np.float64],
    fitted: Fitted,
    recipe: Callable[..., Recipe],
) -> None:
    params = with_defaults(ForestModel, recipe("random-forest").params)
    reference = RandomForestClassifier(**params, random_state=3).fit(*rows)

    for matrix in (rows[0], unseen):
        np.testing.assert_allclose(
            fitted["random-forest"].probability(matrix),
            reference.predict_proba(matrix)[:, 1],
            rtol=0, atol=1e-9,
        )  # fmt: skip


def test_a_linear_model_scores_as_scikit_learn_does(
    rows: tuple[NDArray[np.float64], NDArray[np.int8]],
    unseen: NDArray[np.float64],
    fitted: Fitted,
    recipe: Callable[..., Recipe],
) -> None:
    params = recipe("logistic-regression").params
    reference = LogisticRegression(**params, max_iter=2000).fit(*rows)

    np.testing.assert_allclose(
        fitted["logistic-regression"].probability(unseen),
        reference.predict_proba(unseen)[:, 1],
        rtol=0, atol=1e-12,
    )  # fmt: skip
