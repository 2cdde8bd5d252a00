"""Line charts."""

import itertools
import math

import numpy as np
import pytest
from PIL import Image

from tfseg.images.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Curve, Panel, chart, tick_labels, ticks

RED, BLUE = (200, 0, 0), (0, 0, 200)


def drawn(image: Image.Image, color: tuple[int, int, int]) -> np.ndarray:
    """Returns the positions `(x, y)` of the pixels of (almost) this color inside the first panel's axes."""
    pixels = np.asarray(image).astype(int)
    rows, columns = np.nonzero(np.abs(pixels - color).sum(-1) < 60)
    return np.stack([columns, rows], -1)[(rows >= TOP - 4) & (columns < WIDTH)]


def single(points: list[tuple[float, float]], **options: bool) -> np.ndarray:
    return drawn(chart("title", [Panel("panel", (Curve("", tuple(points), RED),), **options)], "epoch"), RED)


def test_points_are_drawn_at_their_positions() -> None:
    """The axes, 1 to 5 and 0 to 1, end at the margins."""
    positions = single([(1, 0.0), (2, 1.0), (4, 0.5), (5, 0.5)])
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    for x, y in [(1, 0.0), (2, 1.0), (4, 0.5), (5, 0.5)]:
        expected = LEFT + width * (x - 1) / 4, TOP + height * (1 - y)
        assert np.min(np.abs(positions - expected).max(-1)) <= 2
    assert positions[:, 0].min() >= LEFT - 4 and positions[:, 0].max() <= WIDTH - RIGHT + 4
    flat = positions[(positions[:, 0] > LEFT + width * 0.78) & (positions[:, 0] < LEFT + width * 0.97)]
    assert np.abs(flat[:, 1] - (TOP + height / 2)).max() <= 2


@pytest.mark.parametrize("gap", [math.nan, math.inf, -math.inf, 1e301])
def test_curves_are_interrupted_at_nonfinite_values(gap: float) -> None:
    positions = single([(1, 0.0), (2, 1.0), (3, gap), (4, 1.0), (5, 0.0)])
    width = WIDTH - LEFT - RIGHT
    inside = (positions[:, 0] > LEFT + 0.27 * width) & (positions[:, 0] < LEFT + 0.73 * width)
    assert len(positions) and not inside.any()


def test_isolated_points_are_visible() -> None:
    many = [(index, 0.5 if index == 40 else math.nan) for index in range(1, 100)]
    for points in ([(1, 0.3)], many):
        positions = single(points)
        assert len(positions) > 10 and np.ptp(positions, axis=0).max() < 12


def test_many_points_look_like_all_of_them() -> None:
    """The lowest and the highest point of every pixel column are visible."""
    noise = np.random.default_rng(0).uniform(0.2, 0.8, 20_000)
    noise[12_345], noise[777] = 1.0, 0.0
    positions = single(list(enumerate(noise.tolist())))
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    for index in (12_345, 777):
        expected = LEFT + width * index / 19_999, TOP + height * (1 - noise[index])
        assert np.min(np.abs(positions - expected).max(-1)) <= 2
    columns, counts = np.unique(positions[:, 0], return_counts=True)
    assert len(columns) >= width and np.median(counts) > 0.4 * height


def test_constant_curves_are_horizontal() -> None:
    for value in (0.0, 0.7, -3.0, 5e-324, 1e-310, 1e-30, 1e30, 123456.789):
        positions = single([(1, value), (50, value)])
        assert np.ptp(positions[:, 0]) > 300 and np.ptp(positions[:, 1]) < 12


def test_panels_share_the_horizontal_axis() -> None:
    """Also if one of them has no values in some epochs."""
    panels = [Panel("a", (Curve("", ((1, 0.0), (3, 1.0)), RED),)), Panel("b", (Curve("", ((9, 0.0),), BLUE),))]
    positions = drawn(chart("title", panels, "epoch"), RED)
    assert positions[:, 0].max() == pytest.approx(LEFT + (WIDTH - LEFT - RIGHT) / 4, abs=4)


def test_axis_from_zero() -> None:
    values = [(1, 0.6), (2, 0.7)]
    assert single(values)[:, 1].max() > HEIGHT - BOTTOM - 6
    assert single(values, from_zero=True)[:, 1].max() < TOP + 70


def test_title_and_legend_do_not_overlap() -> None:
    image = np.asarray(chart("x" * 500, [Panel("a", (Curve("training", ((1, 1.0),), RED),))], "epoch").convert("L"))
    columns = np.nonzero((image[24:46] < 200).any(0))[0]
    gaps = np.diff(columns)
    assert gaps.max() >= 10 and columns.max() <= WIDTH - RIGHT + 1


def test_chart_without_values() -> None:
    image = chart("", [Panel("a", ()), Panel("b", (Curve("b", ((1, math.nan),), RED),), marked=(1, math.nan))], "epoch")
    assert image.size == (2 * WIDTH, HEIGHT)


RANGES = [
    (low * scale, high * scale)
    for (low, high), scale in itertools.product(
        [(0, 1), (0.03, 0.87), (-7, 12), (1.387, 1.402), (-1, -0.1), (0, 3), (0.1, 0.3), (99.99, 100.01)],
        [1e-300, 1e-30, 1e-5, 0.07, 1, 33, 1e4, 1e30, 1e298],
    )
]


@pytest.mark.parametrize(("low", "high"), RANGES)
def test_ticks(low: float, high: float) -> None:
    """They are multiples of 1, 2, 2.5 or 5 times a power of 10, cover the range closely, and have different labels."""
    values = ticks(low, high)
    steps = np.diff(values)
    step = steps[0]
    assert 2 <= len(values) <= 9
    np.testing.assert_allclose(steps, step, rtol=1e-6)
    mantissa = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert min(abs(mantissa - each) for each in (1, 2, 2.5, 5, 10)) < 1e-6
    slack = 1e-9 * max(abs(low), abs(high))
    assert low - step - slack <= values[0] <= low + slack and high - slack <= values[-1] <= high + step + slack
    labels = tick_labels(values)
    assert len(set(labels)) == len(labels)
    np.testing.assert_allclose([float(text) for text in labels], values, rtol=1e-6, atol=step / 100)


def test_labels_are_short() -> None:
    for low, high in [(0, 1e-3), (0.3, 1.7), (0, 3e-5), (100, 99_000), (0, 1.3e6)]:
        assert max(map(len, tick_labels(ticks(low, high)))) <= 8
