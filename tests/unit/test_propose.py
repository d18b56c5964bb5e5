"""A proposed spec accepts the rows it came from, survives being written, and says its reasons."""

from __future__ import annotations

import io
import re
import string
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_breast_cancer, load_digits

from training.data import check, read_csv
from training.errors import DataRefused
from training.propose import Proposal, propose, spec_name, titled
from training.read import head
from training.spec import DatasetSpec

RNG = np.random.default_rng(5)
ROWS = 200
FRAUD = (np.arange(ROWS) % 10 == 0).astype(int)


def _as_csv(frame: pd.DataFrame) -> pd.DataFrame:
    return read_csv(io.StringIO(frame.to_csv(index=False)), source="file")


def _read_back(proposal: Proposal, folder: Path) -> DatasetSpec:
    file = folder / "proposed.toml"
    file.write_text(proposal.toml(), encoding="utf-8")
    return DatasetSpec.load(str(file))


def _beside_label(**columns: Any) -> Proposal:
    """Propose a spec for the given columns, an amount and a label."""
    amounts = np.round(RNG.lognormal(3, 1, ROWS), 2)
    return propose(pd.DataFrame({"amount": amounts, **columns, "label": FRAUD}), name="mine")


def _breast_cancer() -> pd.DataFrame:
    frame = load_breast_cancer(as_frame=True).frame
    return frame.assign(label=1 - frame.pop("target"))


def _digits() -> pd.DataFrame:
    frame = load_digits(as_frame=True).frame
    return frame.assign(label=(frame.pop("target") == 8).astype(int))


# --- files as they come ---


def test_the_proposal_for_payments_comes_close_to_their_own_spec(
    payments: pd.DataFrame, spec: DatasetSpec
) -> None:
    proposed = propose(_as_csv(payments), name="payments").spec

    assert list(proposed.columns) == list(payments.columns.drop("label"))
    assert (proposed.label, proposed.timestamp, proposed.entity) == (
        "label", "timestamp", "customerId",
    )  # fmt: skip
    assert proposed.costs == spec.costs
    assert set(proposed.inputs) == set(spec.inputs)
    same = ("role", "type", "integer", "minimum", "maximum", "categories", "skewed")
    for name, column in proposed.columns.items():
        for field in same:
            found, wanted = getattr(column, field), getattr(spec.columns[name], field)
            assert found == wanted, (name, field)


@pytest.mark.parametrize("make", [_breast_cancer, _digits])
@pytest.mark.parametrize("as_csv", [True, False])
def test_a_file_of_other_columns_keeps_the_spec_proposed_for_it(
    make: Any, as_csv: bool, tmp_path: Path
) -> None:
    frame = make()
    frame = _as_csv(frame) if as_csv else frame

    proposal = propose(frame, name="other")

    dataset = check(frame, _read_back(proposal, tmp_path), source="file")
    assert dataset.rejected.empty
    assert dataset.label.sum() == frame["label"].astype(int).sum()
    kept = [n for n in frame.columns.drop("label") if len(set(frame[n])) > 1]
    assert list(proposal.spec.inputs) == kept


@pytest.mark.parametrize("as_csv", [True, False])
def test_payments_keep_the_spec_proposed_for_them(
    payments: pd.DataFrame, as_csv: bool, tmp_path: Path
) -> None:
    frame = _as_csv(payments) if as_csv else payments.assign(
        timestamp=pd.to_datetime(payments["timestamp"]),
        Category=payments["Category"].astype("category"),
        label=payments["label"].astype(bool),
    )  # fmt: skip

    proposal = propose(frame, name="payments")

    dataset = check(frame, _read_back(proposal, tmp_path), source="file")
    assert dataset.rejected.empty
    assert proposal.spec.timestamp == "timestamp"
    assert dataset.label.sum() == payments["label"].sum()


