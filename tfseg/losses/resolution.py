"""Scores and labels of different sizes: which of the two is brought to the other's."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Self, get_args

from keras import ops

from tfseg.labels import IGNORE
from tfseg.ops.resize import resize, zoom

Resolution = Literal["image", "scores"]
"""Where scores meet labels of another size: at the labels', or at the scores'."""


class Positions(NamedTuple):
    """Where the positions of a map of scores lie in the image.

    Example:

    >>> import numpy as np
    >>> half_pixels = Positions(align_corners=False, grid=(8, 0))
    >>> np.asarray(half_pixels.pixels(30, 4)).tolist()
    [4, 12, 20, 28]

    Args:
        output_stride: pixels from one position to the next, the first of which lies on the first pixel; None: the
            positions are spread over the image.
        align_corners: they are spread so that the corner positions lie on the centers of the corner pixels, rather than
            the borders of the two on each other.
        grid: they are spread over the image continued to the next `multiple * k + remainder` pixels, for
            `(multiple, remainder)`.
    """

    output_stride: int | None = None
    align_corners: bool = True
    grid: tuple[int, int] | None = None

    @classmethod
    def of(cls, value: "Mapping[str, Any] | Positions | None") -> Self:
        """What a configuration or a caller gives, checked.

        Raises:
            ValueError: an output stride below 1.
        """
        fields = dict(value._asdict() if isinstance(value, Positions) else value or {})
        if (stride := fields.get("output_stride")) is not None and not stride >= 1:
            raise ValueError(f"`output_stride` must be at least 1. Received: output_stride={stride!r}")
        if (grid := fields.get("grid")) is not None:
            multiple, remainder = grid  # a list, in a configuration
            fields["grid"] = (multiple, remainder)
        return cls(**fields)

    def extent(self, count: Any) -> Any:
        """Over how many pixels the positions are spread in an image of `count`."""
        return count if self.grid is None else count + (self.grid[1] - count) % self.grid[0]

    def pixels(self, count: Any, length: Any) -> Any:
        """The pixel that is nearest to each of `length` positions in an image of `count`, in whole numbers."""
        numbers = ops.arange(length, dtype="int32")
        if self.output_stride is not None:
            return numbers * self.output_stride
        extent = self.extent(count)
        if not self.align_corners:
            return (2 * numbers + 1) * extent // (2 * length)
        steps = ops.maximum(length - 1, 1)
        return (2 * numbers * (extent - 1) + steps) // (2 * steps)


def check(resolution: str | None) -> None:
    """Refuses what is no `Resolution` and not None.

    Raises:
        ValueError: saying so.
    """
    if resolution not in (None, *get_args(Resolution)):
        raise ValueError(f'`resolution` must be "image", "scores" or None. Received: resolution={resolution!r}')


def matched(
    labels: Any, logits: Any, weights: Any, resolution: str | None, positions: Positions, ignore_label: int
) -> tuple[Any, Any, Any]:
    """Labels, logits and sample weights of one height and width.

    Args:
        labels: `[batch, height, width]` or `[batch, height, width, 1]`.
        logits: `[batch, rows, columns, classes]`.
        weights: None, one for each image, or one for each label.
        resolution: `"image"`: logits are interpolated bilinearly at the labels. `"scores"`: labels, and weights as
            there is one for each, are taken at the positions of the logits. None: nothing is done.
        positions: where the logits lie.
        ignore_label: the label of positions beyond the image.
    """
    if resolution == "image":
        return labels, _raised(logits, _size(labels), positions), weights
    if resolution == "scores":
        size = _size(logits)
        if weights is not None and len(weights.shape) > 2:
            weights = _taken(weights, size, positions, 0)
        return _taken(labels, size, positions, ignore_label), logits, weights
    return labels, logits, weights


def subsample(
    labels: Any,
    size: Sequence[Any],
    positions: Mapping[str, Any] | Positions | None = None,
    ignore_label: int = IGNORE,
) -> Any:
    """Labels at the positions of a coarser map.

    Each position takes the nearest label, of two that are equally near the later one. Where the sides are `s k + 1`
    pixels and `k + 1` positions, as in DeepLab, they are exactly those of `labels[:, ::s, ::s]`.

    Example:

    >>> import numpy as np
    >>> labels = np.arange(9)[None, None] * np.ones((1, 9, 1), int)
    >>> np.asarray(subsample(labels, (3, 3)))[0, 0].tolist(), np.asarray(subsample(labels, (2, 4)))[0, 0].tolist()
    ([0, 4, 8], [0, 3, 5, 8])
    >>> np.asarray(subsample(labels, (3, 3), {"align_corners": False, "grid": (4, 0)}))[0, 0].tolist()
    [2, 6, 255]

    Args:
        labels: `[batch, height, width]` or `[batch, height, width, 1]`.
        size: rows and columns of the map: integers, or scalar integer tensors.
        positions: where they lie in the image, as `tfseg.losses.Positions` or its fields; None: from corner to corner.
        ignore_label: the label of positions beyond the image.

    Raises:
        ValueError: the map is known to be finer than the image that it is spread over.

    Reference:
        Chen et al., Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs (2015), section
        4.1: "the loss function is the sum of cross-entropy terms for each spatial position in the CNN output map
        (subsampled by 8 compared to the original image)".
    """
    return _taken(labels, size, Positions.of(positions), ignore_label)


def _taken(labels: Any, size: Sequence[Any], positions: Positions, beyond: int) -> Any:
    counts = _size(labels)
    for axis, count, length in zip((1, 2), counts, size, strict=True):
        if isinstance(count, int) and isinstance(length, int) and length > positions.extent(count):
            raise ValueError(
                "Labels are subsampled to scores, which must not be larger. Received: labels of shape "
                f"{tuple(labels.shape)}, scores of height and width {tuple(size)}"
            )
        pixels = positions.pixels(count, length)
        labels = ops.take(labels, ops.minimum(pixels, count - 1), axis=axis)
        if positions.grid is not None or positions.output_stride is not None:
            inside = ops.reshape(pixels < count, [-1 if each == axis else 1 for each in range(len(labels.shape))])
            labels = ops.where(inside, labels, ops.cast(beyond, labels.dtype))
    return labels


def _raised(logits: Any, size: Sequence[Any], positions: Positions) -> Any:
    if positions.output_stride is not None:
        return zoom(logits, positions.output_stride, size)
    raised = resize(logits, [positions.extent(count) for count in size], align_corners=positions.align_corners)
    return raised if positions.grid is None else raised[:, : size[0], : size[1]]


def _size(x: Any) -> tuple[Any, Any]:
    """Height and width: integers as far as they are known, else tensors."""
    known, found = tuple(x.shape)[1:3], ops.shape(x)[1:3]
    return tuple(side if side is not None else tensor for side, tensor in zip(known, found, strict=True))  # type: ignore[return-value]
