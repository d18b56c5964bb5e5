"""What `evaluate`, `explain` and `predict` do."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import IO, Any

import numpy as np

from fraudray.output import number, say, table
from serve_app.client import Client
from serve_app.contract import Answer, Record
from training.bundle import ModelBundle
from training.changes import nearest_changes
from training.data import Dataset, check, load, read_csv, records_of
from training.errors import DataRefused, UsageError
from training.evaluate import Metrics
from training.explain import reasons
from training.spec import DatasetSpec
from training.threshold import Policy
from training.tracking import Version

MAX_GROUPS = 100
"""Values of a column that `evaluate --by` tells apart."""

CHUNK = 1000
"""Payments in a request of `predict`."""


def evaluate_by(bundle: ModelBundle, dataset: Dataset, by: str | None) -> list[dict[str, Any]]:
    """Metrics of all rows and of each value of a column, with counts and twins.

    Returns
    -------
    list of dict
        `group` ("all" or the value), the metrics, and `twins`: rows identical to one that the
        model learned from, its threshold and calibration included.

    Raises
    ------
    UsageError
        If there is no such column.
    """
    label = dataset.label
    if by is not None and by not in dataset.frame:
        raise UsageError(
            f"--by {by}: {dataset.source} has no such column; "
            f"found {', '.join(map(str, dataset.frame.columns))}"
        )
    if by is not None and dataset.frame[by].nunique() > MAX_GROUPS:
        raise UsageError(f"--by {by}: more than {MAX_GROUPS} different values")
    costs = Policy.parse(bundle.choice.policy).row_costs(replace(dataset, spec=bundle.spec))
    probability = bundle.score(dataset.columns)
    twin = bundle.has_learned_from(dataset)
    groups = [("all", np.ones(len(dataset), bool))]
    if by is not None:
        values = dataset.frame[by].astype(object).where(dataset.frame[by].notna(), "(empty)")
        groups += [(str(v), (values == v).to_numpy()) for v in sorted(set(values), key=str)]
    return [
        {
            "group": name,
            **Metrics.of(
                label[rows],
                probability[rows],
                bundle.choice.threshold,
                missed=costs["missed"][rows],
                alarm=costs["alarm"],
            ).to_dict(),
            "twins": int(twin[rows].sum()),
        }
        for name, rows in groups
    ]


def evaluation_table(
    version: Version, bundle: ModelBundle, groups: list[dict[str, Any]], by: str | None
) -> None:
    """Write what `evaluate_by` found, for people."""
    heads = ("rows", "frauds", "found", "missed", "false alarms", "PR-AUC", "precision", "recall",
             "accuracy", "twins")  # fmt: skip
    rows = [
        (
            g["group"], f"{g['rows']:,}", f"{g['frauds']:,}", f"{g['true_positives']:,}",
            f"{g['false_negatives']:,}", f"{g['false_positives']:,}", number(g["pr_auc"]),
            number(g["precision"]), number(g["recall"]), number(g["accuracy"]), f"{g['twins']:,}",
        )
        for g in groups
    ]  # fmt: skip
    title = f"{version.model} version {version.version} at threshold {bundle.choice.threshold:.4f}"
    table(title, (by or "", *heads), rows)
    twins = groups[0]["twins"]
    if twins:
        say(f"{twins:,} of {groups[0]['rows']:,} rows are twins of rows that the model learned "
            f"from: it has seen their answer, so the figures flatter it")  # fmt: skip


def explained_rows(bundle: ModelBundle, dataset: Dataset, top: int) -> list[dict[str, Any]]:
    """The payments with the highest probability, and why; the highest first.

    Returns
    -------
    list of dict
        `row` (from 1, among the rows that keep the spec), `probability`, `decision`, `base`,
        `margin`, `reasons`, each with field, value, contribution and text, and `changes`: what
        would turn the decision, each with field, value, probability and text.
    """
    probability = bundle.score(dataset.columns)
    rows = np.argsort(-probability, kind="stable")[:top]
    columns = dataset.take(rows).columns
    explanation = bundle.explain(columns)
    decisions = bundle.decide(probability[rows])
    return [
        {
            "row": int(row) + 1,
            "probability": float(probability[row]),
            "decision": int(decisions[place]),
            "base": float(explanation.base[place]),
            "margin": float(explanation.margin[place]),
            "reasons": [
                asdict(reason)
                for reason in reasons(
                    explanation, bundle.features, columns, place, most=len(explanation.fields)
                )
            ],
            "changes": [
                asdict(change)
                for change in nearest_changes(
                    bundle, {name: values[place : place + 1] for name, values in columns.items()}
                )
            ],
        }
        for place, row in enumerate(rows)
    ]


def explanation_table(version: Version, rows: list[dict[str, Any]], set_aside: int) -> None:
    """Write what `explained_rows` found, for people; rows set aside are not counted."""
    if set_aside:
        say(f"Rows are counted among those that keep the spec; {set_aside:,} do not")
    for found in rows:
        verdict = "an alert" if found["decision"] else "let through"
        table(
            f"Row {found['row']:,}: probability {found['probability']:.4f}, {verdict} "
            f"({version.model} version {version.version})",
            ("contribution", "why"),
            [(f"{r['contribution']:+.3f}", r["text"]) for r in found["reasons"]],
        )
        for change in found["changes"][:1]:
            say(f"The nearest change that would turn it: {change['text']}")


def answers_of(file: str, stdin: IO[str], spec: DatasetSpec, url: str) -> list[Answer]:
    """Score a file, or standard input where `file` is a dash, in requests of `CHUNK` payments.

    A file is scored whole or not at all, so that answers and rows stand side by side.

    Raises
    ------
    DataRefused
        If the input is not what it should be, or any row of it breaks the spec.
    BadRequest, ServiceError
        From the client.
    """
    if file == "-":
        records = list(_from_text(_read(stdin), spec))
    else:
        records = list(_from(load(file, spec, labelled=False)))
    if not records:
        raise DataRefused("there are no payments to score")
    with Client(url) as client:
        answers: list[Answer] = []
        for start in range(0, len(records), CHUNK):
            answers += client.predict(records[start : start + CHUNK])
    return answers


def _from(dataset: Dataset) -> Iterator[Record]:
    if len(dataset.rejected):
        raise DataRefused(f"{dataset.complaint()}; nothing was scored")
    return records_of(dataset, list(dataset.spec.inputs))


def _read(stdin: IO[str]) -> str:
    try:
        text = stdin.read()
        text.encode("utf-8")
    except UnicodeError:
        raise DataRefused("standard input is not text; give payments as CSV or JSON") from None
    if not text.strip():
        raise DataRefused("standard input is empty; give payments as CSV or JSON")
    return text


def _from_text(text: str, spec: DatasetSpec) -> Iterator[Record]:
    source = "standard input"
    if text.lstrip()[0] not in "[{":
        raw = read_csv(io.StringIO(text), source=source)
        return _from(check(raw, spec, source=source, labelled=False))
    try:
        content = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise DataRefused(f"{source}: not JSON: {error}") from None
    return iter(content if isinstance(content, list) else [content])


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")
