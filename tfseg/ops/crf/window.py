"""Bilateral kernel truncated to a window, as in ConvCRF, on every backend.

Messages from pixels outside the window are zero. The sum over the window is exact.

Reference:
    Teichmann, Cipolla, "Convolutional CRFs for Semantic Segmentation", 2018, section 4.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from tfseg.ops.crf.mean_field import Normalization, scales
from tfseg.typing import Tensor


class WindowKernel:
    """Bilateral kernel of a batch of images, truncated to a window and normalized over it.

    Args:
        image: Floating-point tensor `[batch, height, width, channels]`, intensities from 0 to 255.
        theta_alpha: Standard deviation in pixels.
        theta_beta: Standard deviation in intensities.
        normalization: Normalization of the kernel. See `tfseg.ops.crf.mean_field`.
        window: Odd integer, height and width of the window.
        image_gradient: Boolean, whether to compute the gradient with respect to the image.
    """

    def __init__(
        self,
        image: Tensor,
        theta_alpha: float,
        theta_beta: float,
        normalization: Normalization,
        window: int,
        image_gradient: bool = False,
    ) -> None:
        colors = image / theta_beta
        self.colors = colors if image_gradient else ops.stop_gradient(colors)
        self.taps, self.window, self.image_gradient = window_taps(window, theta_alpha), window, image_gradient
        self.before, self.after = scales(self._sums(ops.ones_like(image[..., :1])), normalization)

    def __call__(self, q: Tensor) -> Tensor:
        """Applies the normalized kernel to `q`, `[batch, height, width, labels]`."""
        return self._sums(q if self.before is None else q * self.before) * self.after

    def _sums(self, values: Tensor) -> Tensor:
        return window_sums(values, self.colors, self.taps, self.image_gradient)


def window_taps(window: int, theta: float) -> np.ndarray:
    """Returns `exp(-|t|^2 / 2 theta^2)` for the offsets `t` of a window in raster scan order: NumPy `[window^2]`."""
    line = np.exp(-0.5 * (np.arange(window) - window // 2) ** 2 / theta**2)
    return np.outer(line, line).ravel()


def window_sums(values: Tensor, colors: Tensor, taps: np.ndarray, image_gradient: bool = False) -> Tensor:
    """Applies the bilateral filter over a window: `y_i = sum_j taps_(j - i) exp(-|c_i - c_j|^2 / 2) values_j`.

    A loop adds one offset of the window at a time. So memory does not grow with the window: a few tensors of the size
    of `values` are stored at a time. Nothing is stored for the gradient, which loops over the window again.

    Args:
        values: Floating-point tensor `[batch, height, width, columns]`. Zero outside the image.
        colors: Tensor `[batch, height, width, channels]`, in standard deviations.
        taps: Array from `window_taps`.
        image_gradient: Boolean, whether to compute the gradient with respect to `colors`.

    Returns:
        Tensor of the shape of `values`.
    """

    def forward(values: Tensor, *inputs: Tensor) -> tuple[Tensor, Callable[..., Any]]:
        compared = inputs[0] if inputs else colors

        def backward(*arguments: Tensor, upstream: Tensor = None) -> Tensor:  # the kernel is symmetric
            upstream = arguments[0] if upstream is None else upstream
            to_values = _sums(upstream, compared, taps)
            return (to_values, _to_colors(values, upstream, compared, taps)) if inputs else to_values

        return _sums(values, compared, taps), backward

    differentiable = ops.custom_gradient(forward)
    return differentiable(values, colors) if image_gradient else differentiable(values)


def _sums(values: Tensor, colors: Tensor, taps: np.ndarray) -> Tensor:
    shifted, shifted_colors = _shifts(values, taps), _shifts(colors, taps)
    weights = ops.convert_to_tensor(taps, values.dtype)

    def add(tap: Tensor, total: Tensor) -> Tensor:
        squares = ops.sum((colors - shifted_colors(tap)) ** 2, axis=-1, keepdims=True)
        return total + weights[tap] * ops.exp(-0.5 * squares) * shifted(tap)

    return ops.fori_loop(0, len(taps), add, ops.zeros_like(values))


def _to_colors(values: Tensor, upstream: Tensor, colors: Tensor, taps: np.ndarray) -> Tensor:
    """Computes the gradient with respect to `colors`: a sum of color differences over pairs of pixels."""
    shifted, shifted_upstream, shifted_colors = (_shifts(x, taps) for x in (values, upstream, colors))
    weights = ops.convert_to_tensor(taps, values.dtype)

    def add(tap: Tensor, total: Tensor) -> Tensor:
        difference = shifted_colors(tap) - colors
        kernel = weights[tap] * ops.exp(-0.5 * ops.sum(difference**2, axis=-1, keepdims=True))
        both = upstream * shifted(tap) + values * shifted_upstream(tap)
        return total + difference * kernel * ops.sum(both, axis=-1, keepdims=True)

    return ops.fori_loop(0, len(taps), add, ops.zeros_like(colors))


def _shifts(x: Tensor, taps: np.ndarray) -> Callable[[Tensor], Tensor]:
    """Returns a function from a tap index to `x` shifted by the tap's offset, with zero padding."""
    shape, window = ops.shape(x), round(len(taps) ** 0.5)
    border = (window // 2, window // 2)
    padded = ops.pad(x, [(0, 0), border, border, (0, 0)])
    return lambda tap: ops.slice(padded, (0, tap // window, tap % window, 0), shape)
