"""Line charts, drawn with Pillow."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any

from PIL import Image, ImageDraw, ImageFont

Point = tuple[float, float]
Color = tuple[int, int, int]

SCALE = 2
"""Lines are drawn at this multiple of the size and reduced, because Pillow draws them without antialiasing."""
WIDTH, HEIGHT = 400, 380
"""Size of a panel with its margins, in pixels."""
LEFT, TOP, RIGHT, BOTTOM = 62, 100, 18, 54
"""Margins of a panel; the top one includes the title and the legend of the chart."""
INK, GRAY, GRID, WHITE = (45, 45, 45), (110, 110, 110), (228, 228, 228), (255, 255, 255)
DOTTED = 24
"""Maximum number of points of a curve whose points are marked. Points without neighbors are always marked."""
LARGEST = 1e300
"""Larger values are not drawn, like nonfinite ones: differences between them would not be finite. Ranges smaller than
its inverse count as empty."""


@dataclass(frozen=True)
class Curve:
    """Curve of a panel. It is interrupted at values that are not finite."""

    name: str
    points: tuple[Point, ...]
    color: Color
    width: float = 2.0


@dataclass(frozen=True)
class Panel:
    """Part of a chart with axes of its own."""

    title: str
    curves: tuple[Curve, ...]
    note: str = ""
    """Text at the upper right."""
    marked: Point | None = None
    """Point with a ring around it."""
    from_zero: bool = False
    """Boolean, whether the vertical axis includes zero."""


def chart(title: str, panels: Sequence[Panel], label: str) -> Image.Image:
    """Draws panels side by side.

    >>> curve = Curve("training", ((1, 0.5), (2, 0.4)), color=(0, 0, 0))
    >>> chart("shapes", [Panel("loss", (curve,))], "epoch").size
    (400, 380)

    Args:
        title: Title of the chart.
        panels: Panels, from left to right.
        label: Label of the horizontal axes.
    """
    size = (WIDTH * len(panels), HEIGHT)
    image = Image.new("RGB", (SCALE * size[0], SCALE * size[1]), WHITE)
    numbers = [x for panel in panels for curve in panel.curves for x, _ in curve.points] or [1.0]
    columns = (min(numbers), max(numbers)) if len(set(numbers)) > 1 else (numbers[0] - 0.5, numbers[0] + 0.5)
    frames = [_Frame(panel, WIDTH * index, columns) for index, panel in enumerate(panels)]
    for frame in frames:
        frame.draw_lines(ImageDraw.Draw(image))
    image = image.reduce(SCALE)
    draw = ImageDraw.Draw(image)
    for frame in frames:
        frame.draw_texts(draw, label)
    names = {curve.name: curve for panel in panels for curve in panel.curves if curve.name}
    left = _legend(draw, tuple(names.values()), size[0] - RIGHT)
    draw.text((LEFT, 34), _shortened(title, 20, left - LEFT), fill=INK, font=_font(20), anchor="lm")
    return image


class _Frame:
    """Axes of a panel, whose upper left corner is at `(left, 0)`."""

    def __init__(self, panel: Panel, left: float, columns: tuple[float, float]) -> None:
        self.panel = panel
        self.left, self.right = left + LEFT, left + WIDTH - RIGHT
        self.columns = columns
        values = [point[1] for curve in panel.curves for point in curve.points if _drawable(point)]
        values = values or [0.0, 1.0]
        self.ticks = ticks(*span([*values, 0.0] if panel.from_zero else values))
        self.rows = (self.ticks[0], self.ticks[-1])

    def at(self, point: Point) -> Point:
        """Returns the position of a point in pixels."""
        (low, high), (bottom, top) = self.columns, self.rows
        return (
            self.left + (self.right - self.left) * (point[0] - low) / (high - low),
            HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (point[1] - bottom) / (top - bottom),
        )

    def draw_lines(self, draw: ImageDraw.ImageDraw) -> None:
        """Draws the grid and the curves, at `SCALE` times the size."""
        for tick in self.ticks:
            ends = [self.at((x, tick)) for x in self.columns]
            draw.line(_scaled(ends), fill=GRAY if tick == self.ticks[0] else GRID, width=SCALE)
        for tick in self.positions():
            x, y = self.at((tick, self.rows[0]))
            draw.line(_scaled([(x, y), (x, y + 4)]), fill=GRAY, width=SCALE)
        for curve in self.panel.curves:
            self._draw_curve(draw, curve)
        if self.panel.marked is not None and _drawable(self.panel.marked):
            _disc(draw, self.at(self.panel.marked), 6, INK)
            _disc(draw, self.at(self.panel.marked), 4, WHITE)
            _disc(draw, self.at(self.panel.marked), 2.5, INK)

    def _draw_curve(self, draw: ImageDraw.ImageDraw, curve: Curve) -> None:
        for run in runs(curve.points):
            positions = [self.at(point) for point in run]
            if len(run) > 1:
                draw.line(
                    _scaled(extremes(positions)), fill=curve.color, width=round(SCALE * curve.width), joint="curve"
                )
            for position in positions if len(curve.points) <= DOTTED or len(run) == 1 else ():
                _disc(draw, position, curve.width + 1, curve.color)

    def positions(self) -> list[int]:
        """Returns the ticks of the horizontal axis: integers within the axis."""
        low, high = self.columns
        step = max(round(_step(high - low, 6)), 1)
        return [tick for tick in range(math.ceil(low / step) * step, math.floor(high) + 1, step) if tick >= low]

    def draw_texts(self, draw: ImageDraw.ImageDraw, label: str) -> None:
        """Draws the labels of the axes, the title and the note."""
        small, title = _font(12), _font(15)
        for tick, text in zip(self.ticks, tick_labels(self.ticks), strict=True):
            draw.text((self.left - 8, self.at((self.columns[0], tick))[1]), text, GRAY, small, anchor="rm")
        for number in self.positions():
            draw.text((self.at((number, self.rows[0]))[0], HEIGHT - BOTTOM + 8), str(number), GRAY, small, anchor="mt")
        draw.text(((self.left + self.right) / 2, HEIGHT - 18), label, GRAY, small, anchor="mm")
        draw.text((self.left, TOP - 16), self.panel.title, INK, title, anchor="ls")
        draw.text((self.right, TOP - 16), self.panel.note, GRAY, small, anchor="rs")


def runs(points: Sequence[Point]) -> list[list[Point]]:
    """Returns the points between those that cannot be drawn.

    >>> runs([(1, 0.5), (2, 0.4), (3, math.nan), (4, 0.3)])
    [[(1, 0.5), (2, 0.4)], [(4, 0.3)]]
    """
    found: list[list[Point]] = [[]]
    for point in points:
        if _drawable(point):
            found[-1].append(point)
        elif found[-1]:
            found.append([])
    return [run for run in found if run]


def extremes(positions: Sequence[Point]) -> list[Point]:
    """Returns the lowest and the highest position of each pixel column: enough for curves of any number of points.

    >>> extremes([(1.0, 0.5), (1.2, 0.9), (1.3, 0.1), (1.4, 0.4), (2.0, 0.3)])
    [(1.2, 0.9), (1.3, 0.1), (2.0, 0.3)]
    """
    columns = [list(group) for _, group in groupby(positions, key=lambda position: round(position[0]))]
    pairs = [(min(column, key=itemgetter(1)), max(column, key=itemgetter(1))) for column in columns]
    return [position for pair in pairs for position in sorted(set(pair))]


def span(values: Sequence[float]) -> tuple[float, float]:
    """Returns the range of an axis for the values: a range around them if they differ by less than 2 %.

    >>> span([1, 3]), span([2.0, 2.0]), span([0.0])
    ((1, 3), (1.5, 2.5), (0, 0.5))
    """
    low, high = min(values), max(values)
    if high - low > max(0.02 * max(abs(low), abs(high)), 1 / LARGEST):
        return low, high
    margin = abs(high) / 4 if abs(high) > 1 / LARGEST else 0.5
    return (low - margin if low else 0), high + margin


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Returns rounded, equally spaced values; the first is not above `low`, the last not below `high`.

    >>> ticks(0.03, 0.87), ticks(-7, 12)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [-10.0, -5.0, 0.0, 5.0, 10.0, 15.0])
    """
    step = _step(high - low, most)
    first, last = math.floor(low / step * (1 + 1e-12)), math.ceil(high / step * (1 - 1e-12))
    digits = 1 - math.floor(math.log10(step))  # removes errors such as 0.30000000000000004
    return [round(number * step, digits) for number in range(first, max(last, first + 1) + 1)]


