"""Charts: small SVG drawings that stretch with the page, with their finding in words and nothing to load.

In    numbers, words
Out   SVG text
Rule  what stretches (lines, bars) stands in an inner drawing of 1000 units; words stand outside it in percent, so
      they keep their size from 320 pixels to print. A series differs by shape, not only by colour. All text is escaped
Why   no script, no font, no network: a report that opens in ten years, and on a phone today
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

from harness.reporters._words import clean

UNITS: Final = 1000.0
TOP: Final = 8.0
"""Room above the highest value for words, in pixels."""
BOTTOM: Final = 20.0


def text(value: object) -> str:
    """Escape a text for HTML and SVG."""
    return escape(clean(value), quote=True)


@dataclass(frozen=True, slots=True)
class Scale:
    """Numbers to a share from 0 to 1; ``log`` needs ``low`` above 0."""

    low: float
    high: float
    log: bool = False

    def share(self, value: float) -> float:
        """Where a value stands."""
        if self.log:
            value = max(value, self.low)
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self, most: int) -> list[float]:
        """Give round numbers inside."""
        return _decades(self.low, self.high, most) if self.log else _round_steps(self.low, self.high, most)


def scale_for(values: Iterable[float], *, may_log: bool = False) -> Scale:
    """Choose a scale that shows all values: from 0 up; logarithmic if asked and they differ more than thirtyfold."""
    seen = [value for value in values if math.isfinite(value)]
    high = max(seen, default=1.0)
    low = min((value for value in seen if value > 0), default=0.0)
    if may_log and low > 0 and high / low > 30:  # noqa: PLR2004 - a linear axis would press the small ones flat
        return Scale(10.0 ** math.floor(math.log10(low)), high * 1.15, log=True)
    if high <= 0:
        return Scale(0.0, 1.0)
    return Scale(0.0, high * 1.05)


@dataclass(slots=True)
class Chart:
    """One drawing with a common x axis; add to it, then ``svg``."""

    title: str
    finding: str
    x: Scale
    height: float = 150.0
    name: str = "chart"
    """Makes ids of the page unique."""
    _back: list[str] = field(default_factory=list)
    _shapes: list[str] = field(default_factory=list)
    _front: list[str] = field(default_factory=list)

    @property
    def floor(self) -> float:
        """The y of the axis, in pixels."""
        return self.height - BOTTOM

    def y(self, scale: Scale, value: float) -> float:
        """Give the pixel of a value."""
        return self.floor - scale.share(value) * (self.floor - TOP)

    def at(self, value: float) -> float:
        """Give the unit of an x value."""
        return min(1.0, max(0.0, self.x.share(value))) * UNITS

    def x_axis(self, ticks: Sequence[tuple[float, str]]) -> None:
        """Draw the axis with its words below."""
        self._back.append(f'<line class="axis" x1="0" x2="100%" y1="{_n(self.floor)}" y2="{_n(self.floor)}"/>')
        for value, words in ticks:
            share = self.x.share(value)
            anchor = "start" if share < 0.04 else "end" if share > 0.96 else "middle"  # noqa: PLR2004
            self._front.append(
                f'<text x="{_p(share)}" y="{_n(self.height - 5)}" text-anchor="{anchor}">{text(words)}</text>'
            )
            self._back.append(
                f'<line class="axis" x1="{_p(share)}" x2="{_p(share)}" '
                f'y1="{_n(self.floor)}" y2="{_n(self.floor + 4)}"/>'
            )

    def y_axis(self, scale: Scale) -> None:
        """Draw grid lines; their numbers stand left of the drawing, in the margin of class ``plot``."""
        for value in scale.ticks(3):
            if scale.share(value) < 0.08:  # noqa: PLR2004 - too near to the axis
                continue
            y = self.y(scale, value)
            self._back.append(f'<line class="grid" x1="0" x2="100%" y1="{_n(y)}" y2="{_n(y)}"/>')
            self._front.append(f'<text x="-6" y="{_n(y + 4)}" text-anchor="end">{value:,.10g}</text>')

    def shade(self, start: float, end: float) -> None:
        """Shade a stretch of x over the whole height."""
        left, right = self.x.share(start), self.x.share(end)
        left, right = max(0.0, left), min(1.0, right)
        self._back.append(
            f'<rect class="shade" x="{_p(left)}" width="{_p(max(0.003, right - left))}" '
            f'y="0" height="{_n(self.floor)}"/>'
        )

    def bars(
        self, scale: Scale, spans: Sequence[tuple[float, float]], stack: Sequence[tuple[str, Sequence[float]]]
    ) -> None:
        """Draw stacked bars: each (class, heights) on top of the one before."""
        base = [0.0] * len(spans)
        for css, values in stack:
            path: list[str] = []
            for place, ((start, end), value) in enumerate(zip(spans, values, strict=True)):
                if value <= 0:
                    continue
                left, right = self.at(start), self.at(end)
                gap = (right - left) * 0.08
                low, high = self.y(scale, base[place]), self.y(scale, base[place] + value)
                path.append(f"M{_n(left + gap)} {_n(low)}V{_n(min(high, low - 1))}H{_n(right - gap)}V{_n(low)}Z")
                base[place] += value
            if path:
                self._shapes.append(f'<path class="{css}" d="{"".join(path)}"/>')

    def line(self, css: str, scale: Scale, points: Sequence[tuple[float, float | None]]) -> None:
        """Draw a line with gaps where there is no value; a value between two gaps is a dot."""
        path: list[str] = []
        alone: list[tuple[float, float]] = []
        run: list[tuple[float, float]] = []
        for x, value in [*points, (0.0, None)]:
            if value is not None:
                run.append((x, value))
            elif len(run) == 1:
                alone.append(run.pop())
            elif run:
                path.append("M" + "L".join(f"{_n(self.at(at))} {_n(self.y(scale, high))}" for at, high in run))
                run = []
        if path:
            self._shapes.append(f'<path class="line {css}" d="{"".join(path)}"/>')
        self.dots(css, scale, alone)

    def dots(self, css: str, scale: Scale, points: Sequence[tuple[float, float]]) -> None:
        """Draw dots: lines without length keep a round end, however far the drawing is stretched."""
        path = "".join(f"M{_n(self.at(x))} {_n(self.y(scale, value))}h0" for x, value in points)
        if path:
            self._shapes.append(f'<path class="dots {css}" d="{path}"/>')

    def mark(self, value: float, words: str, row: int = 0) -> None:
        """Draw an upright line with words at its top; ``row`` moves them below those of a near neighbour."""
        share = self.x.share(value)
        self._front.append(
            f'<line class="mark" x1="{_p(share)}" x2="{_p(share)}" y1="{_n(2 + 13 * row)}" y2="{_n(self.floor)}"/>'
        )
        anchor, shift = ("end", -4) if share > 0.6 else ("start", 4)  # noqa: PLR2004 - the wider side has room
        self._front.append(
            f'<text x="{_p(share)}" dx="{shift}" y="{_n(12 + 13 * row)}" text-anchor="{anchor}">{text(words)}</text>'
        )

    def svg(self) -> str:
        """Give the whole drawing."""
        inner = (
            f'<svg width="100%" height="{_n(self.height)}" viewBox="0 0 1000 {_n(self.height)}" '
            f'preserveAspectRatio="none" overflow="visible">{"".join(self._shapes)}</svg>'
        )
        return (
            f'<svg class="chart" role="img" aria-labelledby="{self.name}-t {self.name}-d" width="100%" '
            f'height="{_n(self.height)}"><title id="{self.name}-t">{text(self.title)}</title>'
            f'<desc id="{self.name}-d">{text(self.finding)}</desc>'
            f"{''.join(self._back)}{inner}{''.join(self._front)}</svg>"
        )


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch in a lane."""

    start: float
    end: float
    css: str
    words: str = ""


