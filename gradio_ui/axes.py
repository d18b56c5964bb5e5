"""Axes, labels and frames: what the charts are drawn with."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from html import escape

from gradio_ui.look import Raw

_LETTER, _LINE = 8.0, 14.0
"""Width of a letter and height of a line of small words, in units of the picture."""


@dataclass(frozen=True)
class Scale:
    """From values to places on the picture, in a straight line; what lies outside is held back."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The place of a value."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)


class Frame:
    """A pair of axes within a rectangle of the picture."""

    def __init__(
        self, xs: tuple[float, float], ys: tuple[float, float],
        left: float, right: float, top: float, bottom: float,
    ) -> None:  # fmt: skip
        self.xs, self.ys = xs, ys
        self.left, self.right, self.top, self.bottom = left, right, top, bottom
        self.x, self.y = Scale(*xs, left, right), Scale(*ys, bottom, top)
        self._named: list[tuple[float, float, float]] = []  # where words of marks stand

    def grid(self, *, x: bool = False, y: bool = False) -> str:
        """The lines behind, with the numbers of the upright axis."""
        parts = []
        if y:
            for value in ticks(*self.ys):
                at = self.y(value)
                parts.append(
                    f'<line x1="{self.left}" y1="{at:.1f}" x2="{self.right}" y2="{at:.1f}" '
                    'class="fr-grid"/>'
                    + label(self.left - 6, at + 4, _narrow(value), "end", "fr-small")
                )
        if x:
            parts += [
                f'<line x1="{at:.1f}" y1="{self.top}" x2="{at:.1f}" y2="{self.bottom}" '
                'class="fr-grid"/>'
                for at in map(self.x, ticks(*self.xs))
            ]
        return "".join(parts)

    def numbers_x(self) -> str:
        """The numbers of the level axis."""
        return "".join(
            label(self.x(value), self.bottom + 16, short(value), "middle", "fr-small")
            for value in ticks(*self.xs)
        )

    def names(self, x: str, y: str) -> str:
        """What the axes mean."""
        middle = (self.top + self.bottom) / 2
        across = label((self.left + self.right) / 2, self.bottom + 36, x, "middle", "fr-small")
        up = (
            f'<text x="12" y="{middle}" transform="rotate(-90 12 {middle})" text-anchor="middle" '
            f'class="fr-small">{escape(y)}</text>'
        )
        return (across if x else "") + (up if y else "")

    def upright(self, x: float, words: str) -> str:
        """A line from bottom to top with a word beside it."""
        at = self.x(x)
        anchor, gap = ("end", -5) if at > (self.left + self.right) / 2 else ("start", 5)
        return (
            f'<line x1="{at:.1f}" y1="{self.top}" x2="{at:.1f}" y2="{self.bottom}" '
            'class="fr-limit"/>' + label(at + gap, self.top + 10, words, anchor, "fr-small")
        )

    def mark(self, x: float, y: float, words: str) -> str:
        """A point that stands out, with words beside it: in the frame, and on no other's words."""
        across, up = self.x(x), self.y(y)
        sides = [("end", -9), ("start", 9)]
        if across <= (self.left + self.right) / 2:
            sides.reverse()
        heights = (16, -8) if up < self.top + 20 else (-8, 16)
        places = [(side, gap, below) for side, gap in sides for below in heights]
        anchor, gap, below = next(
            (place for place in places if self._free(across, up, place, words)), places[0]
        )
        self._named.append(self._room(across, up, (anchor, gap, below), words))
        return f'<circle cx="{across:.1f}" cy="{up:.1f}" r="6" class="fr-mark"/>' + label(
            across + gap, up + below, words, anchor, "fr-small fr-strong"
        )

    def _room(
        self, x: float, y: float, place: tuple[str, int, int], words: str
    ) -> tuple[float, float, float]:
        """From where to where the words of a mark reach, and at which height."""
        anchor, gap, below = place
        width = _LETTER * len(words)
        start = x + gap - (width if anchor == "end" else 0)
        return start, start + width, y + below

    def _free(self, x: float, y: float, place: tuple[str, int, int], words: str) -> bool:
        start, end, height = self._room(x, y, place, words)
        return (
            self.left <= start
            and end <= self.right
            and not any(
                start < other_end and other_start < end and abs(height - other) < _LINE
                for other_start, other_end, other in self._named
            )
        )


def svg(height: float, told: str, parts: Iterable[str]) -> Raw:
    """A picture that fills its place; `told` is what it says to those who do not see it."""
    return Raw(
        f'<svg class="fr-chart" viewBox="0 0 480 {height:g}" role="img" '
        f'aria-label="{escape(told)}">{"".join(parts)}</svg>'
    )


def label(x: float, y: float, words: str, anchor: str, kind: str = "") -> str:
    """A text in a picture."""
    shown = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{shown}>{escape(words)}</text>'


def legend(names: Sequence[str], *, dots: Collection[str] = ()) -> str:
    """Which colour is which, under a picture; those in `dots` are points in it."""
    keys = "".join(
        f'<span><i class="fr-key{"-dot" * (name in dots)} fr-back-{i % 6 + 1}"></i>'
        f"{escape(name)}</span>"
        for i, name in enumerate(names)
    )
    return f'<div class="fr-legend">{keys}</div>'


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers between two values, some five of them."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [0.0 if i == 0 else i * step for i in range(first, last + 1)]


def short(value: float) -> str:
    """A number in few characters."""
    for size, sign in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1000 if sign == 'k' else size):.3g}{sign}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _narrow(value: float) -> str:
    """A number beside the upright axis, where there is room for four characters."""
    return f"{value / 1000:g}k" if 1000 <= abs(value) < 1e4 else short(value)


def told_range(edges: Sequence[float]) -> str:
    """From where to where bins go, in words."""
    return f"from {short(edges[0])} to {short(edges[-1])}" if len(edges) else "without bins"
