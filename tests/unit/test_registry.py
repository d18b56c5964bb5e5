"""The registry on a real SQLite store: thresholds, challengers, history and the way back."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from threading import Barrier, get_ident
from typing import Any

import mlflow
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.tracking import MlflowClient

from fraudray.cli import main
from training.bundle import ModelBundle
from training.errors import UsageError
from training.home import bundle_folder
from training.threshold import Choice
from training.tracking import Change, Look, Tracking, TrackingError
from training.tracking.champions import line_of

Run = Callable[..., tuple[int, str, str]]
MODEL = "fraudray-payments"
CHOICE = Choice("recall>=0.9", 0.25, 0.5, 0.9, 0.64, True, 100.0, 30.0)


@pytest.fixture(scope="module")
def filled(
    bundle: ModelBundle, tmp_path_factory: pytest.TempPathFactory,
    empty_store: Callable[[Path], Path],
) -> Any:  # fmt: skip
    """A store with one version; making one takes a second."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        empty_store(home)
        patch.setenv("FRAUDRAY_HOME", str(home))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        tracking = Tracking()
        with tracking.run("unit", "run") as run:
            tracking.register(run, MODEL, bundle)
        yield tracking


@pytest.fixture
def client(filled: Tracking) -> MlflowClient:
    return MlflowClient(filled.uri, filled.uri)


@pytest.fixture
def tracking(filled: Tracking, client: MlflowClient) -> Tracking:
    """The store with that version alone, which nobody has promoted."""
    for version in filled.versions(MODEL)[:-1]:
        client.delete_model_version(MODEL, version.version)
    for alias in ("champion", "challenger"):
        client.delete_registered_model_alias(MODEL, alias)
    for tag in client.get_registered_model(MODEL).tags:
        if tag.startswith("fraudray."):
            client.delete_registered_model_tag(MODEL, tag)
    return filled


@pytest.fixture
def four(tracking: Tracking) -> list[str]:
    """Numbers of four versions, the oldest first."""
    first = tracking.version(MODEL, "1")
    choices = [replace(CHOICE, threshold=t) for t in (0.1, 0.2, 0.3)]
    return ["1", *(tracking.rethreshold(first, c, "a test").version for c in choices)]


def _told(changes: list[Change]) -> list[tuple[str, str]]:
    return [(c.action, c.version) for c in changes]


def test_another_threshold_is_a_version_of_the_same_files(
    tracking: Tracking, bundle: ModelBundle
) -> None:
    first = tracking.version(MODEL, "1")

    made = tracking.rethreshold(first, CHOICE, "fewer frauds slip through")
    again = tracking.rethreshold(made, CHOICE, "the same once more")

    assert (made.files, made.choice, first.choice) == (first.files, CHOICE, None)
    assert made.key == again.key != first.key == first.files
    assert made.run_id == first.run_id
    assert made.tags["decision"] == "fewer frauds slip through"
    assert (made.tags["policy"], made.tags["threshold"]) == ("recall>=0.9", "0.25")
    assert made.tags["test_pr_auc"] == first.tags["test_pr_auc"]
    assert "test_recall" not in made.tags  # it was another threshold's
    assert not made.champion
    fetched = tracking.fetch(made)
    assert fetched.choice == CHOICE
    assert tracking.fetch(made, original=True).choice == bundle.choice
    assert [p.name for p in bundle_folder("x").parent.iterdir()] == [first.files]
    assert fetched.decide(np.array([0.24, 0.25, 0.26])).tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    "damage",
    [
        {"threshold": float("nan")}, {"threshold": 0.0}, {"threshold": -1.0}, {"recall": 1e999},
        {"threshold": "0.5"}, {"policy": "luck"}, {"policy": None}, {"met": "yes"},
    ],
)  # fmt: skip
def test_a_damaged_threshold_is_refused_in_a_line_and_leaves_the_files_alone(
    damage: dict[str, Any], tracking: Tracking, client: MlflowClient
) -> None:
    first = tracking.version(MODEL, "1")
    tracking.fetch(first)
    made = tracking.rethreshold(first, CHOICE, "a test")
    content = json.loads(CHOICE.to_json()) | damage
    client.set_model_version_tag(MODEL, made.version, "choice", json.dumps(content))

    read = tracking.version(MODEL, made.version)
    with pytest.raises(TrackingError, match=f"{MODEL} version {made.version}.*'choice'") as raised:
        tracking.fetch(read)

    assert "\n" not in str(raised.value)
    assert bundle_folder(first.files).exists()
    assert len(tracking.versions(MODEL)) == 2


