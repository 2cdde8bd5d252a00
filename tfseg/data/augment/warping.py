"""Sampling of an image and its mask at arbitrary positions."""

import tensorflow as tf

from tfseg.data.augment.contract import Pair, View, like, padded


def warped(image: tf.Tensor, mask: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor, view: View) -> Pair:
    """Samples the image by bilinear interpolation and the mask by nearest neighbor.

    Args:
        image: Uint8 or float32 tensor of shape `[height, width, channels]`, 0 to 255.
        mask: Integer tensor of shape `[height, width]`.
        rows: Float tensor, input row of each output pixel. Shape `[height, width]`, or `[height, 1]` to broadcast.
        columns: Float tensor, input column of each output pixel. Shape `[height, width]`, or `[1, width]` to broadcast.
        view: Ignore label and fill value. Positions outside of the image have the fill value and the ignore label.
    """
    border = [[1, 1], [1, 1]]  # one pixel of the fill value, to which all positions outside are clipped
    framed = padded(image, [*border, [0, 0]], view.fill)
    ids = tf.pad(mask, border, constant_values=view.ignore)
    width = tf.shape(ids)[1]
    rows = tf.clip_by_value(rows + 1, 0, tf.cast(tf.shape(ids)[0] - 1, tf.float32))
    columns = tf.clip_by_value(columns + 1, 0, tf.cast(width - 1, tf.float32))
    pixels = _bilinear(framed, rows, columns)
    nearest = tf.cast(tf.floor(rows + 0.5), tf.int32) * width + tf.cast(tf.floor(columns + 0.5), tf.int32)
    result = tf.gather_nd(tf.reshape(ids, [-1]), nearest[:, :, None])
    return tf.ensure_shape(like(pixels, image), image.shape), tf.ensure_shape(result, mask.shape)


def _bilinear(image: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Interpolates between the four pixels around each position, all of which must be inside of the image."""
    height, width = tf.unstack(tf.shape(image)[:2])
    top, left = (
        tf.minimum(tf.cast(positions, tf.int32), length - 2)  # positions are at least 0
        for positions, length in ((rows, height), (columns, width))
    )
    down, right = (rows - tf.cast(top, tf.float32))[:, :, None], (columns - tf.cast(left, tf.float32))[:, :, None]
    corner = top * width + left
    flat = tf.reshape(image, [-1, image.shape[-1]])

    def between(first: tf.Tensor) -> tf.Tensor:
        here, after = (tf.cast(tf.gather(flat, first + step), tf.float32) for step in (0, 1))
        return here + right * (after - here)

    upper = between(corner)
    return upper + down * (between(corner + width) - upper)
