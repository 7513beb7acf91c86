"""What figures are drawn with: SVG elements, scales, ticks and panels with axes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 760  # pixels of a figure
LEFT, RIGHT = 52, 14  # pixels beside a panel, for ticks and labels
CHARACTER = 6.6  # pixels of an average character at the font size of figures, 12 px
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")

# One sheet for figures in a page and on their own: colours by class, text in the colour of the surroundings.
CHART_CSS = """
.chart { font: 12px/1.2 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
.chart text { fill: currentColor; }
.chart .soft { fill-opacity: .76; }
.chart .strong { font-weight: 600; }
.chart .grid { stroke: currentColor; stroke-opacity: .13; }
.chart .axis { stroke: currentColor; stroke-opacity: .55; }
.chart .mark { stroke-width: 1.6; fill: none; stroke-linejoin: round; stroke-linecap: round; }
.chart .front { stroke: currentColor; stroke-opacity: .42; stroke-width: 1.6; fill: none; stroke-linejoin: round; }
.chart .keep { stroke: currentColor; stroke-opacity: .6; stroke-dasharray: 2 4; fill: none; }
.chart .ring { stroke: currentColor; stroke-width: 1.6; fill: none; }
.chart .maybe { stroke-dasharray: 3 3; }
.chart .bar { stroke-opacity: .65; stroke-width: 1.2; }
.chart .s0 { stroke: #1d5fa8; } .chart .s0.on { fill: #1d5fa8; }
.chart .s1 { stroke: #0b7566; } .chart .s1.on { fill: #0b7566; }
.chart .s2 { stroke: #b04f08; } .chart .s2.on { fill: #b04f08; }
.chart .s3 { stroke: #82389a; } .chart .s3.on { fill: #82389a; }
.chart .s4 { stroke: #b02448; } .chart .s4.on { fill: #b02448; }
.chart .s9 { stroke: #6c7078; }
@media (prefers-color-scheme: dark) {
  .chart .s0 { stroke: #7fb6f5; } .chart .s0.on { fill: #7fb6f5; }
  .chart .s1 { stroke: #52c9b2; } .chart .s1.on { fill: #52c9b2; }
  .chart .s2 { stroke: #f2a661; } .chart .s2.on { fill: #f2a661; }
  .chart .s3 { stroke: #d09de8; } .chart .s3.on { fill: #d09de8; }
  .chart .s4 { stroke: #f48aa2; } .chart .s4.on { fill: #f48aa2; }
  .chart .s9 { stroke: #9a9fa8; }
}
"""


def element(name: str, content: str = "", /, **attributes: object) -> str:
    """Return an SVG element; ``content`` is SVG, attribute values are escaped, ``text_anchor`` is ``text-anchor``."""
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_plain(_number(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{pairs}>{content}</{name}>" if content else f"<{name}{pairs}/>"


def words(name: str, content: str, /, **attributes: object) -> str:
    """Return an SVG element around text, which is escaped."""
    return element(name, _plain(content), **attributes)


def _plain(text: str) -> str:
    return escape(_NO_XML.sub("\ufffd", text))


def _number(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def figure(width: float, height: float, title: str, description: str, parts: Iterable[str]) -> str:
    """Return an SVG with a title and a description for those who hear it."""
    head = words("title", title) + words("desc", description)
    return element(
        "svg",
        head + "".join(parts),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {_number(float(width))} {_number(float(height))}",
        width=width,
        height=height,
        role="img",
        aria_label=f"{title}. {description}",
        class_="chart",
    )


def empty_figure(title: str, reason: str, width: float) -> str:
    """Return a figure that says why there is nothing in it."""
    return figure(width, 40, title, reason, [words("text", reason, x=0, y=24, class_="soft")])


@dataclass(frozen=True)
class Scale:
    """From values between ``low`` and ``high`` to pixels between ``start`` and ``end``."""

    low: float
    high: float
    start: float
    end: float
    log2: bool = False

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        low, high, value = (
            (math.log2(v) for v in (self.low, self.high, value))
            if self.log2
            else (
                self.low,
                self.high,
                value,
            )
        )
        share = (value - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)


def linear_ticks(low: float, high: float, count: int) -> list[float]:
    """Return at most ``count`` + 1 round values between ``low`` and ``high``."""
    if not high > low:
        return [low]
    raw = (high - low) / max(1, count)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def log2_ticks(low: float, high: float, count: int) -> list[float]:
    """Return powers of two between ``low`` and ``high``, at most about ``count``."""
    first, last = math.ceil(math.log2(low) - 1e-9), math.floor(math.log2(high) + 1e-9)
    every = max(1, math.ceil((last - first + 1) / max(1, count)))
    return [2.0**power for power in range(first, last + 1, every)]


def same_decimals(ticks: Sequence[float]) -> Callable[[float], str]:
    """Return how to write ticks: all with the decimals that the finest of them needs."""
    decimals = max((len(f"{tick:.6f}".rstrip("0").partition(".")[2]) for tick in ticks), default=0)
    return lambda value: f"{value:,.{decimals}f}"


@dataclass(frozen=True)
class Panel:
    """A rectangle with a horizontal and a vertical scale."""

    x: Scale
    y: Scale

    def axes(
        self, title: str, x_ticks: Sequence[float], write_x: Callable[[float], str] | None, x_label: str = ""
    ) -> list[str]:
        """Return grid, ticks and labels; without ``write_x`` the horizontal axis goes unlabelled."""
        ticks = linear_ticks(self.y.low, self.y.high, max(2, int((self.y.start - self.y.end) / 36)))
        write_y = same_decimals(ticks)
        parts = [words("text", title, x=0.0, y=self.y.end - 14, class_="strong")]
        for tick in ticks:
            y = self.y(tick)
            parts.append(element("line", x1=self.x.start, x2=self.x.end, y1=y, y2=y, class_="grid"))
            parts.append(words("text", write_y(tick), x=self.x.start - 8, y=y + 4, text_anchor="end", class_="soft"))
        bottom = self.y.start
        parts.append(element("line", x1=self.x.start, x2=self.x.end, y1=bottom, y2=bottom, class_="axis"))
        for tick in x_ticks:
            x = self.x(tick)
            parts.append(element("line", x1=x, x2=x, y1=bottom, y2=bottom + 4, class_="axis"))
            if write_x:
                label = words("text", write_x(tick), x=x, y=bottom + 18, text_anchor="middle", class_="soft")
                parts.append(label)
        if x_label:
            parts.append(words("text", x_label, x=self.x.end, y=bottom + 36, text_anchor="end", class_="soft"))
        return parts


def legend(entries: Sequence[tuple[str, str]], width: float, top: float) -> tuple[list[str], float]:
    """Lay out (symbol around 0,0; label) in lines no wider than ``width``; return the parts and the bottom."""
    parts, x, y = [], 0.0, top
    for symbol, label in entries:
        needed = 22 + CHARACTER * len(label) + 14
        if x and x + needed - 14 > width:
            x, y = 0.0, y + 20
        parts.append(element("g", symbol, transform=f"translate({_number(x + 8)} {_number(y - 4)})"))
        parts.append(words("text", label, x=x + 22, y=y))
        x += needed
    return parts, y


def symbol(shape: int, classes: str, x: float = 0.0, y: float = 0.0) -> str:
    """Return a mark at a point: a circle, square, triangle, diamond or upside-down triangle."""
    if shape == 0:
        return element("circle", cx=x, cy=y, r=4.2, class_=f"mark {classes}")
    corners = [
        [(-3.8, -3.8), (3.8, -3.8), (3.8, 3.8), (-3.8, 3.8)],
        [(0, -5), (4.8, 3.6), (-4.8, 3.6)],
        [(0, -5.4), (5.4, 0), (0, 5.4), (-5.4, 0)],
        [(0, 5), (4.8, -3.6), (-4.8, -3.6)],
    ][(shape - 1) % 4]
    return element("polygon", points=points((x + dx, y + dy) for dx, dy in corners), class_=f"mark {classes}")


def points(pairs: Iterable[tuple[float, float]]) -> str:
    """Return the points of a line or polygon as SVG writes them."""
    return " ".join(f"{_number(float(x))},{_number(float(y))}" for x, y in pairs)
