"""Sizes and positions of Caffe's `Interp` layer."""

import numpy as np
import pytest

from tfseg.layers import ResizeBy, ResizeLike, ZoomLike


def image(height: int, width: int, channels: int = 2) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(1, height, width, channels)).astype(np.float32)


def test_zoom_equals_aligned_corners_at_matching_sizes() -> None:
    x, reference = image(5, 6), image(33, 41)
    expected = ResizeLike(align_corners=True)([x, reference])
    np.testing.assert_allclose(ZoomLike(8)([x, reference]), expected, atol=1e-6)


@pytest.mark.parametrize("size", [1, 7, 8, 9, 32, 33, 34, 40])
def test_position_i_lies_on_pixel_i_times_the_factor(size: int) -> None:
    x = image(5, 5)
    zoomed = np.array(ZoomLike(8)([x, image(size, size)]))
    assert zoomed.shape == (1, size, size, 2)
    known = -(-size // 8)
    np.testing.assert_allclose(zoomed[:, ::8, ::8], x[:, :known, :known], atol=1e-6)
    if size == 40:  # the last position is repeated
        np.testing.assert_allclose(zoomed[:, 33:, 33:], np.broadcast_to(x[:, -1:, -1:], (1, 7, 7, 2)), atol=1e-6)


def test_zoom_rejects_invalid_arguments() -> None:
    for factor in (0, 0.5):
        with pytest.raises(ValueError) as error:
            ZoomLike(factor)
        assert str(error.value) == f"`factor` must be an integer of at least 1. Received: factor={factor}"
    with pytest.raises(ValueError) as error:
        ZoomLike(8).compute_output_shape([(1, 5, 5, 2), (1, 40, 41, 3)])
    assert str(error.value) == (
        "Expected a reference of at most 8 times the height and width of `x`. "
        "Received: x.shape=(1, 5, 5, 2), reference.shape=(1, 40, 41, 3)"
    )


@pytest.mark.parametrize(
    ("scale", "sizes"), [(0.75, {321: 241, 513: 385, 1: 1}), (0.5, {321: 161, 513: 257, 2: 1}), (1.5, {5: 7, 6: 7})]
)
def test_output_sizes(scale: float, sizes: dict[int, int]) -> None:
    for size, expected in sizes.items():
        assert ResizeBy(scale)(np.zeros((1, size, 3, 1), np.float32)).shape[1] == expected


def test_resizing_aligns_the_corners() -> None:
    x = image(9, 17)
    np.testing.assert_allclose(ResizeBy(0.5)(x), x[:, ::2, ::2], atol=1e-6)
    np.testing.assert_allclose(ResizeBy(2.0)(x)[:, ::2, ::2], x, atol=1e-6)


@pytest.mark.parametrize("size", range(1, 13))
def test_resizing_aligns_the_corners_at_sizes_that_the_fraction_does_not_divide(size: int) -> None:
    """Caffe drops the remainder of the size, not of the image: shrunk to every 4th pixel, upsampled by 3."""
    x = image(size, size)
    resized = np.asarray(ResizeBy(0.75)(x))
    assert resized.shape[1:3] == ((size - 1) // 4 * 3 + 1,) * 2
    last = -1 if size > 4 else 0  # a single position is the first one
    np.testing.assert_allclose(resized[:, [0, -1]][:, :, [0, -1]], x[:, [0, last]][:, :, [0, last]], atol=1e-6)


def test_scale_must_be_at_least_0_01() -> None:
    with pytest.raises(ValueError) as error:
        ResizeBy(0)
    assert str(error.value) == "`scale` must be at least 0.01. Received: scale=0"
