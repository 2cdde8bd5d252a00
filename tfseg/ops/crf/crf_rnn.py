"""Mean field from logits to logits, with weights and a compatibility that are learned: the recurrence of CRF-RNN.

One iteration is `q <- U - mu (W_b K_b softmax(q) + W_s K_s softmax(q))` from `q = U`, where `U` are the logits that
come in and `K` the normalized kernels of `tfseg.ops.crf.mean_field`. The result is `q`: logits, not probabilities.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import keras
from keras import ops

from tfseg.ops.crf.gaussian import gaussian_blur
from tfseg.ops.crf.lattice_gradient import DifferentiableBilateralKernel
from tfseg.ops.crf.mean_field import AT_A_TIME, BilateralKernel, Kernel, Normalization, SpatialKernel, colors, step
from tfseg.ops.crf.window import WindowKernel
from tfseg.ops.runtime import assert_condition

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

KernelForm = Literal["permutohedral", "convolutional"]


class Kernels(NamedTuple):
    """What the two kernels are, but for their weights."""

    form: KernelForm
    """Of the bilateral one: over the whole image by a lattice, or over a window, exactly."""
    theta_alpha: float
    theta_beta: float
    theta_gamma: float
    normalization: Normalization
    window: int
    """Height and width of the window."""
    image_gradient: bool
    """Whether there is a gradient to the image."""


def refined(
    logits: Any, image: Any, weights: Sequence[Any], compatibility: Any, kernels: Kernels, iterations: int
) -> Any:
    """Refines logits.

    Args:
        logits: `[batch, height, width, classes]`, float32 or float64.
        image: `[batch, height, width, 3]`, or of one channel, of that type; 0 to 255.
        weights: of the bilateral and of the spatial kernel: scalars, `[classes]` or `[classes, classes]`.
        compatibility: mu `[classes, classes]`; None for minus the identity.
        kernels: see there.
        iterations: how many.
    """
    infer = _by_lattice if kernels.form == "permutohedral" else _by_window
    return infer(logits, colors(image), weights, compatibility, kernels, iterations)


def checked_image(image: Any, dtype: str) -> Any:
    """The image in floating point, if it holds intensities of 0 to 255. Where nothing can be raised, NaN if not.

    Fractions of which none is above one are refused, as an image that was divided by 255: all of it would look of one
    color. A picture of 0 and 1 alone is a dark one.
    """
    image = ops.cast(image, dtype)
    lowest, highest, parts = ops.min(image), ops.max(image), ops.max(image - ops.floor(image))
    within = ops.logical_and(ops.logical_and(lowest >= 0, highest <= 255), ops.isfinite(ops.sum(image)))
    scaled = ops.logical_and(highest <= 1, parts > 0)
    assert_condition(
        within,
        "The image must hold intensities of 0 to 255, without NaN. Lowest and highest follow.",
        [lowest, highest],
    )
    assert_condition(
        ops.logical_not(scaled),
        "The image must hold intensities of 0 to 255, and it is within 0 to 1, as if it had been divided by 255. "
        "Multiply it. The highest value follows.",
        highest,
    )
    return image + ops.cast(ops.where(ops.logical_and(within, ops.logical_not(scaled)), 0.0, float("nan")), dtype)


def of_one_size(logits: Any, image: Any) -> Any:
    """The image, if it has the size of the logits where that is known only when the graph runs."""
    known = zip(logits.shape[:3], image.shape[:3], strict=True)
    if all(isinstance(side, int) for pair in known for side in pair):
        return image
    one, other = (ops.stack(list(ops.shape(x)[:3])) for x in (logits, image))
    text = "The image must have the batch, height and width of the logits."
    checked = assert_condition(ops.all(ops.equal(one, other)), text, ops.stack([one, other]))
    if checked is None:
        return image
    with tf.control_dependencies([checked]):  # or some operation would stumble over the sizes before
        return tf.identity(image)


def _by_window(
    logits: Any, image: Any, weights: Sequence[Any], compatibility: Any, kernels: Kernels, iterations: int
) -> Any:
    """The whole batch at a time, in Keras's neutral operations."""
    bilateral = WindowKernel(image, *kernels[1:3], kernels.normalization, kernels.window, kernels.image_gradient)
    both = (bilateral, _spatial(logits, kernels))
    return _repeated(logits, both, weights, compatibility, iterations)


def _by_lattice(
    logits: Any, image: Any, weights: Sequence[Any], compatibility: Any, kernels: Kernels, iterations: int
) -> Any:
    """One image after the other, each with a lattice of its own. Needs TensorFlow."""
    given = [*weights, *([] if compatibility is None else [compatibility])]
    specs = tuple(tf.TensorSpec([None, None, None, x.shape[3]], x.dtype) for x in (logits, image))
    infer = _graph(kernels, iterations, logits.shape[0] == 1, specs, tuple(map(tf.TensorSpec.from_tensor, given)))
    return tf.ensure_shape(infer(logits, image, *given), logits.shape)


