"""Mean-field inference in a fully connected CRF: kernels, their normalization, and the iteration.

The energy of a labeling is

    E(x) = sum_i U_i(x_i) + sum_{i<j} mu(x_i, x_j) (w_b k_b(f_i, f_j) + w_s k_s(f_i, f_j))
    k_b  = exp(-|p_i - p_j|^2 / 2 theta_alpha^2 - |I_i - I_j|^2 / 2 theta_beta^2)        bilateral
    k_s  = exp(-|p_i - p_j|^2 / 2 theta_gamma^2)                                         spatial

with positions `p` in pixels and colors `I` from 0 to 255. A mean-field iteration is
`Q <- softmax(-U - mu (w_b K_b Q + w_s K_s Q))`. The sum of a pixel includes the pixel itself, as in all common
implementations.

The sums grow with theta and differ between pixels. Implementations therefore normalize them, in different ways. With
the sums of ones `n = K 1`, the *normalization* is one of

    none        K                            unnormalized
    before      K diag(1/n)
    after       diag(1/n) K                  DeepLab, CRF-RNN
    symmetric   diag(n^-1/2) K diag(n^-1/2)  default of pydensecrf

Kernel weights are valid only for the normalization with which they were determined.

Reference:
    Kraehenbuehl, Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials", NIPS 2011.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import keras
from keras import ops

from tfseg.ops.crf.gaussian import fold_factor, gaussian_blur
from tfseg.ops.crf.lattice import Lattice, filtered, lattice, scaled
from tfseg.typing import Tensor

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

Normalization = Literal["none", "before", "after", "symmetric"]
NORMALIZATIONS: tuple[Normalization, ...] = ("none", "before", "after", "symmetric")
EPSILON = 1e-20
"""Added to sums before division, as in the published implementations."""
FEW_COLUMNS = 8
"""Maximum number of columns of Q for which scales are repeated per column, which is twice as fast as broadcasting, and
columns of the image are folded into channels."""
MAX_LOGIT = 80
"""Upper bound of logits whose exponentials can be summed in float32 without overflow."""
PARALLEL_IMAGES = 2
"""Number of images of a batch refined in parallel. Memory grows with it; a single image does not use all processors."""


class Kernel(Protocol):
    """Normalized kernel of one image: a linear map whose gradient stores no intermediate values."""

    def __call__(self, q: Tensor) -> Tensor:
        """Applies the kernel to `q`, `[pixels, labels]`."""


class SpatialKernel:
    """Spatial kernel of an image, over pixel positions, computed exactly.

    Args:
        height, width: Size of the image: integers or scalar integer tensors.
        theta_gamma: Standard deviation in pixels.
        normalization: Normalization of the kernel. See `tfseg.ops.crf.mean_field`.
        weight: Factor of the result.
        dtype: Floating-point type.
        columns: Number of columns of Q, if known.
    """

    def __init__(
        self,
        height: int | Tensor,
        width: int | Tensor,
        theta_gamma: float,
        normalization: Normalization,
        weight: float,
        dtype: str,
        columns: int | None = None,
    ) -> None:
        self.size, self.theta = (height, width), theta_gamma
        ones = [ops.ones((1, *size, 1), dtype) for size in ((height, 1), (1, width))]
        sums = gaussian_blur(ones[0], theta_gamma) * gaussian_blur(ones[1], theta_gamma)
        self.fold: tuple[Any, Any] | None = None
        if columns and columns <= FEW_COLUMNS:
            sums = ops.repeat(sums, columns, axis=-1)
            self.fold = fold_factor(width, columns), fold_factor(height, columns)
        self.before, self.after = scales(sums, normalization, weight)

    def __call__(self, q: Tensor) -> Tensor:
        image = ops.reshape(q, (1, *self.size, q.shape[-1]))
        image = image if self.before is None else image * self.before
        sums = gaussian_blur(image, self.theta, self.fold) * self.after
        return ops.reshape(sums, (-1, q.shape[-1]))


class BilateralKernel:
    """Bilateral kernel of an image, over positions and colors, on the permutohedral lattice. Requires TensorFlow.

    Args:
        image: Floating-point tensor `[height, width, channels]`, intensities from 0 to 255.
        theta_alpha: Standard deviation in pixels.
        theta_beta: Standard deviation in intensities.
        normalization: Normalization of the kernel. See `tfseg.ops.crf.mean_field`.
        weight: Factor of the result.
    """

    def __init__(
        self, image: Tensor, theta_alpha: float, theta_beta: float, normalization: Normalization, weight: float
    ) -> None:
        plain = lattice(bilateral_features(image, theta_alpha, theta_beta))
        sums = filtered(plain, ops.ones((ops.shape(image)[0] * ops.shape(image)[1], 1), image.dtype))
        self.lattice: Lattice = scaled(plain, *scales(sums, normalization, weight))

    def __call__(self, q: Tensor) -> Tensor:
        return filtered(self.lattice, q)


def colors(image: Tensor) -> Tensor:
    """Returns the colors that the bilateral kernel compares. A grayscale image counts as three equal channels."""
    return image * 3**0.5 if image.shape[-1] == 1 else image


def bilateral_features(image: Tensor, theta_alpha: float, theta_beta: float) -> Tensor:
    """Returns column, row and color of each pixel in standard deviations, `[pixels, 2 + channels]`."""
    height, width, channels = ops.shape(image)
    rows, columns = ops.meshgrid(ops.arange(height), ops.arange(width), indexing="ij")
    positions = ops.cast(ops.reshape(ops.stack([columns, rows]), (2, -1)), image.dtype) / theta_alpha
    # Concatenating rows and transposing is faster than concatenating columns.
    intensities = ops.transpose(ops.reshape(image, (-1, channels))) / theta_beta
    return ops.transpose(ops.concatenate([positions, intensities]))


def scales(sums: Tensor, normalization: Normalization, weight: float = 1.0) -> tuple[Tensor | None, Tensor]:
    """Returns the factors before and after the unnormalized kernel, from its sums of ones. `None` stands for one."""
    sums = sums + EPSILON
    if normalization == "none":
        return None, weight * ops.ones_like(sums)
    if normalization == "symmetric":
        if weight < 0:
            return ops.rsqrt(sums), weight * ops.rsqrt(sums)
        root = weight**0.5 * ops.rsqrt(sums)
        return root, root
    inverse = 1 / sums
    return (inverse, weight * ops.ones_like(sums)) if normalization == "before" else (None, weight * inverse)


def step(
    logits: Tensor,
    unary: Tensor,
    kernels: Sequence[Kernel],
    weights: Sequence[float | Tensor] = (),
    compatibility: Tensor | None = None,
    softmax: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Computes one mean-field iteration.

    Only `logits` is stored for the gradient; intermediate values are recomputed.

    Args:
        logits: Tensor `[pixels, labels]`; `softmax(logits)` is the Q of the previous iteration.
        unary: Tensor `[pixels, labels]`, log probabilities or scores: the negative unary potential.
        kernels: Kernels of the image.
        weights: Weight of each kernel: a scalar, a vector `[labels]`, or a matrix `[labels, labels]` that multiplies
            the sums of the kernel. If empty, all weights are 1.
        compatibility: Matrix mu `[labels, labels]` of the compatibility transform. If `None`, minus the identity, which
            is equal to the Potts model up to a constant.
        softmax: Function from logits to Q. If `None`, `tf.nn.softmax`.

    Returns:
        Logits of the next iteration, of the same shape.
    """
    weights = [tf.convert_to_tensor(weight, logits.dtype) for weight in weights]
    matrix = [] if compatibility is None else [tf.convert_to_tensor(compatibility, logits.dtype)]

    def compute(logits: Tensor, unary: Tensor, *parameters: Tensor) -> Tensor:
        q = (softmax or tf.nn.softmax)(logits)
        sums = [kernel(q) for kernel in kernels]
        if weights:
            sums = [_weighted(one, weight) for one, weight in zip(sums, parameters, strict=False)]
        if matrix:
            return unary - tf.matmul(tf.add_n(sums), parameters[-1], transpose_b=True)
        return tf.add_n([unary, *sums])

    return _rematerialized(compute, logits, unary, *weights, *matrix)


