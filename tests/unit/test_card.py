"""A card says what the bundle knows, in both forms, and the data cannot break out of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest

from training import card
from training.data import Dataset
from training.evaluate import baselines, evaluate
from training.spec import DatasetSpec
from training.split import split
from training.threshold import Choice, Curve, Policy, missed_costs

ERRORS = {"brier": 0.01234, "ece": 0.002, "log_loss": 0.03}


@dataclass(frozen=True)
class Content:
    card: dict[str, Any]
    choice: Choice
    curve: pd.DataFrame
    spec: DatasetSpec
    evaluation: dict[str, Any]


@pytest.fixture(scope="module")
def content(dataset: Dataset) -> Content:
    """A card's content of a score that knows the label, and some noise."""
    parts = split(dataset)
    train, validation, test = (dataset.take(rows) for _, rows in parts.items())
    rng = np.random.default_rng(0)
    score = [
        np.clip(rng.beta(1, 30, len(d)) + 0.4 * d.label * rng.random(len(d)), 0.001, 0.999)
        for d in (validation, test)
    ]
    policy, costs = Policy.parse("min-cost"), dataset.spec.costs
    given = [
        {"missed": missed_costs(costs, d.columns, len(d)), "alarm": costs.false_alarm}
        for d in (validation, test)
    ]
    curve = Curve.of(validation.label, score[0], **given[0])  # type: ignore[arg-type]
    choice = policy.choose(curve)
    tested = evaluate(test, score[1], choice.threshold, **given[1]).to_dict()  # type: ignore[arg-type]
    compared = baselines(train, validation, test, policy)
    bins = [{"mean_predicted": 0.1, "observed": 0.0, "rows": 50, "frauds": 0}]
    return Content(
        card={
            "family": "xgboost",
            "params": {"max_depth": 4},
            "smote": 0.1,
            "fraud_weight": 3.0,
            "seed": 1,
            "spec": "payments",
            "source": "payments.csv",
            "fingerprint": "0123456789abcdef",
            "made": "2026-07-01",
            "split": {"method": "time", "gap_days": 7.0, "fingerprint": "fedcba9876543210"},
            "parts": {"train": {"rows": 4_200, "frauds": 43}, "test": {"rows": 900, "frauds": 9}},
            "excluded": ["isWeekend"],
            "findings": [
                {"severity": "error", "code": "missingness-tells", "column": "isWeekend",
                 "message": "isWeekend is missing exactly on the frauds"},
                {"severity": "note", "code": "columns-absent", "column": None,
                 "message": "The file lacks amount"},
            ],
            "metrics": {"validation": tested["metrics"], "test": tested["metrics"]},
            "packages": {"numpy": "2.4.0"},
        },
        choice=choice,
        curve=curve.frame(),
        spec=dataset.spec,
        evaluation={
            "test": tested,
            "baselines": compared,
            "without": {"columns": ["numItems"], "metrics": compared["alert on none"]},
            "calibration": {
                "method": "platt", "candidates": {"prior": ERRORS, "platt": ERRORS},
                "before": ERRORS, "after": ERRORS,
                "reliability": {"before": bins, "after": bins},
            },
            "importance": {"numItems": 3.0, "amount": 1.0},
        },
    )  # fmt: skip