@functools.lru_cache(maxsize=64)
def _graph(kernels: Kernels, iterations: int, alone: bool, specs: tuple[Any, ...], parameters: tuple[Any, ...]) -> Any:
    """The refinement of a batch of any size as one graph, traced once.

    An eager call is as fast so, and gives the same: outside of a graph divisions are rounded otherwise, and whoever
    stands on the border of two simplices of the lattice falls into the other.
    """
    infer = _differentiable_in_color if kernels.image_gradient else _recomputed

    def refine(logits: Any, image: Any, bilateral: Any, spatial: Any, compatibility: Any = None) -> Any:
        def one(both: tuple[Any, Any]) -> Any:
            unary, image = both
            flat = tf.reshape(unary, [-1, unary.shape[-1]])
            found = infer(flat, image, (bilateral, spatial), compatibility, kernels, iterations)
            return tf.reshape(found, tf.shape(unary))

        if alone:
            return one((logits[0], image[0]))[None]
        spec = tf.TensorSpec(logits.shape[1:], logits.dtype)
        return tf.map_fn(one, (logits, image), fn_output_signature=spec, parallel_iterations=AT_A_TIME)

    return tf.function(refine, input_signature=(*specs, *parameters), autograph=False)


def _recomputed(
    unary: Any, image: Any, weights: Sequence[Any], compatibility: Any, kernels: Kernels, iterations: int
) -> Any:
    """`[pixels, classes]` of one image. For the gradient, the logits of each iteration are kept and nothing else."""
    _, alpha, beta, gamma, mode, *_ = kernels
    # Kernels are made in the graph that holds the loop: TensorFlow finds no gradient through two levels of graphs.
    height, width, _ = tf.unstack(tf.shape(image))
    both: list[Kernel] = [
        BilateralKernel(image, alpha, beta, mode, 1.0),
        SpatialKernel(height, width, gamma, mode, 1.0, unary.dtype.name),
    ]
    (logits,) = tf.while_loop(
        lambda _: True,
        lambda logits: [step(logits, unary, both, weights, compatibility)],
        [unary],
        maximum_iterations=iterations,
    )
    return logits


def _differentiable_in_color(
    unary: Any, image: Any, weights: Sequence[Any], compatibility: Any, kernels: Kernels, iterations: int
) -> Any:
    """The same with a gradient to the image, for which every iteration keeps what it computed."""
    _, alpha, beta, _, mode, *_ = kernels
    bilateral = DifferentiableBilateralKernel(image, alpha, beta, mode)
    of_image = _spatial(image[None], kernels)

    def spatial(q: Any) -> Any:
        sums = of_image(tf.reshape(q, tf.concat([[1], tf.shape(image)[:2], [q.shape[1]]], 0)))
        return tf.reshape(sums, tf.shape(q))

    return _repeated(unary, (bilateral, spatial), weights, compatibility, iterations)


def _repeated(
    unary: Any, kernels: Sequence[Callable[[Any], Any]], weights: Sequence[Any], compatibility: Any, iterations: int
) -> Any:
    """As many steps as asked for, each of its own in the graph: not every backend can differentiate a loop.

    `tfseg.ops.crf.mean_field.step` is the same in TensorFlow, with a gradient that computes it again.
    """
    logits = unary
    for _ in range(iterations):
        q = ops.softmax(logits)
        bilateral, spatial = (_weighted(kernel(q), weight) for kernel, weight in zip(kernels, weights, strict=True))
        message = bilateral + spatial
        logits = unary + (message if compatibility is None else -_transformed(message, compatibility))
    return logits


def _weighted(sums: Any, weight: Any) -> Any:
    return _transformed(sums, weight) if len(weight.shape) == 2 else sums * weight


def _transformed(x: Any, matrix: Any) -> Any:
    return ops.matmul(x, ops.transpose(matrix))


def _spatial(like: Any, kernels: Kernels) -> Callable[[Any], Any]:
    """The spatial kernel of images like that, on `[batch, height, width, classes]`."""
    _, height, width, _ = ops.shape(like)
    dtype = keras.backend.standardize_dtype(like.dtype)
    normal = SpatialKernel(height, width, kernels.theta_gamma, kernels.normalization, 1.0, dtype)

    def spatial(q: Any) -> Any:
        return gaussian_blur(q if normal.before is None else q * normal.before, normal.theta) * normal.after

    return spatial