def fast_softmax(logits: Tensor) -> Tensor:
    """Computes the softmax of `[pixels, labels]`, in half the time of `tf.nn.softmax` for few labels.

    `tf.nn.softmax` subtracts the maximum of each row to prevent overflow, which is not needed if all logits are below
    80. Each row must have a logit above -80.
    """

    def without_maximum() -> Tensor:
        powers = tf.exp(logits)
        return powers / tf.matmul(powers, tf.ones([logits.shape[1]] * 2, logits.dtype))

    return tf.cond(tf.reduce_max(logits) < MAX_LOGIT, without_maximum, lambda: tf.nn.softmax(logits))


def relative_softmax(logits: Tensor) -> Tensor:
    """Computes the probabilities relative to the first label, `q_l - q_0`, from relative logits `logits_l - logits_0`.

    Kernels are linear. With one weight for all labels and Potts compatibility, they map these differences to the
    differences of the next logits. This saves a column. For two labels, the single column left takes two thirds of the
    time of eight columns.

    Args:
        logits: Tensor `[pixels, labels - 1]`.

    Returns:
        Tensor of the same shape.
    """
    columns = logits.shape[1]
    if columns == 1:
        return tf.tanh(logits / 2)

    def without_maximum() -> Tensor:
        powers = tf.exp(logits) + -1.0  # TensorFlow would turn `- 1` into `expm1`, which takes three times as long
        return powers / (columns + 1 + tf.matmul(powers, tf.ones([columns] * 2, logits.dtype)))

    def with_maximum() -> Tensor:
        q = softmax_from_relative(logits)
        return q[:, 1:] - q[:, :1]

    return tf.cond(tf.reduce_max(logits) < MAX_LOGIT, without_maximum, with_maximum)


def softmax_from_relative(logits: Tensor) -> Tensor:
    """Computes the probabilities `[pixels, labels]` from relative logits `logits_l - logits_0`."""
    return tf.nn.softmax(tf.pad(logits, [(0, 0), (1, 0)]))


def _weighted(sums: Tensor, weight: Tensor) -> Tensor:
    return tf.matmul(sums, weight, transpose_b=True) if len(weight.shape) == 2 else sums * weight


def _rematerialized(compute: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """Computes `compute(*inputs)` and recomputes it for the gradient, instead of storing intermediate values."""

    @tf.custom_gradient
    def forward(*inputs: Tensor) -> tuple[Tensor, Any]:
        def backward(upstream: Tensor) -> Any:
            with tf.control_dependencies([upstream]), tf.GradientTape() as tape:  # not before the backward pass
                copies = [tf.identity(each) for each in inputs]
                tape.watch(copies)
                result = compute(*copies)
            return tape.gradient(result, copies, upstream, unconnected_gradients=tf.UnconnectedGradients.ZERO)

        return compute(*inputs), backward

    return forward(*inputs)
