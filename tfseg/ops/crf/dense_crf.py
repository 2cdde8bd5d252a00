"""Refines the probabilities of an image's pixels by a fully connected CRF."""

from typing import Any

import keras
import numpy as np

from tfseg.ops.crf.arguments import check_thetas, check_weight, counted
from tfseg.ops.crf.dense_crf_graph import refine
from tfseg.ops.crf.mean_field import NORMALIZATIONS, Normalization
from tfseg.ops.crf.parameters import PARAMETERS, CrfParameters
from tfseg.ops.runtime import assert_condition

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf


def dense_crf(
    probabilities: Any,
    image: Any,
    *,
    parameters: str | CrfParameters | None = None,
    theta_alpha: float | None = None,
    theta_beta: float | None = None,
    theta_gamma: float | None = None,
    bilateral_weight: Any = None,
    spatial_weight: Any = None,
    iterations: int = 10,
    normalization: Normalization | None = None,
    prune: float | None = None,
) -> Any:
    """Refines probabilities by mean-field inference in a fully connected CRF with Potts compatibility.

    `tfseg.ops.crf.mean_field` has the energy, the kernels and what the normalizations are. All is computed in float32,
    or in float64 for float64 probabilities. There is a gradient to the probabilities, and to the weights where they
    are tensors; none to the image and the thetas.

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
        probabilities: `[batch, height, width, labels]`, 0 to 1. Any size, which may be unknown until the graph runs.
        image: `[batch, height, width, 3]` of the same size, integers or floats of 0 to 255. With one channel it is
            gray, and counts as three equal channels.
        parameters: the name of a published set in `tfseg.ops.crf.parameters`, or a set of one's own. What is given
            besides goes before it.
        theta_alpha: standard deviation of the bilateral kernel in pixels.
        theta_beta: standard deviation of the bilateral kernel in intensities of 0 to 255.
        theta_gamma: standard deviation of the spatial kernel in pixels, at most 1000: time grows with it.
        bilateral_weight: of the bilateral kernel: a number, or a scalar tensor.
        spatial_weight: of the spatial kernel, likewise.
        iterations: of mean field.
        normalization: `"none"`, `"before"`, `"after"` or `"symmetric"`; without it that of `parameters`, or else
            `"symmetric"`. Weights that were found under one are wrong under another.
        prune: leaves labels out, for each image, that no pixel gives more than this probability; the likeliest stays
            in any case. See `docs/crf.md` for what it can change. In a `tf.function` there is no gradient to weights
            with it. None keeps all.

    Returns:
        Probabilities of the shape and type of `probabilities`. Labels left out have zero.

    Raises:
        ValueError: shapes that do not fit, arguments that are missing or out of range.
        NotImplementedError: another Keras backend than TensorFlow.
        tf.errors.InvalidArgumentError: when it runs: values that are no probabilities, NaN among them; an image outside
            0 to 255, or within 0 to 1; thetas so small for the image that the lattice's keys would overflow.
    """
    if keras.backend.backend() != "tensorflow":
        raise NotImplementedError(
            "`dense_crf` is made of TensorFlow's operations. Set KERAS_BACKEND=tensorflow. "
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
    crf, apart = _chosen(parameters, {name: value for name, value in given.items() if value is not None})
    iterations, prune = counted("iterations", iterations), _share(prune)
    probabilities, image = _tensor(probabilities), _tensor(image)
    _check_shapes(probabilities.shape, image.shape)
    dtype = "float64" if probabilities.dtype == "float64" else "float32"
    weights = [_scalar(name, weight, dtype) for name, weight in apart.items()]
    _check_sizes(probabilities, image)
    found = tf.cast(probabilities, dtype)
    likeliest = _likeliest(found)
    refined = refine(crf, iterations, prune, (found, likeliest, _checked_image(image, dtype)), weights)
    return tf.ensure_shape(tf.cast(refined, probabilities.dtype), probabilities.shape)


def _tensor(values: Any) -> Any:
    """An array is copied once, or not at all; `convert_to_tensor` does it twice, a fortieth of a pruned call."""
    if isinstance(values, np.ndarray) and tf.executing_eagerly():
        return tf.raw_ops.Identity(input=values)
    return tf.convert_to_tensor(values)


def _chosen(parameters: str | CrfParameters | None, given: dict[str, Any]) -> tuple[CrfParameters, dict[str, Any]]:
    """The parameters, and the two weights apart where one of them is a tensor."""
    if isinstance(parameters, str) and parameters not in PARAMETERS:
        raise ValueError(f"`parameters` must be one of {sorted(PARAMETERS)}. Received: parameters={parameters!r}")
    start = PARAMETERS[parameters] if isinstance(parameters, str) else parameters
    values = {**(vars(start) if start else {"normalization": "symmetric"}), **given}
    missing = [name for name in CrfParameters.__annotations__ if name not in values and name != "source"]
    if missing:
        raise ValueError(
            f"A set of `parameters` is needed, or every value of one. Missing: {missing}. "
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
    apart = {} if len(numbers) == len(weights) else weights
    ones = dict.fromkeys(apart, 1.0)
    return CrfParameters(**{**values, **numbers, **ones, "source": ""}), apart


def _scalar(name: str, weight: Any, dtype: str) -> Any:
    weight = tf.convert_to_tensor(weight, dtype)
    if weight.shape.rank not in (0, None):
        raise ValueError(f"`{name}` must be a number or a scalar tensor. Received: {name} of shape {weight.shape}")
    return tf.ensure_shape(weight, [])


def _share(prune: float | None) -> float | None:
    if prune is not None and not 0 < prune < 1:
        raise ValueError(f"`prune` must be a probability between 0 and 1, or None. Received: prune={prune}")
    return prune


def _check_shapes(probabilities: Any, image: Any) -> None:
    fits = probabilities.rank == image.rank == 4 and probabilities[:3].is_compatible_with(image[:3])
    if not fits or image[3] not in (1, 3) or probabilities[3] is None:
        raise ValueError(
            "Expected `probabilities` [batch, height, width, labels] and an `image` [batch, height, width, 3] (or 1, "
            f"if it is gray) of the same batch and size. Received: {probabilities} and {image}"
        )


def _check_sizes(probabilities: Any, image: Any) -> None:
    """The same again for sizes that are known only when the graph runs."""
    if not (probabilities.shape[:3].is_fully_defined() and image.shape[:3].is_fully_defined()):
        one, other = tf.shape(probabilities)[:3], tf.shape(image)[:3]
        assert_condition(
            tf.reduce_all(one == other),
            "`image` must have the batch, height and width of `probabilities`.",
            tf.stack([one, other]),
        )


def _likeliest(probabilities: Any) -> Any:
    """The highest probability of each label in each image, `[batch, labels]`, once all are known to be some."""
    probabilities = tf.stop_gradient(probabilities)
    likeliest = tf.reduce_max(tf.reduce_max(probabilities, 1), 1)  # in two steps: five times as fast
    lowest, highest = tf.reduce_min(probabilities, [1, 2, 3]), tf.reduce_max(likeliest, 1)
    # NaN, which no comparison lets pass, is the lowest and the highest value where there is one.
    assert_condition(
        tf.reduce_all((lowest >= 0) & (highest <= 1.001)),
        "`probabilities` must lie between 0 and 1, without NaN. Lowest and highest of each image follow. Apply a "
        "softmax to scores first.",
        tf.stack([lowest, highest]),
    )
    return likeliest


def _checked_image(image: Any, dtype: str) -> Any:
    """The image in floating point. Floats of 0 to 1, which would look all of one color, are refused."""
    scaled = image.dtype.is_floating
    image = tf.cast(image, dtype)
    lowest, highest = tf.reduce_min(image, [1, 2, 3]), tf.reduce_max(image, [1, 2, 3])
    assert_condition(
        tf.reduce_all((lowest >= 0) & (highest <= 255)),
        "`image` must hold intensities of 0 to 255, without NaN. Lowest and highest of each image follow.",
        tf.stack([lowest, highest]),
    )
    if scaled:
        assert_condition(
            tf.reduce_all((highest > 1) | (highest <= 0)),
            "`image` must hold intensities of 0 to 255, and all of one is within 0 to 1, as if it had been divided by "
            "255. Multiply it. The highest value of each image follows.",
            highest,
        )
    return image
