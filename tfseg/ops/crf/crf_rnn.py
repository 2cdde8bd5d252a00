"""Mean-field iterations of CRF-RNN, from logits to logits, with learned weights and compatibility.

An iteration is `q <- z - mu (W_b K_b softmax(q) + W_s K_s softmax(q))`, starting from `q = z`. `z` are the input
logits, and `K` the normalized kernels of `tfseg.ops.crf.mean_field`. The output `q` are logits, not probabilities.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import keras
from keras import ops

from tfseg.ops.crf.gaussian import gaussian_blur
from tfseg.ops.crf.lattice_gradient import DifferentiableBilateralKernel
from tfseg.ops.crf.mean_field import (
    PARALLEL_IMAGES,
    BilateralKernel,
    Kernel,
    Normalization,
    SpatialKernel,
    colors,
    step,
)
from tfseg.ops.crf.window import WindowKernel
from tfseg.ops.runtime import assert_condition
from tfseg.typing import Tensor

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

KernelForm = Literal["permutohedral", "convolutional"]


class Kernels(NamedTuple):
    """Configuration of the two kernels, without their weights."""

    form: KernelForm
    """Form of the bilateral kernel: over the whole image on the lattice, or exact over a window."""
    theta_alpha: float
    """Standard deviation of the bilateral kernel in pixels."""
    theta_beta: float
    """Standard deviation of the bilateral kernel in intensities."""
    theta_gamma: float
    """Standard deviation of the spatial kernel in pixels."""
    normalization: Normalization
    """Normalization of both kernels."""
    window: int
    """Height and width of the window."""
    image_gradient: bool
    """Boolean, whether to compute the gradient with respect to the image."""


def refined(
    logits: Tensor,
    image: Tensor,
    weights: Sequence[Tensor],
    compatibility: Tensor | None,
    kernels: Kernels,
    iterations: int,
) -> Tensor:
    """Refines logits by mean-field iterations.

    Args:
        logits: float32 or float64 tensor `[batch, height, width, classes]`.
        image: Tensor `[batch, height, width, 3]`, or of one channel, of the same type; intensities from 0 to 255.
        weights: Weights of the bilateral and of the spatial kernel: scalars, `[classes]` or `[classes, classes]`.
        compatibility: Matrix mu `[classes, classes]`, or `None` for minus the identity.
        kernels: Configuration of the kernels.
        iterations: Number of mean-field iterations.

    Returns:
        Tensor of the shape of `logits`.
    """
    infer = _by_lattice if kernels.form == "permutohedral" else _by_window
    return infer(logits, colors(image), weights, compatibility, kernels, iterations)


def checked_image(image: Tensor, dtype: str) -> Tensor:
    """Casts the image to floating point and raises unless it has intensities from 0 to 255.

    Where errors cannot be raised, an invalid image becomes NaN. Fractions with a maximum of at most 1 are rejected,
    because the image was probably divided by 255 and all its colors would be nearly equal. An image of only 0 and 1 is
    accepted as a dark one.
    """
    image = ops.cast(image, dtype)
    lowest, highest, fraction = ops.min(image), ops.max(image), ops.max(image - ops.floor(image))
    within = ops.logical_and(ops.logical_and(lowest >= 0, highest <= 255), ops.isfinite(ops.sum(image)))
    scaled = ops.logical_and(highest <= 1, fraction > 0)
    assert_condition(
        within,
        "The image must have intensities from 0 to 255, without NaN (minimum and maximum shown).",
        [lowest, highest],
    )
    assert_condition(
        ops.logical_not(scaled),
        "The image must have intensities from 0 to 255, but has fractions from 0 to 1 (maximum shown). Multiply it by "
        "255.",
        highest,
    )
    return image + ops.cast(ops.where(ops.logical_and(within, ops.logical_not(scaled)), 0.0, float("nan")), dtype)


def of_one_size(logits: Tensor, image: Tensor) -> Tensor:
    """Returns the image. Raises at run time if sizes unknown until then differ between logits and image."""
    known = zip(logits.shape[:3], image.shape[:3], strict=True)
    if all(isinstance(side, int) for pair in known for side in pair):
        return image
    one, other = (ops.stack(list(ops.shape(x)[:3])) for x in (logits, image))
    text = "The image must have the batch, height and width of the logits."
    checked = assert_condition(ops.all(ops.equal(one, other)), text, ops.stack([one, other]))
    if checked is None:
        return image
    with tf.control_dependencies([checked]):  # before other operations fail because of the sizes
        return tf.identity(image)


def _by_window(
    logits: Tensor,
    image: Tensor,
    weights: Sequence[Tensor],
    compatibility: Tensor | None,
    kernels: Kernels,
    iterations: int,
) -> Tensor:
    """Refines the whole batch at once, in backend-agnostic Keras operations."""
    bilateral = WindowKernel(image, *kernels[1:3], kernels.normalization, kernels.window, kernels.image_gradient)
    return _repeated(logits, (bilateral, _spatial(logits, kernels)), weights, compatibility, iterations)


def _by_lattice(
    logits: Tensor,
    image: Tensor,
    weights: Sequence[Tensor],
    compatibility: Tensor | None,
    kernels: Kernels,
    iterations: int,
) -> Tensor:
    """Refines the images one by one, each with its own lattice. Requires TensorFlow."""
    parameters = [*weights, *([] if compatibility is None else [compatibility])]
    specs = tuple(tf.TensorSpec([None, None, None, x.shape[3]], x.dtype) for x in (logits, image))
    infer = _graph(kernels, iterations, logits.shape[0] == 1, specs, tuple(map(tf.TensorSpec.from_tensor, parameters)))
    return tf.ensure_shape(infer(logits, image, *parameters), logits.shape)


@functools.lru_cache(maxsize=64)
def _graph(kernels: Kernels, iterations: int, single: bool, specs: tuple[Any, ...], parameters: tuple[Any, ...]) -> Any:
    """Returns the refinement of a batch as a graph for any size, traced once.

    An eager call uses it for speed, and for equal results: eager divisions round differently, so that points on the
    border of two simplices of the lattice would change their simplex.
    """
    infer = _with_image_gradient if kernels.image_gradient else _without_image_gradient

    def refine(
        logits: Tensor, image: Tensor, bilateral: Tensor, spatial: Tensor, compatibility: Tensor | None = None
    ) -> Tensor:
        def refine_one(inputs: tuple[Tensor, Tensor]) -> Tensor:
            unary, image = inputs
            flat = tf.reshape(unary, [-1, unary.shape[-1]])
            result = infer(flat, image, (bilateral, spatial), compatibility, kernels, iterations)
            return tf.reshape(result, tf.shape(unary))

        if single:
            return refine_one((logits[0], image[0]))[None]
        spec = tf.TensorSpec(logits.shape[1:], logits.dtype)
        return tf.map_fn(refine_one, (logits, image), fn_output_signature=spec, parallel_iterations=PARALLEL_IMAGES)

    return tf.function(refine, input_signature=(*specs, *parameters), autograph=False)


def _without_image_gradient(
    unary: Tensor,
    image: Tensor,
    weights: Sequence[Tensor],
    compatibility: Tensor | None,
    kernels: Kernels,
    iterations: int,
) -> Tensor:
    """Refines `[pixels, classes]` of one image. The gradient stores only the logits of each iteration."""
    _, alpha, beta, gamma, mode, *_ = kernels
    # Kernels are built in the graph of the loop: TensorFlow has no gradient through two levels of graphs.
    height, width, _ = tf.unstack(tf.shape(image))
    pair: list[Kernel] = [
        BilateralKernel(image, alpha, beta, mode, 1.0),
        SpatialKernel(height, width, gamma, mode, 1.0, unary.dtype.name),
    ]
    (logits,) = tf.while_loop(
        lambda _: True,
        lambda logits: [step(logits, unary, pair, weights, compatibility)],
        [unary],
        maximum_iterations=iterations,
    )
    return logits


def _with_image_gradient(
    unary: Tensor,
    image: Tensor,
    weights: Sequence[Tensor],
    compatibility: Tensor | None,
    kernels: Kernels,
    iterations: int,
) -> Tensor:
    """Refines `[pixels, classes]`, differentiable in the image. The gradient stores all intermediate values."""
    _, alpha, beta, _, mode, *_ = kernels
    bilateral = DifferentiableBilateralKernel(image, alpha, beta, mode)
    of_image = _spatial(image[None], kernels)

    def spatial(q: Tensor) -> Tensor:
        sums = of_image(tf.reshape(q, tf.concat([[1], tf.shape(image)[:2], [q.shape[1]]], 0)))
        return tf.reshape(sums, tf.shape(q))

    return _repeated(unary, (bilateral, spatial), weights, compatibility, iterations)


def _repeated(
    unary: Tensor,
    kernels: Sequence[Callable[[Tensor], Tensor]],
    weights: Sequence[Tensor],
    compatibility: Tensor | None,
    iterations: int,
) -> Tensor:
    """Computes unrolled mean-field iterations, because not every backend can differentiate a loop.

    `tfseg.ops.crf.mean_field.step` is the same iteration in TensorFlow, with a gradient that recomputes it.
    """
    logits = unary
    for _ in range(iterations):
        q = ops.softmax(logits)
        bilateral, spatial = (_weighted(kernel(q), weight) for kernel, weight in zip(kernels, weights, strict=True))
        message = bilateral + spatial
        logits = unary + (message if compatibility is None else -_transformed(message, compatibility))
    return logits


def _weighted(sums: Tensor, weight: Tensor) -> Tensor:
    return _transformed(sums, weight) if len(weight.shape) == 2 else sums * weight


def _transformed(x: Tensor, matrix: Tensor) -> Tensor:
    return ops.matmul(x, ops.transpose(matrix))


def _spatial(like: Tensor, kernels: Kernels) -> Callable[[Tensor], Tensor]:
    """Returns the spatial kernel for `[batch, height, width, classes]` of the size of `like`."""
    _, height, width, _ = ops.shape(like)
    dtype = keras.backend.standardize_dtype(like.dtype)
    normal = SpatialKernel(height, width, kernels.theta_gamma, kernels.normalization, 1.0, dtype)

    def spatial(q: Tensor) -> Tensor:
        return gaussian_blur(q if normal.before is None else q * normal.before, normal.theta) * normal.after

    return spatial