class Page(HTMLParser):
    """Text, pictures and elements that were left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.pictures, self.open = "", [], []  # type: ignore[var-annotated]
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.pictures.append(dict(attrs))
        elif tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


def joined(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="module")
def page(content: Content) -> Page:
    return Page(card.html(content))


def test_both_forms_say_the_same_numbers(content: Content, page: Page) -> None:
    metrics, choice = content.evaluation["test"]["metrics"], content.choice
    low, high = content.evaluation["test"]["intervals"]["pr_auc"]
    alerts = metrics["true_positives"] + metrics["false_positives"]
    assert page.open == []
    for text in (joined(card.markdown(content)), joined(page.text)):
        for wanted in (
            f"it found {metrics['true_positives']} of {metrics['frauds']} frauds",
            f"{metrics['true_positives']} of {alerts} alerts are frauds",
            f"{metrics['pr_auc']:.3f}", f"{low:.3f} to {high:.3f}",
            f"at least {choice.threshold:.4g}", "the lowest cost on the validation rows (min-cost)",
            f"{choice.alerts_per_10000:,.1f} of 10,000 payments were alerts",
            "costs the amount of the payment (100 where that is missing)", "5 (EUR)",
            "alert on none", "alert on all", "best single column: ",
            "numItems separates the classes alone", "the same without numItems",
            "0123456789abcdef", "fedcba9876543210", "7 days left out", "4,200",
            "SMOTE to 0.1", "3 times a legitimate row's", "isWeekend is missing exactly",
            "platt (chosen)", "0.01234", "75.0 %", "fraudPattern", "account-takeover",
            "1 error, 0 warnings, 1 note", "numpy", "2.4.0",
            "Only", "frauds are in the test rows",
        ):  # fmt: skip
            assert wanted in text, wanted
        # Accuracy stands beside what alerting on nothing has.
        assert text.count("Accuracy") == 1
        assert re.search(r"Accuracy.{0,40}says little: without any alert it is 0\.9", text)


def test_pictures_are_inside_and_say_what_they_show(page: Page) -> None:
    assert len(page.pictures) == 7
    assert all(p["src"].startswith("data:image/svg+xml;base64,") for p in page.pictures)
    assert all(len(p["alt"]) > 20 for p in page.pictures)


def test_names_from_the_data_cannot_break_out(content: Content) -> None:
    wild = "<script>alert(1)</script> | a*b`c"
    slices = [s | {"value": wild} for s in content.evaluation["test"]["slices"]]
    evil = replace(
        content,
        card=content.card | {"source": wild},
        evaluation=content.evaluation
        | {"test": content.evaluation["test"] | {"slices": slices}, "importance": {wild: 1.0}},
    )

    text, page = card.markdown(evil), Page(card.html(evil))

    assert "<script" not in text
    assert "script" not in page.open
    assert wild in page.text
    heads = re.findall(r"^\| .* \|$\n\|[ :|-]*\|$", text, re.MULTILINE)
    assert len(heads) >= 7
    for line in text.splitlines():
        if line.startswith("|") and r"a\*b" in line and "amount" in line:
            assert len(re.findall(r"(?<!\\)\|", line)) == 10  # nine columns still


@pytest.mark.parametrize("begin", ["# ", "## ", "> ", "- ", "+ ", "1. ", "12) ", "---", "#"])
def test_a_value_begins_no_heading_quote_or_list(content: Content, begin: str) -> None:
    wild = f"{begin}big"
    finding = {"severity": "error", "code": "x", "column": wild, "message": wild}

    text = card.markdown(
        replace(content, card=content.card | {"findings": [finding]},
                evaluation=content.evaluation | {"importance": {wild: 1.0}})
    )  # fmt: skip

    items = [line for line in text.splitlines() if "big" in line]
    assert len(items) == 2
    for line in items:
        assert not re.match(r"- ([#>]|[-+][\s-]|\d+[.)]\s)", line), line
        assert wild in line.replace("\\", "")
    assert "at least 0" in text  # digits stay as they are


def test_nothing_that_a_terminal_obeys_is_in_a_card(content: Content) -> None:
    wild = "a\x1b[31mb\x07c\u202ed\x9be\nf _g_ ~~h~~ &lt;i"
    finding = {"severity": "error", "code": "x", "column": "a", "message": wild}
    test = content.evaluation["test"]
    evil = replace(
        content,
        card=content.card | {"findings": [finding], "source": wild, "packages": {wild: "1"}},
        evaluation=content.evaluation
        | {"test": test | {"slices": [s | {"value": wild} for s in test["slices"]]},
           "importance": {wild: 1.0}},
    )  # fmt: skip

    text, page = card.markdown(evil), card.html(evil)

    assert all(c.isprintable() or c == "\n" for c in text + page)
    assert r"\x1b" in page
    shown = r"- a\\x1b\[31mb\\x07c\\u202ed\\x9be f \_g\_ \~\~h\~\~ &amp;lt;i."
    assert shown in text.splitlines()


def with_twins(content: Content, twins: Any) -> Content:
    test = content.evaluation["test"] | {"twins": twins}
    return replace(content, evaluation=content.evaluation | {"test": test})


def test_a_card_says_not_seen_only_where_it_is_so(content: Content) -> None:
    metrics = content.evaluation["test"]["metrics"]
    left = metrics | {"rows": metrics["rows"] - 34, "pr_auc": 0.1234, "frauds": 5,
                      "true_positives": 2}  # fmt: skip
    older = content.evaluation["test"].copy()
    del older["twins"]

    some, all_seen, none = (
        with_twins(content, {"rows": rows, "frauds": frauds, "metrics": without})
        for rows, frauds, without in ((34, 4, left), (metrics["rows"], 9, None), (0, 0, None))
    )
    unknown = replace(content, evaluation=content.evaluation | {"test": older})

    def both(content: Content) -> tuple[str, str]:
        return joined(card.markdown(content)), joined(Page(card.html(content)).text)

    for text in both(none):
        assert "payments that it had not seen, it found" in text
        assert "agree with a training or validation row" not in text
    for text in both(some):
        assert "not seen" not in text
        assert "payments, 34 of them like ones it was made from (4 of the " in text
        assert f"34 of the {metrics['rows']} test rows agree with a training or validation" in text
        assert "Without them it finds 2 of 5 frauds, and its PR-AUC is 0.123 instead of" in text
        assert f"on the {left['rows']} rows unlike any it was made from" in text
    for text in both(all_seen):
        assert "No row is left without them" in text
    for text in (*both(unknown), *both(with_twins(content, None))):
        assert "not seen" not in text
        assert "Nobody has looked for test rows" in text


def test_alerts_per_ten_thousand_are_those_there_were(content: Content) -> None:
    at = {"k": 50, "per": "10,000 payments", "rate": 51.0051, "alerts": 17, "true_positives": 3,
          "precision": 3 / 17, "recall": 1.0}  # fmt: skip
    day = at | {"per": "day", "rate": 49.0}

    def table(part: dict[str, Any]) -> str:
        test = content.evaluation["test"] | {"precision_at": [part]}
        return card.markdown(replace(content, evaluation=content.evaluation | {"test": test}))

    assert "| 51.01 | 17 | 3 |" in table(at)
    assert "| 50 | 17 | 3 |" in table(day)
    del at["rate"]  # a bundle made before there was one
    assert "| 50 | 17 | 3 |" in table(at)


def test_a_card_states_what_intervals_do_not_know(content: Content) -> None:
    text = joined(card.markdown(content))

    assert "copies of a payment count as one" in text
    assert "Intervals know only rows like these." in text


@pytest.mark.parametrize(
    "policy", ["max-f1", "max-fbeta=2", "recall>=0.9", "precision>=0.5", "alert-rate<=0.01",
               "min-cost=200:7", "threshold=0.5"],
)  # fmt: skip
def test_every_policy_is_told_in_words(content: Content, policy: str) -> None:
    text = joined(
        card.markdown(replace(content, choice=replace(content.choice, policy=policy, met=False)))
    )

    assert "none meets that, and this one comes nearest" in text
    assert f"No threshold meets the policy {policy} on validation" in text
    assert ("costs 200, an alert on a legitimate payment 7." in text) == (
        policy == "min-cost=200:7"
    )


def test_a_threshold_set_later_is_told_beside_the_one_that_was_measured(content: Content) -> None:
    later = replace(content, choice=replace(content.choice, threshold=0.987))

    assert "This threshold was set after the model was made" in joined(card.markdown(later))
    assert "was set after" not in joined(card.markdown(content))


def test_a_card_of_little_says_so(content: Content) -> None:
    """No times, no slices, one class in test, nothing found: still a card."""
    test = content.evaluation["test"]
    bare = test | {
        "slices": [], "over_time": [], "precision_at": [], "curve": {"recall": [], "precision": []},
        "intervals": dict.fromkeys(test["intervals"]),
        "metrics": test["metrics"]
        | dict.fromkeys(("pr_auc", "roc_auc", "precision", "recall", "mcc", "brier"))
        | {"cost_per_10000": 0.0, "frauds": 100},
    }  # fmt: skip
    none = replace(
        content,
        card=content.card | {"findings": [], "excluded": [], "smote": 0.0},
        evaluation=content.evaluation
        | {"test": bare, "without": None, "importance": {}, "baselines": {}},
    )
    page = Page(card.html(none))

    assert len(page.pictures) == 4
    for text in (joined(card.markdown(none)), joined(page.text)):
        assert "None was found, which is not the same as none." in text
        assert "Over time" not in text
        assert "separates the classes alone" not in text


def test_a_model_that_a_column_beats_is_said_to_be_weak(content: Content) -> None:
    name = next(n for n in content.evaluation["baselines"] if n.startswith("best"))
    best = content.evaluation["test"]["metrics"] | {"pr_auc": 0.999}
    beaten = replace(content, evaluation=content.evaluation | {"baselines": {name: best}},
                     card=content.card | {"split": {"method": "hash", "gap_days": 0.0,
                                                    "fingerprint": "00"}})  # fmt: skip
    weaknesses = re.split(r"## Weaknesses|## How it decides", card.markdown(beaten))[1]

    assert "costs no more than this model" in weaknesses
    assert "Its PR-AUC is as high as this model's" in weaknesses
    assert "not in order of time" in weaknesses
    assert "It does without" not in weaknesses  # the finding says so already


def test_a_perfect_model_and_a_column_left_out_without_a_finding_are_weaknesses(
    content: Content,
) -> None:
    test = content.evaluation["test"]
    perfect = test | {"metrics": test["metrics"] | {"pr_auc": 1.0}}
    text = card.markdown(
        replace(content, card=content.card | {"findings": [], "excluded": ["a", "b"]},
                evaluation=content.evaluation | {"test": perfect})
    )  # fmt: skip

    assert "ask how that can be" in text
    assert "It does without a and b, left out by the audit." in text
    assert "ask how that can be" not in card.markdown(content)
