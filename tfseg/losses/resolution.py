"""Losses whose logits and labels differ in size: one is resized to the other."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Self, get_args

import keras
import numpy as np
from keras import ops

from tfseg.labels import IGNORE
from tfseg.ops.resize import resize, zoom
from tfseg.typing import Tensor

Resolution = Literal["image", "scores"]
"""Resolution at which a loss is computed: that of the label map, or that of the scores."""


class Positions(NamedTuple):
    """Positions of a score map in the image.

    Example:

    >>> import numpy as np
    >>> half_pixel_centers = Positions(align_corners=False, grid=(8, 0))
    >>> np.asarray(half_pixel_centers.pixels(30, 4)).tolist()
    [4, 12, 20, 28]

    Args:
        output_stride: Distance between neighboring positions in pixels; the first position is the first pixel. None:
            the positions are spread over the image.
        align_corners: True: spread with the corner positions at the centers of the corner pixels (corner-aligned).
            False: spread with half-pixel centers.
        grid: A pair `(multiple, remainder)`: spread over the image extended to the next size of the form
            `multiple * k + remainder`. None: spread over the image itself.
    """

    output_stride: int | None = None
    align_corners: bool = True
    grid: tuple[int, int] | None = None

    @classmethod
    def of(cls, value: "Mapping[str, Any] | Positions | None") -> Self:
        """Creates `Positions` from `Positions` or from a dict of the fields, as in a Keras config, and checks them.

        Raises:
            ValueError: If `output_stride` is less than 1.
        """
        fields = dict(value._asdict() if isinstance(value, Positions) else value or {})
        if (stride := fields.get("output_stride")) is not None and not stride >= 1:
            raise ValueError(f"`output_stride` must be at least 1. Received: output_stride={stride!r}")
        if (grid := fields.get("grid")) is not None:
            multiple, remainder = grid  # a list in a config
            fields["grid"] = (multiple, remainder)
        return cls(**fields)

    def extent(self, count: Any) -> Any:
        """Returns the number of pixels over which the positions are spread, for an image side of `count` pixels."""
        return count if self.grid is None else count + (self.grid[1] - count) % self.grid[0]

    def pixels(self, count: Any, length: Any) -> Tensor:
        """Returns the indices of the pixels nearest to `length` positions, for an image side of `count` pixels."""
        numbers = ops.arange(length, dtype="int32")
        if self.output_stride is not None:
            return numbers * self.output_stride
        extent = self.extent(count)
        if not self.align_corners:
            return (2 * numbers + 1) * extent // (2 * length)
        steps = ops.maximum(length - 1, 1)
        return (2 * numbers * (extent - 1) + steps) // (2 * steps)


def check(resolution: str | None) -> None:
    """Checks the argument `resolution` of a loss.

    Raises:
        ValueError: If `resolution` is neither None nor a `Resolution`.
    """
    if resolution not in (None, *get_args(Resolution)):
        raise ValueError(f'`resolution` must be "image", "scores" or None. Received: resolution={resolution!r}')


def matched(
    labels: Tensor,
    logits: Tensor,
    weights: Tensor | None,
    resolution: str | None,
    positions: Positions,
    ignore_label: int,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Returns labels, logits and sample weights of the same height and width.

    Args:
        labels: Integers `[batch, height, width]` or `[batch, height, width, 1]`.
        logits: Floats `[batch, rows, columns, classes]`.
        weights: None, one weight per image, or one per pixel.
        resolution: `"image"`: logits are resized to the labels bilinearly. `"scores"`: labels, and weights per pixel,
            are subsampled at the positions of the logits. None: all are returned as they are.
        positions: Positions of the logits in the image.
        ignore_label: Label of positions beyond the image.
    """
    if resolution == "image":
        return labels, _upsampled(logits, _size(labels), positions), weights
    if resolution == "scores":
        size = _size(logits)
        if weights is not None and len(weights.shape) > 2:
            weights = _subsampled(weights, size, positions, 0)
        return _subsampled(labels, size, positions, ignore_label), logits, weights
    return labels, logits, weights


