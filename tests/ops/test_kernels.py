"""Bilinear kernels, compared with Caffe's bilinear filler."""

import numpy as np
import pytest

from tfseg.ops.kernels import bilinear_kernel, bilinear_taps


@pytest.mark.parametrize(
    ("size", "taps"),
    [
        (1, [1]),
        (2, [0.5, 0.5]),
        (3, [0.5, 1, 0.5]),
        (4, [0.25, 0.75, 0.75, 0.25]),
        (5, [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3]),
    ],
)
def test_bilinear_taps(size: int, taps: list[float]) -> None:
    np.testing.assert_allclose(bilinear_taps(size), taps, rtol=1e-6)


@pytest.mark.parametrize("factor", [2, 8, 16, 32])
def test_weights_of_each_output_sum_to_one(factor: int) -> None:
    """The kernel size is twice the factor, and each output uses the two taps that are a factor apart."""
    taps = bilinear_taps(2 * factor)
    np.testing.assert_allclose(taps[:factor] + taps[factor:], 1, rtol=1e-6)


def test_kernel_is_zero_between_different_channels() -> None:
    kernel = bilinear_kernel((4, 6), filters=21)
    assert kernel.shape == (4, 6, 21, 21)
    assert kernel.dtype == np.float32
    plane = np.outer(bilinear_taps(4), bilinear_taps(6))
    for channel in range(21):
        np.testing.assert_array_equal(kernel[:, :, channel, channel], plane)
    assert np.count_nonzero(kernel) == 21 * 4 * 6
