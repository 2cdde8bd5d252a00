"""Scores and labels of different sizes: which of the two is brought to the other's."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

from keras import ops

from tfseg.ops.resize import resize

Resolution = Literal["image", "scores"]
"""Where scores meet labels of another size: at the labels', or at the scores'."""


def check(resolution: str | None) -> None:
    """Refuses what is no `Resolution` and not None.

    Raises:
        ValueError: saying so.
    """
    if resolution not in (None, *get_args(Resolution)):
        raise ValueError(f'`resolution` must be "image", "scores" or None. Received: resolution={resolution!r}')


def matched(labels: Any, logits: Any, weights: Any, resolution: str | None) -> tuple[Any, Any, Any]:
    """Labels, logits and sample weights of one height and width.

    Args:
        labels: `[batch, height, width]` or `[batch, height, width, 1]`.
        logits: `[batch, rows, columns, classes]`.
        weights: None, one for each image, or one for each label.
        resolution: `"image"`: logits are resized bilinearly to the labels, corners aligned. `"scores"`: labels, and
            weights as there is one for each, are taken at the places of the logits. None: nothing is done.
    """
    if resolution == "image":
        return labels, resize(logits, _size(labels), align_corners=True), weights
    if resolution == "scores":
        if weights is not None and len(weights.shape) > 2:
            weights = subsample(weights, _size(logits))
        return subsample(labels, _size(logits)), logits, weights
    return labels, logits, weights


def subsample(labels: Any, size: Sequence[Any]) -> Any:
    """Labels at the places of a coarser map whose corner places lie on the corner pixels.

    Each place takes the nearest label, of two that are equally near the later one. Where the sides are `s k + 1`
    pixels and `k + 1` places, as in DeepLab, the places are exactly those of `labels[:, ::s, ::s]`.

    Example:

    >>> import numpy as np
    >>> labels = np.arange(9)[None, None] * np.ones((1, 9, 1), int)
    >>> np.asarray(subsample(labels, (3, 3)))[0, 0].tolist(), np.asarray(subsample(labels, (2, 4)))[0, 0].tolist()
    ([0, 4, 8], [0, 3, 5, 8])

    Args:
        labels: `[batch, height, width]` or `[batch, height, width, 1]`.
        size: rows and columns of the map: integers, or scalar integer tensors.

    Raises:
        ValueError: the map is known to be finer than the labels.

    Reference:
        Chen et al., Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs (2015), section
        4.1: "the loss function is the sum of cross-entropy terms for each spatial position in the CNN output map
        (subsampled by 8 compared to the original image)".
    """
    for axis, length in zip((1, 2), size, strict=True):
        count = _size(labels)[axis - 1]
        if isinstance(count, int) and isinstance(length, int) and length > count:
            raise ValueError(
                "Labels are subsampled to scores, which must not be larger. Received: labels of shape "
                f"{tuple(labels.shape)}, scores of height and width {tuple(size)}"
            )
        labels = ops.take(labels, _places(count, length), axis=axis)
    return labels


def _places(count: Any, length: Any) -> Any:
    """`round(place * (count - 1) / (length - 1))` for each of `length` places, in whole numbers."""
    steps = ops.maximum(length - 1, 1)
    return (2 * ops.arange(length, dtype="int32") * (count - 1) + steps) // (2 * steps)


def _size(x: Any) -> tuple[Any, Any]:
    """Height and width: integers as far as they are known, else tensors."""
    known, found = tuple(x.shape)[1:3], ops.shape(x)[1:3]
    return tuple(side if side is not None else tensor for side, tensor in zip(known, found, strict=True))  # type: ignore[return-value]
