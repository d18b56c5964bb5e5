"""The honest evaluation shows what it says it shows, and its page names only what is there."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from training.data import Dataset, check
from training.errors import DataRefused
from training.simulate import simulate
from training.spec import DatasetSpec

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs" / "honest-evaluation.md", ROOT / "docs" / "results" / "scoring.md"]
NAMES = ("honest_evaluation", "procedures", "original", "page")


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, Any]]:
    """The benchmarks' modules; they are scripts and find each other beside themselves."""
    folder = str(ROOT / "benchmarks")
    sys.path.insert(0, folder)
    yield {name: import_module(name) for name in NAMES}
    sys.path.remove(folder)


@pytest.fixture(scope="module")
def procedures(scripts: dict[str, Any]) -> ModuleType:
    return scripts["procedures"]


@pytest.fixture(scope="module")
def page(scripts: dict[str, Any]) -> ModuleType:
    return scripts["page"]


@pytest.fixture(scope="module")
def payments_(spec: DatasetSpec) -> Dataset:
    return check(simulate(8_000, seed=5), spec, source="payments")


@pytest.fixture(scope="module")
def outcomes(procedures: ModuleType, payments_: Dataset) -> dict[str, Any]:
    found = procedures.run(payments_, "logistic-regression", seed=5)
    return {o.procedure.name: o for o in found}


def test_every_procedure_is_followed_and_measured_on_the_same_later_payments(
    procedures: ModuleType, payments_: Dataset, outcomes: dict[str, Any]
) -> None:
    _, later = procedures.present_and_later(payments_)

    assert list(outcomes) == [p.name for p in procedures.PROCEDURES]
    for outcome in outcomes.values():
        assert (outcome.delivered.rows, outcome.delivered.frauds) == (len(later), later.label.sum())


def test_the_later_payments_come_after_all_others(
    procedures: ModuleType, payments_: Dataset
) -> None:
    present, later = procedures.present_and_later(payments_)

    assert len(present) + len(later) == len(payments_)
    assert len(later) == round(0.15 * len(payments_))
    assert present.timestamp.max() < later.timestamp.min()


def test_the_honest_claim_is_at_natural_prevalence(outcomes: dict[str, Any]) -> None:
    claim = outcomes["honest"].claim

    assert 0 < claim.frauds / claim.rows < 0.03


@pytest.mark.parametrize("name", ["SMOTE before the split", "all three leaks"])
def test_smote_before_the_split_claims_far_more_than_it_delivers(
    name: str, outcomes: dict[str, Any]
) -> None:
    outcome = outcomes[name]

    assert outcome.claim.frauds / outcome.claim.rows > 0.4
    assert outcome.claim.precision > outcome.delivered.precision + 0.3
    assert outcome.claim.pr_auc > outcome.delivered.pr_auc + 0.2


def test_a_threshold_on_training_rows_claims_far_more_than_it_delivers(
    outcomes: dict[str, Any],
) -> None:
    honest, leaky = outcomes["honest"], outcomes["threshold on training rows"]

    assert leaky.claim.f1 > leaky.delivered.f1 + 0.3
    assert leaky.threshold != honest.threshold
    # One difference at a time: the model is the same, so is what it ranks.
    assert leaky.claim.pr_auc == honest.claim.pr_auc
    assert leaky.delivered.pr_auc == honest.delivered.pr_auc


def test_without_timestamps_there_is_nothing_later(
    procedures: ModuleType, undated: Dataset
) -> None:
    with pytest.raises(DataRefused, match="needs a timestamp"):
        procedures.present_and_later(undated)


_scored = st.lists(st.tuples(st.booleans(), st.integers(0, 8)), min_size=2, max_size=30).filter(
    lambda rows: any(label for label, _ in rows)
)


@given(rows=_scored)
def test_no_other_threshold_has_a_higher_f1(
    procedures: ModuleType, rows: list[tuple[bool, int]]
) -> None:
    label = np.array([label for label, _ in rows], np.int8)
    score = np.array([value for _, value in rows]) / 8

    threshold = procedures.best_threshold(label, score)

    best = max(f1_score(label, score >= t, zero_division=0) for t in np.unique(score))
    figures = procedures.Figures.of(label, score, threshold)
    assert figures.f1 == pytest.approx(best)
    assert figures.f1 == pytest.approx(f1_score(label, score >= threshold, zero_division=0))
    assert figures.accuracy == pytest.approx(np.mean((score >= threshold) == label))


