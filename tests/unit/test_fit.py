"""A model is made from the training rows, decided on validation and measured on test: no more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from training.audit import Audit, audit
from training.bundle import ModelBundle
from training.data import Dataset
from training.errors import UsageError
from training.evaluate import Metrics
from training.fit import SAMPLE_ROWS, Recipe, train
from training.models import FAMILIES
from training.split import fingerprint, row_identities, split

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
def learn(request: pytest.FixtureRequest, recipe: Callable[..., Recipe]) -> LearnFrom:
    def make(dataset: Dataset) -> ModelBundle:
        return train(dataset, recipe(request.param), audit(dataset))

    return make


def test_no_test_row_touches_anything_but_the_test_metrics(
    dataset: Dataset, learn: LearnFrom
) -> None:
    before, after = learn(dataset), learn(_scrambled(dataset, "test"))

    assert after.features.to_dict() == before.features.to_dict()
    assert after.model.to_bytes() == before.model.to_bytes()
    assert after.calibration == before.calibration
    assert after.choice == before.choice
    assert after.sample == before.sample
    pd.testing.assert_frame_equal(after.curve, before.curve, check_exact=True)
    for part, hashes in before.trained_on.items():
        np.testing.assert_array_equal(after.trained_on[part], hashes)
    differing = {key for key, value in before.card.items() if after.card[key] != value}
    assert differing == {"fingerprint", "metrics", "parts"}
    for key in ("metrics", "parts"):
        assert {p for p, v in before.card[key].items() if after.card[key][p] != v} == {"test"}


def test_no_validation_row_touches_the_features_or_the_model(
    dataset: Dataset, learn: LearnFrom
) -> None:
    before, after = learn(dataset), learn(_scrambled(dataset, "validation"))

    assert after.features.to_dict() == before.features.to_dict()
    assert after.model.to_bytes() == before.model.to_bytes()
    np.testing.assert_array_equal(after.trained_on["train"], before.trained_on["train"])
    assert after.calibration != before.calibration


def test_training_rows_do_matter(dataset: Dataset, learn: LearnFrom) -> None:
    before, after = learn(dataset), learn(_scrambled(dataset, "train"))

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
        found = Metrics.of(part.label, bundle.score(part.columns), bundle.choice.threshold)
        assert bundle.card["metrics"][name] == found.to_dict()
    for name in ("train", "validation"):
        hashes = row_identities(dataset.take(getattr(parts, name)))
        np.testing.assert_array_equal(bundle.trained_on[name], np.sort(hashes))
    assert set(bundle.trained_on) == {"train", "validation"}


@pytest.mark.parametrize("family", FAMILIES)
def test_small_models_find_frauds_among_rows_they_never_saw(
    family: str, bundles: dict[str, ModelBundle], fresh: Dataset
) -> None:
    bundle = bundles[family]

    found = Metrics.of(fresh.label, bundle.score(fresh.columns), bundle.choice.threshold)

    assert found.pr_auc is not None
    assert 0.25 < found.pr_auc < 1  # alerting at random has about 0.01


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

    bundle = train(leaky, recipe("logistic-regression"), audit(leaky))

    assert "amount" not in bundle.features.inputs_
    assert bundle.card["excluded"] == ["amount"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": "perceptron"}, "no model family 'perceptron'"),
        ({"params": {"depth": 3}}, "no parameter depth"),
        ({"policy": "best"}, "no threshold policy 'best'"),
        ({"smote": -0.5}, "SMOTE"),
        ({"smote": 1.5}, "SMOTE"),
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
