"""One list of checks that every model family passes."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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


@each_family
def test_contributions_add_up_to_the_margin(
    name: str,
    fitted: Fitted,
    rows: tuple[NDArray[np.float64], NDArray[np.int8]],
    unseen: NDArray[np.float64],
) -> None:
    model, background = fitted[name], rows[0].mean(axis=0)
    tolerance = 1e-9 if name == "logistic-regression" else 1e-4

    for matrix in (rows[0], unseen):
        contributions = model.contributions(matrix, background)

        assert contributions.shape == (len(matrix), 9)
        assert contributions.dtype == np.float64
        np.testing.assert_allclose(
            contributions.sum(axis=1), model.margin(matrix), rtol=0, atol=tolerance
        )
        assert np.ptp(contributions[:, -1]) == 0  # the base is everyone's


@each_family
def test_one_by_one_is_explained_as_the_batch_is(
    name: str, fitted: Fitted, unseen: NDArray[np.float64]
) -> None:
    model, background = fitted[name], np.zeros(8)
    single = [model.contributions(unseen[i : i + 1], background)[0] for i in range(20)]

    np.testing.assert_allclose(single, model.contributions(unseen, background)[:20], atol=1e-12)


@each_family
def test_the_margin_is_the_probability_in_the_unit_it_says(
    name: str, fitted: Fitted, unseen: NDArray[np.float64]
) -> None:
    model = fitted[name]
    margin = model.margin(unseen)
    probability = margin if model.margin_unit == "probability" else 1 / (1 + np.exp(-margin))

    assert model.margin_unit == ("probability" if name == "random-forest" else "log-odds")
    np.testing.assert_allclose(model.probability(unseen), probability, rtol=0, atol=1e-6)


def test_a_linear_model_is_explained_from_the_background(fitted: Fitted) -> None:
    background = np.linspace(-1, 1, 8)
    row = background.copy()
    row[3] += 2
    model = fitted["logistic-regression"]
    contributions = model.contributions(np.stack([background, row]), background)

    np.testing.assert_array_equal(contributions[0, :-1], 0)
    np.testing.assert_array_equal(np.flatnonzero(contributions[1, :-1]), [3])
    moved = model.margin(row[None]) - model.margin(background[None])
    np.testing.assert_allclose(contributions[1, 3], moved[0], atol=1e-12)


def test_trees_have_their_background_in_them(fitted: Fitted, unseen: NDArray[np.float64]) -> None:
    for name in ("random-forest", "xgboost"):
        one, other = (fitted[name].contributions(unseen, np.full(8, b)) for b in (0.0, 5.0))

        np.testing.assert_array_equal(one, other)


def test_a_forest_gets_ready_to_explain_once_and_only_when_asked(
    fitted: Fitted, unseen: NDArray[np.float64]
) -> None:
    forest = ForestModel.from_bytes(fitted["random-forest"].to_bytes())
    forest.margin(unseen)
    before = set(vars(forest))
    forest.contributions(unseen[:1], np.zeros(8))
    ready = vars(forest)["_booster"]
    forest.contributions(unseen[:1], np.zeros(8))

    assert before == {"trees"}
    assert forest._booster is ready


@pytest.mark.parametrize("weight", [2, 5])
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("logistic-regression", {"C": 0.5}),
        ("xgboost", {"n_estimators": 5, "max_depth": 3, "subsample": 1, "colsample_bytree": 1}),
    ],
)
def test_a_fraud_that_weighs_twice_is_a_fraud_that_is_there_twice(
    name: str,
    params: dict[str, float],
    weight: int,
    rows: tuple[NDArray[np.float64], NDArray[np.int8]],
    unseen: NDArray[np.float64],
) -> None:
    matrix, label = rows[0].round(1), rows[1]  # few values, so that every one has its own bin
    times = np.where(label == 1, weight, 1)
    chosen = {"seed": 1, "threads": 1}
    weighted = family(name).fit(matrix, label, params, weight=weight, **chosen)
    repeated = family(name).fit(matrix.repeat(times, 0), label.repeat(times), params, **chosen)

    np.testing.assert_allclose(
        weighted.probability(unseen), repeated.probability(unseen), rtol=0, atol=1e-5
    )


@each_family
def test_the_more_a_fraud_weighs_the_likelier_it_is(
    name: str, fitted: Fitted, rows: tuple[NDArray[np.float64], NDArray[np.int8]],
    recipe: Callable[..., Recipe],
) -> None:  # fmt: skip
    matrix, label = rows
    heavy, light = (
        family(name).fit(matrix, label, recipe(name).params, seed=3, threads=1, weight=weight)
        for weight in (8, 0.25)
    )
    low, natural, high = (
        model.probability(matrix).mean() for model in (light, fitted[name], heavy)
    )

    assert low < natural - 0.02 < natural + 0.02 < high


@each_family
@pytest.mark.parametrize("weight", [0, -1, np.inf, np.nan])
def test_a_weight_that_is_none_is_refused(
    name: str, weight: float, rows: tuple[NDArray[np.float64], NDArray[np.int8]]
) -> None:
    with pytest.raises(UsageError, match=f"weight of a fraud .* above 0, it is {weight:g}"):
        family(name).fit(*rows, {}, seed=1, threads=1, weight=weight)


grown = [name for name, model in FAMILIES.items() if model.counted]


@pytest.mark.parametrize("name", grown)
@pytest.mark.parametrize("threads", [1, 2])
@settings(max_examples=6)
@given(
    counts=st.sets(st.integers(1, 12), min_size=1, max_size=4).map(sorted),
    weight=st.sampled_from([1, 0.3, 4]),
    seed=st.integers(0, 2**31),
)
def test_every_step_is_the_model_fitted_at_once_with_that_count(
    name: str, threads: int, counts: list[int], weight: float, seed: int,
    rows: tuple[NDArray[np.float64], NDArray[np.int8]], unseen: NDArray[np.float64],
) -> None:  # fmt: skip
    model, depth = family(name), {"max_depth": 3}
    prepared = model.prepare(*rows, weight=weight, threads=threads)

    # The number of trees in the parameters, here the default, gives way to the counts.
    steps = list(model.grow(prepared, depth, counts, unseen, seed=seed, threads=threads))

    assert len(steps) == len(counts)
    for count, step in zip(counts, steps, strict=True):
        params = depth | {"n_estimators": count}
        at_once = model.fit(*rows, params, seed=seed, threads=threads, weight=weight)
        assert step.dtype == np.float64
        np.testing.assert_allclose(step, at_once.probability(unseen), rtol=0, atol=1e-12)


@each_family
def test_fits_that_share_what_is_prepared_do_not_see_each_other(
    name: str, recipe: Callable[..., Recipe],
    rows: tuple[NDArray[np.float64], NDArray[np.int8]], unseen: NDArray[np.float64],
) -> None:  # fmt: skip
    model, drawn = family(name), recipe(name).params
    prepared = model.prepare(*rows, weight=2, threads=1)
    counts = [5, 20] if model.counted else []
    other = {"C": 0.01} if name == "logistic-regression" else {"max_depth": 2}

    for params in (drawn, other, drawn):
        *_, last = model.grow(prepared, params, counts, unseen, seed=3, threads=1)

        size = {model.counted: 20} if model.counted else {}
        alone = model.fit(*rows, {**params, **size}, seed=3, threads=1, weight=2)
        np.testing.assert_allclose(last, alone.probability(unseen), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", grown)
def test_a_step_that_was_given_stays_as_it_was(
    name: str, rows: tuple[NDArray[np.float64], NDArray[np.int8]], unseen: NDArray[np.float64]
) -> None:
    prepared = family(name).prepare(*rows, weight=1, threads=1)
    steps = family(name).grow(prepared, {}, [1, 2], unseen, seed=1, threads=1)
    first = next(steps)
    kept = first.copy()

    assert not np.array_equal(next(steps), kept)
    np.testing.assert_array_equal(first, kept)


@each_family
def test_counts_that_a_family_cannot_grow_by_are_refused(
    name: str, rows: tuple[NDArray[np.float64], NDArray[np.int8]]
) -> None:
    prepared = family(name).prepare(*rows, weight=1, threads=1)
    wrong = [[], [0, 2], [3, 3], [4, 2]] if name in grown else [[1]]

    for counts in wrong:
        steps = family(name).grow(prepared, {}, counts, rows[0], seed=1, threads=1)
        with pytest.raises(ValueError, match=f"{name} (does not grow|grows by counts)"):
            next(steps)


@pytest.mark.parametrize("name", grown)
def test_whole_numbers_may_come_as_floats(
    name: str, rows: tuple[NDArray[np.float64], NDArray[np.int8]]
) -> None:
    whole, floats = (
        family(name).fit(*rows, {"n_estimators": kind(3), "max_depth": kind(4)}, seed=1, threads=1)
        for kind in (int, float)
    )

    assert whole.to_bytes() == floats.to_bytes()
