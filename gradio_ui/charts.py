"""Pictures of numbers as inline SVG: no image files, no libraries, one look in light and dark.

Every colour is a CSS variable of `page.css`. Each picture says its finding in words to those who
do not see it, and fills the width it is given.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape

from gradio_ui.axes import Frame, Scale, label, legend, short, svg, told_range
from gradio_ui.look import Raw, percent

Mark = tuple[float, float, str]

_WIDTH = 480
_MOST_POINTS = 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 14, 44


def gauge(probability: float, threshold: float) -> Raw:
    """A probability against the threshold that it is held against.

    The scale is that of odds: one per thousand and one per cent are as far apart as they are in
    what they mean, where even steps would lay both on the left end.
    """
    scale = Scale(_odds(0.0005), _odds(0.9995), 16, _WIDTH - 16)
    at, limit = (scale(_odds(min(max(p, 0.0005), 0.9995))) for p in (probability, threshold))
    side, colour = ("reaches", "alert") if probability >= threshold else ("is below", "pass")
    told = (
        f"Probability of fraud {percent(probability)} {side} the threshold of {percent(threshold)}"
    )
    ticks = "".join(
        f'<line x1="{x:.1f}" y1="62" x2="{x:.1f}" y2="68" class="fr-axis"/>'
        + label(x, 84, f"{100 * p:g}%", "middle", "fr-small")
        for p in (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
        for x in [scale(_odds(p))]
    )
    anchor = "end" if limit > _WIDTH / 2 else "start"
    gap = -6 if anchor == "end" else 6
    parts = [
        f'<rect x="16" y="40" width="{limit - 16:.1f}" height="18" class="fr-zone-pass"/>',
        f'<rect x="{limit:.1f}" y="40" width="{_WIDTH - 16 - limit:.1f}" height="18" '
        'class="fr-zone-alert"/>',
        f'<line x1="{limit:.1f}" y1="14" x2="{limit:.1f}" y2="62" class="fr-limit"/>',
        label(limit + gap, 22, f"alerts from {percent(threshold)}", anchor),
        ticks,
        f'<circle cx="{at:.1f}" cy="49" r="11" class="fr-dot fr-fill-{colour}"/>',
    ]
    return svg(92, told, parts)


def signed_bars(entries: Iterable[tuple[str, float]], told: str = "") -> Raw:
    """Bars to the right of a middle line for what raises the risk, to the left for what lowers it.

    Parameters
    ----------
    told
        The finding in words; by default what raises and lowers the risk the most.
    """
    entries = list(entries)
    most = max((abs(value) for _, value in entries), default=0.0) or 1.0
    middle, reach = _WIDTH / 2, _WIDTH / 2 - 8
    parts = [
        label(middle - 8, 14, "◀ lowers the risk", "end", "fr-small"),
        label(middle + 8, 14, "raises the risk ▶", "start", "fr-small"),
    ]
    for place, (name, value) in enumerate(entries):
        top = 26 + 44 * place
        long = max(abs(value) / most * reach, 1.0)
        left = middle if value >= 0 else middle - long
        kind = "alert" if value > 0 else "pass"
        parts.append(label(8, top + 13, _clipped(name), "start"))
        parts.append(label(_WIDTH - 8, top + 13, f"{value:+.3g}", "end", "fr-number"))
        parts.append(
            f'<rect x="{left:.1f}" y="{top + 19}" width="{long:.1f}" height="14" rx="3" '
            f'class="fr-fill-{kind}"><title>{escape(name)}: {value:+.4g}</title></rect>'
        )
    height = 30 + 44 * len(entries)
    line = f'<line x1="{middle}" y1="22" x2="{middle}" y2="{height - 6}" class="fr-axis"/>'
    return svg(height, told or _signed_words(entries), [*parts, line])


def bars(
    entries: Iterable[tuple[str, float]], told: str = "", form: str = ".3g",
    *, end: float | None = None, marks: Mapping[str, float] | None = None,
) -> Raw:  # fmt: skip
    """Horizontal bars from 0, each under its name.

    Parameters
    ----------
    told
        The finding in words; by default the largest of them.
    form
        How their values are written, as `format` has it.
    end
        The value of a bar of full length, which larger ones have too; by default the largest.
    marks
        Values to draw a line at across every bar, below `end`, each with what it is called.
    """
    entries = list(entries)
    most = end or max((value for _, value in entries), default=0.0) or 1.0
    scale, lines = Scale(0.0, most, 8, _WIDTH - 8), marks or {}
    begin = 24 if lines else 4
    parts = [label(scale(at), 14, name, "middle", "fr-small") for name, at in lines.items()]
    for place, (name, value) in enumerate(entries):
        top = begin + 40 * place
        long = max(scale(value) - 8, 1.0)
        parts.append(label(8, top + 13, _clipped(name), "start"))
        parts.append(label(_WIDTH - 8, top + 13, format(value, form), "end", "fr-number"))
        parts.append(
            f'<rect x="8" y="{top + 19}" width="{long:.1f}" height="12" rx="3" class="fr-fill-1"/>'
        )
        parts += [
            f'<line x1="{scale(at):.1f}" y1="{top + 16}" x2="{scale(at):.1f}" y2="{top + 34}" '
            'class="fr-limit"/>'
            for at in lines.values()
        ]
    said = "; ".join(f"{name} {format(value, form)}" for name, value in entries[:5])
    return svg(begin + 4 + 40 * len(entries), told or f"Bars: {said or 'none'}", parts)


def histogram(
    edges: Sequence[float], counts: Mapping[str, Sequence[float]], mark: float | None = None,
    *, x_label: str = "", mark_label: str = "threshold", told: str = "",
) -> Raw:  # fmt: skip
    """How values are spread over bins; several sets of them are compared by their shares.

    Parameters
    ----------
    edges
        One more than there are counts. Bins are drawn equally wide, whatever their edges are.
    mark
        A value to draw a line at.
    """
    total = {name: sum(c) or 1 for name, c in counts.items()}
    several = len(counts) > 1
    heights = {n: [v / total[n] if several else v for v in c] for n, c in counts.items()}
    top = max((v for c in heights.values() for v in c), default=0.0) or 1.0
    bins = len(edges) - 1
    frame = Frame((0, bins), (0, top), _LEFT, _WIDTH - _RIGHT, _TOP, 220 - _BOTTOM)
    each = (frame.x(1) - frame.x(0)) / max(len(counts), 1)
    parts = [frame.grid(y=True)]
    for series, (name, values) in enumerate(heights.items()):
        for place, value in enumerate(values):
            if value:
                left, y = frame.x(place) + each * series + 0.5, frame.y(value)
                wide, high = max(each - 1, 1), max(frame.y(0) - y, 1)
                seen = f"{name}, {short(edges[place])} to {short(edges[place + 1])}"
                parts.append(
                    f'<rect x="{left:.1f}" y="{frame.y(0) - high:.1f}" width="{wide:.1f}" '
                    f'height="{high:.1f}" class="fr-fill-{series + 1}">'
                    f"<title>{escape(seen)}: {counts[name][place]:,.0f}</title></rect>"
                )
    step = max(1, math.ceil(bins / 5))
    parts += [
        label(frame.x(i), frame.bottom + 16, short(edges[i]), "middle", "fr-small")
        for i in range(0, bins + 1, step)
    ]
    if mark is not None:
        parts.append(frame.upright(_place(edges, mark), mark_label))
    parts.append(frame.names(x_label, "share" if several else ""))
    said = f"Histogram of {', '.join(counts) or 'nothing'} {told_range(edges)}"
    picture = svg(220, told or said, parts)
    return Raw(picture + legend(list(counts))) if several else picture


def lines(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    x_label: str, y_label: str, marks: Iterable[Mark] = (),
    x_range: tuple[float, float] | None = None, y_range: tuple[float, float] | None = None,
    *, told: str = "", dots: Collection[str] = (),
) -> Raw:  # fmt: skip
    """Lines over one pair of axes.

    Parameters
    ----------
    series
        For each name its x and y, which must be as many.
    marks
        Points to stand out, each with what is to be read beside it.
    told
        The finding in words; by default where each line begins and ends.
    dots
        Names of those that are drawn as points instead.
    """
    marks = list(marks)
    known = {
        n: [p for p in zip(*xy, strict=True) if all(map(_finite, p))] for n, xy in series.items()
    }
    every = [p for points in known.values() for p in points] + [m[:2] for m in marks]
    frame = Frame(
        x_range or _span([p[0] for p in every]), y_range or _span([p[1] for p in every]),
        _LEFT, _WIDTH - _RIGHT, _TOP, 300 - _BOTTOM,
    )  # fmt: skip
    parts = [frame.grid(x=True, y=True), frame.numbers_x(), frame.names(x_label, y_label)]
    for number, (name, points) in enumerate(known.items(), start=1):
        number = (number - 1) % 6 + 1  # noqa: PLW2901
        places = [(frame.x(x), frame.y(y)) for x, y in _thinned(points)]
        if name in dots:
            parts += [
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" class="fr-fill-{number}"/>'
                for x, y in places
            ]
        elif places:
            way = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            parts.append(f'<polyline points="{way}" class="fr-line fr-line-{number}"/>')
    parts += [frame.mark(x, y, words) for x, y, words in marks]
    said = "; ".join(
        f"{name} goes from {short(points[0][1])} to {short(points[-1][1])}"
        for name, points in known.items()
        if points
    )
    picture = svg(300, told or f"{y_label} over {x_label}: {said or 'nothing yet'}", parts)
    return Raw(picture + legend(list(known), dots=dots)) if len(known) > 1 else picture


def confusion(tn: int, fp: int, fn: int, tp: int) -> Raw:
    """What was let through and what was an alert, against what it was."""
    told = (
        f"{tp:,} frauds found and {fn:,} missed; {fp:,} false alarms and "
        f"{tn:,} legitimate payments let through"
    )
    most = max(tn, fp, fn, tp) or 1
    parts = [
        label(210, 18, "was legitimate", "middle", "fr-small"),
        label(380, 18, "was fraud", "middle", "fr-small"),
        label(8, 62, "let through", "start", "fr-small"),
        label(8, 134, "alert", "start", "fr-small"),
    ]
    cells = [(tn, 0, 0, "pass"), (fn, 1, 0, "alert"), (fp, 0, 1, "alert"), (tp, 1, 1, "pass")]
    for count, column, row, kind in cells:
        x, y = 128 + 170 * column, 28 + 72 * row
        # By their logarithm, or the frauds, which are few, would all look alike.
        strong = 0.10 + 0.25 * math.log1p(count) / math.log1p(most)
        parts.append(
            f'<rect x="{x}" y="{y}" width="164" height="66" rx="8" class="fr-fill-{kind}" '
            f'fill-opacity="{strong:.2f}"/>'
            + label(x + 82, y + 41, f"{count:,}", "middle", "fr-big")
        )
    return svg(172, told, parts)


def _odds(p: float) -> float:
    return math.log(p / (1 - p))


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _thinned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    if len(points) <= _MOST_POINTS:
        return points
    step = (len(points) - 1) / (_MOST_POINTS - 1)
    return [points[round(i * step)] for i in range(_MOST_POINTS)]


def _place(edges: Sequence[float], value: float) -> float:
    """Where a value stands, counted in bins."""
    for i in range(len(edges) - 1):
        if value <= edges[i + 1]:
            wide = edges[i + 1] - edges[i]
            return i + min(max((value - edges[i]) / wide, 0.0), 1.0) if wide else float(i)
    return float(len(edges) - 1)


def _clipped(name: str) -> str:
    return name if len(name) <= 48 else f"{name[:47]}…"


def _signed_words(entries: Sequence[tuple[str, float]]) -> str:
    raising = ", ".join(name for name, value in entries if value > 0)
    lowering = ", ".join(name for name, value in entries if value < 0)
    said = [f"raised by {raising}" if raising else "", f"lowered by {lowering}" if lowering else ""]
    return f"The risk is {' and '.join(filter(None, said)) or 'not moved by any field'}"
