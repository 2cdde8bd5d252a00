"""Refinement of class probabilities by a fully connected CRF."""

from typing import Any

import keras
import numpy as np

from tfseg.ops.crf.arguments import check_thetas, check_weight, counted
from tfseg.ops.crf.dense_crf_graph import refine
from tfseg.ops.crf.mean_field import NORMALIZATIONS, Normalization
from tfseg.ops.crf.parameters import PARAMETERS, CrfParameters
from tfseg.ops.runtime import assert_condition
from tfseg.typing import Tensor

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf


def dense_crf(
    probabilities: Tensor,
    image: Tensor,
    *,
    parameters: str | CrfParameters | None = None,
    theta_alpha: float | None = None,
    theta_beta: float | None = None,
    theta_gamma: float | None = None,
    bilateral_weight: float | Tensor | None = None,
    spatial_weight: float | Tensor | None = None,
    iterations: int = 10,
    normalization: Normalization | None = None,
    prune: float | None = None,
) -> Tensor:
    """Refines probabilities by mean-field inference in a fully connected CRF with Potts compatibility.

    `tfseg.ops.crf.mean_field` defines the energy, the kernels and their normalization. The computation is in float32,
    or in float64 for float64 probabilities. It is differentiable in the probabilities, and in the weights if they are
    tensors, but not in the image and the standard deviations.

    Example:

    >>> import numpy as np
    >>> image = np.zeros((1, 8, 8, 3), "float32")
    >>> image[:, :, 4:] = 255
    >>> probabilities = np.full((1, 8, 8, 2), 0.5, "float32")
    >>> probabilities[:, 2, 2], probabilities[:, 2, 6] = (0.9, 0.1), (0.1, 0.9)
    >>> refined = dense_crf(probabilities, image, parameters="deeplab_v1_largefov")
    >>> np.argmax(refined, -1)[0, 5].tolist()
    [0, 0, 0, 0, 1, 1, 1, 1]

    Args:
        probabilities: Tensor `[batch, height, width, labels]`, values from 0 to 1. Sizes may be unknown until the graph
            runs.
        image: Integer or floating-point tensor `[batch, height, width, 3]` of the same size, intensities from 0 to 255.
            A grayscale image `[batch, height, width, 1]` counts as three equal channels.
        parameters: Name of a published set in `tfseg.ops.crf.parameters`, or a custom `CrfParameters`. The other
            arguments override its values.
        theta_alpha: Standard deviation of the bilateral kernel in pixels.
        theta_beta: Standard deviation of the bilateral kernel in intensities from 0 to 255.
        theta_gamma: Standard deviation of the spatial kernel in pixels, at most 1000. Computation time grows with it.
        bilateral_weight: Weight of the bilateral kernel: a number or a scalar tensor.
        spatial_weight: Weight of the spatial kernel: a number or a scalar tensor.
        iterations: Integer, number of mean-field iterations.
        normalization: `"none"`, `"before"`, `"after"` or `"symmetric"`. Defaults to that of `parameters`, or else to
            `"symmetric"`. Weights are valid only for the normalization with which they were determined.
        prune: Float, probability threshold. Labels whose probability does not exceed it in any pixel of an image are
            excluded, except the most probable label. See `docs/crf.md` for the effect on the result. In a
            `tf.function`, pruning disables the gradient with respect to the weights. If `None`, all labels are kept.

    Returns:
        Tensor of the shape and type of `probabilities`. Pruned labels have zero probability.

    Raises:
        ValueError: If shapes do not match, or arguments are missing or out of range.
        NotImplementedError: If the Keras backend is not TensorFlow.
        tf.errors.InvalidArgumentError: At run time, if `probabilities` has NaN or values outside [0, 1], if `image` has
            values outside [0, 255] or is scaled to [0, 1], or if the standard deviations are so small that the keys of
            the lattice would overflow.

    Reference:
        Kraehenbuehl, Koltun, "Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials", NIPS 2011.
    """
    if keras.backend.backend() != "tensorflow":
        raise NotImplementedError(
            "`dense_crf` requires the TensorFlow backend. Set KERAS_BACKEND=tensorflow. "
            f"Received: backend={keras.backend.backend()!r}"
        )
    given = {
        "theta_alpha": theta_alpha,
        "theta_beta": theta_beta,
        "theta_gamma": theta_gamma,
        "bilateral_weight": bilateral_weight,
        "spatial_weight": spatial_weight,
        "normalization": normalization,
    }
    crf, tensors = _resolved(parameters, {name: value for name, value in given.items() if value is not None})
    iterations, prune = counted("iterations", iterations), _checked_prune(prune)
    probabilities, image = _tensor(probabilities), _tensor(image)
    _check_shapes(probabilities.shape, image.shape)
    dtype = "float64" if probabilities.dtype == "float64" else "float32"
    weights = [_scalar(name, weight, dtype) for name, weight in tensors.items()]
    _check_sizes(probabilities, image)
    casted = tf.cast(probabilities, dtype)
    maxima = _checked_maxima(casted)
    refined = refine(crf, iterations, prune, (casted, maxima, _checked_image(image, dtype)), weights)
    return tf.ensure_shape(tf.cast(refined, probabilities.dtype), probabilities.shape)


