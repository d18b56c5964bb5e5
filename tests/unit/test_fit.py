"""A model is made from the training rows, decided on validation and measured on test: no more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from training import card
from training.audit import Audit, audit
from training.bundle import ModelBundle
from training.data import Dataset
from training.errors import UsageError
from training.evaluate import Metrics
from training.fit import SAMPLE_ROWS, Recipe, fit_model, prior_shift, train
from training.identity import fingerprint, row_identities
from training.models import FAMILIES
from training.preprocess import Matrix
from training.resample import Neighbourhood, smote
from training.split import Split, split
from training.threshold import missed_costs

LearnFrom = Callable[[Dataset], ModelBundle]


def _scrambled(dataset: Dataset, part: str) -> Dataset:
    """Other labels and other values in every row of a part; the times, and so the parts, stay."""
    rows = getattr(split(dataset), part)
    rng = np.random.default_rng(12)
    frame = dataset.frame.copy()
    for name, values in dataset.columns.items():
        frame.loc[rows, name] = (
            rng.permutation(values[rows]) if values.dtype == object else values[rows] * 0.5 + 0.25
        )
    frame.loc[rows, "label"] = (rng.random(len(rows)) < 0.05).astype(np.int8)
    return replace(dataset, frame=frame)


@pytest.fixture(scope="module", params=list(FAMILIES))
def kind(request: pytest.FixtureRequest) -> str:
    """A family, for the tests that what it learns follows from."""
    return str(request.param)


@pytest.fixture
def before(kind: str, bundles: dict[str, ModelBundle]) -> ModelBundle:
    """What a family learned from the rows as they are."""
    return bundles[kind]


@pytest.fixture
def learn(kind: str, recipe: Callable[..., Recipe]) -> LearnFrom:
    """Learn from other rows in the same way."""

    def make(dataset: Dataset) -> ModelBundle:
        parts = split(dataset)
        return train(dataset, parts, recipe(kind), audit(dataset, parts))

    return make


@pytest.fixture(scope="module")
def fold() -> tuple[Matrix, NDArray[np.int8], Matrix]:
    """Rows to fit on with their labels, 30 of 600 of them frauds, and rows held out."""
    rng = np.random.default_rng(5)
    label = rng.permutation(np.repeat([1, 0], [30, 570])).astype(np.int8)
    return rng.normal(size=(600, 6)) + label[:, None], label, rng.normal(size=(200, 6))


def test_no_test_row_touches_anything_but_the_test_metrics(
    dataset: Dataset, before: ModelBundle, learn: LearnFrom
) -> None:
    after = learn(_scrambled(dataset, "test"))

    assert after.features.to_dict() == before.features.to_dict()
    assert after.model.to_bytes() == before.model.to_bytes()
    assert after.calibration == before.calibration
    assert after.choice == before.choice
    assert after.sample == before.sample
    pd.testing.assert_frame_equal(after.curve, before.curve, check_exact=True)
    for part, hashes in before.trained_on.items():
        np.testing.assert_array_equal(after.trained_on[part], hashes)
    assert after.reference == before.reference
    np.testing.assert_array_equal(after.background, before.background)
    for key in ("calibration", "importance"):
        assert after.evaluation[key] == before.evaluation[key]
    differing = {key for key, value in before.card.items() if after.card[key] != value}
    # The findings may tell of twins and drift in the test rows; what they exclude may not.
    # Examples are picked of the test rows after all else, for people to start from.
    assert differing - {"made", "findings"} == {"fingerprint", "metrics", "parts", "examples"}
    for key in ("metrics", "parts"):
        assert {p for p, v in before.card[key].items() if after.card[key][p] != v} == {"test"}


def test_no_validation_row_touches_the_features_or_the_model(
    dataset: Dataset, before: ModelBundle, learn: LearnFrom
) -> None:
    after = learn(_scrambled(dataset, "validation"))

    assert after.features.to_dict() == before.features.to_dict()
    assert after.model.to_bytes() == before.model.to_bytes()
    np.testing.assert_array_equal(after.trained_on["train"], before.trained_on["train"])
    assert after.calibration != before.calibration


def test_training_rows_do_matter(dataset: Dataset, before: ModelBundle, learn: LearnFrom) -> None:
    after = learn(_scrambled(dataset, "train"))

    assert after.features.to_dict() != before.features.to_dict()
    assert after.model.to_bytes() != before.model.to_bytes()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_bundle_says_truly_how_it_was_made_and_how_it_measured(
    family: str, bundles: dict[str, ModelBundle], dataset: Dataset, report: Audit
) -> None:
    bundle, parts = bundles[family], split(dataset)

    assert bundle.card["family"] == family
    assert bundle.card["fingerprint"] == fingerprint(dataset)
    assert bundle.card["parts"] == report.parts
    for name, rows in parts.items()[1:]:
        part = dataset.take(rows)
        missed = missed_costs(dataset.spec.costs, part.columns, len(part))
        found = Metrics.of(
            part.label, bundle.score(part.columns), bundle.choice.threshold,
            missed=missed, alarm=dataset.spec.costs.false_alarm,
        )  # fmt: skip
        told = bundle.card["metrics"][name]
        assert told == found.to_dict() | {"brier": told["brier"]}
        if name == "test":
            assert told["brier"] == found.brier
        else:  # judged by calibrators that had not seen the row
            blind = bundle.evaluation["calibration"]["after"]["brier"]
            assert told["brier"] == pytest.approx(blind)
    for name in ("train", "validation"):
        hashes = row_identities(dataset.take(getattr(parts, name)))
        np.testing.assert_array_equal(bundle.trained_on[name], np.sort(hashes))
    assert set(bundle.trained_on) == {"train", "validation"}


@pytest.mark.parametrize("family", FAMILIES)
def test_small_models_find_frauds_among_rows_they_never_saw(
    family: str, bundles: dict[str, ModelBundle], fresh: Dataset
) -> None:
    found = average_precision_score(fresh.label, bundles[family].score(fresh.columns))

    assert 0.25 < found < 1  # alerting at random has about 0.01


def test_the_self_test_holds_frauds_and_legitimate_payments_of_validation(
    bundle: ModelBundle, dataset: Dataset
) -> None:
    frauds = dataset.take(split(dataset).validation).label.sum()

    assert len(bundle.sample) == SAMPLE_ROWS // 2 + min(frauds, SAMPLE_ROWS // 2)
    bundle.self_test()


def test_columns_the_audit_excludes_are_not_learned_from(
    dataset: Dataset, recipe: Callable[..., Recipe]
) -> None:
    leaky = replace(
        dataset,
        frame=dataset.frame.assign(amount=np.where(dataset.label == 1, np.nan, 5.0)),
    )

    parts = split(leaky)
    bundle = train(leaky, parts, recipe("logistic-regression"), audit(leaky, parts))

    assert "amount" not in bundle.features.inputs_
    assert bundle.card["excluded"] == ["amount"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": "perceptron"}, "no model family 'perceptron'"),
        ({"params": {"depth": 3}}, "no parameter depth"),
        ({"params": {"n_estimators": 10.5}}, "n_estimators must be a whole number from 1"),
        ({"params": {"n_estimators": 0}}, "n_estimators must be a whole number from 1"),
        ({"params": {"learning_rate": -1.0}}, "learning_rate must be a number from"),
        ({"policy": "best"}, "no threshold policy 'best'"),
        ({"smote": -0.5}, "SMOTE"),
        ({"smote": 1.5}, "SMOTE"),
        ({"fraud_weight": 0.0}, "weight of a fraud must be above 0"),
        ({"fraud_weight": 1e6}, "weight of a fraud must be above 0"),
        ({"policy": "min-cost=-1:5"}, "min-cost"),
    ],
)
def test_a_recipe_that_cannot_be_meant_is_refused_before_any_work(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        Recipe(**({"family": "xgboost"} | changes))  # type: ignore[arg-type]


def test_a_recipe_says_in_words_what_it_is() -> None:
    assert Recipe("xgboost", smote=0.25).label == "xgboost, SMOTE 0.25"
    assert Recipe("xgboost").label == "xgboost, no resampling"
    assert Recipe("xgboost", neighbours=9).label == "xgboost, no resampling"
    assert (
        Recipe("xgboost", smote=0.5, neighbours=9, fraud_weight=3, derived=False).label
        == "xgboost, SMOTE 0.5 between 9 neighbours, frauds weigh 3, without derived features"
    )


@pytest.mark.parametrize("family", FAMILIES)
@given(
    ratio=st.sampled_from([0.0, 0.2, 0.7]),
    neighbours=st.integers(1, 9),
    weight=st.sampled_from([1.0, 5.0]),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=5)
def test_the_steps_of_a_fit_taken_one_by_one_give_the_same_model(
    family: str, ratio: float, neighbours: int, weight: float, seed: int,
    fold: tuple[Matrix, NDArray[np.int8], Matrix],
) -> None:  # fmt: skip
    matrix, label, held_out = fold
    size = {"n_estimators": 6} if FAMILIES[family].counted else {}
    recipe = Recipe(
        family, size, smote=ratio, neighbours=neighbours, fraud_weight=weight, seed=seed
    )

    known = Neighbourhood.of(matrix, label, neighbours)
    rows, labels = smote(matrix, label, ratio=ratio, seed=seed, neighbours=neighbours, known=known)
    prepared = FAMILIES[family].prepare(rows, labels, weight=weight, threads=1)
    grown = FAMILIES[family].grow(
        prepared, recipe.params, list(size.values()), held_out, seed=seed, threads=1
    )
    model, shift = fit_model(matrix, label, recipe)

    np.testing.assert_allclose(next(grown), model.probability(held_out), rtol=0, atol=1e-12)
    assert shift == prior_shift(label, labels, weight)


def test_the_prior_shift_takes_off_what_resampling_and_weight_add_to_the_odds() -> None:
    natural, resampled = (np.repeat([0, 1], [100, n]).astype(np.int8) for n in (2, 50))

    assert prior_shift(natural, natural, 1) == 0
    assert prior_shift(natural, resampled, 4) == pytest.approx(-np.log(25 * 4))


def test_neighbours_and_derived_features_are_chosen_by_the_recipe_and_told_by_the_card(
    dataset: Dataset, parts: Split, report: Audit, recipe: Callable[..., Recipe]
) -> None:
    usual = recipe("logistic-regression")
    chosen = replace(usual, neighbours=2, derived=False)

    bundle, whole = (
        train(dataset, parts, r, report) for r in (chosen, replace(chosen, derived=True))
    )

    assert list(bundle.features.encoders_) == bundle.features.inputs_
    assert len(whole.features.encoders_) > len(whole.features.inputs_)
    rows = dataset.take(parts.train)
    matrix = bundle.features.transform(rows.columns)
    assert bundle.model.to_bytes() == fit_model(matrix, rows.label, chosen)[0].to_bytes()
    assert bundle.model.to_bytes() != fit_model(matrix, rows.label, usual)[0].to_bytes()
    assert (bundle.card["neighbours"], bundle.card["derived"]) == (2, False)
    assert bundle.card["excluded"] == list(report.excluded)
    told = card.markdown(bundle)
    assert "between 2 neighbours" in told
    assert "| Derived features | none |" in told


def test_a_bundle_from_before_neighbours_could_be_chosen_still_has_its_card(
    bundle: ModelBundle, tmp_path: Path
) -> None:
    older = {k: v for k, v in bundle.card.items() if k not in ("neighbours", "derived")}
    replace(bundle, card=older).save(tmp_path / "older")

    again = ModelBundle.load(tmp_path / "older")

    assert card.markdown(again) == card.markdown(bundle)


@pytest.mark.parametrize("changes", [{"smote": 0.5}, {"fraud_weight": 20.0}])
def test_probabilities_are_those_of_natural_prevalence_whatever_the_resampling(
    changes: dict[str, float], dataset: Dataset, parts: Split, report: Audit
) -> None:
    bundle = train(dataset, parts, Recipe("logistic-regression", **changes), report)  # type: ignore[arg-type]

    validation = dataset.take(parts.validation)
    raw = bundle.model.probability(bundle.features.transform(validation.columns))
    assert raw.mean() > 3 * validation.label.mean()
    assert bundle.score(validation.columns).mean() < 2 * validation.label.mean()
    calibration = bundle.evaluation["calibration"]
    assert calibration["after"]["brier"] < calibration["before"]["brier"]


def test_what_is_left_without_a_column_that_separates_alone_is_measured_too(
    dataset: Dataset, recipe: Callable[..., Recipe]
) -> None:
    age = dataset.columns["accountAgeDays"]
    given_away = dataset.frame.assign(accountAgeDays=np.where(dataset.label == 1, -1.0, age))
    telling = replace(dataset, frame=given_away)
    parts = split(telling)

    bundle = train(telling, parts, recipe("xgboost"), audit(telling, parts))

    without = bundle.evaluation["without"]
    assert without["columns"] == ["accountAgeDays"]
    assert bundle.card["metrics"]["test"]["pr_auc"] > 0.95
    assert without["metrics"]["pr_auc"] < 0.9
    assert "accountAgeDays" in bundle.features.inputs_