@pytest.mark.parametrize("file", ["payment_fraud.csv", "payment_fraud_6col.csv"])
def test_the_real_file_keeps_the_spec_proposed_for_it(
    shared_data: Path, file: str, tmp_path: Path
) -> None:
    frame = head(shared_data / file, 100_000)

    proposal = propose(frame, name="real")

    assert check(frame, _read_back(proposal, tmp_path), source=file).rejected.empty
    assert "isWeekend" not in proposal.spec.inputs  # missing on the frauds alone
    assert "paymentMethod" in proposal.spec.inputs


def test_card_payments_have_a_spec() -> None:
    card = DatasetSpec.load("creditcard")
    frame = pd.DataFrame(
        {"Time": np.sort(RNG.integers(0, 172_800, ROWS)).astype(float)}
        | {f"V{i}": RNG.normal(size=ROWS) for i in range(1, 29)}
        | {"Amount": np.round(RNG.lognormal(3, 1, ROWS), 2), "Class": FRAUD}
    )

    for rows in (frame, _as_csv(frame)):
        dataset = check(rows, card, source="creditcard.csv")
        assert dataset.rejected.empty
        assert dataset.timestamp is not None
        assert (np.diff(dataset.timestamp) >= np.timedelta64(0)).all()

    proposed = propose(_as_csv(frame), name="creditcard").spec
    assert (proposed.timestamp, proposed.label) == (card.timestamp, card.label)
    assert list(proposed.inputs) == list(card.inputs)
    assert proposed.costs == card.costs