def test_the_command_writes_the_page_and_leaves_the_rest(
    scripts: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "page.md"
    frame = "# Ours\n\n<!-- {0}: begin -->\n{1}<!-- {0}: end -->\nafter\n"
    target.write_text(
        frame.format("simulated", "stale\n") + frame.format("real", "kept\n"), "utf-8"
    )
    arguments = ["--rows", "4000", "--seeds", "1", "--family", "logistic-regression",
                 "--real", str(tmp_path / "none.csv"), "--page", str(target)]  # fmt: skip

    scripts["honest_evaluation"].main(arguments)

    text, printed = target.read_text("utf-8"), capsys.readouterr()
    assert text.count("# Ours") == text.count("\nafter\n") == 2
    assert "stale" not in text
    assert frame.format("real", "kept\n") in text
    assert "its table stays as it was" in printed.err
    assert text.split("<!-- simulated: begin -->\n")[1].split("\n<!--")[0] in printed.out
    assert re.search(r"alert on nothing \| 0\.9[89]", text)


@given(before=st.text(max_size=20), old=st.text(max_size=20), block=st.text(max_size=20))
def test_a_block_is_replaced_and_replacing_it_again_changes_nothing(
    page: ModuleType, before: str, old: str, block: str
) -> None:
    text = f"{before}<!-- x: begin -->{old}<!-- x: end -->after"

    once = page.with_block(text, "x", block)

    assert once == f"{before}<!-- x: begin -->\n{block.strip()}\n<!-- x: end -->after"
    assert page.with_block(once, "x", block) == once


@pytest.mark.parametrize(
    "text",
    ["", "<!-- x: begin -->", "<!-- x: end --><!-- x: begin -->",
     "<!-- x: begin --><!-- x: begin --><!-- x: end -->",
     "<!-- x: begin --><!-- x: end --><!-- x: end -->"],
)  # fmt: skip
def test_a_page_without_its_markers_is_left_alone(page: ModuleType, text: str) -> None:
    with pytest.raises(page.MarkerMissing, match="x: begin"):
        page.with_block(text, "x", "new")


def test_the_original_meets_its_claim_only_on_its_own_rows(
    scripts: dict[str, Any], shared_data: Path
) -> None:
    original = scripts["original"]

    model = original.rebuild(original.read(shared_data / "payment_fraud.csv"), seed=0)

    assert model.fitted.precision == pytest.approx(original.PRECISION, abs=0.01)
    assert model.fitted.recall == pytest.approx(original.RECALL, abs=0.01)
    assert model.test.precision < 0.3
    assert model.test.recall > 0.9
    assert model.other_day.found == 0
    assert model.same_day == model.test
    assert 0.3 < model.any_day.recall < 0.7


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_the_page_names_only_what_there_is(path: Path) -> None:
    text = path.read_text("utf-8")
    quoted = re.findall(r"`([^`\n]+)`", text)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    files = [q for q in quoted if re.fullmatch(r"[\w./-]+\.(py|md|csv)", q)]
    scripts_named = {w for q in quoted for w in q.split() if w.startswith("benchmarks/")}

    for command in (q for q in quoted if q.startswith("make ")):
        assert command.split()[1] in targets, command
    for name in {*files, *scripts_named}:
        assert (ROOT / name).exists(), name
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert (path.parent / link).exists(), link
    for option in {w for q in quoted for w in q.split() if w.startswith("--")}:
        assert any(
            f'"{option}"' in (ROOT / s).read_text("utf-8")
            for s in ("benchmarks/honest_evaluation.py", "benchmarks/bench_scoring.py")
        ), option


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_every_block_of_a_page_has_its_place(path: Path, page: ModuleType) -> None:
    text = path.read_text("utf-8")
    names = re.findall(r"<!-- ([\w-]+): begin -->", text)

    assert names
    for name in names:
        assert "new" in page.with_block(text, name, "new")
