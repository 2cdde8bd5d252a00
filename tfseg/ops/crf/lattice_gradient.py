"""The bilateral kernel with a gradient to the colors of the image as well, by the same lattice.

The gradient of `L` with respect to `f_i` of `y_i = sum_j exp(-|f_i - f_j|^2 / 2) v_j` is, with `g = dL/dy`,

    sum_j (f_j - f_i) exp(-|f_i - f_j|^2 / 2) (g_i . v_j + v_i . g_j)

which is made of sums over all pairs again: of `v`, of `g`, and of both multiplied by each feature. So it is as near to
the gradient of the exact sum as the lattice is to the sum. (Kraehenbuehl, Koltun, "Parameter Learning and Convergent
Inference for Dense Random Fields", ICML 2013, differentiate kernels so.)
"""

from typing import Any

import keras
from keras import ops

from tfseg.ops.crf.lattice import Lattice, filtered, lattice, transposed
from tfseg.ops.crf.mean_field import Normalization, bilateral_features, scales

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf


class DifferentiableBilateralKernel:
    """`tfseg.ops.crf.mean_field.BilateralKernel`, which costs more in training: there is a gradient to the image too.

    Args:
        image: `[height, width, channels]`, floating, 0 to 255.
        theta_alpha: standard deviation in pixels.
        theta_beta: standard deviation in intensities.
        normalization: see `tfseg.ops.crf.mean_field`.
    """

    def __init__(self, image: Any, theta_alpha: float, theta_beta: float, normalization: Normalization) -> None:
        self.lattice = lattice(tf.stop_gradient(bilateral_features(image, theta_alpha, theta_beta)))
        self.colors = ops.reshape(image, (-1, image.shape[-1])) / theta_beta
        sums = filtered_by_color(self.lattice, tf.ones_like(self.colors[:, :1]), self.colors)
        self.before, self.after = scales(sums, normalization)

    def __call__(self, q: Any) -> Any:
        """`[pixels, labels]` to the same shape."""
        q = q if self.before is None else q * self.before
        return filtered_by_color(self.lattice, q, self.colors) * self.after


def filtered_by_color(lattice: Lattice, values: Any, colors: Any) -> Any:
    """`tfseg.ops.crf.lattice.filtered`, with a gradient to `values` and to `colors`.

    Args:
        lattice: of the points.
        values: `[points, columns]`.
        colors: `[points, channels]`: those of the features that the lattice was built from to differentiate by.

    Returns:
        `[points, columns]`.
    """

    @tf.custom_gradient
    def forth(values: Any, colors: Any) -> tuple[Any, Any]:
        def back(upstream: Any) -> tuple[Any, Any]:
            forwards, backwards = filtered(lattice, values), transposed(lattice, upstream)
            pulls = []
            for color in tf.split(colors, colors.shape[1], axis=1):
                of_values = filtered(lattice, values * color) - color * forwards
                of_upstream = transposed(lattice, upstream * color) - color * backwards
                pulls.append(tf.reduce_sum(upstream * of_values + values * of_upstream, 1, keepdims=True))
            return backwards, tf.concat(pulls, 1)

        return filtered(lattice, values), back

    return forth(values, colors)
