"""Draws lanes of spans and charts on one shared time axis, as SVG text: knows shapes, nothing of runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LEFT, RIGHT = 1160, 196, 14
ROW, CHART, GAP = 20, 92, 24
LETTER = 6.1  # the mean width of a letter of the labels, in pixels
ROWS_MAX = 8  # of one lane; what needs more is drawn into the last one, without words
Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class Span:
    """Something that lasted from *start_s* to *end_s* (the same: a mark)."""

    start_s: float
    end_s: float
    kind: str  # the class that colours it
    words: str
    full_s: float | None = None  # until then it was only on its way to its full strength


@dataclass(frozen=True, kw_only=True)
class Line:
    """One series of a chart: (at_s, value), in order."""

    name: str
    kind: str
    points: Points


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Series with one unit. *bounds* are horizontal lines with words; *stacked* series lie upon each other."""

    title: str
    unit: str
    lines: tuple[Line, ...]
    bounds: tuple[tuple[float, str], ...] = ()
    top: float | None = None
    log: bool = False
    stacked: bool = False


@dataclass(frozen=True, kw_only=True)
class Band:
    """A stretch of time behind all charts, hanging down from *top*, where its name stands."""

    start_s: float
    end_s: float
    top: float


class Canvas:
    """Grows downwards: first lanes, then charts, then the axis."""

    def __init__(self, end_s: float) -> None:
        self.end_s = max(end_s, 1.0)
        self.y = 6.0
        self.parts: list[str] = []

    def x(self, at_s: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * max(0.0, min(at_s, self.end_s)) / self.end_s, 1)

    def text(self, x: float, y: float, words: str, kind: str = "label", anchor: str = "end") -> None:
        self.parts.append(f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>')

    def heading(self, words: str) -> None:
        self.y += 20
        self.text(0, self.y - 4, words, "group", "start")

    def lane(self, name: str, spans: Sequence[Span], absent: str = "") -> None:
        """Spans that would cover each other, or each other's words, get rows of their own; *absent*: there is none."""
        self.text(LEFT - 8, self.y + 14, fitting(name, LEFT - 8))
        if not spans:
            self.text(LEFT + 4, self.y + 14, absent, "absent", "start")
        ends: list[float] = []
        for span in sorted(spans, key=lambda one: one.start_s):
            left, right = self._reach(span)
            row = next((number for number, end in enumerate(ends) if left > end + 4), len(ends))
            if row >= ROWS_MAX:
                self._span(span, self.y + (ROWS_MAX - 1) * ROW, words=False)
                continue
            ends[row : row + 1] = [right]
            self._span(span, self.y + row * ROW, words=True)
        self.y += ROW * max(1, len(ends))

    def _side(self, span: Span) -> str:
        """Where the words of a span stand: inside it, right of it, or left of it."""
        x, width, words = self.x(span.start_s), self._width(span), LETTER * len(span.words) + 10
        if width > words * 1.12 and span.end_s > span.start_s:
            return "inside"
        return "right" if x + width + words < WIDTH else "left"

    def _width(self, span: Span) -> float:
        return max(3.0, self.x(span.end_s) - self.x(span.start_s))

    def _reach(self, span: Span) -> tuple[float, float]:
        x, width, words = self.x(span.start_s), self._width(span), LETTER * len(span.words) + 10
        side = self._side(span)
        return x - words * (side == "left") - 6, x + width + words * (side == "right")

    def _span(self, span: Span, y: float, words: bool) -> None:
        x, width = self.x(span.start_s), self._width(span)
        when = f"{span.start_s:.2f} s"
        if span.end_s > span.start_s:
            when += f" to {span.end_s:.2f} s"
            shape = f"M{x:g} {y + 3:g}h{width:.1f}v{ROW - 6}h-{width:.1f}z"
        else:
            shape = f"M{x:g} {y + 3:g}l6 7l-6 7l-6 -7z"
        self.parts.append(f'<path d="{shape}" class="{span.kind}"><title>{escape(span.words)}: {when}</title></path>')
        if span.full_s is not None and span.full_s > span.start_s:
            part = self.x(min(span.full_s, span.end_s)) - x
            title = f"<title>full strength from {span.full_s:.2f} s</title>"
            self.parts.append(
                f'<path d="M{x:g} {y + 3:g}h{part:.1f}v{ROW - 6}h-{part:.1f}z" class="rising">{title}</path>'
            )
        if words:
            self._words(span, x, width, y + 14)

    def _words(self, span: Span, x: float, width: float, y: float) -> None:
        side, mark = self._side(span), 4 * (span.end_s <= span.start_s)
        if side == "inside":
            self.text(x + 6, y, span.words, "inside", "start")
        elif side == "right":
            self.text(x + width + 4 + mark, y, span.words, "beside", "start")
        else:
            self.text(x - 5 - mark, y, span.words, "beside", "end")

    def chart(self, chart: Chart) -> None:
        base, scale = self.y + CHART, _Scale(chart)
        self.text(0, self.y + 12, chart.title, "group", "start")
        for value in scale.ticks:
            y = base - CHART * scale.part(value)
            self.parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" class="grid"/>')
            self.text(LEFT - 8, y + 4, f"{value:g} {chart.unit}" if value == scale.ticks[-1] else f"{value:g}")
        below = [0.0] * max((len(line.points) for line in chart.lines), default=0)
        for number, line in enumerate(chart.lines):
            y = self.y + 28 + 14 * number
            self.parts.append(f'<path d="M1 {y - 4:g}h16" class="line {line.kind} sample"/>')
            self.text(22, y, line.name, "label", "start")
            points = [(self.x(at_s), value) for at_s, value in line.points]
            if chart.stacked:
                upper = [below[i] + value for i, (_, value) in enumerate(points)]
                self._area(line, [x for x, _ in points], below, upper, base, scale)
                below = upper
            elif points:
                path = "L".join(f"{x:g} {base - CHART * scale.part(value):.1f}" for x, value in points)
                self.parts.append(
                    f'<path d="M{path}" class="line {line.kind}"><title>{escape(line.name)}</title></path>'
                )
        for value, words in chart.bounds:
            y = base - CHART * scale.part(value)
            self.parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" class="bound"/>')
            self.text(WIDTH - RIGHT - 3, y - 3, words, "bound-words")
        self.y = base + GAP

    def _area(
        self, line: Line, xs: list[float], below: list[float], upper: list[float], base: float, scale: _Scale
    ) -> None:
        if not any(high > low for low, high in zip(below, upper, strict=False)):
            return

        def edge(pairs: list[tuple[float, float]]) -> str:
            return "L".join(f"{x:g} {base - CHART * scale.part(value):.1f}" for x, value in pairs)

        over = edge(list(zip(xs, upper, strict=True)))
        under = edge(list(zip(xs, below, strict=False))[::-1])
        self.parts.append(f'<path d="M{over}L{under}Z" class="area {line.kind}"><title>{line.name}</title></path>')

    def bands(self, bands: Sequence[Band]) -> None:
        """Behind what is drawn already."""
        behind = []
        bottom = self.y - GAP + 2
        for band in bands:
            x, until = self.x(band.start_s), self.x(band.end_s)
            behind.append(f'<path d="M{x:g} {band.top:g}H{until:g}V{bottom:g}H{x:g}Z" class="band"/>')
            behind.append(f'<path d="M{until:g} {band.top:g}V{bottom:g}" class="edge"/>')
        self.parts = behind + self.parts

    def moment(self, top: float, at_s: float, kind: str, words: str) -> None:
        """A vertical line through all charts."""
        x = self.x(at_s)
        title = f"<title>{escape(words)}</title>"
        self.parts.append(f'<path d="M{x:g} {top:g}V{self.y - GAP + 2:g}" class="moment {kind}">{title}</path>')

    def axis(self) -> None:
        step_s = next((s for s in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600) if self.end_s / s <= 14), 3600)
        for number in range(int(self.end_s / step_s) + 1):
            self.text(self.x(number * step_s), self.y - 6, f"{number * step_s} s", "label", "middle")

    def render(self, label: str) -> str:
        box = f"0 0 {WIDTH} {self.y + 4:g}"
        head = f'<svg viewBox="{box}" role="img" tabindex="0" aria-label="{escape(label)}">'
        return head + "".join(self.parts) + "</svg>"


