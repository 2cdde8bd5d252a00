"""Resizing: the one home of what lies between two pixels.

Two conventions put the places of the output onto the input. *Half-pixel centers* is the one of TensorFlow, PyTorch and
OpenCV today: the borders of both pictures coincide. *Aligned corners* is the one of Caffe's `Interp`, used by DeepLab:
the centers of the corner pixels coincide, and nothing is extrapolated.

TensorFlow 2.21 computes another picture where XLA compiles its bilinear resizing by most factors that are not even
(3, 5, 7.2; the difference is as large as the values). Layers that resize say so with `supports_jit`.
"""

from typing import Any, Literal

import keras
from keras import ops

Method = Literal["bilinear", "nearest"]

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf


def resize(x: Any, size: Any, interpolation: Method = "bilinear", align_corners: bool = False) -> Any:
    """Resizes images. Bilinear interpolation is computed in float32 and given back in the type of `x`.

    Args:
        x: `[batch, height, width, channels]`. Sizes may be unknown until the graph runs.
        size: the new height and width: two integers, or scalar integer tensors.
        interpolation: `"bilinear"` or `"nearest"`.
        align_corners: put the centers of the corner pixels onto each other, rather than the borders.

    Returns:
        `[batch, *size, channels]`, of the type of `x`.

    Raises:
        ValueError: another method.
    """
    if interpolation not in ("bilinear", "nearest"):
        raise ValueError(f'`interpolation` must be "bilinear" or "nearest". Received: interpolation={interpolation!r}')
    if interpolation == "nearest":
        return _nearest(x, size, align_corners)
    return ops.cast(_bilinear(ops.cast(x, "float32"), size, align_corners), x.dtype)


def zoom(x: Any, factor: int, size: Any) -> Any:
    """Bilinear interpolation of a map whose position `i` lies on pixel `factor * i`, cut to a height and width.

    The last position goes on for less than `factor` pixels.

    Args:
        x: `[batch, rows, columns, channels]`.
        factor: pixels from one position to the next.
        size: height and width: two integers, or scalar integer tensors; at most `factor` times those of `x`.
    """
    x = ops.concatenate([x, x[:, -1:]], axis=1)
    x = ops.concatenate([x, x[:, :, -1:]], axis=2)
    batch, rows, columns, channels = ops.shape(x)
    whole = ((rows - 1) * factor + 1, (columns - 1) * factor + 1)
    return ops.slice(resize(x, whole, align_corners=True), (0, 0, 0, 0), (batch, *size, channels))


if keras.backend.backend() == "tensorflow":

    def _bilinear(x: Any, size: Any, align_corners: bool) -> Any:
        return _resized(tf.raw_ops.ResizeBilinear, x, size, align_corners)

    def _nearest(x: Any, size: Any, align_corners: bool) -> Any:
        return _resized(tf.raw_ops.ResizeNearestNeighbor, x, size, align_corners)

    def _resized(op: Any, x: Any, size: Any, align_corners: bool) -> Any:
        shape = [*x.shape[:1], *(side if isinstance(side, int) else None for side in size), *x.shape[3:]]
        rows, columns = size
        y = op(
            images=x, size=tf.stack([rows, columns]), align_corners=align_corners, half_pixel_centers=not align_corners
        )
        y.set_shape(shape)  # `tf.ensure_shape` would add an operation that TFLite has not
        return y

else:

    def _bilinear(x: Any, size: Any, align_corners: bool) -> Any:
        for axis, length in zip((1, 2), size, strict=True):
            x = _interpolated(x, axis, length, align_corners)
        return x

    def _interpolated(x: Any, axis: int, length: int, align_corners: bool) -> Any:
        last, step = x.shape[axis] - 1, ops.arange(length, dtype="float32")
        aligned, centered = step * (last / max(length - 1, 1)), (step + 0.5) * ((last + 1) / length) - 0.5
        places = aligned if align_corners else centered
        lower = ops.floor(places)
        shape = [1] * len(x.shape)
        shape[axis] = length
        share = ops.reshape(places - lower, shape)
        before, after = (ops.cast(ops.clip(lower + step, 0, last), "int32") for step in (0, 1))
        return ops.take(x, before, axis) * (1 - share) + ops.take(x, after, axis) * share

    def _nearest(x: Any, size: Any, align_corners: bool) -> Any:
        for axis, length in zip((1, 2), size, strict=True):
            step, count = ops.arange(length), x.shape[axis]
            if align_corners:  # rounds half up, as TensorFlow does
                places = (2 * step * (count - 1) + length - 1) // max(2 * (length - 1), 1)
            else:
                places = (2 * step + 1) * count // (2 * length)
            x = ops.take(x, places, axis)
        return x