def test_every_change_of_the_champion_is_told_the_newest_first(
    tracking: Tracking, four: list[str]
) -> None:
    a, b, *_ = four
    assert tracking.look(MODEL) == Look()
    assert tracking.history(MODEL) == []
    with pytest.raises(TrackingError, match="no other champion"):
        tracking.rollback(MODEL)

    tracking.promote(MODEL, a, "first")
    tracking.promote(MODEL, a, "it is that already")
    tracking.promote(MODEL, b, "x" * 900)
    back = tracking.rollback(MODEL, "too many alerts")

    assert tracking.look(MODEL) == Look(champion=a)
    assert back.champion
    assert back.version == a
    assert back.tags["decision"] == f"rolled back from version {b}: too many alerts"
    changes = tracking.history(MODEL)
    assert _told(changes) == [("rollback", a), ("threshold", b), ("promote", a)]
    assert [c.reason for c in changes] == [back.tags["decision"], "x" * 500, "first"]
    assert changes == sorted(changes, key=lambda c: c.at, reverse=True)
    with pytest.raises(TrackingError, match="no other champion"):
        tracking.rollback(MODEL)


def test_the_history_of_a_store_from_before_it_was_kept_starts_with_its_champions(
    tracking: Tracking, client: MlflowClient, four: list[str]
) -> None:
    a, b, c, d = four
    client.set_registered_model_tag(MODEL, "fraudray.champions", json.dumps([a, b, c]))
    client.set_registered_model_alias(MODEL, "champion", c)

    tracking.promote(MODEL, d, "new")
    client.delete_model_version(MODEL, b)

    assert [tracking.rollback(MODEL).version for _ in range(2)] == [c, a]


def test_the_last_hundred_changes_are_kept(tracking: Tracking, client: MlflowClient) -> None:
    past = {
        f"fraudray.change.{number:08}.00000000": json.dumps(
            {"at": float(number), "version": "1", "action": "promote", "reason": "past"}
        )
        for number in range(1, 101)
    }
    mlflow.set_tracking_uri(tracking.uri)  # a source of the form models:/... is looked up there
    client.create_registered_model("busy", past)
    client.create_model_version("busy", client.get_model_version(MODEL, "1").source)

    tracking.promote("busy", "1", "one more")

    changes = tracking.history("busy")
    assert [c.at for c in changes[1:]] == [float(n) for n in range(100, 1, -1)]
    assert changes[0].reason == "one more"


def test_of_promotions_at_the_same_moment_none_is_lost(
    tracking: Tracking, four: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = tracking._client
    set_alias, together = client.set_registered_model_alias, Barrier(4)
    begun: set[int] = set()

    def at_the_same_moment(*given: str) -> None:
        if get_ident() not in begun:
            begun.add(get_ident())
            together.wait(60)
        set_alias(*given)

    monkeypatch.setattr(client, "set_registered_model_alias", at_the_same_moment)
    rounds = range(6)  # MLflow fails at most of those where the alias is not there yet
    for number in rounds:
        client.delete_registered_model_alias(MODEL, "champion")
        begun.clear()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(tracking.promote, [MODEL] * 4, four, [f"{number}"] * 4))
        assert tracking.look(MODEL).champion in four

    told = [(c.version, c.reason) for c in tracking.history(MODEL)]
    assert sorted(told) == sorted((v, f"{n}") for n in rounds for v in four)


def test_a_damaged_change_is_named_and_hinders_no_promotion(
    tracking: Tracking, client: MlflowClient, four: list[str]
) -> None:
    tag = "fraudray.change.00000007.deadbeef"
    client.set_registered_model_tag(MODEL, tag, '{"at": "noon"}')
    client.set_registered_model_tag(MODEL, "fraudray.change.by-hand", "is none of ours")

    assert tracking.promote(MODEL, four[1], "a test").champion
    for read in (tracking.history, tracking.rollback):
        with pytest.raises(TrackingError, match=tag):
            read(MODEL)

    client.delete_registered_model_tag(MODEL, tag)
    assert _told(tracking.history(MODEL)) == [("promote", four[1])]