def _step(length: float, most: int) -> float:
    """Returns the smallest of 1, 2, 2.5 or 5 times a power of 10 with at most `most` steps over a length."""
    power = 10.0 ** math.floor(math.log10(length / most))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10, 20) if length <= most * factor * power)


def tick_labels(values: Sequence[float]) -> list[str]:
    """Returns the labels of equally spaced ticks, with as few digits as distinguish them.

    >>> tick_labels([0.0, 0.25, 0.5]), tick_labels([0.0, 2e-5, 4e-5]), tick_labels([0.0, 5.0])
    (['0', '0.25', '0.50'], ['0', '2e-05', '4e-05'], ['0', '5'])
    """
    step, largest = values[1] - values[0], max(map(abs, values))
    kind = "g" if largest >= 1e5 or step < 1e-4 else "f"
    for digits in range(17):
        labels = [f"{value:.{digits}{kind}}" if value else "0" for value in values]
        if all(abs(float(text) - value) < step / 100 for text, value in zip(labels, values, strict=True)):
            break
    return labels


def _legend(draw: ImageDraw.ImageDraw, curves: Sequence[Curve], right: float) -> float:
    """Draws the names of the curves, right-aligned; returns the left end."""
    for curve in reversed(curves):
        draw.text((right, 34), curve.name, INK, _font(13), anchor="rm")
        right -= _font(13).getlength(curve.name) + 34
        draw.line([(right, 34), (right + 26, 34)], fill=curve.color, width=round(curve.width) + 1)
        right -= 22
    return right


def _disc(draw: ImageDraw.ImageDraw, center: Point, radius: float, color: Color) -> None:
    x, y = center[0] * SCALE, center[1] * SCALE
    draw.ellipse((x - radius * SCALE, y - radius * SCALE, x + radius * SCALE, y + radius * SCALE), fill=color)


def _scaled(positions: Sequence[Point]) -> list[Point]:
    return [(x * SCALE, y * SCALE) for x, y in positions]


def _drawable(point: Point) -> bool:
    return abs(point[1]) < LARGEST  # false for NaN


def _shortened(text: str, size: int, width: float) -> str:
    while _font(size).getlength(text) > width and len(text) > 4:
        text = text[:-4] + "..."
    return text


@cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)