class _Scale:
    """The vertical axis of a chart: part() of its height at a value, and where its ticks are."""

    def __init__(self, chart: Chart) -> None:
        values = [value for line in chart.lines for _, value in line.points] or [0.0]
        if chart.stacked:
            rows = [[value for _, value in line.points] for line in chart.lines]
            values = [sum(column) for column in zip(*rows, strict=True)] or [0.0]
        highest = max([chart.top or 0.0, *(value for value, _ in chart.bounds)] + ([] if chart.top else values))
        self.log = chart.log
        self.top = 10.0 ** max(2, math.ceil(math.log10(max(highest, 1.0)))) if chart.log else _round_up(highest)
        whole = [10.0**power for power in range(round(math.log10(self.top)) + 1)] if chart.log else []
        self.ticks = whole or [0.0, self.top / 2, self.top]

    def part(self, value: float) -> float:
        if self.log:
            return max(0.0, min(1.0, math.log10(max(value, 1.0)) / math.log10(self.top)))
        return max(0.0, min(1.0, value / self.top))


def _round_up(value: float) -> float:
    """The next number that reads well: 1, 2, 4, 5, 6, 8 or 10 times a power of ten."""
    if value <= 1:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 3, 4, 5, 6, 8, 10) if step * power >= value)


def fitting(words: str, width: float) -> str:
    """*words*, cut with a sign of it when they need more than *width* pixels."""
    most = max(4, int(width / LETTER))
    return words if len(words) <= most else words[: most - 1] + "…"
