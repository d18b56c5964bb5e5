"""The dashboards are what Grafana takes and up to date, and every link leads somewhere."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "grafana"
FILES = sorted((GRAFANA / "dashboards").glob("*.json"))
DASHBOARDS = {path.stem: json.loads(path.read_text("utf-8")) for path in FILES}
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text("utf-8")
RULES = [
    rule
    for path in sorted((GRAFANA / "rules").glob("*.yaml"))
    for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
    for rule in group["rules"]
]
each = pytest.mark.parametrize("board", DASHBOARDS.values(), ids=DASHBOARDS)


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """Its panels, less the headings of rows."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def expressions(board: dict[str, Any]) -> list[str]:
    """Everything a dashboard asks Prometheus."""
    asked = [t["expr"] for panel in panels(board) for t in panel.get("targets", [])]
    return asked + [a["expr"] for a in board["annotations"]["list"]]


def problems(value: Any, schema: dict[str, Any], name: str) -> list[str]:
    """What a schema says against a value."""
    validator = Draft7Validator(schema | {"$ref": f"#/definitions/{name}"})
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def test_the_committed_files_are_what_the_code_makes(tmp_path: Path) -> None:
    ours = ("FRAUDRAY_RUNBOOK_URL", "FRAUDRAY_GRAFANA_URL")
    subprocess.run(
        [sys.executable, "-m", "grafana.build", tmp_path], cwd=ROOT, check=True,
        env={name: value for name, value in os.environ.items() if name not in ours},
    )  # fmt: skip
    made = {p.relative_to(tmp_path): p.read_text("utf-8") for p in tmp_path.rglob("*.*")}
    committed = {
        p.relative_to(GRAFANA): p.read_text("utf-8")
        for folder in ("dashboards", "rules")
        for p in (GRAFANA / folder).iterdir()
        if p.name != "kustomization.yaml"  # for Kubernetes, by `make manifests`
    }
    assert made == committed, "run `make dashboards`"


@each
def test_grafana_takes_it(board: dict[str, Any], shared: Path) -> None:
    schemas = {
        path.name.removesuffix(".jsonschema.json"): json.loads(path.read_text("utf-8"))
        for path in (shared / "schemas" / "grafana").glob("*.json")
    }
    assert not problems(board, schemas["dashboard"], "Dashboard")
    for panel in panels(board):
        schema = schemas[panel["type"].replace("-", "")]
        assert not problems(panel["options"], schema, "Options"), panel["title"]
        if "FieldConfig" in schema["definitions"]:
            custom = panel["fieldConfig"]["defaults"].get("custom", {})
            assert not problems(custom, schema, "FieldConfig"), panel["title"]
        for target in panel.get("targets", []):
            assert not problems(target, schemas["prometheus"], "Dataquery"), panel["title"]


@each
def test_every_panel_has_a_number_a_place_and_a_description(board: dict[str, Any]) -> None:
    numbers = [panel["id"] for panel in board["panels"]]
    assert len(set(numbers)) == len(numbers)
    for panel in panels(board):
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
    titles = [panel["title"] for panel in panels(board)]
    assert len(set(titles)) == len(titles)
    for one, other in combinations((panel["gridPos"] for panel in board["panels"]), 2):
        apart = (
            one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        )  # fmt: skip
        assert apart, (one, other)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in board["panels"])


@each
def test_every_number_has_a_unit_and_every_unit_a_meaning(board: dict[str, Any]) -> None:
    known = {"none", "short", "s", "bytes", "percentunit", "reqps", "cps", "wps", "suffix: times"}
    for panel in panels(board):
        unit = panel["fieldConfig"]["defaults"].get("unit")
        assert unit in known or panel["type"] == "heatmap", panel["title"]


@each
def test_every_variable_is_there_and_used(board: dict[str, Any]) -> None:
    there = {variable["name"] for variable in board["templating"]["list"]} - {"datasource"}
    asked = "\n".join(
        expressions(board) + [v.get("definition", "") for v in board["templating"]["list"]]
    )
    used = set(re.findall(r"\$(\w+)", asked)) - {"__rate_interval"}
    assert used == there


def test_uids_differ() -> None:
    assert len({board["uid"] for board in DASHBOARDS.values()}) == len(DASHBOARDS) == 5


def test_every_expression_is_promql(require: Callable[[str], str], tmp_path: Path) -> None:
    asked = [expression for board in DASHBOARDS.values() for expression in expressions(board)]
    plain = [re.sub(r"\$__rate_interval", "1m", e).replace("$", "") for e in asked]
    rules = [{"record": f"panel:{i}:asked", "expr": e} for i, e in enumerate(plain)]
    file = tmp_path / "panels.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}), "utf-8")
    subprocess.run([require("promtool"), "check", "rules", file], check=True)


def test_every_recorded_series_that_is_read_is_recorded_and_the_other_way_round() -> None:
    asked = [e for board in DASHBOARDS.values() for e in expressions(board)]
    asked += [rule["expr"] for rule in RULES]
    read = set(re.findall(r"\w+:fraudray_\w+:\w+", "\n".join(asked)))
    assert read == {rule["record"] for rule in RULES if "record" in rule}


