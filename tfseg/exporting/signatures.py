"""What an exported network can be asked: a mask and its confidence, a PNG for a JPEG, or all probabilities."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from tfseg.images import decode_image
from tfseg.ops.resize import resize

DECODABLE = (1, 3, 4)
"""Channel counts that a JPEG or PNG can be decoded to."""

Outputs = dict[str, tf.Tensor]
Endpoints = dict[str, tuple[Callable[[tf.Tensor], Outputs], tf.TensorSpec]]
Size = tuple[int, int]


class Signatures:
    """The functions that an artifact of `model` serves. Images are uint8 (or float32, 0..255).

    Args:
        model: a float32 Functional model from one image to logits `[batch, height, width, classes]`.
        shape: batch, height and width of the images, None for those that are free; without it the functions compute
            outside a graph, as Keras does.
        size: height and width at which the network sees every image, as `inference.size` says; its probabilities are
            resized back, and classes taken from those. By default each image at its own size.
    """

    def __init__(
        self,
        model: keras.Model,
        shape: tuple[int | None, int | None, int | None] | None = None,
        size: Size | None = None,
    ) -> None:
        self.model = model
        self.size = size
        self.channels = int(model.inputs[0].shape[-1])
        self.classes = int(model.outputs[0].shape[-1])
        self._network: Callable[[tf.Tensor], tf.Tensor] = self._computed
        if shape is not None:  # one graph that all signatures share: tracing is what takes long
            image = tf.TensorSpec((*shape, self.channels), tf.float32, name="image")
            self._network = tf.function(self._computed, [image], autograph=False)

    def _computed(self, image: tf.Tensor) -> tf.Tensor:
        seen = image if self.size is None else tf.round(resize(image, self.size))  # bytes, as `predict` rounds them
        return tf.cast(self.model(tf.cast(seen, self.model.inputs[0].dtype), training=False), tf.float32)

    def scores(self, image: tf.Tensor) -> tf.Tensor:
        """The logits of each pixel; of a network with a size of its own the probabilities, resized back."""
        image = tf.cast(image, tf.float32)
        logits = self._network(image)
        if self.size is None:
            return logits
        _, height, width, _ = keras.ops.shape(image)
        return resize(tf.nn.softmax(logits), (height, width))

    def mask(self, scores: tf.Tensor) -> tf.Tensor:
        """The best class of each pixel, in the narrowest type that holds every class: uint8, past 256 classes uint16.

        Taken from the logits: softmax rounds two large ones to the same probability.
        """
        return tf.cast(tf.argmax(scores, -1, output_type=tf.int32), np.min_scalar_type(self.classes - 1))

    def normalized(self, scores: tf.Tensor) -> tf.Tensor:
        """The probabilities of `scores`."""
        return tf.nn.softmax(scores) if self.size is None else scores

    def serving_default(self, image: tf.Tensor) -> Outputs:
        scores = self.scores(image)
        return {"mask": self.mask(scores), "confidence": tf.reduce_max(self.normalized(scores), -1)}

    def probabilities(self, image: tf.Tensor) -> Outputs:
        return {"probabilities": self.normalized(self.scores(image))}

    def serving_bytes(self, encoded: tf.Tensor) -> Outputs:
        """Files to index PNGs, one image at a time since their sizes may differ.

        The suffix of the output's name makes TF Serving's REST interface encode it in base 64.
        """

        def one(contents: tf.Tensor) -> tf.Tensor:
            image = decode(contents, self.channels)
            return tf.io.encode_png(self.mask(self.scores(image[None]))[0, ..., None])

        return {"mask_png_bytes": tf.map_fn(one, encoded, fn_output_signature=tf.TensorSpec((), tf.string))}

    def endpoints(self) -> Endpoints:
        """Name to function and input of every signature of a SavedModel, for any number of images of any size."""
        image = tf.TensorSpec((None, None, None, self.channels), tf.uint8, name="image")
        endpoints: Endpoints = {
            "serving_default": (self.serving_default, image),
            "probabilities": (self.probabilities, image),
        }
        if self.channels in DECODABLE:
            endpoints["serving_bytes"] = (self.serving_bytes, tf.TensorSpec((None,), tf.string, name="encoded"))
        return endpoints


def decode(contents: tf.Tensor, channels: int) -> tf.Tensor:
    """An image file as training and prediction read it, uint8 `[height, width, channels]`.

    Raises:
        tf.errors.InvalidArgumentError: the file is broken, or of a kind that is not supported.
    """
    image, fault = decode_image(contents, channels)
    with tf.control_dependencies([tf.debugging.Assert(tf.equal(fault, ""), [fault])]):
        return tf.identity(image)