def test_a_challenger_watches_or_shares_until_it_is_champion(
    tracking: Tracking, four: list[str]
) -> None:
    a, b, c, _ = four
    tracking.promote(MODEL, a, "first")
    assert tracking.challenger(MODEL) is None
    assert tracking.challenge(MODEL, None) is None

    tracking.challenge(MODEL, b, mode="share", share=0.25)
    assert tracking.look(MODEL) == Look(a, b, "share", 0.25)
    tracking.challenge(MODEL, c, share=0.25)
    challenger = tracking.challenger(MODEL)
    assert challenger is not None
    assert (challenger.version.version, challenger.mode, challenger.share) == (c, "shadow", 0.0)

    tracking.promote(MODEL, b, "another than the challenger")
    assert tracking.look(MODEL) == Look(b, c)
    tracking.promote(MODEL, c, "it won")
    assert tracking.look(MODEL) == Look(c)
    tracking.challenge(MODEL, a, mode="share", share=1)
    assert tracking.look(MODEL) == Look(c, a, "share", 1.0)
    tracking.challenge(MODEL, None)
    assert tracking.look(MODEL) == Look(c)


def test_what_cannot_challenge_is_refused(tracking: Tracking, four: list[str]) -> None:
    a, b, *_ = four
    tracking.promote(MODEL, a, "first")

    with pytest.raises(TrackingError, match=f"version {a} of {MODEL} is the champion"):
        tracking.challenge(MODEL, a)
    with pytest.raises(TrackingError, match="no version 99"):
        tracking.challenge(MODEL, "99")
    with pytest.raises(UsageError, match="expected shadow or share, found 'duel'"):
        tracking.challenge(MODEL, b, mode="duel")  # type: ignore[arg-type]
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(UsageError, match="expected a number from 0 to 1"):
            tracking.challenge(MODEL, b, mode="share", share=share)
    assert tracking.look(MODEL) == Look(a)


@pytest.mark.parametrize(
    "how", [None, "", "{}", "[", '{"version": "1", "mode": "share", "share": 1}', "OWN"]
)
def test_a_challenger_set_in_mlflow_only_watches_and_no_champion_challenges_itself(
    how: str | None, tracking: Tracking, client: MlflowClient, four: list[str]
) -> None:
    a, b, *_ = four
    if how is not None:
        own = json.dumps({"version": b, "mode": "share", "share": 7.0})
        client.set_registered_model_tag(MODEL, "fraudray.challenger", how.replace("OWN", own))
    client.set_registered_model_alias(MODEL, "challenger", b)
    assert tracking.look(MODEL) == Look(None, b)

    client.set_registered_model_alias(MODEL, "champion", a)
    assert tracking.look(MODEL) == Look(a, b)

    client.set_registered_model_alias(MODEL, "champion", b)
    assert tracking.look(MODEL) == Look(b)


def test_a_model_that_is_not_there_has_nobody(tracking: Tracking) -> None:
    assert tracking.look("nobody") == Look()
    assert tracking.champion("nobody") is None
    assert tracking.versions("nobody") == []
    for ask in (tracking.history, tracking.rollback, lambda m: tracking.challenge(m, None)):
        with pytest.raises(TrackingError, match="nobody"):
            ask("nobody")


