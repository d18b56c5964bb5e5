"""Calibration brings scores to natural prevalence and never changes their order."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from training.audit import Audit
from training.calibrate import (
    LEAST_FRAUDS,
    Calibration,
    Isotonic,
    Learn,
    Sigmoid,
    calibrate,
    cross_fitted,
    from_dict,
    to_dict,
)
from training.data import Dataset
from training.errors import FraudrayError
from training.features import FeatureEngineering
from training.fit import Recipe, fit_model
from training.models import FAMILIES
from training.reliability import expected_calibration_error
from training.split import split

Rows = tuple[NDArray[np.int8], NDArray[np.float64]]

LEARN: dict[str, Learn] = {
    "prior": lambda _label, _score: Sigmoid.prior(-4.6),
    "platt": Sigmoid.fit,
    "isotonic": Isotonic.fit,
}


@st.composite
def scored_rows(draw: st.DrawFn) -> Rows:
    score = st.floats(0, 1) | st.sampled_from([0.0, 1.0, 5e-324, 0.5, 0.5 + 1e-9, 0.5 + 2**-52])
    rows = draw(st.lists(st.tuples(st.booleans(), score), min_size=2, max_size=60))
    label = np.array([fraud for fraud, _ in rows], np.int8)
    label[:2] = [0, 1]
    return label, np.array([s for _, s in rows])


def _sigmoid(z: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-z))


def _calibrated_rows(count: int, *, prevalence: float, seed: int) -> Rows:
    """Labels drawn from a density of two Gaussians, and each row's true probability of fraud."""
    generator = np.random.default_rng(seed)
    label = (generator.random(count) < prevalence).astype(np.int8)
    x = generator.normal(label * 2.0, 1.0)
    return label, _sigmoid(2 * x - 2 + np.log(prevalence / (1 - prevalence)))


def _brier(label: NDArray[np.int8], probability: NDArray[np.float64]) -> float:
    return float(np.mean((probability - label) ** 2))


@pytest.mark.parametrize("kind", LEARN)
@given(rows=scored_rows())
@example(rows=(np.array([0, 1], np.int8), np.array([0.5, 0.5])))
@example(rows=(np.array([0, 1, 0, 1], np.int8), np.array([1.0, 0.0, 1.0, 0.0])))
@example(rows=(np.array([0, 1, 0, 1], np.int8), np.array([0.5, 0.5, 0.25, 0.25])))
def test_a_higher_score_never_gets_a_lower_probability(kind: str, rows: Rows) -> None:
    calibration = LEARN[kind](*rows)
    near = np.concatenate([np.nextafter(rows[1], 0), rows[1], np.nextafter(rows[1], 1)])
    grid = np.sort(np.concatenate([np.linspace(0, 1, 200), near]))

    probability = calibration.probability(grid)

    assert (np.diff(probability) >= 0).all()
    assert 0 < probability[0] < probability[-1] < 1


@given(rows=scored_rows())
def test_scores_a_32_bit_step_apart_keep_apart_on_an_isotonic_curve(rows: Rows) -> None:
    grid = np.linspace(0, 1, 400, dtype=np.float32)
    pairs = np.stack([grid[1:-1], np.nextafter(grid[1:-1], np.float32(1))]).astype(np.float64)

    low, high = Isotonic.fit(*rows).probability(pairs)

    assert (low < high).all()


@pytest.mark.parametrize(("slope", "offset"), [(1e-3, 300.0), (400.0, -9.0), (1.0, -800.0)])
def test_no_slope_or_offset_leads_out_of_the_open_interval(slope: float, offset: float) -> None:
    probability = Sigmoid("platt", slope, offset).probability(np.linspace(0, 1, 50))

    assert (probability > 0).all()
    assert (probability < 1).all()
    assert (np.diff(probability) >= 0).all()


@given(shift=st.floats(-12, 12), score=st.floats(0.001, 0.999))
def test_the_prior_correction_shifts_the_log_odds(shift: float, score: float) -> None:
    expected = _sigmoid(np.log(score / (1 - score)) + shift)

    probability = Sigmoid.prior(shift).probability(np.array([score]))[0]

    assert probability == pytest.approx(expected, rel=2e-4)


@given(rows=scored_rows())
def test_the_mean_probability_is_the_base_rate_give_or_take_the_smoothing(rows: Rows) -> None:
    label, score = rows
    frauds, legitimate = int(label.sum()), int((label == 0).sum())
    smoothed = frauds * (frauds + 1) / (frauds + 2) + legitimate / (legitimate + 2)

    for learn in (Sigmoid.fit, Isotonic.fit):
        mean = learn(label, score).probability(score).mean()
        assert mean == pytest.approx(smoothed / len(label), abs=0.02)