# --- what a column is taken for ---


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("nothing", [None] * ROWS, "no value at all"),
        ("currency", ["EUR"] * ROWS, "every value is 'EUR'"),
        ("uuid", [f"{i * 7919:x}" for i in range(ROWS)], "identifier|names the row"),
        ("remark", [f"remark {i * 7919 % 1009}" for i in range(ROWS)], "names the row"),
        ("n", range(40, 40 + ROWS), "counts the rows"),
        ("merchant_id", RNG.integers(1_000, 9_999, ROWS), "identifier"),
        ("town", [f"town {i}" for i in range(ROWS // 2)] * 2, "100 different texts"),
        ("chargeback_date", ["2026-01-01"] * ROWS, "may not be known when the payment is decided"),
        ("balanceAfter", RNG.random(ROWS), "may not be known when the payment is decided"),
        ("isFlagged", FRAUD, "may not be known when the payment is decided"),
        ("copy", np.where(FRAUD, "b", "a"), "the same as the label"),
        ("how", np.where(FRAUD, "gang", None), "missing on 0.0% of the frauds and 100.0%"),
        (
            "device",
            np.where(FRAUD | (np.arange(ROWS) % 7 == 1), None, 1.5),
            "on 100.0% of the frau",
        ),
        ("lastSeen", ["2026-01-01", "2026-01-02", None, None] * 50, "time that not every row has"),
        ("score", ["1.5"] * 150 + ["2.5"] * 49 + ["?"], "'\\?' is none"),
        ("ratio", [np.inf, *range(1, ROWS)], "'inf' is not finite"),
        ("ratios", ["-inf", *map(str, range(1, ROWS))], "'-inf' is not finite"),
        ("price", [f"${i % 90}.50" for i in range(ROWS)], r"90 different texts such as '\$0\.50'"),
        ("Time", [1.7e12 + 1e5 * i for i in range(ROWS)], "too large for seconds.*divide it by 1"),
        ("ts", [1.7e12 - 1e5 * i for i in range(ROWS)], "too large for seconds"),
        ("chargedBack", RNG.random(ROWS), "may not be known when the payment is decided"),
        ("declined", ["a", "b"] * (ROWS // 2), "may not be known when the payment is decided"),
        ("note", ["x" * 201] + ["y"] * (ROWS - 1), "more than 200 characters"),
    ],
)
def test_a_column_that_should_feed_no_model_is_kept_from_it(
    name: str, values: Any, reason: str
) -> None:
    proposal = _beside_label(**{name: list(values)})

    assert proposal.spec.columns[name].role == "annotation"
    assert re.search(reason, proposal.reasons[name])


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("items", [1, 2, 3, None] * 50, {"integer": True, "minimum": 0, "required": False}),
        ("balance", [-5.5, 3, 4, 8] * 50, {"integer": False, "minimum": None, "required": True}),
        ("priced", ["1.00", "2.00", "7.00", "9.00"] * 50, {"integer": False, "minimum": 0}),
        ("riskShare", [0.25, 0.5, 0.75, 1] * 50, {"maximum": 1, "skewed": False}),
        ("hour", list(range(20)) * 10, {"maximum": 24, "unit": "hour of the day", "cycle": "day"}),
        ("hours_since_last", list(range(20)) * 10, {"maximum": None}),
        ("tail", np.exp(RNG.normal(0, 2, ROWS)), {"skewed": True}),
        ("even", RNG.random(ROWS), {"skewed": False}),
        (
            "vip",
            ["true", "false", "false", None] * 50,
            {"type": "boolean", "example": 0, "cycle": None},
        ),
        ("is_weekend", [0, 0, 1, 0] * 50, {"type": "boolean", "cycle": "week"}),
        ("zip", ["01234", "10117"] * 100, {"type": "category", "categories": ("01234", "10117")}),
        ("store_id", [1, 2, 3, 4] * 50, {"type": "category", "categories": ("1", "2", "3", "4")}),
        ("colour", ["red", "red", "blue", ""] * 50, {"type": "category", "example": "red"}),
        ("town", [f"town {i}" for i in range(40)] * 5, {"type": "category", "categories": ()}),
        ("brand", [b"visa", b"\xff"] * 100, {"categories": ("visa", "\ufffd")}),
        ("screen_resolution", ["1x2", "3x4"] * 100, {"role": "feature", "type": "category"}),
        ("reviews_count", [1, 2, 3, 4] * 50, {"role": "feature", "type": "number"}),
        ("card", ["visa", "amex"] * 100, {"role": "feature", "type": "category"}),
        ("user", [f"u{i}" for i in range(50)] * 4, {"role": "entity", "type": "text"}),
        ("cc_num", [10**15 + i for i in range(50)] * 4, {"role": "entity", "type": "text"}),
        ("when", pd.date_range("2026", periods=ROWS), {"role": "timestamp", "type": "text"}),
        ("Time", range(0, 2 * ROWS, 2), {"role": "timestamp", "type": "number"}),
        ("reading time", [3, 1, 5, 9] * 50, {"role": "feature", "type": "number"}),
        ("accountAgeDays", list(range(50)) * 4, {"role": "feature", "unit": "days"}),
    ],
)
def test_a_column_is_taken_for_what_it_looks_like(
    name: str, values: Any, expected: dict[str, Any]
) -> None:
    column = _beside_label(**{name: list(values)}).spec.columns[name]

    assert {field: getattr(column, field) for field in expected} == expected


def test_of_several_columns_for_one_role_the_others_are_kept_from_the_model() -> None:
    times = pd.date_range("2026", periods=ROWS).astype(str)
    users = [f"u{i}" for i in range(50)] * 4

    spec = _beside_label(
        birth=times, opened=times, trans_date=times, userId=users, cardNumber=users
    ).spec

    assert (spec.timestamp, spec.entity) == ("trans_date", "userId")
    assert list(spec.inputs) == ["amount"]


def test_a_frame_without_rows_or_with_two_columns_of_one_name_is_refused() -> None:
    with pytest.raises(DataRefused, match="no rows"):
        propose(pd.DataFrame({"a": [], "label": []}), name="mine")
    with pytest.raises(DataRefused, match="'a' twice"):
        propose(pd.DataFrame([[1, 2, 0]], columns=["a", "a", "label"]), name="mine")


def test_milliseconds_leave_the_order_of_rows_to_a_column_that_can_give_it() -> None:
    seconds = [1.7e9 + 100 * i for i in range(ROWS)]
    columns = {"ts": [s * 1000 for s in seconds], "time": seconds}

    spec = _beside_label(**columns).spec

    assert (spec.timestamp, spec.columns["ts"].role) == ("time", "annotation")


def test_bytes_are_read_as_texts() -> None:
    frame = pd.DataFrame(
        {"amount": [b"1.5", b"2", None, b"3"] * 50, "brand": [b"visa", b"\xff"] * 100,
         "note": [b"%d" % i for i in range(ROWS)], "label": FRAUD}
    )  # fmt: skip

    spec = propose(frame, name="mine").spec
    dataset = check(frame, spec, source="file")

    assert dataset.rejected.empty
    assert dataset.columns["amount"][:2].tolist() == [1.5, 2]
    assert set(dataset.columns["brand"]) == {"visa", "\ufffd"}


def test_a_name_that_is_none_leaves_its_column_out_and_harms_nobody() -> None:
    proposal = _beside_label(
        **{"": range(ROWS), "a\x1b[2J": FRAUD, "b\u202e": FRAUD, "cardholder" * 26 + "zz": FRAUD}
    )

    assert list(proposal.spec.columns) == ["amount"]
    assert [titled(name) for name in proposal.reasons][2:5] == [
        "the column without a name", "a\\x1b[2J", "b\\u202e",
    ]  # fmt: skip
    assert "# the column without a name: Left out: a name has 1 to 100" in proposal.toml()
    assert "\x1b" not in proposal.toml()


@pytest.mark.parametrize("name", ["cardholder" * 9 + "zz", "custname" * 12, "cc" * 49 + "!"])
def test_no_name_keeps_it_busy(name: str) -> None:
    started = time.process_time()

    assert _beside_label(**{name: [1, 2] * 100}).spec.columns[name].role == "feature"
    assert time.process_time() - started < 2


def test_the_texts_of_one_column_are_held_at_a_time() -> None:
    rows, wide = 2_000, 40
    towns = pd.Series(np.arange(rows) % 500).astype("str")
    columns = {f"c{i}": f"town {i} " + towns for i in range(wide)}
    frame = pd.DataFrame(columns | {"amount": RNG.random(rows), "label": np.arange(rows) % 10 == 0})

    tracemalloc.start()
    propose(frame, name="mine")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < wide * rows * 8  # one pointer to a text for each value


# --- anything at all ---

_CELLS = st.one_of(
    st.none(),
    st.sampled_from(["0", "1", "true", "1.0", "-1", "", "NA", "01", "inf", "1e400", " 5 ", "2026"]),
    st.sampled_from(["2026-01-01", "2026-01-01T10:00:00Z", "2026-13-01", "now"]),
    st.integers(-3, 3).map(str),
    st.floats().map(repr),
    st.text(max_size=5),
)


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=12) | st.sampled_from(["time", "userId", "id", "hour", "y"]),
        st.lists(_CELLS, min_size=12, max_size=12),
        min_size=1,
        max_size=4,
    )
)
def test_whatever_is_in_a_file_it_keeps_the_spec_proposed_for_it(
    tmp_path_factory: pytest.TempPathFactory, columns: dict[str, list[str | None]]
) -> None:
    columns = {name: values for name, values in columns.items() if name.strip() != "label"}
    frame = pd.DataFrame(columns | {"size": range(3, 27, 2), "label": ["0", "1"] * 6}, dtype=object)

    proposal = propose(frame.where(frame.notna(), np.nan), name="wild", label="label")

    again = _read_back(proposal, tmp_path_factory.mktemp("wild"))
    assert again == proposal.spec
    assert set(proposal.reasons) == set(frame.columns)
    assert check(frame, again, source="file").rejected.empty


@given(st.text(alphabet=string.printable + "é/\\"))
def test_every_file_gives_a_spec_its_name(file: str) -> None:
    content = {"name": spec_name(file), "label": "y", "columns": {"x": {}}}

    assert DatasetSpec.from_dict(content).name == spec_name(file)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("data/Card payments_2024.csv", "card-payments-2024"),
        ("C:\\x\\a.csv.gz", "a"),
        ("é", "payments"),
    ],
)
def test_a_spec_is_named_after_its_file(file: str, name: str) -> None:
    assert spec_name(file) == name