def lane(
    title: str, finding: str, x: Scale, blocks: Sequence[Block], *, name: str, shades: Sequence[Block] = ()
) -> str:
    """Draw one lane of blocks over the same x axis as the charts; words stand in blocks that are wide enough."""
    parts = [
        f'<rect class="shade" x="{_p(left)}" width="{_p(max(0.003, right - left))}" y="0" height="22"/>'
        for left, right in (_inside(x, shade) for shade in shades)
    ]
    for block in sorted(blocks, key=lambda block: block.css == "half-open"):  # The shortest on top of its neighbours.
        left, right = _inside(x, block)
        width = max(0.004, right - left)  # A probe takes milliseconds; a block that nobody sees tells nothing.
        y, height = (9, 4) if block.css == "closed" else (2, 18)
        parts.append(f'<rect class="{block.css}" x="{_p(left)}" width="{_p(width)}" y="{y}" height="{height}"/>')
        if block.words and width > 0.16:  # noqa: PLR2004 - fits at 320 pixels
            parts.append(
                f'<text class="in" x="{_p(left + width / 2)}" y="15" text-anchor="middle">{text(block.words)}</text>'
            )
    return (
        f'<svg class="lane" role="img" aria-labelledby="{name}-t {name}-d" width="100%" height="22">'
        f'<title id="{name}-t">{text(title)}</title><desc id="{name}-d">{text(finding)}</desc>{"".join(parts)}</svg>'
    )


def _inside(x: Scale, block: Block) -> tuple[float, float]:
    return min(1.0, max(0.0, x.share(block.start))), min(1.0, max(0.0, x.share(block.end)))


def time_ticks(x: Scale, most: int = 6) -> list[tuple[float, str]]:
    """Give a few moments with their words."""
    minutes = x.high >= 300  # noqa: PLR2004 - five minutes
    unit, name = (60.0, "min") if minutes else (1.0, "s")
    scaled = Scale(x.low / unit, x.high / unit)
    return ticks(x, [value * unit for value in scaled.ticks(most)], lambda value: f"{value / unit:g}", name)


def ticks(x: Scale, values: Sequence[float], words: Callable[[float], str], unit: str) -> list[tuple[float, str]]:
    """Leave out what stands too near to its neighbour on a narrow page; the last one carries the unit."""
    kept: list[float] = []
    for value in values:
        if not kept or x.share(value) - x.share(kept[-1]) > 0.12:  # noqa: PLR2004 - 30 of 250 pixels
            kept.append(value)
    return [(value, words(value) + (f" {unit}" if value == kept[-1] else "")) for value in kept]


def _round_steps(low: float, high: float, most: int) -> list[float]:
    span = high - low
    if span <= 0 or not math.isfinite(span):
        return [low]
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(power * factor for factor in (1, 2, 5, 10, 20) if span / (power * factor) <= most)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(n * step, 10) for n in range(first, last + 1)]


def _decades(low: float, high: float, most: int) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = [10.0**power for power in range(first, last + 1)]
    finer = sorted({decade * factor for decade in every for factor in (1, 2, 5)})
    for candidates in (finer, every):
        inside = [value for value in candidates if low <= value <= high]
        if len(inside) <= most:
            return inside
    return inside[:: math.ceil(len(inside) / most)]


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _p(share: float) -> str:
    return f"{share * 100:.2f}%"
