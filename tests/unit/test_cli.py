"""The command line without a cluster: results, exit codes, and one line for every mistake."""

from __future__ import annotations

import io
import json
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from sklearn.datasets import load_breast_cancer

from fraudray.cli import cli, main
from fraudray.commands.data import SCENARIOS
from fraudray.commands.options import FAMILIES, PROMOTIONS
from training import models, scenarios
from training.data import load
from training.drift import measure
from training.simulate import simulate, write
from training.spec import DatasetSpec
from training.tracking import Tracking
from tuning.select import Promotion

GOOD = "accountAgeDays,numItems,localTime,paymentMethod,paymentMethodAgeDays,label\n"


@dataclass
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Done]


@pytest.fixture
def fraudray(
    tmp_path: Path,
    empty_store: Callable[[Path], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Run a command line in a folder and a home of its own."""
    home = tmp_path / "home"
    empty_store(home)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FRAUDRAY_HOME", str(home))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def run(*arguments: str, stdin: str = "") -> Done:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(list(arguments))
        shown = capsys.readouterr()
        code = left.value.code
        return Done(code if isinstance(code, int) else 0, shown.out, shown.err)

    return run


@pytest.fixture(scope="session")
def payments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("payments") / "payments.csv"
    write(simulate(8_000, seed=3), path)
    return path


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def _refused(done: Done, code: int, *told: str) -> None:
    lines = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert done.code == code, done.err
    assert len(lines) == 1, done.err
    for text in told:
        assert text in lines[0]
    assert "Traceback" not in done.err + done.out


def _rows(count: int, frauds: int) -> str:
    return GOOD + "".join(
        f"{i % 900},1,{i % 24},paypal,{i % 7},{int(i < frauds)}\n" for i in range(count)
    )


@pytest.mark.parametrize("command", sorted(cli.commands))
def test_every_command_explains_itself(command: str, fraudray: Run) -> None:
    done = fraudray(command, "--help")

    assert done.code == 0
    assert len(done.out.splitlines()) > 5


def test_the_families_offered_are_those_there_are() -> None:
    assert tuple(models.FAMILIES) == FAMILIES


def test_the_promotions_offered_are_those_there_are() -> None:
    assert get_args(Promotion) == PROMOTIONS


def test_the_scenarios_offered_are_those_there_are() -> None:
    assert tuple(scenarios.SCENARIOS) == SCENARIOS


def test_a_wrong_option_is_wrong_usage(fraudray: Run) -> None:
    done = fraudray("train", "x.csv", "--model", "svm")

    assert done.code == 2
    assert "'svm'" in done.err
    assert "random-forest" in done.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["train", "f.csv", "--model", "xgboost", "--policy", "best"], "threshold policy 'best'"),
        (["train", "f.csv", "--model", "xgboost", "--smote", "2"], "SMOTE"),
        (["tune", "f.csv", "--models", "xgboost,svm"], "no model family 'svm'"),
        (["audit", "f.csv", "--spec", "cards"], "no spec 'cards'"),
        (["simulate", "--rows", "5", "--out", "f.txt"], ".parquet"),
        (["spec", "init", "f.csv", "--out", "f.json"], ".toml"),
        (["models", "card", "--out", "card.pdf"], ".html or .md"),
        (["train", "f.csv", "--model", "xgboost", "--policy", "min-cost=shop:5"], "shop"),
        (["train", "f.csv", "--model", "xgboost", "--fraud-weight", "0"], "weight of a fraud"),
        (["audit", "f.csv", "--split", "hash", "--gap-days", "7"], "gap needs a split by time"),
    ],
)
def test_what_can_be_told_without_the_data_is_told_first(
    arguments: list[str], told: str, fraudray: Run
) -> None:
    _refused(fraudray(*arguments), 2, told)


@pytest.mark.parametrize("command", ["audit", "train", "tune", "evaluate", "predict", "explain"])
def test_a_file_that_is_not_there_is_a_failure(command: str, fraudray: Run) -> None:
    more = ["--model", "xgboost"] if command == "train" else []

    _refused(fraudray(command, "nowhere.csv", *more), 1, "nowhere.csv: no such file")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", ["the file is empty"]),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\xff\xfe" * 20, ["is not CSV"]),
        (GOOD.encode(), ["no rows"]),
        (_rows(300, 20).replace(",label", ",fraud").encode(), ["label column 'label'"]),
        (_rows(300, 20).replace(",1\n", ",2\n").encode(), ["label should be 0 or 1", "'2'"]),
        (_rows(300, 0).encode(), ["0 frauds"]),
        (_rows(300, 300).encode(), ["300 frauds in 300 rows"]),
        (
            _rows(300, 20).replace("paypal", "x").replace(",1,", ",one,").encode(),
            ["numItems should be a whole number of 0 or more", "'one'", "rejected.csv"],
        ),
        (_rows(300, 20).replace("numItems", "n").encode(), ["numItems", "missing"]),
    ],
    ids=["empty", "binary", "header-only", "no-label", "label-2", "no-fraud", "all-fraud",
         "text-in-number", "missing-column"],
)  # fmt: skip
@pytest.mark.parametrize("command", ["audit", "train"])
def test_data_that_cannot_be_used_is_refused_with_the_reason(
    command: str, content: bytes, told: list[str], fraudray: Run, tmp_path: Path
) -> None:
    (tmp_path / "f.csv").write_bytes(content)
    more = ["--model", "logistic-regression"] if command == "train" else []

    _refused(fraudray(command, "f.csv", *more), 3, *told)


def test_fewer_frauds_than_folds_are_refused_before_a_cluster_starts(
    fraudray: Run, tmp_path: Path
) -> None:
    (tmp_path / "f.csv").write_text(_rows(3_000, 60))

    _refused(fraudray("tune", "f.csv", "--folds", "50"), 3, "too few for 50 folds")


def test_fewer_frauds_than_neighbours_are_refused(fraudray: Run, tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text(_rows(2_000, 12))

    tuned = fraudray("tune", "f.csv", "--folds", "2")

    _refused(tuned, 3, "frauds", "SMOTE with 5 neighbours needs more than 5")


def test_without_a_champion_every_command_says_how_to_make_one(
    fraudray: Run, payments: Path
) -> None:
    for arguments in (["evaluate", str(payments)], ["serve"], ["models", "rollback"]):
        _refused(fraudray(*arguments), 1, "no champion is registered yet", "fraudray tune")
    assert fraudray("models", "list", "--json").json == []


@pytest.mark.parametrize(
    "uri", ["sqlite:////nowhere/at/all/mlflow.db", "http://127.0.0.1:9", "sqlite:///{junk}"]
)
def test_an_mlflow_store_that_cannot_be_opened_is_a_failure(
    uri: str, fraudray: Run, payments: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "junk").write_text("this is no database" * 100)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(junk=tmp_path / "junk"))

    _refused(fraudray("evaluate", str(payments)), 1, "cannot be opened", "MLFLOW_TRACKING_URI")


@pytest.mark.parametrize("command", ["serve", "ui", "demo"])
def test_a_port_in_use_is_said_before_anything_starts(
    command: str, fraudray: Run, busy_port: int
) -> None:
    done = fraudray(command, "--port", str(busy_port))

    _refused(done, 1, f"port {busy_port}", "choose another port")


def test_predict_says_when_nothing_answers_and_when_there_is_nothing_to_score(
    fraudray: Run,
) -> None:
    one = '{"accountAgeDays": 1}'
    _refused(fraudray("predict", "-", "--url", "http://127.0.0.1:9", stdin=one), 1, "no answer")
    _refused(fraudray("predict", "-", stdin=" \n"), 3, "standard input is empty")
    _refused(fraudray("predict", "-", stdin="[1,"), 3, "not JSON")


def test_the_audit_is_one_report_for_people_and_machines(fraudray: Run, payments: Path) -> None:
    read = fraudray("audit", str(payments))
    machine = fraudray("audit", str(payments), "--json").json

    assert f"{machine['rows']:,} rows, {machine['frauds']:,} frauds" in read.out
    assert sum(part["frauds"] for part in machine["parts"].values()) == machine["frauds"]


def test_the_audit_is_a_page_too_and_is_kept_in_mlflow(
    fraudray: Run, payments: Path, tmp_path: Path
) -> None:
    done = fraudray("audit", str(payments), "--html", "audit.html", "--log")

    assert done.code == 0, done.err
    page = (tmp_path / "audit.html").read_text("utf-8")
    assert page.count("<img ") == 8  # one of each input
    client = MlflowClient(f"sqlite:///{tmp_path / 'home' / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("fraudray-audit").experiment_id])
    assert {f.path for f in client.list_artifacts(run.info.run_id)} == {"audit.html", "audit.json"}


def test_a_gap_and_a_split_by_payer_are_as_asked_for(fraudray: Run, payments: Path) -> None:
    plain = fraudray("audit", str(payments), "--json").json
    gap = fraudray("audit", str(payments), "--gap-days", "10", "--json").json
    payers = fraudray("audit", str(payments), "--split", "entity", "--json").json

    assert (plain["split_by"], gap["split_by"], payers["split_by"]) == ("time", "time", "entity")
    assert gap["gap_days"] == 10
    assert gap["parts"]["train"]["rows"] < plain["parts"]["train"]["rows"]
    assert gap["parts"]["test"] == plain["parts"]["test"]
    assert not [f for f in payers["findings"] if f["code"] == "entities"]


def test_a_share_of_bad_rows_may_be_allowed_and_is_listed(fraudray: Run, tmp_path: Path) -> None:
    rows = _rows(2_000, 200).splitlines(keepends=True)
    for line in range(10, 110):
        rows[line] = rows[line].replace("paypal,", "paypal,-")
    (tmp_path / "f.csv").write_text("".join(rows))

    _refused(fraudray("audit", "f.csv"), 3, "86 of 2,000 rows break the spec", "f.rejected.csv")
    allowed = fraudray("audit", "f.csv", "--max-bad", "0.1", "--json")

    assert allowed.json["rows"] == 1_914  # -0 days are 0 days
    listed = pd.read_csv(tmp_path / "f.rejected.csv")
    assert set(listed["column"]) == {"paymentMethodAgeDays"}
    assert listed["line"].between(11, 110).all()
    assert "f.rejected.csv" in allowed.err


def test_a_spec_of_ones_own_goes_from_a_file_to_a_model(fraudray: Run, tmp_path: Path) -> None:
    cancer = load_breast_cancer(as_frame=True).frame
    cancer["diagnosis"] = np.where(cancer.pop("target") == 0, "malignant", "benign")
    cancer.to_csv(tmp_path / "cancer.csv", index=False)

    made = fraudray("spec", "init", "cancer.csv", "--label", "diagnosis", "--json")
    assert made.code == 0, made.err
    assert len(made.json["roles"]["feature"]) == 30
    _refused(fraudray("spec", "init", "cancer.csv", "--label", "diagnosis"), 2, "is there already")
    assert "no mistakes" in fraudray("spec", "check", "cancer.toml").err
    trained = fraudray(
        "train", "cancer.csv", "--spec", "cancer.toml", "--model", "logistic-regression", "--json"
    )

    assert trained.json["model"] == "fraudray-cancer"
    assert trained.json["metrics"]["test"]["pr_auc"] > 0.9


def test_every_mistake_of_a_spec_is_told_on_a_line_of_its_own(
    fraudray: Run, tmp_path: Path
) -> None:
    (tmp_path / "bad.toml").write_text('label = "y"\n[columns.a]\nminimun = 1\ntype = "money"\n')

    done = fraudray("spec", "check", "bad.toml")

    _refused(done, 2, "bad.toml: 3 mistakes")
    assert "did you mean 'minimum'?" in done.err
    assert "columns.a.type" in done.err


def test_the_champion_has_a_card_and_explains_itself(
    fraudray: Run, payments: Path, tmp_path: Path
) -> None:
    fraudray("train", str(payments), "--model", "random-forest", "--policy", "min-cost")

    shown = fraudray("models", "card")
    assert shown.out.startswith("# Model card")
    assert "min-cost" in shown.out
    fraudray("models", "card", "1", "--out", "card.html")
    assert "<img " in (tmp_path / "card.html").read_text("utf-8")

    explained = fraudray("explain", str(payments), "--top", "2", "--json").json["payments"]
    assert [p["decision"] for p in explained] == [1, 1]
    for payment in explained:
        told = sum(reason["contribution"] for reason in payment["reasons"])
        assert {change["decision"] for change in payment["changes"]} <= {0}
        assert payment["base"] + told == pytest.approx(payment["margin"], abs=1e-4)
    assert "raises the risk" in fraudray("explain", str(payments)).out


def test_drift_names_what_is_broken_in_a_file_and_nothing_in_a_sound_one(
    fraudray: Run, payments: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fraudray("train", str(payments), "--model", "logistic-regression")
    sound = simulate(6_000, seed=11).drop(columns="label")
    write(sound, tmp_path / "sound.parquet")
    # Cents instead of euros, and a category that is no longer filled in.
    write(sound.assign(amount=sound["amount"] * 100, Category=None), tmp_path / "broken.parquet")
    monkeypatch.setattr("training.read.ROWS", 1_000)  # six parts

    steady = fraudray("drift", "sound.parquet", "--json").json
    broken = fraudray("drift", "broken.parquet", "--json", "--html", "drift.html")
    shown = fraudray("drift", "broken.parquet", "--version", "1")

    assert (steady["model"], steady["version"]) == ("fraudray-payments", "1")
    assert [f["name"] for f in steady["fields"] if f["level"] != "steady"] == []
    assert steady["score"]["level"] == "steady"
    assert {f["name"] for f in steady["fields"]} == set(DatasetSpec.load("payments").inputs)
    moved = [f for f in broken.json["fields"] if f["level"] != "steady"]
    assert broken.json["fields"][:2] == moved
    assert {f["name"] for f in moved} == {"amount", "Category"}
    assert {f["level"] for f in moved} == {"large"}
    assert broken.json["score"]["level"] == "large"
    for field in moved:
        assert f"{field['level']} shift (PSI {field['psi']:.2f})" in shown.out
    assert "most at no value: " in shown.out
    page = (tmp_path / "drift.html").read_text("utf-8")
    assert page.count("<img ") == 9  # one of each input and one of the scores
    assert "default-src 'none'" in page

    tracking = Tracking()
    bundle = tracking.fetch(tracking.version("fraudray-payments", "1"))
    whole = load(tmp_path / "broken.parquet", bundle.spec, labelled=False)
    score = bundle.score(whole.columns)
    at_once = measure(bundle.reference, bundle.reference.count(whole.columns, score)).to_dict()
    assert {key: broken.json[key] for key in at_once} == at_once
    assert broken.json["alert_rate"] == bundle.decide(score).mean()


def test_drift_needs_a_model_and_rows_that_keep_the_spec(
    fraudray: Run, payments: Path, tmp_path: Path
) -> None:
    _refused(fraudray("drift", str(payments)), 1, "no champion is registered yet")
    fraudray("train", str(payments), "--model", "logistic-regression")
    rows = _rows(2_000, 20).splitlines(keepends=True)
    rows[7] = "-5" + rows[7]
    (tmp_path / "f.csv").write_text("".join(rows))
    (tmp_path / "g.csv").write_text("".join(rows[:2] + rows[7:8]))
    (tmp_path / "h.csv").write_text(rows[0])

    done = fraudray("drift", "f.csv", "--json")

    assert (done.json["rows"], done.json["bad_rows"]) == (1_999, 1)
    assert "warning: 1 of 2,000 rows break the spec" in done.err
    assert list(pd.read_csv(tmp_path / "f.rejected.csv")["line"]) == [8]
    _refused(fraudray("drift", "g.csv"), 3, "1 of 2 rows break the spec", "accountAgeDays")
    _refused(fraudray("drift", "h.csv"), 3, "a header but no rows")
    _refused(fraudray("drift", "f.csv", "--version", "7"), 1, "no version 7")
    _refused(fraudray("drift", "f.csv", "--html", "no/such.html"), 2, "--html", "cannot be written")


def test_a_strict_audit_refuses_a_file_with_errors(fraudray: Run, tmp_path: Path) -> None:
    frame = simulate(4_000, seed=1)
    frame.loc[frame["label"] == 1, "isWeekend"] = None
    write(frame, tmp_path / "f.parquet")

    assert fraudray("audit", "f.parquet").code == 0
    _refused(fraudray("audit", "f.parquet", "--strict"), 3, "missingness-tells")


def test_the_first_version_is_champion_and_an_equal_one_is_not(
    fraudray: Run, payments: Path
) -> None:
    arguments = ["train", str(payments), "--model", "xgboost", "--json"]

    first, second = fraudray(*arguments).json, fraudray(*arguments).json

    assert (first["model"], first["version"]) == ("fraudray-payments", "1")
    assert first["champion"]
    assert not second["champion"]
    assert second["version"] == "2"
    listed = fraudray("models", "list", "--json").json
    assert [(v["version"], v["champion"]) for v in listed] == [("2", False), ("1", True)]
    assert all(v["tags"]["decision"] for v in listed)

    assert fraudray("models", "promote", "2", "--json").json["champion"] == "2"
    assert fraudray("models", "rollback", "--json").json["champion"] == "1"
    _refused(fraudray("models", "rollback"), 1, "no other champion")
    _refused(fraudray("models", "promote", "9"), 1, "no version 9", "2, 1")

    table = fraudray("evaluate", str(payments), "--by", "paymentMethod")
    groups = fraudray("evaluate", str(payments), "--by", "paymentMethod", "--json").json["groups"]
    assert {g["group"] for g in groups} == {"all", "creditcard", "paypal", "storecredit"}
    assert sum(g["rows"] for g in groups[1:]) == groups[0]["rows"] == 8_000
    assert "twins of rows that the model learned from" in table.err
    _refused(fraudray("evaluate", str(payments), "--by", "shop"), 2, "no such column")


def test_a_version_is_promoted_as_asked_and_the_registry_says_why(
    fraudray: Run, tmp_path: Path
) -> None:
    write(simulate(25_000, seed=5), tmp_path / "f.csv")
    train = ["train", "f.csv", "--model", "logistic-regression", "--json", "--promote"]

    never, auto, again, always = (
        fraudray(*train, how).json for how in ("never", "auto", "auto", "always")
    )

    told = [(v["champion"], v["decision"].split(";")[0]) for v in (never, auto, again, always)]
    assert told == [
        (False, "promote never was asked for"),
        (True, "no champion before it"),
        (False, "cannot be told apart: difference +0.0000, 95 % interval +0.0000 to +0.0000"),
        (True, "promote always was asked for"),
    ]
    assert again["gate"]["frauds"] == again["metrics"]["test"]["frauds"]
    listed = {v["version"]: v for v in fraudray("models", "list", "--json").json}
    assert [listed[v["version"]]["champion"] for v in (never, auto, again, always)] == [
        False, False, False, True,
    ]  # fmt: skip
    for version in (again, always):
        tags = listed[version["version"]]["tags"]
        assert tags["decision"] == version["decision"]
        noted = {name: float(tags[f"gate.{name}"]) for name in version["gate"]}
        assert noted == version["gate"]
        assert {"difference", "low", "high", "rows", "frauds"} <= set(noted)
    wrong = fraudray(*train, "sometimes")
    assert wrong.code == 2
    assert "'auto', 'never', 'always'" in wrong.err


def test_the_only_model_of_a_spec_is_the_one_meant_and_of_several_one_must_be_named(
    fraudray: Run, payments: Path
) -> None:
    train = ["train", str(payments), "--model", "logistic-regression", "--registered-model"]

    fraudray(*train, "fraudray-payments-a")
    assert fraudray("evaluate", str(payments), "--json").json["model"] == "fraudray-payments-a"

    fraudray(*train, "fraudray-payments-b")
    newest = fraudray("evaluate", str(payments), "--json")
    assert newest.json["model"] == "fraudray-payments-b"
    assert "Taking fraudray-payments-b" in newest.err
    _refused(fraudray("models", "promote", "1"), 1, "fraudray-payments-a, fraudray-payments-b")
    named = ["evaluate", str(payments), "--registered-model"]
    assert fraudray(*named, "fraudray-payments-a", "--json").json["model"] == "fraudray-payments-a"
    _refused(fraudray(*named, "fraudray-payments-c"), 1, "no registered model")


def test_a_relative_sqlite_store_is_the_same_file_from_every_folder(
    fraudray: Run, payments: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///own.db")

    fraudray("train", str(payments), "--model", "logistic-regression")

    assert (tmp_path / "own.db").exists()
    monkeypatch.chdir("/")
    assert len(fraudray("models", "list", "--json").json) == 1


def test_a_model_of_another_spec_is_not_registered_among_them(
    fraudray: Run, payments: Path, tmp_path: Path
) -> None:
    shipped = resources.files("training") / "specs" / "payments.toml"
    own = shipped.read_text("utf-8").replace('name = "payments"', 'name = "own"', 1)
    (tmp_path / "own.toml").write_text(own)
    train = ["train", str(payments), "--model", "logistic-regression"]
    fraudray(*train)

    done = fraudray(*train, "--spec", "own.toml", "--registered-model", "fraudray-payments")

    _refused(done, 1, "fraudray-payments is of the spec payments, not own")
    assert "Fitting" not in done.err


@pytest.mark.parametrize("name", ["pay[red].csv", "a[/b].csv"])
def test_brackets_in_a_name_are_shown_as_they_are(
    name: str, fraudray: Run, payments: Path, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)  # "a[" of the second name
    path.write_bytes(payments.read_bytes())

    done = fraudray("audit", name)

    assert done.code == 0
    assert f"Audit of {name}" in done.out


def test_a_file_with_a_bad_row_is_scored_not_at_all(fraudray: Run) -> None:
    rows = _rows(300, 9).replace("\n5,1,", "\n-5,1,")

    _refused(
        fraudray("predict", "-", stdin=rows), 3, "line 7: accountAgeDays", "nothing was scored"
    )
    _refused(fraudray("predict", "-", stdin="[]"), 3, "no payments")
    _refused(fraudray("predict", "-", stdin='[{"localTime": NaN}]'), 3, "not JSON")
    _refused(fraudray("predict", "-", stdin="[" * 100_000), 3, "not JSON")


def test_a_password_in_the_address_of_the_store_is_not_shown(
    fraudray: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for uri in ("http://me:hunter2@127.0.0.1:9", "postgresql://me:hunter2@h:port/x"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)

        done = fraudray("models", "list")

        _refused(done, 1, "cannot be opened")
        assert "hunter2" not in done.err + done.out


def test_a_champion_set_by_hand_in_mlflow_is_the_one_promoted_over_and_rolled_back_from(
    fraudray: Run, payments: Path, tmp_path: Path
) -> None:
    train = ["train", str(payments), "--model", "logistic-regression"]
    for _ in range(3):
        fraudray(*train)
    fraudray("models", "promote", "2")
    client = MlflowClient(f"sqlite:///{tmp_path / 'home' / 'mlflow.db'}")
    client.set_registered_model_alias("fraudray-payments", "champion", "1")

    assert fraudray("models", "promote", "2", "--json").json["champion"] == "2"
    versions = fraudray("models", "list", "--json").json
    assert [v["version"] for v in versions if v["champion"]] == ["2"]

    client.delete_model_version("fraudray-payments", "1")
    _refused(fraudray("models", "rollback"), 1, "no other champion")


def test_rolling_back_goes_the_way_of_the_champions_step_by_step(
    fraudray: Run, payments: Path
) -> None:
    for _ in range(2):
        fraudray("train", str(payments), "--model", "logistic-regression")
    for version in ("2", "1"):
        fraudray("models", "promote", version)

    back = [fraudray("models", "rollback", "--json").json["champion"] for _ in range(2)]

    assert back == ["2", "1"]
    _refused(fraudray("models", "rollback"), 1, "no other champion")


def test_simulate_says_what_it_wrote(fraudray: Run, tmp_path: Path) -> None:
    done = fraudray("simulate", "--rows", "500", "--seed", "4", "--out", "p.csv", "--json")

    assert done.json["rows"] == 500
    assert len(pd.read_csv(tmp_path / "p.csv")) == 500
    assert done.json["frauds"] == pd.read_csv(tmp_path / "p.csv")["label"].sum()


def test_doctor_names_what_it_looked_at(fraudray: Run) -> None:
    checks = {check["name"] for check in fraudray("doctor", "--json").json}

    assert {"Python", "packages", "memory", "MLflow store", "port 8000"} <= checks
