"""Serving signatures of an exported network: mask and confidence, PNG masks of encoded images, probabilities."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from tfseg.images import EIGHT_BITS, ImageValues, decode_image, decode_native
from tfseg.ops.resize import resize

Outputs = dict[str, tf.Tensor]
Endpoints = dict[str, tuple[Callable[[tf.Tensor], Outputs], tf.TensorSpec]]
Size = tuple[int, int]


class Signatures:
    """Functions of the serving signatures of a model. Images have the dtype of `values`, or are float32.

    Args:
        model: Functional Keras model in float32 from an image to logits `[batch, height, width, classes]`.
        shape: Tuple of batch, height and width of the images, each an integer or None. If not given, the functions
            are executed eagerly.
        size: Height and width to resize images to (`inference.size`). The probabilities are resized back before the
            argmax. Defaults to native resolution.
        values: ImageValues, dtype and range of the images. Images of other dtypes than uint8 are mapped to 0..255.
    """

    def __init__(
        self,
        model: keras.Model,
        shape: tuple[int | None, int | None, int | None] | None = None,
        size: Size | None = None,
        values: ImageValues = EIGHT_BITS,
    ) -> None:
        self.model = model
        self.size, self.values = size, values
        self.channels = int(model.inputs[0].shape[-1])
        self.classes = int(model.outputs[0].shape[-1])
        self._network: Callable[[tf.Tensor], tf.Tensor] = self._computed
        if shape is not None:  # one graph for all signatures, because tracing is slow
            image = tf.TensorSpec((*shape, self.channels), tf.float32, name="image")
            self._network = tf.function(self._computed, [image], autograph=False)

    def _computed(self, image: tf.Tensor) -> tf.Tensor:
        pixels = self.values.mapped(self._resized(image))
        return tf.cast(self.model(tf.cast(pixels, self.model.inputs[0].dtype), training=False), tf.float32)

    def _resized(self, image: tf.Tensor) -> tf.Tensor:
        if self.size is None:
            return image
        resized = resize(image, self.size)
        return tf.round(resized) if self.values.is_whole else resized  # rounded as in `predict`

    def scores(self, image: tf.Tensor) -> tf.Tensor:
        """Computes the logits of each pixel or, with `size`, the probabilities, resized back."""
        image = tf.cast(image, tf.float32)
        logits = self._network(image)
        if self.size is None:
            return logits
        _, height, width, _ = keras.ops.shape(image)
        return resize(tf.nn.softmax(logits), (height, width))

    def mask(self, scores: tf.Tensor) -> tf.Tensor:
        """Computes the class ids: uint8, or uint16 with more than 256 classes.

        Without `size`, the class ids are the argmax of the logits, because softmax may round different logits to the
        same probability.
        """
        return tf.cast(tf.argmax(scores, -1, output_type=tf.int32), np.min_scalar_type(self.classes - 1))

    def normalized(self, scores: tf.Tensor) -> tf.Tensor:
        """Computes the probabilities from `scores`."""
        return tf.nn.softmax(scores) if self.size is None else scores

    def serving_default(self, image: tf.Tensor) -> Outputs:
        scores = self.scores(image)
        return {"mask": self.mask(scores), "confidence": tf.reduce_max(self.normalized(scores), -1)}

    def probabilities(self, image: tf.Tensor) -> Outputs:
        return {"probabilities": self.normalized(self.scores(image))}

    def serving_bytes(self, encoded: tf.Tensor) -> Outputs:
        """Computes PNG masks of encoded images, one image at a time because sizes may differ.

        Images of other numbers of channels than JPEG and PNG have are `.npy` files.

        The suffix `_bytes` of the output's name makes TF Serving's REST API encode it in base64.
        """

        def one(contents: tf.Tensor) -> tf.Tensor:
            image = decode(contents, self.channels, native=self.values.value_range is not None)
            return tf.io.encode_png(self.mask(self.scores(image[None]))[0, ..., None])

        return {"mask_png_bytes": tf.map_fn(one, encoded, fn_output_signature=tf.TensorSpec((), tf.string))}

    def endpoints(self) -> Endpoints:
        """Returns function and input `TensorSpec` of each SavedModel signature, for any batch size and image size."""
        image = tf.TensorSpec((None, None, None, self.channels), tf.as_dtype(self.values.dtype), name="image")
        return {
            "serving_default": (self.serving_default, image),
            "probabilities": (self.probabilities, image),
            "serving_bytes": (self.serving_bytes, tf.TensorSpec((None,), tf.string, name="encoded")),
        }


def decode(contents: tf.Tensor, channels: int, *, native: bool = False) -> tf.Tensor:
    """Decodes an image file as in training and prediction, to `[height, width, channels]`.

    Args:
        contents: Content of the file, a string scalar.
        channels: Integer, number of channels of the image.
        native: Boolean, whether to return the values of the file as float32 instead of uint8.

    Raises:
        tf.errors.InvalidArgumentError: If the file is corrupt or its format is not supported.
    """
    image, problem = (decode_native if native else decode_image)(contents, channels)
    with tf.control_dependencies([tf.debugging.Assert(tf.equal(problem, ""), [problem])]):
        return tf.identity(image)
