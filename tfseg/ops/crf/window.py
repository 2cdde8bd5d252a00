"""Gaussian sums over a window around each pixel, by place and color: the kernel of ConvCRF, on every backend.

Reference: Teichmann, Cipolla, "Convolutional CRFs for Semantic Segmentation", 2018, section 4: the message from a pixel
that is farther away than the window reaches is zero; within the window the sum is exact.
"""

from typing import Any

import numpy as np
from keras import ops

from tfseg.ops.crf.mean_field import Normalization, scales


class WindowKernel:
    """The bilateral kernel of a batch of images, cut off outside a window; normalized over the window.

    Args:
        image: `[batch, height, width, channels]`, floating, 0 to 255.
        theta_alpha: standard deviation in pixels.
        theta_beta: standard deviation in intensities.
        normalization: see `tfseg.ops.crf.mean_field`.
        window: height and width of the window, odd.
        image_gradient: whether there is a gradient to the image.
    """

    def __init__(
        self,
        image: Any,
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

    def __call__(self, q: Any) -> Any:
        """`[batch, height, width, labels]` to the same shape."""
        return self._sums(q if self.before is None else q * self.before) * self.after

    def _sums(self, values: Any) -> Any:
        return window_sums(values, self.colors, self.taps, self.image_gradient)


def window_taps(window: int, theta: float) -> Any:
    """`exp(-|t|^2 / 2 theta^2)` for the places `t` of a window, row by row: a NumPy array `[window^2]`."""
    line = np.exp(-0.5 * (np.arange(window) - window // 2) ** 2 / theta**2)
    return np.outer(line, line).ravel()


def window_sums(values: Any, colors: Any, taps: Any, image_gradient: bool = False) -> Any:
    """Sums the values of the pixels in a window, weighted by how near they are in place and color.

    One place of the window is added after the other. So memory does not grow with the window: a few arrays like
    `values` are held at a time, and nothing is kept for the gradient, which runs over the window again.

    Args:
        values: `[batch, height, width, columns]`, floating. Beyond the borders there is nothing.
        colors: `[batch, height, width, channels]` in standard deviations.
        taps: what `window_taps` gives.
        image_gradient: whether there is a gradient to `colors`.

    Returns:
        `sum_j taps_(j - i) exp(-|c_i - c_j|^2 / 2) values_j` in the shape of `values`.
    """

    def forth(values: Any, *given: Any) -> tuple[Any, Any]:
        seen = given[0] if given else colors

        def back(*arguments: Any, upstream: Any = None) -> Any:  # the kernel is symmetric
            upstream = arguments[0] if upstream is None else upstream
            to_values = _sums(upstream, seen, taps)
            return (to_values, _to_colors(values, upstream, seen, taps)) if given else to_values

        return _sums(values, seen, taps), back

    differentiable = ops.custom_gradient(forth)
    return differentiable(values, colors) if image_gradient else differentiable(values)


def _sums(values: Any, colors: Any, taps: Any) -> Any:
    shifted, shifted_colors = _shifts(values, taps), _shifts(colors, taps)
    weights = ops.convert_to_tensor(taps, values.dtype)

    def add(tap: Any, total: Any) -> Any:
        squares = ops.sum((colors - shifted_colors(tap)) ** 2, axis=-1, keepdims=True)
        return total + weights[tap] * ops.exp(-0.5 * squares) * shifted(tap)

    return ops.fori_loop(0, len(taps), add, ops.zeros_like(values))


def _to_colors(values: Any, upstream: Any, colors: Any, taps: Any) -> Any:
    """The gradient to `colors`: each pair of pixels pulls at both, along the difference of their colors."""
    shifted, shifted_upstream, shifted_colors = (_shifts(x, taps) for x in (values, upstream, colors))
    weights = ops.convert_to_tensor(taps, values.dtype)

    def add(tap: Any, total: Any) -> Any:
        difference = shifted_colors(tap) - colors
        kernel = weights[tap] * ops.exp(-0.5 * ops.sum(difference**2, axis=-1, keepdims=True))
        both = upstream * shifted(tap) + values * shifted_upstream(tap)
        return total + difference * kernel * ops.sum(both, axis=-1, keepdims=True)

    return ops.fori_loop(0, len(taps), add, ops.zeros_like(colors))


def _shifts(x: Any, taps: Any) -> Any:
    """A function from the number of a tap to the pixels there, seen from each pixel; zero beyond the borders."""
    shape, window = ops.shape(x), round(len(taps) ** 0.5)
    border = (window // 2, window // 2)
    padded = ops.pad(x, [(0, 0), border, border, (0, 0)])
    return lambda tap: ops.slice(padded, (0, tap // window, tap % window, 0), shape)