def test_scores_that_separate_the_classes_get_finite_sensible_numbers() -> None:
    label = np.repeat([0, 1], [990, 10]).astype(np.int8)

    for learn in (Sigmoid.fit, Isotonic.fit):
        low, high = learn(label, label.astype(float)).probability(np.array([0.0, 1.0]))
        assert 0 < low < 0.01
        assert 0.9 < high < 1


def test_scores_worse_than_chance_keep_their_order_and_say_the_base_rate() -> None:
    label = np.repeat([0, 1], [90, 10]).astype(np.int8)

    for learn in (Sigmoid.fit, Isotonic.fit):
        probability = learn(label, 1 - label * 0.9).probability(np.array([0.1, 0.5, 0.9]))
        assert (np.diff(probability) > 0).all()
        assert probability == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("kind", LEARN)
@given(rows=scored_rows())
def test_json_gives_back_an_equal_calibration(kind: str, rows: Rows) -> None:
    calibration = LEARN[kind](*rows)

    again = from_dict(json.loads(json.dumps(to_dict(calibration), allow_nan=False)))

    assert again == calibration
    assert again.kind == kind
    assert again.probability(rows[1]).tolist() == calibration.probability(rows[1]).tolist()


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"kind": "beta", "slope": 1.0, "offset": 0.0},
        {"kind": "platt", "slope": -1.0, "offset": 0.0},
        {"kind": "platt", "slope": 1.0, "offset": float("inf")},
        {"kind": "platt", "slope": 1.0},
        {"kind": "isotonic", "scores": [0.0, 1.0], "probabilities": [0.2, 0.2]},
        {"kind": "isotonic", "scores": [0.0, 1.0], "probabilities": [0.0, 0.2]},
        {"kind": "isotonic", "scores": [0.0, 1.0], "probabilities": [0.1, 1.0]},
        {"kind": "isotonic", "scores": [0.0, 0.9], "probabilities": [0.1, 0.2]},
        {"kind": "isotonic", "scores": [0.0, 0.5, 1.0], "probabilities": [0.1, 0.2]},
        {"kind": "isotonic", "scores": [], "probabilities": []},
    ],
)
def test_what_is_no_rising_calibration_is_not_read(content: dict[str, object]) -> None:
    with pytest.raises(FraudrayError, match="calibration: "):
        from_dict(content)


@pytest.mark.parametrize("kind", ["platt", "isotonic"])
def test_a_row_s_cross_fitted_probability_owes_nothing_to_its_own_label(kind: str) -> None:
    label, score = _calibrated_rows(300, prevalence=0.3, seed=4)
    fold = np.arange(300) % 5
    before = cross_fitted(label, score, fold, LEARN[kind])

    for row in (0, 17, 123):
        flipped = label.copy()
        flipped[row] = 1 - label[row]
        after = cross_fitted(flipped, score, fold, LEARN[kind])
        same_fold = fold == fold[row]
        assert after[same_fold].tolist() == before[same_fold].tolist()
        assert (after[~same_fold] != before[~same_fold]).any()


def test_the_choice_is_judged_on_rows_held_out() -> None:
    # Pure noise: a curve that saw its own labels would look better than one that did not.
    generator = np.random.default_rng(0)
    label = (generator.random(400) < 0.3).astype(np.int8)
    score = generator.random(400)

    found = calibrate(label, score, prior_shift=0.0)

    own = Isotonic.fit(label, score).probability(score)
    assert _brier(label, own) < found.report.candidates["isotonic"]["brier"]
    assert found.report.method == "platt"


def test_prior_wins_where_resampling_is_all_that_is_wrong() -> None:
    prevalence = 0.01
    label, probability = _calibrated_rows(20_000, prevalence=prevalence, seed=1)
    shift = float(np.log(prevalence / (1 - prevalence)))  # fitted on as many frauds as others
    score = _sigmoid(np.log(probability / (1 - probability)) - shift)
    assert score.mean() > 10 * prevalence

    found = calibrate(label, score, prior_shift=shift)

    corrected = Sigmoid.prior(shift).probability(score)
    assert corrected == pytest.approx(probability, rel=0.01)
    assert corrected.mean() == pytest.approx(prevalence, rel=0.15)
    least = min(c["brier"] for c in found.report.candidates.values())
    assert found.report.candidates["prior"]["brier"] <= 1.005 * least
    assert found.report.after["brier"] < found.report.before["brier"] / 5


