"""The best trial wins, and a model becomes champion only by beating the champion on fresh rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

from training.audit import audit
from training.bundle import ModelBundle
from training.data import Dataset
from training.fit import Recipe, train
from training.spec import DatasetSpec
from training.split import Split
from tuning.objective import METRIC
from tuning.select import ENOUGH_FRAUDS, TIE, gate, winner
from tuning.sweep import Trial


def _trial(family: str, score: float, *, smote: float = 0.0, failure: str = "") -> Trial:
    metrics = {} if failure else {METRIC: score}
    return Trial(Recipe(family, smote=smote), metrics, 1.0, failure)


BETTER = _trial("xgboost", 0.9, smote=0.5)


@pytest.mark.parametrize(
    "other",
    [
        _trial("logistic-regression", 0.8),
        _trial("logistic-regression", 0.9 - 2 * TIE),
        _trial("xgboost", 0, failure="out of memory"),
        _trial("xgboost", 0.9 + TIE / 2, smote=0.6),
    ],
)
def test_a_trial_wins_by_score_then_family_then_resampling(other: Trial) -> None:
    assert winner([other, BETTER]) is BETTER
    assert winner([BETTER, other]) is BETTER


def test_of_equal_trials_the_first_drawn_wins_however_long_it_took() -> None:
    quick = replace(BETTER, seconds=0.1)

    assert winner([BETTER, quick]) is BETTER


def test_of_equal_scores_the_simpler_family_wins() -> None:
    simple = _trial("logistic-regression", 0.9 - TIE / 2, smote=0.9)

    assert winner([BETTER, simple]) is simple


@pytest.fixture(scope="module")
def guesser(dataset: Dataset, parts: Split) -> ModelBundle:
    """A model of the same rows with their labels dealt at random."""
    rng = np.random.default_rng(2)
    random = replace(dataset, frame=dataset.frame.assign(label=rng.permutation(dataset.label)))
    return train(random, parts, Recipe("logistic-regression"), audit(random, parts))


def test_the_first_version_becomes_champion(bundle: ModelBundle, fresh: Dataset) -> None:
    verdict = gate(bundle, None, fresh)

    assert verdict.promote
    assert verdict.reason == "first version"


def test_a_model_does_not_replace_itself(bundle: ModelBundle, fresh: Dataset) -> None:
    assert not gate(bundle, bundle, fresh).promote


def test_a_better_model_replaces_a_worse_one_and_not_the_other_way(
    bundle: ModelBundle, guesser: ModelBundle, fresh: Dataset
) -> None:
    mine, theirs = (
        average_precision_score(fresh.label, model.score(fresh.columns))
        for model in (bundle, guesser)
    )

    verdict = gate(bundle, guesser, fresh)

    assert verdict.promote
    assert f"PR-AUC {mine:.4f} against the champion's {theirs:.4f}" in verdict.reason
    assert f"on {len(fresh):,} rows with {fresh.label.sum()} frauds" in verdict.reason
    assert not gate(guesser, bundle, fresh).promote


def test_too_few_fresh_frauds_promote_nobody(
    bundle: ModelBundle, guesser: ModelBundle, fresh: Dataset
) -> None:
    frauds, others = np.flatnonzero(fresh.label == 1), np.flatnonzero(fresh.label == 0)
    few = np.concatenate([others, frauds[: ENOUGH_FRAUDS - 1]])

    for rows, count in ((few, ENOUGH_FRAUDS - 1), (frauds, len(frauds)), (few[:0], 0)):
        verdict = gate(bundle, guesser, fresh.take(rows))
        assert not verdict.promote
        assert verdict.reason.startswith(f"not compared: {len(rows):,} rows ")
        assert f"hold {count} frauds" in verdict.reason
    assert gate(bundle, guesser, fresh.take(np.append(few, frauds[-1]))).promote


def test_rows_that_either_model_has_learned_from_are_left_out(
    bundle: ModelBundle, guesser: ModelBundle, dataset: Dataset, fresh: Dataset
) -> None:
    none = {part: np.empty(0, np.uint64) for part in ("train", "validation")}
    blank = replace(guesser, trained_on=none)
    learned_from = dataset.frame.head(5_000)
    together = replace(fresh, frame=pd.concat([learned_from, fresh.frame], ignore_index=True))

    for candidate, champion in ((bundle, blank), (blank, bundle), (bundle, guesser)):
        assert f"on {len(fresh):,} rows" in gate(candidate, champion, together).reason


def test_rows_are_known_again_under_the_spec_each_model_was_made_with(
    bundle: ModelBundle, guesser: ModelBundle, dataset: Dataset
) -> None:
    content = dataset.spec.to_dict()
    content["columns"]["amount"]["required"] = True
    stricter = DatasetSpec.from_dict(content)
    rows = replace(dataset, spec=stricter)

    for candidate, champion in ((bundle, guesser), (guesser, bundle)):
        kept = gate(candidate, champion, rows).reason.split(" rows")[0].rsplit(" ", 1)[-1]
        assert int(kept.replace(",", "")) <= 900  # the test rows: the rest was learned from