def subsample(
    labels: Tensor,
    size: Sequence[Any],
    positions: Mapping[str, Any] | Positions | None = None,
    ignore_label: int = IGNORE,
) -> Tensor:
    """Subsamples a label map at the positions of a smaller score map.

    Each position takes the nearest label; ties take the later one. If the sides have `s k + 1` pixels and `k + 1`
    positions, as in DeepLab, the result is exactly `labels[:, ::s, ::s]`.

    Example:

    >>> import numpy as np
    >>> labels = np.arange(9)[None, None] * np.ones((1, 9, 1), int)
    >>> np.asarray(subsample(labels, (3, 3)))[0, 0].tolist(), np.asarray(subsample(labels, (2, 4)))[0, 0].tolist()
    ([0, 4, 8], [0, 3, 5, 8])
    >>> np.asarray(subsample(labels, (3, 3), {"align_corners": False, "grid": (4, 0)}))[0, 0].tolist()
    [2, 6, 255]

    Args:
        labels: Label map `[batch, height, width]` or `[batch, height, width, 1]`.
        size: Height and width of the score map, integers or scalar integer tensors.
        positions: Positions of the score map in the image, as `tfseg.losses.Positions` or a dict of its fields. None:
            corner-aligned.
        ignore_label: Label of positions beyond the image.

    Returns:
        The labels at the positions: `[batch, *size]` or `[batch, *size, 1]`.

    Raises:
        ValueError: If the score map is larger than the image that it is spread over (checked for static sizes).

    Reference:
        Chen et al., Semantic Image Segmentation with Deep Convolutional Nets and Fully Connected CRFs (2015), section
        3.1: "Our loss function is the sum of cross-entropy terms for each spatial position in the CNN output map
        (subsampled by 8 compared to the original image)."
    """
    return _subsampled(labels, size, Positions.of(positions), ignore_label)


def _subsampled(labels: Tensor, size: Sequence[Any], positions: Positions, fill: int) -> Tensor:
    sides = _size(labels)
    dtype = keras.backend.standardize_dtype(labels.dtype)
    if "int" in dtype and not np.iinfo(dtype).min <= fill <= np.iinfo(dtype).max:
        labels = ops.cast(labels, "int32")  # which can hold the fill value
    for axis, count, length in zip((1, 2), sides, size, strict=True):
        if isinstance(count, int) and isinstance(length, int) and length > positions.extent(count):
            raise ValueError(
                "Labels can only be subsampled to scores of the same or a smaller size. Received: labels of shape "
                f"{tuple(labels.shape)}, scores of height and width {tuple(size)}"
            )
        pixels = positions.pixels(count, length)
        labels = ops.take(labels, ops.minimum(pixels, count - 1), axis=axis)
        if positions.grid is not None or positions.output_stride is not None:
            inside = ops.reshape(pixels < count, [-1 if each == axis else 1 for each in range(len(labels.shape))])
            labels = ops.where(inside, labels, ops.cast(fill, labels.dtype))
    return labels


def _upsampled(logits: Tensor, size: Sequence[Any], positions: Positions) -> Tensor:
    if positions.output_stride is not None:
        return zoom(logits, positions.output_stride, size)
    resized = resize(logits, [positions.extent(count) for count in size], align_corners=positions.align_corners)
    return resized if positions.grid is None else resized[:, : size[0], : size[1]]


def _size(x: Tensor) -> tuple[Any, Any]:
    """Returns height and width: integers where they are static, else scalar tensors."""
    static, dynamic = tuple(x.shape)[1:3], ops.shape(x)[1:3]
    return tuple(side if side is not None else tensor for side, tensor in zip(static, dynamic, strict=True))  # type: ignore[return-value]