def test_isotonic_wins_on_a_bent_curve_with_many_rows() -> None:
    generator = np.random.default_rng(2)
    score = generator.random(20_000)
    steps = np.select([score < 0.3, score < 0.6, score < 0.8], [0.02, 0.25, 0.3], 0.9)
    label = (generator.random(20_000) < steps).astype(np.int8)

    found = calibrate(label, score, prior_shift=0.0)

    assert found.report.method == found.calibration.kind == "isotonic"
    assert found.calibration.probability(np.array([0.15, 0.45, 0.9])) == pytest.approx(
        [0.02, 0.25, 0.9], abs=0.02
    )
    assert found.report.after["ece"] < 0.02 < found.report.candidates["platt"]["ece"]


def test_of_equally_good_calibrations_the_simplest_wins() -> None:
    label = np.tile([0, 1], 500).astype(np.int8)

    found = calibrate(label, np.full(1000, 0.5), prior_shift=0.0)

    briers = [c["brier"] for c in found.report.candidates.values()]
    assert briers == pytest.approx([0.25] * 3, abs=1e-12)
    assert found.calibration == Sigmoid.prior(0.0)


@pytest.mark.parametrize(
    ("frauds", "legitimate", "kinds"),
    [
        (0, 50, ["prior"]), (1, 50, ["prior"]), (50, 1, ["prior"]), (50, 0, ["prior"]),
        (2, 50, ["prior", "platt"]), (50, 2, ["prior", "platt"]),
        (LEAST_FRAUDS + 7, 500, ["prior", "platt"]),
        (LEAST_FRAUDS + 8, 500, ["prior", "platt", "isotonic"]),
    ],
)  # fmt: skip
def test_what_takes_part_depends_on_the_rows_there_are_to_learn_from(
    frauds: int, legitimate: int, kinds: list[str]
) -> None:
    label = np.repeat([1, 0], [frauds, legitimate]).astype(np.int8)
    score = np.random.default_rng(5).random(len(label))

    found = calibrate(label, score, prior_shift=-1.0)

    # 50 frauds of 52 rows leave 25 to fit on.
    assert list(found.report.candidates) == kinds
    json.dumps(found.report.to_dict(), allow_nan=False)


def _twins(copies: int) -> tuple[NDArray[np.int8], NDArray[np.float64], NDArray[np.uint64]]:
    """Rows that Platt scaling is right for, each `copies` times, and which of them are twins."""
    label, probability = _calibrated_rows(600, prevalence=0.2, seed=13)
    score = _sigmoid(np.log(probability / (1 - probability)) / 2)
    group = np.random.default_rng(13).integers(2**63, 2**64 - 1, len(label), np.uint64)
    return np.tile(label, copies), np.tile(score, copies), np.tile(group, copies)


def test_twins_are_no_reason_to_believe_a_curve_that_has_seen_them() -> None:
    once = calibrate(*_twins(1)[:2], prior_shift=0.0)
    label, score, group = _twins(3)

    apart = calibrate(label, score, prior_shift=0.0)
    together = calibrate(label, score, prior_shift=0.0, groups=group)

    assert apart.report.method == "isotonic"  # it knows the answers by heart
    assert together.report.method == once.report.method == "platt"
    for kind, measured in together.report.candidates.items():
        assert measured["brier"] == pytest.approx(once.report.candidates[kind]["brier"], rel=0.01)


def test_rows_of_a_group_are_judged_by_one_calibration_even_if_their_labels_differ() -> None:
    _, score, group = _twins(4)
    label = (np.random.default_rng(9).random(len(score)) < score**2).astype(np.int8)

    apart = calibrate(label, score, prior_shift=0.0)
    together = calibrate(label, score, prior_shift=0.0, groups=group)

    def most_said_of_a_group(probability: NDArray[np.float64]) -> int:
        return max(len(set(probability[group == one].tolist())) for one in np.unique(group))

    assert apart.report.method == together.report.method == "platt"
    assert most_said_of_a_group(apart.cross_fitted) > 1
    assert most_said_of_a_group(together.cross_fitted) == 1


@given(rows=scored_rows(), seed=st.integers(0, 5))
def test_groups_of_one_row_each_change_nothing(rows: Rows, seed: int) -> None:
    group = np.random.default_rng(seed).permutation(len(rows[0])).astype(np.uint64) << np.uint64(58)

    plain = calibrate(*rows, prior_shift=0.5, seed=seed)
    grouped = calibrate(*rows, prior_shift=0.5, seed=seed, groups=group)

    assert grouped == plain
    assert grouped.cross_fitted.tolist() == plain.cross_fitted.tolist()