def _tensor(values: Tensor) -> Tensor:
    """Converts values to a tensor. A NumPy array is copied at most once.

    `convert_to_tensor` would copy it twice, which takes 1/40 of the computation time of a CRF with `prune`.
    """
    if isinstance(values, np.ndarray) and tf.executing_eagerly():
        return tf.raw_ops.Identity(input=values)
    return tf.convert_to_tensor(values)


def _resolved(parameters: str | CrfParameters | None, given: dict[str, Any]) -> tuple[CrfParameters, dict[str, Any]]:
    """Returns the parameters, and separately the two weights if one of them is a tensor."""
    if isinstance(parameters, str) and parameters not in PARAMETERS:
        raise ValueError(f"`parameters` must be one of {sorted(PARAMETERS)}. Received: parameters={parameters!r}")
    start = PARAMETERS[parameters] if isinstance(parameters, str) else parameters
    values = {**(vars(start) if start else {"normalization": "symmetric"}), **given}
    missing = [name for name in CrfParameters.__annotations__ if name not in values and name != "source"]
    if missing:
        raise ValueError(
            f"Expected `parameters`, or all of their values as arguments. Missing: {missing}. "
            f"Published sets: {sorted(PARAMETERS)}"
        )
    check_thetas(*(values[name] for name in ("theta_alpha", "theta_beta", "theta_gamma")))
    if values["normalization"] not in NORMALIZATIONS:
        raise ValueError(
            f"`normalization` must be one of {list(NORMALIZATIONS)}. Received: "
            f"normalization={values['normalization']!r}"
        )
    weights = {name: values[name] for name in ("bilateral_weight", "spatial_weight")}
    numbers = {name: float(weight) for name, weight in weights.items() if isinstance(weight, int | float | np.number)}
    for name, weight in numbers.items():
        check_weight(name, weight)
    tensors = {} if len(numbers) == len(weights) else weights
    ones = dict.fromkeys(tensors, 1.0)
    return CrfParameters(**{**values, **numbers, **ones, "source": ""}), tensors


def _scalar(name: str, weight: float | Tensor, dtype: str) -> Tensor:
    weight = tf.convert_to_tensor(weight, dtype)
    if weight.shape.rank not in (0, None):
        raise ValueError(f"`{name}` must be a number or a scalar tensor. Received: {name}.shape={weight.shape}")
    return tf.ensure_shape(weight, [])


def _checked_prune(prune: float | None) -> float | None:
    if prune is not None and not 0 < prune < 1:
        raise ValueError(f"`prune` must be a probability between 0 and 1, or None. Received: prune={prune}")
    return prune


def _check_shapes(probabilities: Any, image: Any) -> None:
    fits = probabilities.rank == image.rank == 4 and probabilities[:3].is_compatible_with(image[:3])
    if not fits or image[3] not in (1, 3) or probabilities[3] is None:
        raise ValueError(
            "Expected `probabilities` of shape [batch, height, width, labels] and `image` of shape [batch, height, "
            "width, 3] (or 1 channel), of the same batch and size. "
            f"Received: probabilities.shape={probabilities}, image.shape={image}"
        )


def _check_sizes(probabilities: Tensor, image: Tensor) -> None:
    """Raises at run time if sizes that are unknown until then do not match."""
    if not (probabilities.shape[:3].is_fully_defined() and image.shape[:3].is_fully_defined()):
        one, other = tf.shape(probabilities)[:3], tf.shape(image)[:3]
        assert_condition(
            tf.reduce_all(one == other),
            "`image` must have the batch, height and width of `probabilities`.",
            tf.stack([one, other]),
        )


def _checked_maxima(probabilities: Tensor) -> Tensor:
    """Returns the maximum probability of each label in each image, `[batch, labels]`; raises if any is invalid."""
    probabilities = tf.stop_gradient(probabilities)
    maxima = tf.reduce_max(tf.reduce_max(probabilities, 1), 1)  # in two steps: five times as fast
    lowest, highest = tf.reduce_min(probabilities, [1, 2, 3]), tf.reduce_max(maxima, 1)
    # Minimum and maximum are NaN if a value is, and comparisons with NaN are false.
    assert_condition(
        tf.reduce_all((lowest >= 0) & (highest <= 1.001)),
        "`probabilities` must be between 0 and 1, without NaN (minima and maxima of the images shown). Apply a softmax "
        "to logits first.",
        tf.stack([lowest, highest]),
    )
    return maxima


def _checked_image(image: Tensor, dtype: str) -> Tensor:
    """Casts the image to floating point. Raises if values are outside [0, 255], or are floats in [0, 1]."""
    scaled = image.dtype.is_floating
    image = tf.cast(image, dtype)
    lowest, highest = tf.reduce_min(image, [1, 2, 3]), tf.reduce_max(image, [1, 2, 3])
    assert_condition(
        tf.reduce_all((lowest >= 0) & (highest <= 255)),
        "`image` must have intensities from 0 to 255, without NaN (minima and maxima of the images shown).",
        tf.stack([lowest, highest]),
    )
    if scaled:
        assert_condition(
            tf.reduce_all((highest > 1) | (highest <= 0)),
            "`image` must have intensities from 0 to 255, but one image has values from 0 to 1 (maxima of the images "
            "shown). Multiply it by 255.",
            highest,
        )
    return image
