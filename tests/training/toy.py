"""Networks and examples small enough to train in a test."""

import keras
import numpy as np
import tensorflow as tf

from tfseg.labels import Labels
from tfseg.layers import ResizeLike

LABELS = Labels(names=("red", "green", "blue"))


def network(*, channels: int = 6, dropout: float = 0.0, norm: bool = True) -> keras.Model:
    """Returns a network from images to logits of three classes."""
    image = keras.Input((None, None, 3), name="image")
    x = keras.layers.Rescaling(1 / 255, name="rescaling")(image)
    x = keras.layers.Conv2D(channels, 3, padding="same", use_bias=not norm, name="conv")(x)
    x = keras.layers.BatchNormalization(name="norm")(x) if norm else x
    x = keras.layers.ReLU(name="relu")(x)
    x = keras.layers.Dropout(dropout, name="dropout")(x) if dropout else x
    x = keras.layers.Conv2D(3, 1, name="score")(x)
    return keras.Model(image, keras.layers.Activation("linear", dtype="float32", name="logits")(x), name="toy")


def network_with_outputs(*, dropout: float = 0.0) -> keras.Model:
    """Returns a network in its training form: logits, and scores and auxiliary scores of half the size."""
    image = keras.Input((None, None, 3), name="image")
    x = keras.layers.Rescaling(1 / 255, name="rescaling")(image)
    x = keras.layers.Conv2D(6, 3, strides=2, padding="same", use_bias=False, name="conv")(x)
    x = keras.layers.ReLU(name="relu")(keras.layers.BatchNormalization(name="norm")(x))
    aux = keras.layers.Conv2D(4, 3, padding="same", use_bias=False, name="side")(x)
    aux = keras.layers.Conv2D(3, 1, name="side_score")(keras.layers.BatchNormalization(name="side_norm")(aux))
    x = keras.layers.Dropout(dropout, name="dropout")(x) if dropout else x
    scores = keras.layers.Conv2D(3, 1, name="score")(x)
    logits = ResizeLike(align_corners=True, name="resize")([scores, image])
    outputs = {"logits": logits, "scores": scores, "aux_side": aux}
    named = {name: keras.layers.Activation("linear", dtype="float32", name=name)(y) for name, y in outputs.items()}
    return keras.Model(image, named, name="toy")


def examples(count: int, *, size: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns noise images labeled by their strongest channel. Image `i` has `i % size` unlabeled rows."""
    images = np.random.default_rng(seed).integers(0, 256, (count, size, size, 3)).astype(np.uint8)
    masks = images.argmax(-1).astype(np.int32)
    for index, mask in enumerate(masks):
        mask[: index % size] = LABELS.ignore
    return images, masks


def batches(images: np.ndarray, masks: np.ndarray, size: int, epochs: int = 1) -> tf.data.Dataset:
    """Returns full batches for several epochs. The last batch of an epoch is filled up with unlabeled images."""
    missing = -len(images) % size
    images = np.concatenate([images, images[:missing]])
    masks = np.concatenate([masks, np.full_like(masks[:missing], LABELS.ignore)])
    one = tf.data.Dataset.from_tensor_slices((images, masks)).batch(size)
    repeated = tf.data.Dataset.range(epochs).flat_map(lambda _: one)
    return repeated.apply(tf.data.experimental.assert_cardinality(epochs * len(images) // size))
