"""Bilateral kernel on the permutohedral lattice that is also differentiable in the colors of the image.

For `y_i = sum_j exp(-|f_i - f_j|^2 / 2) v_j` and `g = dL/dy`, the gradient of `L` with respect to `f_i` is

    sum_j (f_j - f_i) exp(-|f_i - f_j|^2 / 2) (g_i . v_j + v_i . g_j)

These are Gaussian filters of `v`, of `g`, and of both multiplied by each feature. The lattice approximates the gradient
as accurately as the sums. Kernels are differentiated in this way by Kraehenbuehl, Koltun, "Parameter Learning and
Convergent Inference for Dense Random Fields", ICML 2013.
"""

import keras
from keras import ops

from tfseg.ops.crf.lattice import Lattice, filtered, lattice, transposed
from tfseg.ops.crf.mean_field import Normalization, bilateral_features, scales
from tfseg.typing import Tensor

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf


class DifferentiableBilateralKernel:
    """Bilateral kernel of an image, differentiable in the image. Training is slower than with `BilateralKernel`.

    Args:
        image: Floating-point tensor `[height, width, channels]`, intensities from 0 to 255.
        theta_alpha: Standard deviation in pixels.
        theta_beta: Standard deviation in intensities.
        normalization: Normalization of the kernel. See `tfseg.ops.crf.mean_field`.
    """

    def __init__(self, image: Tensor, theta_alpha: float, theta_beta: float, normalization: Normalization) -> None:
        self.lattice = lattice(tf.stop_gradient(bilateral_features(image, theta_alpha, theta_beta)))
        self.colors = ops.reshape(image, (-1, image.shape[-1])) / theta_beta
        sums = filtered_by_color(self.lattice, tf.ones_like(self.colors[:, :1]), self.colors)
        self.before, self.after = scales(sums, normalization)

    def __call__(self, q: Tensor) -> Tensor:
        """Applies the normalized kernel to `q`, `[pixels, labels]`."""
        q = q if self.before is None else q * self.before
        return filtered_by_color(self.lattice, q, self.colors) * self.after


def filtered_by_color(lattice: Lattice, values: Tensor, colors: Tensor) -> Tensor:
    """Applies `tfseg.ops.crf.lattice.filtered`, differentiable in `values` and `colors`.

    Args:
        lattice: Lattice of the points.
        values: Tensor `[points, columns]`.
        colors: Tensor `[points, channels]`, the part of the lattice's features that gets a gradient.

    Returns:
        Tensor `[points, columns]`.
    """

    @tf.custom_gradient
    def forward(values: Tensor, colors: Tensor) -> tuple[Tensor, Tensor]:
        def backward(upstream: Tensor) -> tuple[Tensor, Tensor]:
            forwards, backwards = filtered(lattice, values), transposed(lattice, upstream)
            gradients = []
            for color in tf.split(colors, colors.shape[1], axis=1):
                of_values = filtered(lattice, values * color) - color * forwards
                of_upstream = transposed(lattice, upstream * color) - color * backwards
                gradients.append(tf.reduce_sum(upstream * of_values + values * of_upstream, 1, keepdims=True))
            return backwards, tf.concat(gradients, 1)

        return filtered(lattice, values), backward

    return forward(values, colors)
