"""Drift names what moved, where to, and nothing that chance alone explains."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.bins import NumberBins, ValueBins
from training.bundle import ModelBundle
from training.data import Columns, Dataset, load
from training.drift import Drift, FieldDrift, measure
from training.drift.file import drift_of
from training.drift.page import drift_html
from training.drift.pictures import MOST_BARS, shares_figure
from training.reference import LARGE, MODERATE, Counts, Reference, chance, level, psi
from training.spec import DatasetSpec
from training.split import Split

SPEC = DatasetSpec.from_dict(
    {
        "name": "tiny",
        "label": "y",
        "columns": {"x": {}, "c": {"type": "category"}, "b": {"type": "boolean"}},
    }
)
NUMBER = st.one_of(
    st.just(np.nan), st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 3)
)
ROW = st.tuples(
    NUMBER, st.one_of(st.none(), st.sampled_from("abc")), st.sampled_from([0.0, 1.0, np.nan])
)


def _columns(rows: list[tuple[float, str | None, float]]) -> Columns:
    x, c, b = ([row[i] for row in rows] for i in range(3))
    return {"x": np.array(x, float), "c": np.array(c, object), "b": np.array(b, float)}


rows = st.lists(ROW, min_size=1, max_size=40).map(_columns)


def _many(rng: np.random.Generator, rows: int = 4_000) -> Columns:
    return {
        "x": rng.lognormal(3, 1, rows),
        "c": rng.choice(np.array(["a", "b", None], object), rows, p=(0.6, 0.37, 0.03)),
        "b": rng.integers(0, 2, rows).astype(float),
    }


def _field(drift: Drift, name: str) -> FieldDrift:
    return next(field for field in drift.fields if field.name == name)


@given(rows, rows)
def test_it_says_what_the_reference_says(train: Columns, other: Columns) -> None:
    reference = Reference.of(train, SPEC).with_scores(np.linspace(0.1, 0.9, len(train["x"])))
    counts = reference.count(other, np.linspace(0.1, 0.9, len(other["x"])))

    drift = measure(reference, counts)

    assert drift.rows == len(other["x"])
    assert {f.name: f.psi for f in drift.fields} == psi(reference.counts, counts)
    assert {f.name: f.chance for f in drift.fields} == chance(reference.counts, counts)
    assert {f.name: f.other for f in drift.fields if f.name != "x"} == reference.other(counts)
    assert _field(drift, "x").missing == pytest.approx(np.isnan(other["x"]).mean())
    assert _field(drift, "c").expected_missing == np.mean([v is None for v in train["c"]])
    assert [f.psi for f in drift.fields] == sorted((f.psi for f in drift.fields), reverse=True)


@given(rows, rows)
def test_it_goes_through_json(train: Columns, other: Columns) -> None:
    reference = Reference.of(train, SPEC).with_scores(np.linspace(0.1, 0.9, len(train["x"])))
    drift = measure(reference, reference.count(other, np.full(len(other["x"]), 0.5)))

    content = json.loads(json.dumps(drift.to_dict(), allow_nan=False))

    assert [found["psi"] for found in content["fields"]] == [f.psi for f in drift.fields]
    assert [found["told"] for found in content["fields"]] == [f.told() for f in drift.fields]
    assert content["score"]["psi"] == drift.score.psi  # type: ignore[union-attr]
    assert content["limits"] == {"moderate": MODERATE, "large": LARGE}


@given(rows)
def test_rows_spread_alike_have_not_moved(train: Columns) -> None:
    reference = Reference.of(train, SPEC)

    drift = measure(reference, reference.counts)

    assert {f.psi for f in drift.fields} == {0.0}
    assert drift.shifted == ()
    assert all(f.told() == "steady (PSI 0.00)" for f in drift.fields)


@given(rows, rows)
def test_the_bin_named_gained_rows(train: Columns, other: Columns) -> None:
    reference = Reference.of(train, SPEC)

    for field in measure(reference, reference.count(other)).fields:
        assert field.share > field.expected_share or field.psi == 0
        assert field.bin in reference.bins[field.name].labels


@given(st.floats(0, 2), st.floats(0, 2))
def test_a_shift_is_none_within_chance(shift: float, limit: float) -> None:
    steady = shift <= MODERATE or shift <= limit

    assert (level(shift, limit) == "steady") == steady
    assert (level(shift, limit) == "large") == (not steady and shift > LARGE)


def test_a_few_rows_are_no_drift_and_many_of_the_same_are() -> None:
    reference = Reference.of(_many(np.random.default_rng(1)), SPEC)
    few = reference.count(_columns([(1.0, "a", 0.0), (2.0, "a", 0.0), (3.0, "b", 0.0)]))
    many = reference.empty()
    for _ in range(1_000):
        many += few

    assert _field(measure(reference, few), "b").psi > LARGE
    assert measure(reference, few).shifted == ()
    # Of c, 3 % were missing, and now none.
    assert {f.name for f in measure(reference, many).shifted} == {"x", "b", "c"}


def test_fresh_rows_are_steady_and_a_broken_field_is_named() -> None:
    rng = np.random.default_rng(2)
    train, fresh = _many(rng), _many(rng)
    scores = rng.beta(1, 60, 4_000)
    reference = Reference.of(train, SPEC).with_scores(scores)
    broken = fresh | {"x": fresh["x"] * 100, "c": np.full(4_000, None)}

    assert measure(reference, reference.count(fresh, rng.beta(1, 60, 4_000))).shifted == ()
    drift = measure(reference, reference.count(broken, np.minimum(scores * 20, 1.0)))

    assert [f.level for f in drift.fields] == ["large", "large", "steady"]
    edge = reference.bins["x"].labels[-2]
    assert edge.endswith(" or more")
    assert f"most at {edge}: 10.0% → " in _field(drift, "x").told()
    share = _field(drift, "c").expected_missing
    assert f"most at no value: {share:.1%} → 100.0%" in _field(drift, "c").told()
    assert drift.score is not None
    assert drift.score.level == "large"


def test_values_never_seen_are_told() -> None:
    rng = np.random.default_rng(3)
    reference = Reference.of(_many(rng), SPEC)
    renamed = _many(rng)
    renamed["c"] = np.where(renamed["c"] == "b", "B", renamed["c"])

    told = _field(measure(reference, reference.count(renamed)), "c").told()

    assert "most at another value: 0.0% → 3" in told


def test_a_little_more_of_missing_and_unknown_values_is_told_of_a_steady_field() -> None:
    rng = np.random.default_rng(5)
    train, later = _many(rng), _many(rng)
    reference = Reference.of(train, SPEC)
    later["c"] = np.where(rng.random(4_000) < 0.015, "new", later["c"])
    later["x"] = np.where(rng.random(4_000) < 0.015, np.nan, later["x"])

    drift = measure(reference, reference.count(later))

    assert drift.shifted == ()
    assert "; missing 0.0% → " in _field(drift, "x").told()
    assert "; values rare or absent in training 0.0% → " in _field(drift, "c").told()


def test_fields_that_were_skipped_are_noted_and_no_rows_tell_nothing() -> None:
    reference = Reference.of(_many(np.random.default_rng(4)), SPEC).with_scores(np.ones(3))

    some = measure(reference, reference.counts, skip={"c"})
    none = measure(reference, reference.empty())

    assert [f.name for f in some.fields] == ["x", "b"]
    assert some.skipped == ("c",)
    assert some.to_dict()["skipped"] == ["c"]
    assert none == Drift(0, None, ())
    assert measure(reference, reference.count({"x": np.ones(9)})).score is None


@given(st.lists(NUMBER, min_size=1, max_size=40))
def test_every_bin_of_a_number_has_words(values: list[float]) -> None:
    bins = NumberBins.of(np.array(values, float))

    assert len(bins.labels) == len(bins.count(np.array(values, float)))


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([np.nan], ["any number"]),
        ([3, 3, 3], ["below 3", "exactly 3", "above 3"]),
        ([0] * 8 + [7, 2500], ["below 0", "exactly 0", "above 0, below 7", "7 or more"]),
        (
            range(10),
            ["below 0", *(f"{i} to {i + 1}" for i in range(8)), "8 or more"],
        ),
    ],
)
def test_the_words_of_a_number(values: list[float], labels: list[str]) -> None:
    assert list(NumberBins.of(np.array(values, float)).labels) == [*labels, "no value"]


def test_the_words_of_a_category_and_a_boolean() -> None:
    texts = ValueBins.of(np.array(["x", "y", "x", None], object))
    flags = ValueBins.of(np.array([0.0, 1.0]))

    assert texts.labels == ("x", "y", "another value", "no value")
    assert flags.labels == ("0", "1", "another value", "no value")


def _as_loaded(path: Path, bundle: ModelBundle) -> tuple[Counts, Dataset]:
    rows = load(path, bundle.spec, labelled=False, max_bad_share=1)
    return bundle.reference.count(rows.columns, bundle.score(rows.columns)), rows


@pytest.mark.parametrize("dated", ["all", "some", "none"])
def test_a_file_in_parts_is_counted_as_one_read_whole(
    dated: str, bundle: ModelBundle, payments: pd.DataFrame, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    frame = payments.head(3_000).copy()
    frame.loc[frame.index[::100], "numItems"] = -1
    if dated != "all":
        frame.loc[1_000 if dated == "some" else 0 :, "timestamp"] = None
    frame.to_csv(tmp_path / "f.csv", index=False)
    whole, rows = _as_loaded(tmp_path / "f.csv", bundle)
    listed = sorted((tmp_path / "f.rejected.csv").read_text("utf-8").splitlines())
    monkeypatch.setattr("training.read.BLOCK", 10_000)

    found = drift_of(str(tmp_path / "f.csv"), bundle, max_bad_share=1)

    assert found.counts == whole
    assert found.bad_rows == rows.bad_rows > 0
    assert sorted((tmp_path / "f.rejected.csv").read_text("utf-8").splitlines()) == listed
    times = rows.timestamp
    if times is None:
        assert (found.begins, found.ends) == (None, None)
    else:
        told = [np.datetime64(str(t).removesuffix("Z")) for t in (found.begins, found.ends)]
        assert told == [times.min(), times.max()]


def test_what_follows_day_or_week_is_compared_over_a_whole_one(
    bundle: ModelBundle, payments: pd.DataFrame, tmp_path: Path
) -> None:
    def within(hours: int) -> pd.DataFrame:
        passed = pd.to_timedelta(np.linspace(0, hours, len(payments)), unit="h")
        moments = (pd.Timestamp("2026-03-01T09:00:00") + passed).strftime("%Y-%m-%dT%H:%M:%SZ")
        return payments.assign(timestamp=moments)

    paths = {}
    for name, changed in {
        "hour": within(1),
        "day": within(24),
        "week": within(168),
        "undated": payments.drop(columns="timestamp"),
        "days": payments,
    }.items():
        paths[name] = str(tmp_path / f"{name}.csv")
        changed.to_csv(paths[name], index=False)

    found = {name: drift_of(path, bundle) for name, path in paths.items()}

    assert found["hour"].drift.skipped == ("localTime", "isWeekend")
    assert found["hour"].left_out().startswith("Not compared: localTime, isWeekend.")
    assert found["day"].drift.skipped == ("isWeekend",)
    assert "spans 1.0 hours" in found["hour"].left_out()
    for whole in (found["undated"], found["days"], found["week"]):
        assert whole.drift.skipped == ()
        assert whole.left_out() == ""
        assert {f.name for f in whole.drift.fields} == set(bundle.spec.inputs)


def test_alerts_are_expected_as_often_as_on_the_validation_rows(
    bundle: ModelBundle, dataset: Dataset, parts: Split, tmp_path: Path
) -> None:
    rows = dataset.take(parts.validation)
    rows.frame.to_csv(tmp_path / "f.csv", index=False)

    found = drift_of(str(tmp_path / "f.csv"), bundle)

    assert found.alert_rate == pytest.approx(found.expected_alert_rate)
    assert found.drift.score is not None
    assert found.drift.score.psi == pytest.approx(0, abs=1e-9)


class _Page(HTMLParser):
    """What a page shows, and what it would ask for."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.text, self.asked = "", set[str]()
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.asked |= {v.split(":")[0] for k, v in attrs if k in ("src", "href") and v}
        assert tag != "script"

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_shows_every_field_and_asks_for_nothing(
    bundle: ModelBundle, payments: pd.DataFrame, tmp_path: Path
) -> None:
    payments.assign(Category="<script>").to_csv(tmp_path / "<b>.csv", index=False)
    found = drift_of(str(tmp_path / "<b>.csv"), bundle)

    page = _Page(drift_html(found, bundle.reference, "payments version <i>"))

    assert page.asked == {"data"}
    assert "Drift of" in page.text
    assert "payments version <i>" in page.text
    for field in found.drift.fields:
        assert field.name in page.text
    assert f"Category: {found.drift.fields[0].told()}" in page.text
    assert "6,000" in page.text


def test_a_page_of_many_fields_lists_those_without_a_picture(
    bundle: ModelBundle, payments: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    payments.to_csv(tmp_path / "f.csv", index=False)
    found = drift_of(str(tmp_path / "f.csv"), bundle)
    monkeypatch.setattr("training.drift.page.MOST_PICTURES", 3)

    content = drift_html(found, bundle.reference, "payments")

    assert content.count("<img ") == 4
    text = _Page(content).text
    assert "Fields without a picture" in text
    for field in found.drift.fields:
        assert field.name in text


def test_a_picture_puts_what_holds_little_together() -> None:
    labels = [f"town {i}" for i in range(40)]

    (axes,) = shares_figure(labels, range(1, 41), [1] * 40).axes

    shown = [tick.get_text() for tick in axes.get_yticklabels()]
    assert shown[-1] == "27 others"
    assert "town 39" in shown
    assert len(shown) == MOST_BARS
    wide = [bar.get_width() for bar in axes.patches]
    assert sum(wide) == pytest.approx(2)  # all rows of both sides