@pytest.mark.parametrize(
    ("frauds", "legitimate", "kinds"),
    [
        (1, 50, ["prior"]), (50, 1, ["prior"]), (2, 2, ["prior", "platt"]),
        (LEAST_FRAUDS + 7, 500, ["prior", "platt"]),
        (LEAST_FRAUDS + 8, 500, ["prior", "platt", "isotonic"]),
    ],
)  # fmt: skip
def test_copies_do_not_count_as_further_frauds(
    frauds: int, legitimate: int, kinds: list[str]
) -> None:
    label = np.tile(np.repeat([1, 0], [frauds, legitimate]).astype(np.int8), 3)
    score = np.tile(np.random.default_rng(5).random(frauds + legitimate), 3)
    group = np.tile(np.arange(frauds + legitimate), 3)

    found = calibrate(label, score, prior_shift=-1.0, groups=group)

    assert list(found.report.candidates) == kinds


def test_the_cross_fitted_probabilities_are_those_the_choice_was_measured_with() -> None:
    generator = np.random.default_rng(12)
    score = generator.random(1000)
    label = (generator.random(1000) < np.where(score < 0.5, 0.1, 0.6)).astype(np.int8)

    found = calibrate(label, score, prior_shift=0.0)

    assert found.report.method == "isotonic"
    assert _brier(label, found.cross_fitted) == found.report.after["brier"]
    assert _brier(label, found.calibration.probability(score)) < found.report.after["brier"]


def test_the_same_seed_gives_the_same_report() -> None:
    label, score = _calibrated_rows(2_000, prevalence=0.1, seed=6)

    first, again, other = (calibrate(label, score, prior_shift=0.0, seed=s) for s in (3, 3, 4))

    assert first == again
    assert first.report.candidates["platt"] != other.report.candidates["platt"]


def test_calibration_error_is_the_distance_of_the_bins() -> None:
    label = np.array([0, 0, 0, 1, 1, 1, 1, 0], np.int8)
    probability = np.array([0.1, 0.1, 0.1, 0.1, 0.8, 0.8, 0.8, 0.8])

    assert expected_calibration_error(label, probability, bins=2) == pytest.approx(0.1)
    assert expected_calibration_error(label, label.astype(float)) == 0.0


@given(rows=scored_rows(), seed=st.integers(0, 5))
def test_ties_are_never_split_and_every_row_is_in_one_bin(rows: Rows, seed: int) -> None:
    label, score = rows
    bins = calibrate(label, score, prior_shift=0.0, seed=seed).report.reliability["before"]

    assert sum(b["rows"] for b in bins) == len(label)
    assert sum(b["frauds"] for b in bins) == label.sum()
    ordered, start = np.sort(score), 0
    for b in bins:
        end = start + int(b["rows"])
        assert b["mean_predicted"] == pytest.approx(ordered[start:end].mean())
        assert b["observed"] == pytest.approx(b["frauds"] / b["rows"])
        assert end == len(label) or ordered[end - 1] < ordered[end]
        start = end
    shuffled = np.random.default_rng(seed).permutation(len(label))
    assert expected_calibration_error(label[shuffled], score[shuffled]) == pytest.approx(
        expected_calibration_error(label, score)
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_probabilities_come_back_to_the_base_rate_after_smote(
    family: str, dataset: Dataset, report: Audit, recipe: Callable[..., Recipe]
) -> None:
    parts = split(dataset)
    train_rows, rest = dataset.take(parts.train), dataset.take(parts.validation)
    features = FeatureEngineering(dataset.spec, exclude=report.excluded).fit(train_rows.columns)
    model, shift = fit_model(
        features.transform(train_rows.columns), train_rows.label, recipe(family, smote=1.0)
    )
    score = model.probability(features.transform(rest.columns))
    natural = train_rows.label.mean()
    # SMOTE at 1: as many frauds as others.
    assert shift == pytest.approx(np.log(natural / (1 - natural)))

    found = calibrate(rest.label, score, prior_shift=shift)

    probability = found.calibration.probability(score)
    base_rate = rest.label.mean()
    assert score.mean() > 2 * base_rate  # what resampling does to raw scores
    learned = Sigmoid.fit(rest.label, score).probability(score)
    assert learned.mean() == pytest.approx(base_rate, rel=0.3)
    # On these few frauds the Brier score may favour the prior shift, which learns no base rate.
    assert abs(probability.mean() - base_rate) < abs(score.mean() - base_rate) / 2
    assert found.report.after["brier"] < found.report.before["brier"] / 1.5
    assert found.report.after["ece"] < found.report.before["ece"]
    order = np.argsort(score, kind="stable")
    assert (np.diff(probability[order]) >= 0).all()


def test_a_calibration_says_which_one_it_is() -> None:
    found: list[Calibration] = [learn(*_calibrated_rows(200, prevalence=0.4, seed=8))
                                for learn in LEARN.values()]  # fmt: skip

    assert [calibration.kind for calibration in found] == list(LEARN)
