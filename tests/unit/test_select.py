"""The best trial wins, and a model becomes champion only by beating the champion on fresh rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from fraudray.pipeline import Audited, publish
from training.audit import Audit, audit
from training.bundle import ModelBundle
from training.data import Dataset
from training.errors import FraudrayError, UsageError
from training.fit import Recipe, train
from training.identity import row_identities
from training.spec import DatasetSpec
from training.split import Split
from training.tracking import Tracking, Version
from tuning.objective import METRICS
from tuning.select import ENOUGH_FRAUDS, TIE, gate, winner
from tuning.trials import Trial

# Each is simpler than the next.
LADDER = (
    Recipe("logistic-regression", {"C": 0.1}, smote=0.9, fraud_weight=9),
    Recipe("random-forest", {"n_estimators": 100, "max_depth": 12}, smote=0.3),
    Recipe("random-forest", {"max_depth": 12}),  # 200 trees, as it has if nothing is said
    Recipe("xgboost", {"n_estimators": 100, "max_depth": 8}),
    Recipe("xgboost", {"max_depth": 3}, smote=0.5, fraud_weight=5),
    Recipe("xgboost", {"max_depth": 5}, derived=False),
    Recipe("xgboost"),
    Recipe("xgboost", fraud_weight=0.5),
    Recipe("xgboost", fraud_weight=5, derived=False),
    Recipe("xgboost", fraud_weight=5),
    Recipe("xgboost", smote=0.1, derived=False),
    Recipe("xgboost", smote=0.5),
)


def _done(number: int, recipe: Recipe, score: float, metric: str = "pr_auc") -> Trial:
    return Trial(number, recipe, "done", {metric: score})


TRIALS = st.lists(
    st.builds(
        _done, st.just(0), st.sampled_from(LADDER), st.sampled_from([0.5, 0.5 + TIE / 2, 0.6])
    ),
    min_size=1,
    max_size=8,
).map(lambda trials: [replace(t, number=i) for i, t in enumerate(trials, 1)])


@pytest.mark.parametrize(("simple", "complex_"), combinations(LADDER, 2))
def test_of_equal_scores_the_simpler_model_wins(simple: Recipe, complex_: Recipe) -> None:
    trials = [_done(1, complex_, 0.9), _done(2, simple, 0.9 - TIE / 2)]

    assert winner(trials) is trials[1]
    assert winner(trials[::-1]) is trials[1]


@given(trials=TRIALS, data=st.data())
def test_no_other_trial_is_better_than_the_winner(trials: list[Trial], data: st.DataObject) -> None:
    won = winner(trials)

    assert all(won.metrics["pr_auc"] >= t.metrics["pr_auc"] - TIE for t in trials)
    twins = [t for t in trials if t.recipe == won.recipe and t.metrics == won.metrics]
    assert won is twins[0]  # the first drawn
    elsewhere = [
        replace(t, seconds=data.draw(st.floats(0, 9)), node=data.draw(st.sampled_from("ab")))
        for t in data.draw(st.permutations(trials))
    ]
    assert winner(elsewhere).number == won.number


@pytest.mark.parametrize(("metric", "sign"), METRICS.items())
def test_the_metric_says_what_is_better(metric: str, sign: int) -> None:
    low, high = _done(1, LADDER[0], 0.2, metric), _done(2, LADDER[-1], 0.3, metric)

    assert winner([low, high], metric) is (high if sign > 0 else low)


def test_only_trials_judged_on_every_fold_may_win() -> None:
    done = _done(1, LADDER[-1], 0.2)
    others = [
        Trial(2, LADDER[0], "pruned", {"pr_auc": 0.9}),
        Trial(3, LADDER[0], "stopped", {"pr_auc": 0.9}),
        Trial(4, LADDER[0], "failed", failure="out of memory"),
        _done(5, LADDER[0], float("nan")),
    ]

    assert winner([*others, done]) is done
    with pytest.raises(FraudrayError, match=r"1 pruned, 1 stopped, 1 failed.*out of memory"):
        winner(others[:3])
    with pytest.raises(FraudrayError, match="done with a pr_auc; there are 1 done"):
        winner(others[3:])
    with pytest.raises(FraudrayError, match="there are none"):
        winner([])
    with pytest.raises(UsageError, match="no metric 'accuracy'; there are pr_auc"):
        winner([done], "accuracy")


@pytest.fixture(scope="module")
def guesser(dataset: Dataset, parts: Split) -> ModelBundle:
    """A model of the same rows with their labels dealt at random."""
    rng = np.random.default_rng(2)
    random = replace(dataset, frame=dataset.frame.assign(label=rng.permutation(dataset.label)))
    return train(random, parts, Recipe("logistic-regression"), audit(random, parts))


def _some(rows: Dataset, seed: int) -> Dataset:
    """All frauds but a few, and half of the others, in another order."""
    rng = np.random.default_rng(seed)
    kept = np.flatnonzero(rng.random(len(rows)) < np.where(rows.label == 1, 0.9, 0.5))
    return rows.take(rng.permutation(kept))


def _again(rows: Dataset, times: int) -> Dataset:
    return rows.take(np.tile(np.arange(len(rows)), times))


def test_without_a_champion_there_is_nothing_to_compare_with(
    bundle: ModelBundle, fresh: Dataset
) -> None:
    verdict = gate(bundle, None, fresh)

    assert (verdict.promote, verdict.reason) == (True, "no champion before it")
    assert not verdict.figures
    assert not gate(bundle, None, fresh, promote="never").promote


def test_a_model_does_not_replace_itself(bundles: dict[str, ModelBundle], fresh: Dataset) -> None:
    for model in bundles.values():
        verdict = gate(model, model, fresh)

        assert not verdict.promote
        assert verdict.reason.startswith(
            "cannot be told apart: difference +0.0000, 95 % interval +0.0000 to +0.0000"
        )


def test_a_better_model_replaces_a_worse_one_and_not_the_other_way(
    bundle: ModelBundle, guesser: ModelBundle, fresh: Dataset
) -> None:
    mine, theirs = (
        average_precision_score(fresh.label, model.score(fresh.columns))
        for model in (bundle, guesser)
    )

    verdict = gate(bundle, guesser, fresh)

    assert verdict.promote
    assert verdict.reason.startswith(f"better: difference {mine - theirs:+.4f}, 95 % interval +")
    assert f"PR-AUC {mine:.4f} against the champion's {theirs:.4f}" in verdict.reason
    assert f"on {len(fresh):,} rows with {fresh.label.sum()} frauds" in verdict.reason
    figures = verdict.figures
    assert (figures["rows"], figures["frauds"]) == (len(fresh), fresh.label.sum())
    assert (figures["pr_auc"], figures["champion_pr_auc"]) == pytest.approx((mine, theirs))
    assert 0 < figures["low"] <= figures["difference"] == pytest.approx(mine - theirs)
    other = gate(guesser, bundle, fresh)
    assert not other.promote
    assert other.reason.startswith("worse: ")
    assert (other.figures["low"], other.figures["high"]) == (-figures["high"], -figures["low"])


def test_what_each_threshold_decides_is_recorded(
    bundle: ModelBundle, guesser: ModelBundle, fresh: Dataset
) -> None:
    alert = bundle.decide(bundle.score(fresh.columns)) == 1
    precision, recall = fresh.label[alert].mean(), alert[fresh.label == 1].mean()

    verdict = gate(bundle, guesser, fresh)

    assert verdict.figures["precision"] == pytest.approx(precision)
    assert verdict.figures["recall"] == pytest.approx(recall)
    assert f"precision {precision:.2f} against " in verdict.reason
    assert f"recall {recall:.2f} against " in verdict.reason
    # Both by the costs of one policy: what is let through by a model that never alerts.
    silent = replace(guesser, choice=replace(guesser.choice, threshold=2.0, policy="min-cost=7:1"))
    priced = replace(bundle, choice=replace(bundle.choice, policy="min-cost=200:5"))
    found = gate(priced, silent, fresh)
    assert found.figures["champion_cost_per_10000"] == pytest.approx(
        200 * fresh.label.mean() * 10_000
    )
    assert "champion_precision" not in found.figures
    assert f"precision {precision:.2f} against none" in found.reason


@settings(max_examples=12)
@given(pair=st.permutations(range(4)), seed=st.integers(0, 99))
def test_two_models_never_replace_each_other_and_the_order_of_rows_decides_nothing(
    bundles: dict[str, ModelBundle], guesser: ModelBundle, fresh: Dataset,
    pair: Sequence[int], seed: int,
) -> None:  # fmt: skip
    one, two = ([*bundles.values(), guesser][i] for i in pair[:2])
    rows = _some(fresh, seed)

    verdict = gate(one, two, rows)

    assert not (verdict.promote and gate(two, one, rows).promote)
    figures = verdict.figures
    assert figures["low"] <= figures["difference"] <= figures["high"]
    assert verdict.promote == (figures["low"] > 0)
    mixed = rows.take(np.random.default_rng(seed).permutation(len(rows)))
    again = gate(one, two, mixed)
    assert (again.promote, again.reason) == (verdict.promote, verdict.reason)


def test_copies_of_rows_make_nobody_surer(bundles: dict[str, ModelBundle], fresh: Dataset) -> None:
    for one, two in combinations(bundles.values(), 2):
        once, often = (gate(one, two, rows).figures for rows in (fresh, _again(fresh, 5)))

        assert often["rows"] == 5 * once["rows"]
        for end in ("low", "difference", "high"):
            assert often[end] == pytest.approx(once[end])


def test_copies_of_too_few_frauds_are_still_too_few(
    bundle: ModelBundle, guesser: ModelBundle, fresh: Dataset
) -> None:
    frauds, others = np.flatnonzero(fresh.label == 1), np.flatnonzero(fresh.label == 0)
    rows = fresh.take(np.concatenate([others, np.tile(frauds[:3], 30)]))
    alone = len(np.unique(row_identities(fresh)[frauds[:3]]))

    verdict = gate(bundle, guesser, rows)

    assert not verdict.promote
    assert f"hold 90 frauds ({alone} without copies), at least 20" in verdict.reason


def test_too_few_fresh_frauds_promote_nobody(
    bundle: ModelBundle, guesser: ModelBundle, fresh: Dataset
) -> None:
    others = np.flatnonzero(fresh.label == 0)
    _, first = np.unique(row_identities(fresh), return_index=True)
    frauds = np.intersect1d(first, np.flatnonzero(fresh.label == 1))  # no copies among them
    few = np.concatenate([others, frauds[: ENOUGH_FRAUDS - 1]])

    for rows, count in ((few, ENOUGH_FRAUDS - 1), (frauds, len(frauds)), (few[:0], 0)):
        verdict = gate(bundle, guesser, fresh.take(rows))
        assert not verdict.promote
        assert verdict.reason.startswith(f"not compared: {len(rows):,} rows ")
        assert f"hold {count} frauds, at least" in verdict.reason
        assert verdict.figures == {"rows": len(rows), "frauds": count}
    assert gate(bundle, guesser, fresh.take(np.append(few, frauds[-1]))).promote


def test_what_is_asked_for_is_done_and_the_comparison_recorded_all_the_same(
    bundle: ModelBundle, guesser: ModelBundle, fresh: Dataset
) -> None:
    few = fresh.take(np.flatnonzero(fresh.label == 0))

    for rows in (fresh, few):
        for one, two in ((bundle, guesser), (guesser, bundle)):
            told = gate(one, two, rows)
            for promote, done in (("never", False), ("always", True)):
                verdict = gate(one, two, rows, promote=promote)  # type: ignore[arg-type]
                assert verdict.promote is done
                assert verdict.reason == f"promote {promote} was asked for; {told.reason}"
                assert verdict.figures == told.figures


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


class Overtaken(Tracking):
    """A store in which somebody else publishes while our version is being registered."""

    meanwhile: Any = None

    def register(self, run_id: str, model: str, bundle: ModelBundle) -> Version:
        version = super().register(run_id, model, bundle)
        if self.meanwhile:
            theirs, self.meanwhile = self.meanwhile, None
            theirs()
        return version


@pytest.mark.slow
def test_of_two_first_versions_at_the_same_moment_one_has_to_beat_the_other(
    bundle: ModelBundle, guesser: ModelBundle, dataset: Dataset, parts: Split, report: Audit,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("FRAUDRAY_HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    tracking, material = Overtaken(), Audited(dataset, parts, report)

    def publish_one(model: ModelBundle) -> Any:
        with tracking.run("race", "run") as run:
            return publish(tracking, run, "fraudray-race", model, material)

    tracking.meanwhile = lambda: publish_one(bundle)
    late = publish_one(guesser)

    champion = tracking.champion("fraudray-race")
    assert not late.version.champion
    assert late.verdict.reason.startswith("not compared")  # the test rows hold too few frauds
    assert champion is not None
    assert champion.tags["decision"] == "no champion before it"
    noted = tracking.version("fraudray-race", late.version.version).tags
    assert noted["decision"] == late.verdict.reason
    assert float(noted["gate.frauds"]) == late.verdict.figures["frauds"]


class Cut(Tracking):
    """A store whose user dies when it is about to promote, or has just done so."""

    at: str = ""

    def promote(self, model: str, version: str, reason: str) -> Version:
        if self.at == "before":
            raise KeyboardInterrupt
        done = super().promote(model, version, reason)
        if self.at == "after":
            raise KeyboardInterrupt
        return done


@pytest.mark.slow
@pytest.mark.parametrize("at", ["before", "after"])
def test_who_dies_while_promoting_promotes_when_it_goes_on_and_registers_once(
    at: str, bundle: ModelBundle, dataset: Dataset, parts: Split, report: Audit, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("FRAUDRAY_HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    tracking, material = Cut(), Audited(dataset, parts, report)
    run = tracking.start(tracking.experiment("cut"), "run")
    tracking.at = at
    with pytest.raises(KeyboardInterrupt):
        publish(tracking, run, "fraudray-cut", bundle, material)
    tracking.at = ""

    published = publish(tracking, run, "fraudray-cut", bundle, material)

    (version,) = tracking.versions("fraudray-cut")
    assert version.champion
    assert published.verdict.promote
    assert version.tags["decision"] == published.verdict.reason == "no champion before it"
