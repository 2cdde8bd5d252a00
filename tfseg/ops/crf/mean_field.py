"""Mean-field inference in a fully connected CRF: kernels, their normalization, and one iteration.

Energy of a labeling (Kraehenbuehl and Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge
Potentials", NIPS 2011):

    E(x) = sum_i U_i(x_i) + sum_{i<j} mu(x_i, x_j) (w_b k_b(f_i, f_j) + w_s k_s(f_i, f_j))
    k_b  = exp(-|p_i - p_j|^2 / 2 theta_alpha^2 - |I_i - I_j|^2 / 2 theta_beta^2)        bilateral
    k_s  = exp(-|p_i - p_j|^2 / 2 theta_gamma^2)                                         spatial

with `p` in pixels and `I` in 0 to 255. One iteration is `Q <- softmax(-U - mu (w_b K_b Q + w_s K_s Q))`. A pixel takes
part in its own sum, as in every implementation in use.

The sums grow with theta and differ from pixel to pixel, so that implementations normalize them, each in its own way.
With `n = K 1`, the sums of ones, the *normalization* is one of

    none        K                           the raw sums
    before      K diag(1/n)
    after       diag(1/n) K                 DeepLab's, CRF-RNN
    symmetric   diag(n^-1/2) K diag(n^-1/2)  pydensecrf's default

Weights are worth what they were found for under one of these and under no other.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import keras
from keras import ops

from tfseg.ops.crf.gaussian import columns_abreast, gaussian_blur
from tfseg.ops.crf.lattice import Lattice, filtered, lattice, scaled

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

Normalization = Literal["none", "before", "after", "symmetric"]
NORMALIZATIONS: tuple[Normalization, ...] = ("none", "before", "after", "symmetric")
TINY = 1e-20
"""Added to sums before division, as the published implementations do."""
FEW_COLUMNS = 8
"""Scales are laid out for so many columns of Q: twice as fast as broadcasting them, and not much memory yet. Columns of
the image are convolved several at once."""
MODERATE = 80
"""Sums of exponentials of logits below do not overflow in float32."""
AT_A_TIME = 2
"""Images of a batch that are refined at the same time: memory grows with it, and one alone leaves processors idle."""


class Kernel(Protocol):
    """A normalized kernel of one image. It is linear, and its gradient keeps nothing of the way there."""

    def __call__(self, q: Any) -> Any:
        """`[pixels, labels]` to the same shape."""


class SpatialKernel:
    """Of the places of pixels alone: exact.

    Args:
        height, width: of the image: integers, or scalar integer tensors.
        theta_gamma: standard deviation in pixels.
        normalization: see above.
        weight: what the result is multiplied by.
        dtype: floating.
        columns: how many Q has, if it is known.
    """

    def __init__(
        self,
        height: Any,
        width: Any,
        theta_gamma: float,
        normalization: Normalization,
        weight: float,
        dtype: str,
        columns: int | None = None,
    ) -> None:
        self.size, self.theta = (height, width), theta_gamma
        ones = [ops.ones((1, *size, 1), dtype) for size in ((height, 1), (1, width))]
        sums = gaussian_blur(ones[0], theta_gamma) * gaussian_blur(ones[1], theta_gamma)
        self.abreast: tuple[Any, Any] | None = None
        if columns and columns <= FEW_COLUMNS:
            sums = ops.repeat(sums, columns, axis=-1)
            self.abreast = columns_abreast(width, columns), columns_abreast(height, columns)
        self.before, self.after = scales(sums, normalization, weight)

    def __call__(self, q: Any) -> Any:
        image = ops.reshape(q, (1, *self.size, q.shape[-1]))
        image = image if self.before is None else image * self.before
        sums = gaussian_blur(image, self.theta, self.abreast) * self.after
        return ops.reshape(sums, (-1, q.shape[-1]))


class BilateralKernel:
    """Of places and colors: approximately, by the permutohedral lattice. Needs TensorFlow.

    Args:
        image: `[height, width, channels]`, floating, 0 to 255.
        theta_alpha: standard deviation in pixels.
        theta_beta: standard deviation in intensities.
        normalization: see above.
        weight: what the result is multiplied by.
    """

    def __init__(
        self, image: Any, theta_alpha: float, theta_beta: float, normalization: Normalization, weight: float
    ) -> None:
        plain = lattice(bilateral_features(image, theta_alpha, theta_beta))
        sums = filtered(plain, ops.ones((ops.shape(image)[0] * ops.shape(image)[1], 1), image.dtype))
        self.lattice: Lattice = scaled(plain, *scales(sums, normalization, weight))

    def __call__(self, q: Any) -> Any:
        return filtered(self.lattice, q)


def colors(image: Any) -> Any:
    """`[..., channels]` to what the bilateral kernel compares: gray, of one channel, counts as three equal channels."""
    return image * 3**0.5 if image.shape[-1] == 1 else image


def bilateral_features(image: Any, theta_alpha: float, theta_beta: float) -> Any:
    """Column, row and color of each pixel in standard deviations: `[height, width, c]` to `[pixels, 2 + c]`."""
    height, width, channels = ops.shape(image)
    rows, columns = ops.meshgrid(ops.arange(height), ops.arange(width), indexing="ij")
    places = ops.cast(ops.reshape(ops.stack([columns, rows]), (2, -1)), image.dtype) / theta_alpha
    # One after the other and transposed, which is faster than side by side.
    intensities = ops.transpose(ops.reshape(image, (-1, channels))) / theta_beta
    return ops.transpose(ops.concatenate([places, intensities]))


def scales(sums: Any, normalization: Normalization, weight: float = 1.0) -> tuple[Any, Any]:
    """What to multiply by before and after the raw kernel, from its sums of ones; None is for one."""
    sums = sums + TINY
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
    logits: Any,
    unary: Any,
    kernels: Sequence[Kernel],
    weights: Sequence[Any] = (),
    compatibility: Any = None,
    softmax: Callable[[Any], Any] | None = None,
) -> Any:
    """One iteration of mean field.

    Of the way there, only `logits` is kept for the gradient; all else is computed again.

    Args:
        logits: `[pixels, labels]`; `softmax(logits)` is the Q of the last iteration. Or what else goes with `softmax`.
        unary: `[pixels, labels]`: log probabilities, or scores; minus the U of the energy.
        kernels: of the image.
        weights: for each kernel a scalar, one for each label, or a matrix `[labels, labels]` by which its sums are
            multiplied. None given: one.
        compatibility: the matrix mu `[labels, labels]`. None: minus the identity, which is Potts's but for a constant.
        softmax: from logits to Q. None: `tf.nn.softmax`.

    Returns:
        The next logits.
    """
    weights = [tf.convert_to_tensor(weight, logits.dtype) for weight in weights]
    matrix = [] if compatibility is None else [tf.convert_to_tensor(compatibility, logits.dtype)]

    def compute(logits: Any, unary: Any, *parameters: Any) -> Any:
        q = (softmax or tf.nn.softmax)(logits)
        sums = [kernel(q) for kernel in kernels]
        if weights:
            sums = [_weighted(one, weight) for one, weight in zip(sums, parameters, strict=False)]
        if matrix:
            return unary - tf.matmul(tf.add_n(sums), parameters[-1], transpose_b=True)
        return tf.add_n([unary, *sums])

    return _recomputed(compute, logits, unary, *weights, *matrix)


def softmax_of_moderate(logits: Any) -> Any:
    """`tf.nn.softmax` of `[pixels, labels]`, in half the time for few labels, if every row has a logit above -80.

    TensorFlow's looks for the highest logit of each row, so that no exponential overflows. Where all are below 80, none
    does.
    """

    def moderate() -> Any:
        powers = tf.exp(logits)
        return powers / tf.matmul(powers, tf.ones([logits.shape[1]] * 2, logits.dtype))

    return tf.cond(tf.reduce_max(logits) < MODERATE, moderate, lambda: tf.nn.softmax(logits))


def lead_over_first(logits: Any) -> Any:
    """How far the probability of each other label is above that of the first: `q_l - q_0`, from `logits_l - logits_0`.

    A kernel is linear: with one weight for all labels and Potts's compatibility, what it makes of these is how far the
    next logits are apart. So one column less does, and for two labels a third of the lattice's time.

    Args:
        logits: `[pixels, labels - 1]`.
    """
    columns = logits.shape[1]
    if columns == 1:
        return tf.tanh(logits / 2)

    def moderate() -> Any:
        above = tf.exp(logits) + -1.0  # TensorFlow would turn `- 1` into `expm1`, which takes three times as long
        return above / (columns + 1 + tf.matmul(above, tf.ones([columns] * 2, logits.dtype)))

    def any_size() -> Any:
        q = with_first(logits)
        return q[:, 1:] - q[:, :1]

    return tf.cond(tf.reduce_max(logits) < MODERATE, moderate, any_size)


def with_first(logits: Any) -> Any:
    """The probabilities `[pixels, labels]` from `logits_l - logits_0`, `[pixels, labels - 1]`."""
    return tf.nn.softmax(tf.pad(logits, [(0, 0), (1, 0)]))


def _weighted(sums: Any, weight: Any) -> Any:
    return tf.matmul(sums, weight, transpose_b=True) if len(weight.shape) == 2 else sums * weight


def _recomputed(compute: Any, *inputs: Any) -> Any:
    """`compute(*inputs)`, whose gradient computes it again rather than keep what lies between."""

    @tf.custom_gradient
    def forth(*inputs: Any) -> tuple[Any, Any]:
        def back(upstream: Any) -> Any:
            with tf.control_dependencies([upstream]), tf.GradientTape() as tape:  # not before it is needed
                again = [tf.identity(one) for one in inputs]
                tape.watch(again)
                result = compute(*again)
            return tape.gradient(result, again, upstream, unconnected_gradients=tf.UnconnectedGradients.ZERO)

        return compute(*inputs), back

    return forth(*inputs)