def test_what_is_asked_is_told_and_what_is_told_is_asked() -> None:
    table = re.findall(
        r"^\| `((?:ray_)?fraudray_\w+)` \| (\w+) \|([^|]*)\|",
        (ROOT / "docs" / "monitoring.md").read_text("utf-8"), re.MULTILINE,
    )  # fmt: skip
    told = {
        name + suffix: {"cluster", "application", "le", *re.findall(r"`(\w+)`", labels)}
        for name, kind, labels in table
        for suffix in (("_bucket", "_sum", "_count") if kind == "histogram" else ("",))
    }
    asked = [e for board in DASHBOARDS.values() for e in expressions(board)]
    asked += [rule["expr"] for rule in RULES]
    read = re.findall(r"(?<![:\w])((?:ray_)?fraudray_\w+)(?:\{([^}]*)\})?", "\n".join(asked))
    assert {metric for metric, _ in read} <= set(told)
    for metric, matchers in read:
        assert set(re.findall(r"(\w+)[=!]", matchers)) <= told[metric], (metric, matchers)
    seen = {metric for metric, _ in read}
    unseen = [
        name for name, *_ in table if not seen & {name, *(name + s for s in ("_bucket", "_count"))}
    ]
    assert unseen == []


def test_every_link_into_the_runbook_has_its_section() -> None:
    sections = re.findall(r'<a id="(\w+)"></a>\n\n### (\w+)\n', RUNBOOK)
    alerts = {rule["alert"] for rule in RULES if "alert" in rule}
    assert all(anchor == heading for anchor, heading in sections)
    assert {anchor for anchor, _ in sections} == alerts
    assert len(sections) == len(alerts)
    texts = [path.read_text("utf-8") for path in [*FILES, *(GRAFANA / "rules").iterdir()]]
    linked = set(re.findall(r"runbook\.md#([^\"\s]+)", "\n".join([*texts])))
    linked |= set(re.findall(r"\(#(\w+)\)", RUNBOOK))
    # A cell of the table of alerts leads to the section of the alert in it.
    assert linked - {"${__data.fields.Alert}"} <= alerts
    for rule in RULES:
        if "alert" in rule:
            assert rule["annotations"]["runbook_url"].endswith(f"runbook.md#{rule['alert']}")


def test_every_link_to_a_dashboard_has_one() -> None:
    texts = [path.read_text("utf-8") for path in [*FILES, *(GRAFANA / "rules").iterdir()]]
    linked = set(re.findall(r"/d/([\w-]+)", "\n".join(texts)))
    assert linked
    assert linked <= {board["uid"] for board in DASHBOARDS.values()}


def test_panels_that_the_runbook_names_are_there() -> None:
    text = re.sub(r"\s+", " ", re.sub(r"<a id=.*?>", "", RUNBOOK))
    named = set(re.findall(r'"([A-Z][^"]+)"', text))
    assert named
    titles = {panel["title"] for board in DASHBOARDS.values() for panel in panels(board)}
    assert named - titles == set()


def test_every_command_in_the_runbook_is_there_with_its_options() -> None:
    from click import Context

    from fraudray.cli import cli

    named = re.findall(r"(?<!`)`(fraudray [^`]+)`", RUNBOOK)
    named += re.findall(r"^ *(fraudray .+)$", RUNBOOK, re.MULTILINE)
    assert len(named) > 20
    for line in named:
        command: Any = cli
        for word in shlex.split(line)[1:]:
            if word.startswith("--"):
                assert word in {o for p in command.params for o in p.opts}, line
            elif hasattr(command, "get_command"):
                command = command.get_command(Context(command), word)
                assert command is not None, line


def test_alertmanager_takes_its_configuration(require: Callable[[str], str]) -> None:
    subprocess.run([require("amtool"), "check-config", GRAFANA / "alertmanager.yml"], check=True)


def test_alertmanager_speaks_of_alerts_that_there_are() -> None:
    text = (GRAFANA / "alertmanager.yml").read_text("utf-8")
    named = set(re.findall(r"Fraudray\w+", text))
    for group in re.findall(r"Fraudray\(([\w|]+)\)", text):
        named |= {f"Fraudray{name}" for name in group.split("|")}
    assert named
    assert named <= {rule["alert"] for rule in RULES if "alert" in rule}


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [("severity=page", "pages"), ("severity=ticket", "tickets"), ("alertname=X", "tickets")],
)
def test_pages_and_tickets_go_to_different_places(
    labels: str, receiver: str, require: Callable[[str], str]
) -> None:
    file = f"--config.file={GRAFANA / 'alertmanager.yml'}"
    told = subprocess.run(
        [require("amtool"), "config", "routes", "test", file, labels],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert told.stdout.split() == [receiver]


def test_provisioning_names_what_the_dashboards_ask() -> None:
    (source,) = yaml.safe_load(
        (GRAFANA / "provisioning" / "datasources" / "prometheus.yaml").read_text("utf-8")
    )["datasources"]
    for board in DASHBOARDS.values():
        (chosen,) = (v for v in board["templating"]["list"] if v["type"] == "datasource")
        assert (chosen["current"]["value"], chosen["query"]) == (source["uid"], source["type"])
