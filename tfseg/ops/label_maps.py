"""Conversion of label maps to integers, for losses and metrics."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfseg.labels import IGNORE
from tfseg.ops.runtime import assert_condition
from tfseg.typing import Tensor

NO_LABEL = -(2**31)
"""Integer in place of a float that is not a whole number: neither a class id nor a plausible ignore label."""
_IDS = 1 << 16
"""Number of class ids, by which the number of a source is multiplied."""


def resolve_ignore_label(ignore_label: int | None, ignore_class: int | None) -> int:
    """Returns the label of the pixels to ignore, from the argument and its alias.

    Args:
        ignore_label: Integer, or None if not given.
        ignore_class: Integer, or None if not given. Keras's name for the same argument.

    Returns:
        The given label, or 255 if neither is given.

    Raises:
        ValueError: If one is not an integer, or both are given and differ.
    """
    for name, value in (("ignore_label", ignore_label), ("ignore_class", ignore_class)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | np.integer)):
            raise ValueError(f"Expected `{name}` to be an integer. Received: {name}={value!r}")
    if ignore_label is not None and ignore_class is not None and ignore_label != ignore_class:
        raise ValueError(
            "`ignore_class` is an alias of `ignore_label`, and the two must be equal if both are given. "
            f"Received: ignore_label={ignore_label}, ignore_class={ignore_class}"
        )
    given = ignore_class if ignore_label is None else ignore_label
    return IGNORE if given is None else int(given)


def int32_ids(ids: Tensor) -> Tensor:
    """Casts integers to int32. Values outside its range are clipped to its limits, which are not class ids either."""
    ids = ops.convert_to_tensor(ids)
    dtype = keras.backend.standardize_dtype(ids.dtype)
    if dtype in ("int64", "uint32", "uint64"):
        ids = ops.minimum(ids, ops.cast(2**31 - 1, dtype))
    return ops.cast(ops.maximum(ids, ops.cast(NO_LABEL, dtype)) if dtype == "int64" else ids, "int32")


def with_source(ids: Any, source: Any) -> Any:
    """Returns labels that also contain the number of a source, from 0, for losses that distinguish sources.

    Args:
        ids: Class ids from 0 to 65535, int32.
        source: Number of the source of each pixel, int32 of a shape that can be broadcast to that of `ids`.
    """
    return ids + (source + 1) * _IDS


def split_source(labels: Any) -> tuple[Any, Any]:
    """Splits labels of `with_source` into class ids and the number of the source; -1 for labels without a source.

    Example:

    >>> import numpy as np
    >>> ids, source = split_source(with_source(np.array([[3, 255]]), np.array([[0, 2]])))
    >>> ids.tolist(), source.tolist(), split_source(7)
    ([[3, 255]], [[0, 2]], (7, -1))

    Args:
        labels: Integers of at least 32 bits.
    """
    return labels % _IDS, labels // _IDS - 1


def integer_labels(y_true: Tensor) -> Tensor:
    """Converts a label map to integers.

    Integers are returned as they are. Floats, such as the float32 masks of Keras pipelines, are cast to int32 if they
    are whole numbers. Where the runtime check is left out (XLA, JAX), other floats become `NO_LABEL`, which losses turn
    into NaN and metrics do not count.

    Example:

    >>> import numpy as np
    >>> np.asarray(integer_labels(np.array([[[0.0, 1.0, 255.0]]], "float32"))).tolist()
    [[[0, 1, 255]]]

    Args:
        y_true: Label map of integers, or of floats that are whole numbers.

    Returns:
        An integer tensor of the same shape.

    Raises:
        ValueError: If the dtype is neither an integer nor a float.
        tf.errors.InvalidArgumentError: At run time, if a float is not a whole number (ValueError with the NumPy
            backend).
    """
    labels = ops.convert_to_tensor(y_true)
    dtype = keras.backend.standardize_dtype(labels.dtype)
    if "int" in dtype:
        return labels
    if "float" not in dtype:
        raise ValueError(
            "Labels must be integers, or floats that are whole numbers. Received: y_true of dtype "
            f"{dtype} and shape {tuple(labels.shape)}"
        )
    values = ops.cast(labels, "float32")
    whole = ops.logical_and(ops.equal(values, ops.floor(values)), ops.abs(values) < -float(NO_LABEL))

    def first_fraction() -> Tensor:
        return ops.reshape(values, (-1,))[ops.argmin(ops.reshape(whole, (-1,)))]

    assert_condition(ops.all(whole), "Labels must be whole numbers from -2**31 + 1 to 2**31 - 1.", first_fraction)
    return ops.where(whole, ops.cast(ops.where(whole, values, 0.0), "int32"), NO_LABEL)


def expected_labels(num_classes: int, ignore_label: int | None) -> str:
    """Returns the error message for labels that are neither a class id nor the ignore label."""
    exception = "" if ignore_label is None else f", or the ignore label {ignore_label}"
    return f"Labels must be classes 0 to {num_classes - 1}{exception}."
