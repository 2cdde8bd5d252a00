"""Encoding of examples as the content of an image file and of a mask file, inside the TensorFlow graph."""

from collections.abc import Callable

import tensorflow as tf

from tfseg.data.examples import Examples
from tfseg.images import png
from tfseg.images.decode import DECODER_CHANNELS, JPEG, NUMPY

PNG_CHANNELS = (*DECODER_CHANNELS, 2)
"""Numbers of channels that a PNG can have."""

_FORMATS = {JPEG: "jpeg", png.SIGNATURE: "png"}
_DEPTH = 8

Encoded = tuple[tf.Tensor, tf.Tensor, tf.Tensor]
"""Content of image and mask, string scalars, and the size of the image: height and width."""


def encoded(examples: Examples) -> Callable[[tf.Tensor], tuple[Encoded, tf.Tensor]]:
    """Returns a function of an index that loads an example and returns it encoded, with its problem.

    JPEG and PNG files of images are kept, and `.npy` files if the examples have their native values. Others are encoded
    as PNG, or kept if they have more channels than a PNG can have (`.npy`). Masks are encoded as gray PNG of class ids.
    A mask file that is equal to that is kept.
    """

    def load(index: tf.Tensor) -> tuple[Encoded, tf.Tensor]:
        image, mask, problem = examples.load(index)
        blank = tf.constant("")
        files = (blank, blank) if examples.content is None else examples.content(index)

        def contents() -> tuple[tf.Tensor, tf.Tensor]:
            return _image(files[0], image), _mask(files[1], mask)

        contents_ = tf.cond(tf.equal(problem, ""), contents, lambda: (blank, blank))
        return (*contents_, tf.shape(mask)), problem

    return load


def image_format(content: bytes) -> str:
    """Returns the name of the format of an encoded image: `jpeg`, `png` or `npy`."""
    return next((name for magic, name in _FORMATS.items() if content.startswith(magic)), "npy")


def _image(content: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    if image.shape[-1] not in PNG_CHANNELS:
        return content
    formats = (*_FORMATS, NUMPY) if image.dtype.is_floating else tuple(_FORMATS)  # other images have 8 bits
    kept = [tf.equal(tf.strings.substr(content, 0, len(magic)), magic) for magic in formats]
    return tf.cond(tf.reduce_any(kept), lambda: content, lambda: tf.io.encode_png(tf.cast(image, tf.uint8)))


def _mask(content: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    ids = tf.cast(mask, tf.uint8 if mask.dtype == tf.uint8 else tf.uint16)[:, :, None]
    gray = tf.cond(png.is_png(content), lambda: _is_gray(content), lambda: False)
    equal = tf.cond(gray, lambda: _equal(tf.io.decode_png(content, 1), ids), lambda: False)
    return tf.cond(equal, lambda: content, lambda: tf.io.encode_png(ids))


def _is_gray(content: tf.Tensor) -> tf.Tensor:
    """Returns whether a PNG has one channel of 8 bits, which all readers decode to the same ids."""
    depth, color = png.header(content)
    return tf.equal(depth, _DEPTH) & tf.equal(color, png.GRAY)


def _equal(values: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    same = tf.reduce_all(tf.equal(tf.shape(values), tf.shape(ids)))
    return tf.cond(same, lambda: tf.reduce_all(tf.equal(tf.cast(values, ids.dtype), ids)), lambda: False)