@pytest.fixture
def fraudray(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command line on the store; gives its exit code and what it wrote to both streams."""

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(["models", *arguments])
        shown = capsys.readouterr()
        return int(left.value.code or 0), shown.out, shown.err

    return run


def test_the_command_line_sets_a_threshold_and_takes_it_back(
    fraudray: Run, tracking: Tracking, bundle: ModelBundle
) -> None:
    tracking.promote(MODEL, "1", "first")

    code, out, _ = fraudray("threshold", "--policy", "recall>=0.9", "--json")
    assert code == 0
    told = json.loads(out)
    champion = tracking.champion(MODEL)
    assert champion is not None
    assert told["champion"] == champion.version != "1"
    choice = tracking.fetch(champion).choice
    assert (choice.policy, choice.threshold) == ("recall>=0.9", told["threshold"])
    assert choice.recall >= 0.9

    code, out, err = fraudray("threshold", "--threshold", "0.125")
    assert (code, out) == (0, "")
    assert "with the threshold 0.125 (threshold=0.125); a graph that runs follows within" in err
    assert "On its validation rows: precision" in err
    champion = tracking.champion(MODEL)
    assert champion is not None
    assert tracking.fetch(champion).choice.threshold == 0.125

    assert json.loads(fraudray("rollback", "--json")[1])["champion"] == told["champion"]
    assert "a graph that runs follows" in fraudray("rollback")[2]
    champion = tracking.champion(MODEL)
    assert champion is not None
    assert tracking.fetch(champion).choice == bundle.choice

    changes = json.loads(fraudray("history", "--json")[1])
    assert [c["action"] for c in changes] == [
        "rollback", "rollback", "threshold", "threshold", "promote",
    ]  # fmt: skip
    assert all(datetime.fromisoformat(c["at"]).tzinfo for c in changes)
    assert "rolled back" in fraudray("history")[1]


def test_the_command_line_sets_a_challenger(
    fraudray: Run, tracking: Tracking, four: list[str]
) -> None:
    a, b, *_ = four
    tracking.promote(MODEL, a, "first")

    assert "only watches; a graph that runs follows" in fraudray("challenger", b)[2]
    assert tracking.look(MODEL) == Look(a, b)
    assert "challenger" in fraudray("list")[1]
    assert json.loads(fraudray("challenger", b, "--share", "0.1", "--json")[1]) == {
        "model": MODEL, "champion": a, "challenger": b, "mode": "share", "share": 0.1,
    }  # fmt: skip
    assert "no version challenges" in fraudray("challenger", "--none")[2]
    assert tracking.look(MODEL) == Look(a)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["threshold"], 2, "either --threshold or --policy"),
        (["threshold", "--threshold", "0.5", "--policy", "max-f1"], 2, "either"),
        (["threshold", "--threshold", "0"], 2, "0<x<=1"),
        (["threshold", "--threshold", "nan"], 2, "threshold=nan"),
        (["threshold", "--policy", "min-cost=amount:7"], 2, "the amount of every payment"),
        (["challenger"], 2, "either a VERSION or --none"),
        (["challenger", "2", "--none"], 2, "either a VERSION or --none"),
        (["challenger", "2", "--shadow", "--share", "0.5"], 2, "one of"),
        (["challenger", "--none", "--share", "0.5"], 2, "one of"),
        (["challenger", "2", "--share", "1.5"], 2, "0<=x<=1"),
        (["challenger", "2", "--share", "nan"], 2, "expected a number from 0 to 1"),
        (["challenger", "999"], 1, "no version 999"),
        (["challenger", "1"], 1, "is the champion"),
    ],
)
def test_the_command_line_refuses_in_a_line(
    arguments: list[str], code: int, told: str, fraudray: Run, tracking: Tracking
) -> None:
    tracking.promote(MODEL, "1", "first")

    left, out, err = fraudray(*arguments)

    assert (left, out) == (code, "")
    assert told in err
    assert tracking.look(MODEL) == Look("1")
    assert len(tracking.versions(MODEL)) == 1


@given(orders=st.lists(st.sampled_from(["1", "2", "3", "back"]), max_size=30))
def test_rolling_back_retraces_the_promotions(orders: list[str]) -> None:
    line: list[str] = []
    changes: list[Change] = []
    for order in orders:
        if order == "back":
            if len(line) < 2:
                continue
            line.pop()
            changes.insert(0, Change(0.0, line[-1], "rollback", ""))
        elif line[-1:] != [order]:  # who is champion already is not promoted
            line.append(order)
            changes.insert(0, Change(0.0, order, "promote", ""))
        assert line_of([], changes) == line
        kept = line_of([], changes[:5])
        assert kept == line[len(line) - len(kept) :]  # less is known of it, and nothing wrong
