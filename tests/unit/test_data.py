"""Files are read or refused with a reason; bad rows are set aside and named line by line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from training.data import Dataset, check, columns_of, load, records_of
from training.errors import DataRefused, FraudrayError, UsageError
from training.read import head
from training.spec import DatasetSpec

ROWS = 400
REQUIRED = ["accountAgeDays", "numItems", "localTime", "paymentMethod", "paymentMethodAgeDays"]


@dataclass(frozen=True)
class Files:
    """Writes files into a folder of the test."""

    folder: Path
    frame: pd.DataFrame

    def csv(self, frame: pd.DataFrame | None = None, name: str = "payments.csv") -> Path:
        path = self.folder / name
        (self.frame if frame is None else frame).to_csv(path, index=False)
        return path

    def parquet(self, frame: pd.DataFrame | None = None) -> Path:
        path = self.folder / "payments.parquet"
        (self.frame if frame is None else frame).to_parquet(path, index=False)
        return path

    def content(self, content: bytes, name: str = "payments.csv") -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path

    def lines(self) -> list[str]:
        return self.frame.to_csv(index=False).splitlines()

    def with_value(self, row: int, column: str, value: Any) -> pd.DataFrame:
        """The frame with one value replaced; rows count from 0, so the line is row + 2."""
        changed = self.frame.astype({column: object})
        changed.loc[row, column] = value
        return changed


@pytest.fixture
def files(tmp_path: Path, payments: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> Files:
    monkeypatch.chdir(tmp_path)
    frame = payments.head(ROWS).copy()
    # Whole ages as in a file of today, and gaps in every column that may have them.
    frame.loc[[5, 6], "Category"] = None
    frame.loc[[5, 7], ["isWeekend", "amount"]] = np.nan
    return Files(tmp_path, frame)


def _same(left: Dataset, right: Dataset, columns: list[str] | None = None) -> None:
    pd.testing.assert_frame_equal(
        left.frame[columns] if columns else left.frame,
        right.frame[columns] if columns else right.frame,
        check_exact=True,
    )
    assert len(left.rejected) == len(right.rejected)


def test_a_good_file_loses_no_row_and_leaves_no_other_file(files: Files, spec: DatasetSpec) -> None:
    dataset = load(files.csv(), spec)

    assert len(dataset) == ROWS
    assert dataset.rejected.empty
    assert [p.name for p in files.folder.iterdir()] == ["payments.csv"]
    assert list(dataset.columns) == list(spec.inputs)
    assert dataset.label.tolist() == files.frame["label"].tolist()
    assert dataset.columns["Category"][5] is None
    assert np.isnan(dataset.columns["amount"][5])
    times = dataset.timestamp
    assert times is not None
    assert str(times[0])[:19] + "Z" == files.frame["timestamp"][0]


def test_csv_parquet_and_memory_give_the_same_dataset(files: Files, spec: DatasetSpec) -> None:
    from_csv = load(files.csv(), spec)

    _same(load(files.parquet(), spec), from_csv, [*spec.inputs, "label", "timestamp", "customerId"])
    _same(check(files.frame, spec, source="x"), from_csv, [*spec.inputs, "label", "timestamp"])


@pytest.mark.parametrize("value", ["", "  "])
@pytest.mark.parametrize("column", ["Category", "fraudPattern"])
def test_what_is_missing_in_a_csv_is_missing_in_a_parquet_file(
    column: str, value: str, files: Files, spec: DatasetSpec
) -> None:
    frame = files.with_value(9, column, value)

    from_csv, from_parquet = load(files.csv(frame), spec), load(files.parquet(frame), spec)

    assert from_csv.frame[column][9] is None
    assert from_parquet.frame[column][9] is None


@pytest.mark.parametrize("value", ["", " ", "NA"])
@pytest.mark.parametrize("column", ["amount", "isWeekend"])
def test_a_text_that_means_missing_is_no_bad_number_in_a_parquet_file(
    column: str, value: str, files: Files, spec: DatasetSpec
) -> None:
    texts = files.frame.astype({column: "str"}).astype({column: object})
    texts.loc[9, column] = value

    dataset = load(files.parquet(texts), spec)

    assert dataset.rejected.empty
    assert np.isnan(dataset.columns[column][9])
    undated = load(files.parquet(files.frame.assign(timestamp=value)), spec)
    assert undated.timestamp is None
    assert len(undated) == ROWS


@given(number=st.floats(0, 1e100))
def test_a_number_is_read_from_text_to_the_last_bit(number: float, spec: DatasetSpec) -> None:
    raw = pd.DataFrame({name: ["1"] for name in REQUIRED} | {"amount": [repr(number)]})

    assert check(raw, spec, source="x").frame["amount"][0] == number


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace(",", ", "),
        lambda text: re.sub(r",(paypal|creditcard)", r',"\1"', text),
        lambda text: text + "\n",
    ],
    ids=["crlf", "byte-order mark", "spaces", "quotes", "empty last line"],
)
def test_common_dialects_of_csv_are_the_same_file(
    change: Any, files: Files, spec: DatasetSpec
) -> None:
    plain = load(files.csv(), spec)
    text = files.frame.to_csv(index=False)

    _same(load(files.content(change(text).encode()), spec), plain)


@pytest.mark.parametrize(
    ("dtype", "column"),
    [("category", "paymentMethod"), ("boolean", "isWeekend"), ("Int64", "numItems"),
     ("float32", "isWeekend"), ("datetime64[ns, Europe/Rome]", "timestamp")],
)  # fmt: skip
def test_the_types_of_parquet_make_no_difference(
    dtype: str, column: str, files: Files, spec: DatasetSpec
) -> None:
    typed = files.frame.copy()
    typed[column] = (
        pd.to_datetime(typed[column]).dt.tz_convert("Europe/Rome")
        if column == "timestamp"
        else typed[column].astype(dtype)
    )

    _same(load(files.parquet(typed), spec), load(files.parquet(), spec))


# Files that are refused as a whole


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", "the file is empty"),
        ("blank.csv", b"\n\n\n", "not .*CSV"),
        ("noise.csv", bytes(range(256)) * 40, "not .*CSV"),
        ("utf16.csv", "a,b\n1,2\n".encode("utf-16"), "not .*CSV"),
        ("noise.parquet", bytes(range(256)) * 40, "not a readable Parquet file"),
        ("empty.parquet", b"", "the file is empty"),
        ("other.csv", b"a,b\n1,2\n", "missing; found a, b"),
    ],
)
def test_a_file_that_is_no_table_of_payments_is_refused_with_its_name(
    name: str, content: bytes, message: str, files: Files, spec: DatasetSpec
) -> None:
    with pytest.raises(DataRefused, match=message) as caught:
        load(files.content(content, name), spec)

    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_told_apart(files: Files, spec: DatasetSpec) -> None:
    with pytest.raises(FraudrayError, match=r"nowhere\.csv: no such file"):
        load("nowhere.csv", spec)
    with pytest.raises(FraudrayError, match="is a folder"):
        load(files.folder, spec)


def test_a_header_alone_is_refused(files: Files, spec: DatasetSpec) -> None:
    for path in (files.csv(files.frame.head(0)), files.parquet(files.frame.head(0))):
        with pytest.raises(DataRefused, match="a header but no rows"):
            load(path, spec)


def test_all_missing_columns_are_named_at_once(files: Files, spec: DatasetSpec) -> None:
    path = files.csv(files.frame.drop(columns=["numItems", "localTime"]))

    with pytest.raises(DataRefused, match=r"the columns numItems, localTime .* are missing; found"):
        load(path, spec)


def test_a_file_without_labels_can_be_scored_but_has_no_label(
    files: Files, spec: DatasetSpec
) -> None:
    dataset = load(files.csv(files.frame.drop(columns="label")), spec)

    assert len(dataset) == ROWS
    with pytest.raises(DataRefused, match=r"payments\.csv: the label column 'label' is missing"):
        _ = dataset.label


def test_required_columns_alone_are_a_file(files: Files, spec: DatasetSpec) -> None:
    dataset = load(files.csv(files.frame[[*REQUIRED, "label"]]), spec)

    assert list(dataset.columns) == REQUIRED
    assert dataset.timestamp is None


def test_a_column_named_twice_is_refused(files: Files, spec: DatasetSpec) -> None:
    header, *rows = files.lines()
    text = "\n".join([header + ",numItems", *(row + ",7" for row in rows)])

    with pytest.raises(DataRefused, match="numItems"):
        load(files.content(text.encode()), spec)


def test_rows_longer_than_the_header_are_refused_as_such(files: Files, spec: DatasetSpec) -> None:
    header, *rows = files.lines()
    width = header.count(",") + 1
    told = f"400 of 400 rows .*line 2: the row should be {width} values, is '{width + 1} values'"

    with pytest.raises(DataRefused, match=told):
        load(files.content("\n".join([header, *(row + ",7" for row in rows)]).encode()), spec)


@pytest.mark.parametrize("names", [["amount", "amount"], [1, "1"]])
def test_a_name_that_is_twice_in_parquet_or_in_a_frame_is_refused(
    names: list[Any], files: Files, spec: DatasetSpec
) -> None:
    twice = files.frame.assign(more=1, another=2)
    twice.columns = pd.Index([*twice.columns[:-2], *names], dtype=object)
    wanted = f"names {str(names[1])!r} twice"

    with pytest.raises(DataRefused, match=f"request: {wanted}"):
        check(twice, spec, source="request")
    path = files.folder / "twice.parquet"
    columns = [pa.array(twice.iloc[:, at]) for at in range(twice.shape[1])]
    parquet.write_table(pa.table(columns, [str(name) for name in twice]), path)
    with pytest.raises(DataRefused, match=rf"twice\.parquet: {wanted}"):
        load(path, spec)
    with pytest.raises(DataRefused, match=wanted):
        head(path, 10)


def test_a_file_with_none_of_the_inputs_is_refused() -> None:
    optional = DatasetSpec.from_dict({"name": "one", "label": "y", "columns": {"x": {}}})

    with pytest.raises(
        DataRefused, match=r"file: has none of the inputs .* such as 'x'; found y, z"
    ):
        check(pd.DataFrame({"y": [0, 1], "z": [1, 2]}), optional, source="file")


def test_a_column_may_be_named_as_a_missing_value_is(spec: DatasetSpec, files: Files) -> None:
    named = files.frame.rename(columns={"fraudPattern": "NA", "customerId": "null"})

    dataset = load(files.csv(named), spec)

    assert {"NA", "null"} <= set(dataset.frame)
    assert dataset.frame["null"].tolist() == files.frame["customerId"].tolist()


# Bad rows


@pytest.mark.parametrize(
    ("column", "value", "expectation"),
    [
        ("accountAgeDays", "-1", "a whole number of 0 or more"),
        ("accountAgeDays", "1.5", "a whole number of 0 or more"),
        ("accountAgeDays", "old", "a whole number of 0 or more"),
        ("numItems", "1,5", "a whole number of 0 or more"),
        ("localTime", "24.01", "a number from 0 to 24"),
        ("amount", "inf", "a number of 0 or more"),
        ("amount", "-Infinity", "a number of 0 or more"),
        ("amount", "1e999", "a number of 0 or more"),
        ("amount", "1.1e100", "a number from -1e+100 to 1e+100"),
        ("accountAgeDays", "1e300", "a number from -1e+100 to 1e+100"),
        ("amount", "12 EUR", "a number of 0 or more"),
        ("isWeekend", "2", "0 or 1"),
        ("isWeekend", "yes", "0 or 1"),
        ("label", "2", "0 or 1"),
        ("label", "fraud", "0 or 1"),
        ("label", "-1", "0 or 1"),
        ("label", "", "0 or 1"),
        ("timestamp", "01/02/2025", "an ISO 8601 date and time"),
        ("timestamp", "1735689600", "an ISO 8601 date and time"),
        ("timestamp", "2025-02-30T00:00:00Z", "an ISO 8601 date and time"),
        ("timestamp", "now", "an ISO 8601 date and time"),
        ("timestamp", "", "an ISO 8601 date and time"),
    ],
)
def test_a_bad_value_is_set_aside_with_line_column_expectation_and_value(
    column: str, value: str, expectation: str, files: Files, spec: DatasetSpec
) -> None:
    path = files.csv(files.with_value(41, column, value))

    dataset = load(path, spec)

    problem = dataset.rejected.fillna("").to_dict("records")
    wanted = {"line": 43, "column": column, "expectation": expectation, "value": value}
    assert problem == [wanted]
    assert len(dataset) == ROWS - 1
    rest = check(files.frame.drop(index=41), spec, source="rest")
    pd.testing.assert_frame_equal(dataset.frame[list(spec.inputs)], rest.frame[list(spec.inputs)])
    written = pd.read_csv(files.folder / "payments.rejected.csv", dtype=str).fillna("")
    assert written.to_dict("records") == [wanted | {"line": "43"}]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("numItems", pd.Timestamp("2025-01-01")),
        ("numItems", pd.Timedelta("1D")),
        ("timestamp", 1_735_689_600),
    ],
)
def test_a_parquet_column_of_another_kind_is_no_number_and_no_time(
    column: str, values: Any, files: Files, spec: DatasetSpec
) -> None:
    with pytest.raises(DataRefused, match=column):
        load(files.parquet(files.frame.assign(**{column: values})), spec)


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: [*lines[:5], "", *lines[5:]],
        lambda lines: [*lines[:5], lines[5].replace(",c", ',"c\nx', 1).replace(",", '",', 2)
                       .replace('",', ",", 1), *lines[6:]],
    ],
    ids=["an empty line before it", "a line break in quotes before it"],
)  # fmt: skip
def test_a_line_number_is_that_of_a_text_editor(
    change: Any, files: Files, spec: DatasetSpec
) -> None:
    lines = change(files.with_value(41, "localTime", "99").to_csv(index=False).splitlines())
    text = "\n".join(lines)
    wanted = 1 + next(i for i, line in enumerate(text.split("\n")) if ",99," in line)

    dataset = load(files.content(text.encode()), spec)

    assert dataset.rejected["line"].tolist() == [wanted]


def test_every_problem_of_a_row_is_listed_but_the_row_counts_once(
    files: Files, spec: DatasetSpec
) -> None:
    bad = files.with_value(10, "localTime", "99")
    bad.loc[10, "numItems"] = -1
    bad = pd.concat([bad.head(10), bad.loc[[10]].astype(object), bad.tail(ROWS - 11)])

    dataset = load(files.csv(bad), spec)

    assert dataset.rejected["line"].tolist() == [12, 12]
    assert set(dataset.rejected["column"]) == {"numItems", "localTime"}
    assert len(dataset) == ROWS - 1


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_up_to_one_percent_of_bad_rows_are_set_aside_and_more_refuse_the_file(
    ending: str, files: Files, spec: DatasetSpec
) -> None:
    frame = files.frame.copy()
    write = files.csv if ending == "csv" else files.parquet
    frame.loc[[3, 100, 200, 399], "localTime"] = 99.0  # 4 of 400

    assert len(load(write(frame), spec)) == ROWS - 4

    frame.loc[300, "accountAgeDays"] = -5
    with pytest.raises(DataRefused, match="5 of 400 rows break the spec 'payments'") as caught:
        load(write(frame), spec)

    message = str(caught.value)
    assert "line 5: localTime should be a number from 0 to 24, is " in message
    assert message.endswith("payments.rejected.csv")
    written = pd.read_csv(files.folder / "payments.rejected.csv")
    assert written["line"].tolist() == [5, 102, 202, 302, 401]


def test_rejected_rows_go_to_the_current_folder_if_they_cannot_stay_beside_the_file(
    files: Files, spec: DatasetSpec
) -> None:
    (files.folder / "data").mkdir()
    path = files.csv(files.with_value(0, "numItems", -1), "data/payments.csv")
    (path.parent / "payments.rejected.csv").mkdir()  # stops root as well, unlike a read-only folder

    load(path, spec)

    assert len(pd.read_csv("payments.rejected.csv")) == 1


def test_rejected_rows_that_cannot_be_written_anywhere_are_an_error(
    files: Files, spec: DatasetSpec
) -> None:
    (files.folder / "payments.rejected.csv").mkdir()

    with pytest.raises(FraudrayError, match=r"payments\.rejected\.csv"):
        load(files.csv(files.with_value(0, "numItems", -1)), spec)


@pytest.mark.parametrize("change", [lambda row: row + ",7", lambda row: row.rsplit(",", 2)[0]])
def test_a_row_of_another_length_is_set_aside_with_its_line(
    change: Any, files: Files, spec: DatasetSpec
) -> None:
    header, *rows = files.lines()
    wanted, found = header.count(",") + 1, change(rows[41]).count(",") + 1
    rows[41] = change(rows[41])

    dataset = load(files.content("\n".join([header, "", *rows]).encode()), spec)

    problem = {"line": 44, "column": "the row", "expectation": f"{wanted} values",
               "value": f"{found} values"}  # fmt: skip
    assert dataset.rejected.to_dict("records") == [problem]
    rest = check(files.frame.drop(index=41), spec, source="rest")
    pd.testing.assert_frame_equal(dataset.frame[list(spec.inputs)], rest.frame[list(spec.inputs)])


@pytest.mark.parametrize("column", [0, 3, -1])
def test_a_quote_that_is_never_closed_refuses_the_file_and_loses_no_rows(
    column: int, files: Files, spec: DatasetSpec
) -> None:
    lines = files.lines()
    values = lines[398].split(",")
    values[column] = '"' + values[column]
    lines[398] = ",".join(values)

    with pytest.raises(DataRefused, match=r"payments\.csv: is not CSV"):
        load(files.content("\n".join(lines).encode()), spec)


def test_every_line_that_a_stray_quote_swallows_counts(files: Files, spec: DatasetSpec) -> None:
    lines = files.with_value(300, "localTime", "99").to_csv(index=False).splitlines()
    first, last = lines[10].rsplit(",", 1), lines[109].split(",", 1)
    lines[10], lines[109] = f'{first[0]},"{first[1]}', f'{last[0]}",{last[1]}'

    with pytest.raises(DataRefused, match="101 of 400 rows"):
        load(files.content("\n".join(lines).encode()), spec)

    written = pd.read_csv("payments.rejected.csv")
    assert written["line"].tolist() == [*range(11, 111), 302]


def test_rejected_rows_of_an_earlier_reading_go_and_other_files_stay(
    files: Files, spec: DatasetSpec
) -> None:
    load(files.csv(files.with_value(0, "numItems", -1)), spec)
    listed = files.folder / "payments.rejected.csv"
    assert listed.exists()

    load(files.csv(), spec)

    assert not listed.exists()
    listed.write_text("line,column\n")
    load(files.csv(), spec)
    assert listed.exists()


# Records


def test_records_and_columns_are_two_views_of_the_same_rows(
    dataset: Dataset, spec: DatasetSpec
) -> None:
    records = list(records_of(dataset, list(spec.inputs)))

    columns = columns_of(records, spec.inputs)

    for name, values in dataset.columns.items():
        np.testing.assert_array_equal(columns[name], values)
        assert columns[name].dtype == values.dtype


def test_absent_and_null_fields_of_a_record_are_missing(spec: DatasetSpec) -> None:
    columns = columns_of([{"amount": None, "isWeekend": True}, {"Category": "food"}], spec.inputs)

    assert columns["Category"].tolist() == [None, "food"]
    assert np.isnan(columns["amount"]).all()
    assert columns["isWeekend"][0] == 1.0


def test_a_mask_and_positions_take_the_same_rows(dataset: Dataset) -> None:
    mask = np.arange(len(dataset)) % 7 == 3

    _same(dataset.take(mask), dataset.take(np.flatnonzero(mask)))


# What the conversion of whole columns must owe to single values


WILD = st.sampled_from(
    ["", " ", "NA", "null", "None", "<NA>", " NaN ", "0", "1", " 1", "1 ", "+1", "-0", "0.0", "1.0",
     "TRUE", "False", "yes", "2", "1e3", "1E-400", "1e999", ".5", "5.", "1,5", "1_0", "0x1", "inf",
     "-Infinity", "nan", "NAN", "é", "x" * 201, "\t7\n", "\u0661", "1d", "1f"]
)  # fmt: skip
NUMBERS = st.floats() | st.integers(-(2**60), 2**60).map(float) | st.just(-0.0)
MIXED = WILD | NUMBERS | st.booleans() | st.none() | st.integers(-9, 9)


def _one(value: Any, kind: str) -> Any:
    """What a single value means, with the plainest means there are; None where it is missing."""
    text = str(value).strip()
    if value is None or value is pd.NA or value != value or text in (
        "", "NA", "N/A", "NaN", "nan", "NULL", "null", "None", "<NA>"):  # fmt: skip
        return None
    if kind == "category" and isinstance(value, float) and -(2**53) < value < 2**53:
        text = f"{value:.0f}".replace("-0", "0") if value % 1 == 0 else text
    if kind == "category":
        return text if len(text) <= 200 else "bad"
    if kind == "boolean":
        known = {"0": 0.0, "0.0": 0.0, "false": 0.0, "1": 1.0, "1.0": 1.0, "true": 1.0}
        return known.get(text.lower(), "bad")
    number = pd.to_numeric(pd.Series([value], dtype=object), errors="coerce").to_numpy(float)[0]
    return float(number) if abs(number) <= 1e100 else "bad"


@pytest.mark.parametrize("kind", ["category", "boolean", "number"])
@pytest.mark.parametrize("values", [WILD, NUMBERS, MIXED], ids=["texts", "floats", "mixed"])
@given(data=st.data())
def test_a_column_is_converted_as_each_of_its_values_alone(
    kind: str, values: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    one = DatasetSpec.from_dict({"name": "one", "label": "y", "columns": {"x": {"type": kind}}})
    given_values = data.draw(st.lists(values, min_size=1, max_size=20))
    raw = pd.DataFrame({"x": given_values})
    if values is MIXED:
        raw = pd.DataFrame({"x": pd.Series(given_values, dtype=object)})
    expected = [_one(value, kind) for value in raw["x"].tolist()]
    lines = [i + 2 for i, value in enumerate(expected) if value == "bad"]

    dataset = check(raw, one, source="x")

    assert dataset.rejected["line"].tolist() == lines
    found = dataset.columns["x"].tolist() if len(dataset) else []
    assert [None if v is None or v != v else v for v in found] == [
        v for v in expected if v != "bad"
    ]


@given(values=st.lists(st.floats() | st.sampled_from([0.0, -0.0, np.nan, 1.5]), min_size=1))
def test_a_column_the_spec_does_not_know_is_kept_as_text(
    values: list[float], spec: DatasetSpec
) -> None:
    raw = pd.DataFrame({name: [1] * len(values) for name in REQUIRED} | {"more": values})

    kept = check(raw, spec, source="x").frame["more"].tolist()

    assert kept == [_one(v, "category") for v in values]


# Labels of other words, and times in seconds


@pytest.fixture
def answers() -> DatasetSpec:
    """A spec whose label is a word and whose timestamp counts seconds."""
    return DatasetSpec.from_dict(
        {
            "name": "answers",
            "label": "Is Fraud?",
            "label_values": ["No", "Yes"],
            "columns": {"Amount paid": {}, "at": {"role": "timestamp", "type": "number"}},
        }
    )


def test_a_label_may_be_any_two_words_and_a_name_may_hold_blanks(answers: DatasetSpec) -> None:
    raw = pd.DataFrame({
        "Amount paid": ["1", "2", "3", "4", "5"], "Is Fraud?": ["No", " Yes ", "yes", "1", None],
    })  # fmt: skip

    dataset = check(raw, answers, source="x")

    assert dataset.label.tolist() == [0, 1]
    assert dataset.rejected["line"].tolist() == [4, 5, 6]
    assert set(dataset.rejected["expectation"]) == {"No or Yes"}


def test_a_label_of_whole_numbers_is_found_beside_a_gap(answers: DatasetSpec) -> None:
    spec = answers.model_copy(update={"label_values": ("1", "2")})
    raw = pd.DataFrame({"Amount paid": [1, 1, 1], "Is Fraud?": [1.0, 2.0, np.nan]})

    dataset = check(raw, spec, source="x")

    assert dataset.label.tolist() == [0, 1]
    assert dataset.rejected["expectation"].tolist() == ["1 or 2"]


def test_seconds_are_a_time(answers: DatasetSpec) -> None:
    at = ["0", "-1.5", "86400.25", "x", "inf", "1e15", None]
    raw = pd.DataFrame({"Amount paid": 1.0, "at": at, "Is Fraud?": "No"})

    dataset = check(raw, answers, source="x")

    assert dataset.timestamp is not None
    assert dataset.timestamp.astype(str).tolist() == [
        "1970-01-01T00:00:00.000000", "1969-12-31T23:59:58.500000", "1970-01-02T00:00:00.250000",
    ]  # fmt: skip
    assert dataset.rejected["line"].tolist() == [5, 6, 7, 8]
    assert set(dataset.rejected["expectation"]) == {"a number (of seconds)"}
    typed = raw.head(3).assign(at=dataset.timestamp)
    assert (check(typed, answers, source="x").timestamp == dataset.timestamp).all()


# The share of bad rows


def test_the_share_of_bad_rows_can_be_chosen(files: Files, spec: DatasetSpec) -> None:
    frame = files.frame.copy()
    frame.loc[:99, "localTime"] = 99.0
    path = files.csv(frame)

    dataset = load(path, spec, max_bad_share=0.25)

    assert len(dataset) == ROWS - 100
    assert dataset.rejected_file == files.folder / "payments.rejected.csv"
    assert dataset.take(np.arange(3)).rejected_file == dataset.rejected_file
    assert dataset.complaint().startswith(f"{path}: 100 of 400 rows break the spec")
    with pytest.raises(DataRefused):
        load(path, spec, max_bad_share=0.249)
    for share in (-0.1, 1.1, np.nan):
        with pytest.raises(UsageError, match="from 0 to 1"):
            load(path, spec, max_bad_share=share)


def test_a_file_without_a_good_row_is_refused_whatever_the_share(
    files: Files, spec: DatasetSpec
) -> None:
    with pytest.raises(DataRefused, match="400 of 400 rows"):
        load(files.csv(files.frame.assign(localTime=99)), spec, max_bad_share=1.0)
