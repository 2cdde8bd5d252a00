"""Small networks, labels and images for tests of exports."""

import keras
import numpy as np
import tensorflow as tf

from tfseg.labels import Labels


def labels(count: int = 3) -> Labels:
    return Labels(names=tuple(f"class{index}" for index in range(count)), ignore=255 if count < 256 else 65535)


def image(seed: int = 0, height: int = 40, width: int = 52, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


@keras.saving.register_keras_serializable(package="toys")
class ResizeTo(keras.layers.Layer):
    """Resizes bilinearly to the size of a second tensor."""

    def __init__(self, align_corners=False, **kwargs):
        super().__init__(**kwargs)
        self.align_corners = align_corners

    def call(self, inputs):
        x, reference = inputs
        options = {"align_corners": self.align_corners, "half_pixel_centers": not self.align_corners}
        return tf.raw_ops.ResizeBilinear(images=x, size=tf.shape(reference)[1:3], **options)

    def get_config(self):
        return {**super().get_config(), "align_corners": self.align_corners}

    def compute_output_shape(self, input_shape):
        return (*input_shape[1][:3], input_shape[0][-1])


@keras.saving.register_keras_serializable(package="toys")
class GraphOffset(keras.layers.Layer):
    """Adds `extra` to class 0 in a graph but not in eager mode, an error that the verification has to detect."""

    def __init__(self, extra=1.0, static_only=False, **kwargs):
        super().__init__(**kwargs)
        self.extra, self.static_only = extra, static_only

    def call(self, x):
        if tf.executing_eagerly() or (self.static_only and x.shape[1] is None):
            return x
        return x + tf.one_hot(0, x.shape[-1]) * self.extra

    def get_config(self):
        return {**super().get_config(), "extra": self.extra, "static_only": self.static_only}


@keras.saving.register_keras_serializable(package="toys")
class ArgmaxPooling(keras.layers.Layer):
    """Layer with an operation that TFLite does not support."""

    def call(self, x):
        return tf.nn.max_pool_with_argmax(x, 3, 1, "SAME")[0]

    def compute_output_shape(self, input_shape):
        return input_shape


def network(classes=3, channels=3, seed=0, before=(), after=(), align_corners=False) -> keras.Model:
    """Builds a network of stride 2 with input normalization, BatchNorm, dropout, dilation and a resize."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((None, None, channels), name="image")
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(inputs)
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
    for layer in before:
        x = layer(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Dropout(0.5)(x)
    x = keras.layers.Conv2D(8, 3, padding="same", dilation_rate=2, activation="relu")(x)
    x = keras.layers.Conv2D(classes, 1)(x)
    x = ResizeTo(align_corners)([x, inputs])
    for layer in after:
        x = layer(x)
    logits = keras.layers.Activation("linear", dtype="float32", name="logits")(x)
    model = keras.Model(inputs, logits)
    norm = next(layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization))
    noise = np.random.default_rng(seed)
    norm.set_weights([noise.uniform(0.5, 2, weight.shape) for weight in norm.get_weights()])
    return model


def constant(scores) -> keras.Model:
    """Builds a network that outputs `scores` at every pixel of any image."""
    inputs = keras.Input((None, None, 3), name="image")
    logits = keras.layers.Conv2D(len(scores), 1, kernel_initializer="zeros", name="logits")(inputs)
    model = keras.Model(inputs, logits)
    model.layers[-1].bias.assign(scores)
    return model
