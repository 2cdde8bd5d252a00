"""Use of three tfseg layers in a custom Keras model.

The model segments bright pixels in images of any size. From tfseg come pixel normalization inside the model, a dilated
convolution that is a single operation in TFLite, and a layer that resizes the scores to the size of the image.

    python examples/foreign_app.py bright.keras
"""

import sys

import keras
import numpy as np

from tfseg.layers import AtrousConv2D, Normalize, ResizeLike


def network() -> keras.Model:
    """Builds a model for images of any height and width, with one logit per pixel."""
    image = keras.Input((None, None, 3), name="image")
    x = Normalize(mode="tf")(image)
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
    x = AtrousConv2D(8, 3, dilation_rate=2, padding="same", activation="relu")(x)
    x = keras.layers.Conv2D(1, 1)(x)
    return keras.Model(image, ResizeLike()([x, image]))


def scenes(count: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Generates images of bright rectangles on a dark background, and their masks."""
    random = np.random.default_rng(seed)
    masks = np.zeros((count, size, size, 1), np.float32)
    for mask in masks:
        top, left = random.integers(0, size // 2, 2)
        mask[top : top + size // 2, left : left + size // 2] = 1
    images = 60 + 120 * masks + random.normal(0, 20, (count, size, size, 3))
    return images.clip(0, 255).astype(np.uint8), masks


def main(path: str) -> float:
    """Trains, saves and loads the model, and returns its accuracy on images of another size."""
    keras.utils.set_random_seed(0)
    model = network()
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=[keras.metrics.BinaryAccuracy(threshold=0.0)], jit_compile=False)
    model.fit(*scenes(64, 32, seed=0), batch_size=8, epochs=8, verbose=0)
    model.save(path)
    loaded = keras.models.load_model(path)  # needs no custom_objects: the layers are registered
    return loaded.evaluate(*scenes(8, 49, seed=1), verbose=0)[1]


if __name__ == "__main__":
    print(f"accuracy on 49 x 49 images, after training on 32 x 32: {main(sys.argv[1]):.3f}")
