"""What pages are built from: HTML that nothing breaks out of, pictures that say what they show."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradio_ui import charts, look
from gradio_ui.answer import link_to
from gradio_ui.axes import Frame, ticks
from gradio_ui.form import Form
from gradio_ui.guard import login
from serve_app.contract import form_fields
from training.spec import DatasetSpec

HOSTILE = "<img src=x onerror=alert(1)>\"'&${x}{{y}}"
# Numbers that a picture may be asked to show, however they came about.
numbers = st.floats(-1e9, 1e9)
written = st.characters(exclude_categories=("Cs", "Cc", "Cn"))
texts = st.text(written, min_size=1, max_size=30) | st.just(HOSTILE)

BLOCKS: dict[str, Callable[[str], str]] = {
    "text": look.text,
    "paragraph": look.paragraph,
    "card": lambda t: look.card(t, t),
    "notice": lambda t: look.notice(t, t),
    "empty": lambda t: look.empty(t, t),
    "items": lambda t: look.items([t, t]),
    "badge": look.badge,
    "code": look.code,
    "facts": lambda t: look.facts({t: t}),
    "figures": lambda t: look.figures({t: t}),
    "table": lambda t: look.table([t], [[t]], t),
    "details": lambda t: look.details(t, t),
    "copyable": lambda t: look.copyable(t, t),
    "link": lambda t: look.link(t, f"https://{t}"),
    "gauge": lambda t: charts.gauge(0.2, 0.1) + look.text(t),
    "signed_bars": lambda t: charts.signed_bars([(t, 1.0), (t, -2.0)]),
    "bars": lambda t: charts.bars([(t, 1.0)], end=2, marks={t: 1.0}),
    "histogram": lambda t: charts.histogram([0, 1, 2], {t: [1, 2], t + "2": [0, 1]}, x_label=t),
    "lines": lambda t: charts.lines(
        {t: ([0, 1], [0, 1]), "of another name than any text": ([0], [1])}, t, t, [(0, 0, t)]
    ),
}


def parsed(html: str) -> ElementTree.Element:
    """As XML, which forgives nothing."""
    return ElementTree.fromstring(f"<x>{html}</x>")  # noqa: S314


@pytest.mark.parametrize("name", BLOCKS)
@given(text=texts)
def test_no_text_breaks_out_of_its_block(name: str, text: str) -> None:
    with_text, with_word = parsed(BLOCKS[name](text)), parsed(BLOCKS[name]("word"))
    tags = [e.tag for e in with_word.iter()]
    assert [e.tag for e in with_text.iter()] == tags
    assert not any(
        k.startswith("on") and k != "onclick" for e in with_text.iter() for k in e.attrib
    )


def test_a_link_that_is_no_address_is_only_text() -> None:
    assert look.link("here", "javascript:alert(1)") == "here"


def coordinates(picture: str) -> list[float]:
    found = []
    for element in parsed(picture).iter():
        for name in ("x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "width", "height"):
            if element.tag != "svg" and name in element.attrib:
                found.append(float(element.get(name) or "nan"))
        for pair in (element.get("points") or "").split():
            found += map(float, pair.split(","))
    return found


def assert_drawn(picture: str) -> None:
    drawn = [e for e in parsed(picture).iter() if e.tag == "svg"]
    assert len(drawn) == 1
    assert drawn[0].get("role") == "img"
    assert drawn[0].get("aria-label")
    left, top, width, height = map(float, (drawn[0].get("viewBox") or "").split())
    assert (left, top) == (0, 0)
    for number in coordinates(picture):
        assert math.isfinite(number)
        assert -2 <= number <= max(width, height) + 2


share = st.floats(0, 1)


@given(p=share, threshold=share)
def test_a_gauge_says_which_side_a_probability_lies_on(p: float, threshold: float) -> None:
    picture = charts.gauge(p, threshold)
    assert_drawn(picture)
    assert ("reaches" if p >= threshold else "is below") in picture
    assert ("fr-fill-alert" in picture) == (p >= threshold)


@given(values=st.lists(numbers, max_size=8))
def test_bars_are_drawn_whatever_the_values_are(values: list[float]) -> None:
    named = [(f"field {i}", value) for i, value in enumerate(values)]
    assert_drawn(charts.signed_bars(named))
    upright = [(name, abs(value)) for name, value in named]
    assert_drawn(charts.bars(upright))
    assert_drawn(charts.bars(upright, end=0.5, marks={"some": 0.1, "much": 0.25}))


@given(
    points=st.lists(st.tuples(numbers, numbers), max_size=20),
    marks=st.lists(st.tuples(numbers, numbers, texts), max_size=3),
)
def test_lines_are_drawn_whatever_the_points_are(
    points: list[tuple[float, float]], marks: list[tuple[float, float, str]]
) -> None:
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    assert_drawn(charts.lines({"one": (xs, ys), "nothing": ([], [])}, "x", "y", marks))


@given(counts=st.lists(st.integers(0, 10**6), min_size=1, max_size=20), mark=share)
def test_a_histogram_is_drawn_whatever_the_counts_are(counts: list[int], mark: float) -> None:
    edges = [i / len(counts) for i in range(len(counts) + 1)]
    assert_drawn(charts.histogram(edges, {"scores": counts}, mark))
    assert_drawn(charts.histogram(edges, {"a": counts, "b": counts[::-1]}, mark))


def test_many_points_are_thinned_and_keep_their_ends() -> None:
    xs = [i / 9999 for i in range(10_000)]
    picture = charts.lines({"a": (xs, xs)}, "x", "y")
    (line,) = re.findall(r'points="([^"]*)"', picture)
    assert len(line.split()) <= 400
    assert line.split()[0].startswith("52.0,")
    assert line.split()[-1].startswith("466.0,")


@given(low=numbers, wide=st.floats(1e-6, 1e9))
def test_ticks_are_round_and_within(low: float, wide: float) -> None:
    wide += abs(low) * 1e-6  # narrower, neighbouring floats are too far apart
    found = ticks(low, low + wide)
    assert all(low - wide * 1e-3 <= tick <= low + wide * (1 + 1e-3) for tick in found)
    assert 1 <= len(found) <= 12


@given(value=st.floats(0, 1))
def test_a_share_that_is_not_quite_0_or_1_does_not_read_as_if_it_were(value: float) -> None:
    said = look.percent(value)
    assert (said == "0.00%") == (value == 0)
    assert (said == "100.00%") == (value == 1)


def test_numbers_are_written_for_people() -> None:
    assert [look.number(v) for v in (1234567, 0.123456, 12345.6, None, math.nan)] == [
        "1,234,567", "0.1235", "12,346", look.NOTHING, look.NOTHING,
    ]  # fmt: skip


@given(data=st.data())
def test_a_payment_comes_back_from_its_address(spec: DatasetSpec, data: st.DataObject) -> None:
    payment: dict[str, Any] = {}
    for name, column in spec.inputs.items():
        match column.type:
            case "number":
                payment[name] = data.draw(st.floats(-1e9, 1e9) | st.integers(-(10**9), 10**9))
            case "boolean":
                payment[name] = data.draw(st.sampled_from([0, 1]))
            case _:
                payment[name] = data.draw(st.text(min_size=1, max_size=20))
    from urllib.parse import parse_qsl

    query = dict(parse_qsl(link_to(payment).removeprefix("?"), keep_blank_values=True))
    back = Form(form_fields(spec)).from_query(query | {"__theme": "dark", "other": "1"})
    assert back == payment
    assert link_to(back) == link_to({k: back[k] for k in payment})


def test_what_is_no_number_in_an_address_is_sent_on_to_be_refused_by_name(
    spec: DatasetSpec,
) -> None:
    form = Form(form_fields(spec))
    assert form.from_query({"amount": "much", "localTime": "inf"}) == {
        "localTime": "inf", "amount": "much",
    }  # fmt: skip
    assert form.from_query({"amount": ""}) == {}


@pytest.mark.parametrize(
    ("host", "environment", "expected"),
    [
        ("127.0.0.1", {}, None),
        ("127.0.0.1", {"FRAUDRAY_UI_USER": "ana", "FRAUDRAY_UI_PASSWORD": "p"}, ("ana", "p")),
        ("0.0.0.0", {"FRAUDRAY_UI_USER": "ana", "FRAUDRAY_UI_PASSWORD": "p"}, ("ana", "p")),  # noqa: S104
    ],
)
def test_the_login_comes_from_the_environment(
    host: str, environment: dict[str, str], expected: tuple[str, str] | None
) -> None:
    assert login(host, environment) == expected


@pytest.mark.parametrize(
    ("host", "environment", "named"),
    [
        ("0.0.0.0", {}, "FRAUDRAY_UI_USER and FRAUDRAY_UI_PASSWORD"),  # noqa: S104
        ("127.0.0.1", {"FRAUDRAY_UI_USER": "ana", "FRAUDRAY_UI_PASSWORD": " "}, "_PASSWORD is not"),
        ("127.0.0.1", {"FRAUDRAY_UI_PASSWORD": "p"}, "FRAUDRAY_UI_USER"),
    ],
)  # fmt: skip
def test_a_login_that_lacks_something_is_refused(
    host: str, environment: dict[str, str], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        login(host, environment)


def test_words_of_marks_that_are_near_each_other_do_not_overlap() -> None:
    frame = Frame((0, 1), (0, 1), 46, 470, 10, 240)
    drawn = frame.mark(0.745, 0.966, "F") + frame.mark(0.87, 0.944, "A B C E here")

    boxes = []
    for x, y, anchor, words in re.findall(
        r'<text x="([\d.]+)" y="([\d.]+)" text-anchor="(\w+)"[^>]*>([^<]+)<', drawn
    ):
        start = float(x) - (8 * len(words) if anchor == "end" else 0)
        boxes.append((start, start + 8 * len(words), float(y)))
    (a, b, first), (c, d, second) = boxes
    assert b <= c or d <= a or abs(first - second) >= 12
    assert all(start >= 46 and end <= 470 for start, end, _ in boxes)
