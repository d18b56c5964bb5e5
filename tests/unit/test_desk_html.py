"""What the desk's pages say is what the model, the graph and MLflow say, and never more markup."""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import numpy as np
import pytest

from gradio_ui import look
from gradio_ui.duel import duel, history, version_named
from gradio_ui.model_card import card_html
from gradio_ui.neighbours import Neighbour, Neighbours
from gradio_ui.sweeps import overview, ranked
from gradio_ui.traffic import REFUSALS, traffic
from gradio_ui.trials import leaderboard, trial_html
from serve_app.delivery import LATENCY_EDGES, REASONS, Delivery
from serve_app.statistics import Totals, Window
from training.bundle import ModelBundle
from training.data import Columns
from training.drift import measure
from training.reference import Reference
from training.spec import DatasetSpec
from training.tracking import Change, Run, Version

VOID = {"br", "img", "input", "hr"}
EVIL = '"><script>alert(1)</script>'


class Checked(HTMLParser):
    """Reads HTML and fails where it is not well formed."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.feed(content)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        del attrs
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        del attrs
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def text_of(content: str) -> str:
    """What a person reads."""
    checked = Checked(content)
    assert not checked.tags & {"script", "iframe"}
    return " ".join(re.sub(r"<[^>]*>", " ", content).split())


def test_every_family_has_a_card_with_the_counts_that_were_measured(
    bundles: dict[str, ModelBundle],
) -> None:
    for name, bundle in bundles.items():
        said = text_of(card_html("payments", "7", bundle))
        test = bundle.evaluation["test"]["metrics"]
        assert "version 7" in said
        assert f"{test['true_positives']:,} of {test['frauds']:,} frauds" in said
        assert f"{name}, made " in said
        for finding in bundle.card["findings"]:
            assert text_of(f"<p>{finding['message']}</p>")[:40] in said.replace("&#x27;", "'")


def test_a_card_of_hostile_names_is_text(bundle: ModelBundle) -> None:
    finding = {"severity": "error", "code": "x", "column": EVIL, "message": EVIL}
    hostile = replace(
        bundle, card=bundle.card | {"findings": [finding], "source": EVIL, "excluded": [EVIL]},
        evaluation=bundle.evaluation | {"importance": {EVIL: 1.0}},
    )  # fmt: skip

    content = card_html(EVIL, EVIL, hostile)

    assert "alert(1)" in text_of(content)
    assert "<script" not in content


def version(number: str, bundle: ModelBundle, **tags: str) -> Version:
    known = {"family": bundle.card["family"], "test_pr_auc": "0.5"} | tags
    return Version("payments", number, f"key-{number}", "run", number == "1", 1e9, known)


def test_two_versions_stand_side_by_side_with_what_the_shadow_showed(
    bundles: dict[str, ModelBundle],
) -> None:
    first, second = list(bundles.values())[:2]
    shadow = {"champion": "1", "challenger": "2", "rows": 400, "differ": 3,
              "mean_difference": -0.01}  # fmt: skip
    pair = (version("1", first), first, version("2", second, decision=EVIL), second)

    said = text_of(duel(*pair, shadow))
    without = text_of(duel(*pair, None))

    for bundle in (first, second):
        test = bundle.evaluation["test"]["metrics"]
        assert f"{test['true_positives']:,} of {test['frauds']:,}" in said
    assert "measured on the same payments" in said
    assert "3 (0.75%)" in said
    assert "-0.0100" in said
    assert "does not score beside the champion" in without
    assert "challenger" in version_named(pair[2], "1", "2")


def test_the_same_files_are_told_apart_by_their_threshold(bundle: ModelBundle) -> None:
    pair = (version("1", bundle), bundle, version("2", bundle), bundle)

    assert "differ in their threshold alone" in text_of(duel(*pair, None))


def test_history_tells_what_why_and_when() -> None:
    changes = [Change(1e9, "2", "rollback", EVIL), Change(0.0, "1", "promote", "")]

    said = text_of(history(changes))

    assert "09 Sep 2001" in said
    assert "rolled back to" in said
    assert "No change yet" in text_of(history([]))


ABOUT = {"name": EVIL, "version": "3", "threshold": 0.4}


def delivered(window: Window, probabilities: list[float], now: float) -> None:
    scores = np.array(probabilities)
    latencies = np.zeros(len(LATENCY_EDGES) + 1, np.int64)
    latencies[60] = 1
    delivery = Delivery(
        ledger="a", number=1, first=1, at=np.array([now]), request_id=("r",), version=("3",),
        role=("champion",), threshold=np.array([0.4]), rows=np.array([len(scores)]), counted=0,
        probability=scores, decision=(scores >= 0.4).astype(np.int8),
        answered={("/v1/predict/batch", 200): latencies},
        seconds={("/v1/predict/batch", 200): 0.1}, refused={"invalid": 2}, compared={},
        shadow_dropped=0, dropped=0, seen={}, held=0,
    )  # fmt: skip
    window.add(Totals.of(delivery), now)


LOG = {"quality": [], "log": {"pending": 0, "written": 5, "dropped": 0, "lost": [], "away": None}}


def test_live_says_that_nothing_was_asked_yet() -> None:
    said = text_of(traffic(Window().summary(1e9) | LOG, ABOUT))

    assert "Nothing was asked yet" in said
    assert "alert(1)" in said


def test_live_has_words_for_every_refusal() -> None:
    assert REFUSALS.keys() == set(REASONS)


def test_live_sums_up_what_was_decided() -> None:
    window = Window()
    delivered(window, [0.1, 0.5, 0.97], 1e9)

    content = traffic(window.summary(1e9) | LOG, ABOUT)
    said = text_of(content)

    assert "Payments decided 3" in said
    assert "Alerts 2" in said
    assert "Share of alerts 66.67%" in said
    assert "the content was wrong 2" in said
    assert "version 3 champion 1 2" in said
    assert "Probabilities of 3 payments; 1 are in the highest bin" in content


def drifted(columns: Columns, *, skip: Collection[str] = ()) -> dict[str, Any]:
    """What /v1/stats tells of these payments beside a few hundred others."""
    rng = np.random.default_rng(1)
    expected = {"amount": rng.normal(40, 9, 900), EVIL: rng.normal(size=900)}
    spec = {"name": "x", "label": "y", "columns": {name: {} for name in expected}}
    reference = Reference.of(expected, DatasetSpec.from_dict(spec)).with_scores(rng.random(900))
    counts = reference.count(columns, rng.random(len(columns["amount"])))
    return {"version": "3", "seconds": 3600} | measure(reference, counts, skip=skip).to_dict()


def told_of(drift: Any) -> str:
    return text_of(traffic(Window().summary(1e9) | LOG | {"drift": drift}, ABOUT))


def test_drift_names_what_moved_how_far_and_what_is_missing() -> None:
    rng = np.random.default_rng(2)
    amount = np.where(rng.random(800) < 0.1, np.nan, rng.normal(400, 9, 800))
    found = drifted({"amount": amount, EVIL: rng.normal(size=800)}, skip={EVIL})
    (field,) = found["fields"]

    content = traffic(Window().summary(1e9) | LOG | {"drift": found}, ABOUT)
    said = text_of(content)

    assert "1 field moved" in said
    assert "payments of the last 60 minutes" in said
    assert "Payments compared 800" in said
    assert f"amount {field['psi']:.3f}" in said
    assert f"PSI of the scores {found['score']['psi']:.2f}" in said
    assert text_of(f"<p>{look.text(field['told'])}</p>") in said
    assert f"0.00% → {field['missing']:.2%}" in said
    assert "moderate, 0.1 large, 0.25" in said
    assert "Not compared: " in said
    assert f"Drift by field: moved are amount {field['psi']:.2f}" in content
    assert content.count('class="fr-limit"') == 2  # a moderate and a large shift, on the one bar


def test_payments_like_those_of_the_training_are_steady() -> None:
    rng = np.random.default_rng(3)
    columns = {"amount": rng.normal(40, 9, 800), EVIL: rng.normal(size=800)}

    said = told_of(drifted(columns))

    assert "Drift steady" in said
    assert "Fields that moved 0 of 2" in said
    assert "Not compared" not in said
    assert "time of day" not in said


def test_a_field_that_is_compared_over_a_day_is_named() -> None:
    rng = np.random.default_rng(3)
    found = drifted({"amount": rng.normal(40, 9, 800), EVIL: rng.normal(size=800)})
    hour = found | {"rows": 300}
    hour["fields"] = [f | {"rows": 300} if f["name"] == EVIL else f for f in found["fields"]]

    assert "Over the last 24 hours, because of the time of day: amount." in told_of(hour)


def test_drift_says_where_there_is_none_to_tell_of_yet() -> None:
    few = {"amount": np.full(9, 400.0), EVIL: np.zeros(9)}

    assert "Not enough payments yet: 9 so far" in told_of(drifted(few))
    assert "Not enough payments yet: Drift shows" in told_of(None)
    older = text_of(traffic(Window().summary(1e9) | LOG, ABOUT))
    assert "Drift" not in older


def test_live_tells_what_labels_say_and_how_the_log_does() -> None:
    quality = [{"version": "3", "role": "champion", "labelled": 9, "true_positive": 4,
                "false_positive": 1, "false_negative": 2, "true_negative": 2,
                "label_delay": 7200.0}]  # fmt: skip
    log = LOG["log"] | {"away": "no route", "lost": [{"ledger": "a", "decisions": 12, "at": 0.0}]}  # type: ignore[operator]

    said = text_of(traffic(Window().summary(1e9) | {"quality": quality, "log": log}, ABOUT))

    assert "2.0 h" in said
    assert "The database of decisions is away: no route" in said
    assert "12 in 30 days" in said


def run(name: str, status: str = "FINISHED", **given: Any) -> Run:
    known: dict[str, Any] = {
        "run_id": name, "experiment": "1", "name": name, "status": status, "began": 1e9,
        "ended": 1e9 + 30, "params": {}, "metrics": {}, "tags": {},
    }  # fmt: skip
    return Run(**known | given)


SWEEP = run("nightly", "RUNNING", ended=None, params={"sweep.metric": "cost_per_10000"})


def tried(number: int, status: str, **metrics: float) -> Run:
    return run(f"{number:04d}", metrics=metrics, params={"family": "xgboost", "max_depth": "3"},
               tags={"trial": str(number), "status": status}, ended=1e9 + number)  # fmt: skip


def test_trials_are_ranked_by_what_the_sweep_is_judged_by() -> None:
    trials = [
        tried(1, "failed"), tried(2, "done", cost_per_10000=90.0), tried(3, "pruned"),
        tried(4, "done", cost_per_10000=20.0), tried(5, "running"), tried(6, "done"),
    ]  # fmt: skip

    names = [t.name for t in ranked(SWEEP, trials)]
    said = text_of(leaderboard(SWEEP, trials))

    assert names == ["0004", "0002", "0006", "0005", "0003", "0001"]
    assert said.index("0004") < said.index("0002")
    assert "max_depth 3" in said


def test_a_sweep_tells_its_best_trial_and_what_mattered() -> None:
    importance = (
        "about,trials,parameter,share,chance,skill,silence\n"
        "all families,30,smote,0.4,0.05,0.6,\nall families,30,seed,0.01,0.05,0.6,\n"
        f'xgboost,4,,0.0,0.0,0.0,"too few to say {EVIL.replace(chr(34), "")}"\n'
    )
    trials = [tried(2, "done", cost_per_10000=90.0), tried(4, "done", cost_per_10000=20.0)]

    content = overview(SWEEP, trials, importance, "http://127.0.0.1:5000/#/x")
    said = text_of(content)

    assert "Best Cost per 10,000 20" in said
    assert "seed (may be chance)" in said
    assert "xgboost: too few to say" in said
    assert "the best is 20, reached after 4 seconds" in content
    assert 'href="http://127.0.0.1:5000/#/x"' in content


@pytest.mark.parametrize("curve", [None, "threshold,precision,recall\n0.9,1,0.1\n0.1,0.2,0.9\n"])
def test_a_trial_has_its_curve_or_says_why_not(curve: str | None) -> None:
    trial = tried(4, "done", threshold=0.5, precision=0.8, recall=0.4)

    content = trial_html(trial, curve, None)

    text_of(content)
    assert ("precision 0.80 and recall 0.40" in content) == (curve is not None)
    assert ("It left no curve" in content) == (curve is None)


class Answers(BaseHTTPRequestHandler):
    """Wants a password, as Grafana does."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        del format, args


@pytest.fixture
def there() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_neighbour_runs_where_anything_answers(there: str) -> None:
    assert Neighbour("Grafana", there, "", "").runs
    assert not Neighbour("Grafana", "http://127.0.0.1:9", "", "").runs
    assert not Neighbour("Grafana", "nonsense", "", "").runs


def test_neighbours_are_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAUDRAY_GRAFANA_URL", "http://127.0.0.1:9/")
    found = Neighbours.from_environment()

    assert found.grafana.url == "http://127.0.0.1:9"
    assert found.mlflow.url == "http://127.0.0.1:5000"
    assert [one.name for one, _ in found.all()] == ["Ray dashboard", "MLflow", "Grafana"]
