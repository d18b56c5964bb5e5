"""What Prometheus is told: the same whoever delivers it, bounded, and all of it in the table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import Metric

from gradio_ui import metrics as page
from serve_app import decision_log
from serve_app.calls import Overloaded, TooLate
from serve_app.contract import BadRequest
from serve_app.decision_log import DecisionLog
from serve_app.decisions import Feedback, StoreAway
from serve_app.delivery import LATENCY_BOUNDS, REASONS
from serve_app.graph import NotReady
from serve_app.ledger import Ledger
from serve_app.metrics.log import of_log
from serve_app.metrics.replicas import Work, of_ingress, of_rollout
from serve_app.refusals import Refused, reason, refusal
from serve_app.rollout import Rollout, Wanted
from serve_app.tally import Seen, Yardstick
from serve_app.versions import Plan, Reference, Report, Stage
from training.fit import Recipe
from training.reference import Reference as Bins
from training.spec import DatasetSpec
from tuning.metrics import SweepMetrics
from tuning.trials import Trial

TABLE = Path(__file__).parents[2] / "docs" / "monitoring.md"
SPEC = DatasetSpec.from_dict(
    {"name": "tiny", "label": "y", "columns": {"x": {}, "c": {"type": "category"}}}
)
COLUMNS = {"x": np.arange(20.0), "c": np.array(["a", "b"] * 10, object)}
BINS = Bins.of(COLUMNS, SPEC).with_scores(np.linspace(0, 1, 40))
YARDSTICK = Yardstick(BINS, frozenset(), frozenset(), 0.02)

_names = count()
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(families: Iterable[Metric]) -> Samples:
    """Every series with its value."""
    found = [
        ((s.name, tuple(sorted(s.labels.items()))), float(s.value))
        for family in families
        for s in family.samples
    ]
    assert len(found) == len(dict(found)), "a series is told twice"
    return dict(found)


def kinds(families: Iterable[Metric]) -> dict[str, tuple[str, frozenset[str]]]:
    """Type and labels of every metric that has a value."""
    found = {}
    for family in families:
        for sample in family.samples[:1]:
            name = f"{family.name}_total" if family.type == "counter" else family.name
            found[name] = family.type, frozenset(sample.labels) - {"le"}
    return found


def seen(xs: list[float]) -> Seen:
    columns = {"x": np.array(xs), "c": np.array([None, "z", *"a" * len(xs)][: len(xs)], object)}
    return Seen(YARDSTICK, BINS.count(columns, np.full(len(xs), 0.5)))


def note(ledger: Ledger, event: tuple[Any, ...]) -> None:
    match event:
        case ("decided", version, role, p):
            ledger.decided("id", version, role, 0.5, p, [int(x >= 0.5) for x in p])
        case ("compared", p):
            ledger.compared("3", "4", p, p[::-1], [0] * len(p), [1] * len(p))
        case ("seen", xs):
            ledger.seen({"3": seen(xs)})
        case (name, *given):
            getattr(ledger, name)(*given)


def log_of(events: Iterable[tuple[Any, ...]], folder: Path) -> DecisionLog:
    """A log that one ingress told of events; its database is made when a decision comes."""
    log = DecisionLog("payments", f"sqlite:///{folder}/decisions.db", folder)
    ledger = Ledger(f"ledger{next(_names)}", folder)
    for event in events:
        note(ledger, event)
    deliver(log, ledger)
    ledger.close()
    return log


def deliver(log: DecisionLog, ledger: Ledger, times: int = 1) -> None:
    if (delivery := ledger.take()) is not None:
        for _ in range(times):
            kept = log.deliver(delivery)
        ledger.acknowledge(delivery, kept=kept)


values = st.lists(st.floats(0, 1), min_size=1, max_size=4)
latencies = st.one_of(st.floats(0, 20), st.sampled_from(LATENCY_BOUNDS.tolist()))
deciders = st.sampled_from([("3", "champion"), ("4", "challenger")])
events = st.one_of(
    st.builds(lambda who, p: ("decided", *who, p), deciders, values),
    st.tuples(
        st.just("answered"), st.sampled_from(["/v1/predict", "other"]),
        st.sampled_from([200, 404, 503]), latencies,
    ),
    st.tuples(st.just("refused"), st.sampled_from(REASONS)),
    st.tuples(st.just("compared"), values),
    st.tuples(st.just("shadow_dropped"), st.integers(1, 9)),
    st.tuples(st.just("seen"), values),
)  # fmt: skip


@settings(max_examples=30)
@given(
    noted=st.lists(st.tuples(st.integers(0, 2), events), max_size=30),
    cuts=st.lists(st.booleans(), min_size=30, max_size=30),
)
def test_the_writer_tells_the_same_whoever_delivers_and_however_often(
    noted: list[tuple[int, Any]], cuts: list[bool], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("log")
    apart, together = (log_of([("decided", "3", "champion", [0.1])], folder / x) for x in "ab")
    several = [Ledger(f"several{i}", folder / "a") for i in range(3)]
    one = Ledger("one", folder / "b")
    for (which, event), cut in zip(noted, cuts, strict=False):
        note(several[which], event)
        note(one, event)
        if cut:
            deliver(apart, several[which], times=2)
    for ledger in several[::-1]:
        deliver(apart, ledger)
    deliver(together, one)
    for ledger in (*several, one):
        ledger.close()
    told = []
    for log in (apart, together):
        log.refresh()
        told.append(samples(of_log(log)))
        log.close()
    assert told[0] == pytest.approx(told[1])
    answers = [v for (name, _), v in told[0].items() if name == "fraudray_requests_total"]
    assert sum(answers) == sum(event[0] == "answered" for _, event in noted)


@given(seconds=st.lists(latencies, min_size=1))
def test_a_bucket_holds_what_took_less_than_its_bound(
    seconds: list[float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    answered = [("answered", "/v1/predict", 200, s) for s in seconds]
    told = samples(of_log(log_of(answered, tmp_path_factory.getbasetemp() / "buckets")))
    labels = (("route", "/v1/predict"), ("status", "200"))
    for bound in LATENCY_BOUNDS.tolist():
        below = told["fraudray_request_seconds_bucket", (("le", str(bound)), *labels)]
        assert below == sum(s < bound for s in seconds)
    assert told["fraudray_request_seconds_bucket", (("le", "+Inf"), *labels)] == len(seconds)
    assert told["fraudray_request_seconds_count", labels] == len(seconds)
    assert told["fraudray_request_seconds_sum", labels] == pytest.approx(sum(seconds))


def test_scores_are_told_of_the_versions_that_decided_last(tmp_path: Path) -> None:
    log = log_of([], tmp_path)
    for version in (*range(1, 31), 5):
        ledger = Ledger(f"of{version}-{next(_names)}", tmp_path)
        note(ledger, ("decided", str(version), "champion", [0.04, 0.3]))
        deliver(log, ledger)
        ledger.close()
    told = samples(of_log(log))
    log.close()
    counts = {
        dict(labels)["model_version"]: v
        for (name, labels), v in told.items()
        if name == "fraudray_score_count"
    }
    assert counts == {str(v): 2.0 for v in range(12, 31)} | {"5": 4.0}
    first = (("le", "0.05"), ("model_version", "5"))
    assert told["fraudray_score_bucket", first] == 2
    assert told["fraudray_score_sum", (("model_version", "5"),)] == pytest.approx(0.68)


def test_counters_begin_at_zero_and_gauges_of_nothing_are_not_there(tmp_path: Path) -> None:
    told = samples(of_log(log_of([], tmp_path)))
    failed = (("route", "/v1/predict"), ("status", "500"))
    assert told["fraudray_requests_total", failed] == 0
    assert told["fraudray_refused_total", (("reason", "overload"),)] == 0
    assert told["fraudray_decision_log_up", ()] == 1
    names = {name for name, _ in told}
    assert not names & {"fraudray_live_precision", "fraudray_score_psi", "fraudray_feature_psi"}


def test_what_waits_at_an_ingress_is_pending_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, ledger = log_of([], tmp_path), Ledger("one", tmp_path)
    pending = "fraudray_decision_log_pending", ()
    with monkeypatch.context() as patch:
        patch.setattr(log._store, "append", away)
        for _ in range(3):
            note(ledger, ("decided", "3", "champion", [0.1, 0.2]))
            deliver(log, ledger)
    told = samples(of_log(log))
    assert told[pending] == 6
    assert told["fraudray_decision_log_up", ()] == 0
    # What is answered meanwhile is seen, or nobody could tell it from silence.
    decided = (("decision", "0"), ("model_version", "3"), ("role", "champion"))
    assert told["fraudray_decisions_total", decided] == 6
    monkeypatch.setattr(decision_log, "PAUSE", 0.0)
    log._again = 0.0
    deliver(log, ledger)
    told = samples(of_log(log))
    assert (told[pending], told["fraudray_decision_log_up", ()]) == (0, 1)
    assert told["fraudray_decision_log_written_total", ()] == 6
    ledger.close()
    log.close()


def away(*_: Any) -> int:
    raise StoreAway("gone")


def test_labels_make_precision_and_recall(tmp_path: Path) -> None:
    log = log_of([("decided", "3", "champion", [0.9, 0.8, 0.1, 0.2])], tmp_path)
    truth = enumerate([1, 0, 1, 0])
    log.feedback([Feedback("id", label, payment) for payment, label in truth])
    assert log.feedback([Feedback("nobody", 1)])
    log.refresh()
    told = samples(of_log(log))
    log.close()
    labels = (("model_version", "3"), ("role", "champion"))
    assert told["fraudray_live_precision", labels] == 0.5
    assert told["fraudray_live_recall", labels] == 0.5
    assert told["fraudray_labelled_payments", labels] == 4
    assert told["fraudray_labelled_alerts", labels] == 2
    assert told["fraudray_labels_total", (("label", "1"),)] == 2


def test_every_refusal_is_counted_by_one_of_the_reasons() -> None:
    errors = [BadRequest([]), Overloaded(), NotReady(), StoreAway(), TooLate(), TimeoutError(),
              ValueError()]  # fmt: skip
    errors += [Refused.because(status, "") for status in range(400, 600)]
    found = {reason(error, refusal(error, "").status) for error in errors}
    assert found == set(REASONS)


def busy(folder: Path) -> Iterator[Metric]:
    """All that a graph tells when everything has happened once."""
    log = log_of(
        [
            ("decided", "3", "champion", [0.1, 0.9]), ("answered", "/v1/predict", 200, 0.01),
            ("refused", "overload"), ("compared", [0.1]), ("seen", [0.1, 0.2, 0.3]),
        ],
        folder,
    )  # fmt: skip
    log.feedback([Feedback("id", 1, 1)])
    log.refresh()
    yield from of_log(log)
    log.close()
    rollout = Rollout()
    for stage in get_args(Stage):
        rollout.heard(Report(stage, stage, Plan(), frozenset()))
    yield from of_rollout(rollout, registry_up=True)
    work = Work("model")
    with work.on(3):
        pass
    yield from work.metrics()
    yield from of_ingress(1, 2)


def beside_the_graph() -> Iterator[Metric]:
    """All that a sweep and a page tell when everything has happened once."""
    sweep = SweepMetrics("s", "pr_auc")
    sweep(Trial(1, Recipe("xgboost", {}), "done", {"pr_auc": 0.5}, seconds=1.0))
    yield from sweep.registry.collect()
    for told in (page.VIEWS, page.SCORES, page.ERRORS, page.UPSTREAM):
        told.labels("score")
    yield from page.REGISTRY.collect()


def test_the_table_has_every_metric_and_no_other(tmp_path: Path) -> None:
    table = {
        name: (kind, frozenset(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in re.findall(
            r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", TABLE.read_text("utf-8"), re.MULTILINE
        )
    }
    told = {f"ray_{name}": found for name, found in kinds(busy(tmp_path)).items()}
    beside = kinds(beside_the_graph())
    told |= {name: found for name, found in beside.items() if name.startswith("fraudray_")}
    assert table == told


def test_the_rollout_tells_versions_and_replicas() -> None:
    rollout, reference = Rollout(), Reference("payments", "7", "files")
    rollout.want(Wanted(reference), {reference: None})
    for _ in range(2):
        for stage in get_args(Stage):
            held = frozenset({"7"} if rollout.plan.load else ())
            rollout.heard(Report(stage, stage, rollout.plan, held))
    rollout.heard(Report("another", "model", Plan(), frozenset()))
    told = samples(of_rollout(rollout, registry_up=False))
    assert told["fraudray_model_version", (("role", "champion"),)] == 7
    assert told["fraudray_model_version", (("role", "challenger"),)] == 0
    assert told["fraudray_replicas", (("stage", "model"),)] == 2
    assert told["fraudray_replicas_lacking", (("stage", "model"),)] == 1
    assert told["fraudray_stage_version", (("stage", "model"),)] == 0
    assert told["fraudray_stage_version", (("stage", "features"),)] == 7
    assert told["fraudray_registry_up", ()] == 0
