"""A trained network as a function of an image, whatever file it came in."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfseg.errors import RunError
from tfseg.inference.engines import Engine, KerasEngine, SavedModelEngine, TfliteEngine
from tfseg.labels import Labels
from tfseg.ops.resize import resize


class Predictor:
    """Gives every image its mask at its own size.

    A network that is fixed to one size, as a TFLite file is, sees each image resized to that; its probabilities are
    resized back before the best class is taken. So does another where a `size` is given.

    >>> image = keras.Input((None, None, 3), name="image")
    >>> model = keras.Model(image, keras.layers.Conv2D(5, 1, name="logits")(image))
    >>> mask = Predictor(model).predict(np.zeros((40, 60, 3), np.uint8))
    >>> mask.shape, mask.dtype
    ((40, 60), dtype('uint8'))

    Args:
        network: a Keras model of one image to logits, or what `open` found in a file.
        size: height and width at which a network of any size is to see its images; by default, their own.
    """

    def __init__(self, network: keras.Model | Engine, size: tuple[int, int] | None = None) -> None:
        self._engine: Engine = KerasEngine(network) if isinstance(network, keras.Model) else network
        self._size = self._engine.size or size

    @classmethod
    def open(cls, path: Path, size: tuple[int, int] | None = None) -> "Predictor":
        """Reads a `.keras` file, a SavedModel folder or a `.tflite` file.

        Args:
            path: the file or folder.
            size: as of the constructor.

        Raises:
            RunError: there is no such file, or it is not one of these.
        """
        path = Path(path)
        if not path.exists():
            raise RunError(f"{path}: no such model. Expected a .keras file, a SavedModel folder or a .tflite file.")
        if path.is_dir() and (path / "saved_model.pb").is_file():
            return cls(SavedModelEngine(path), size)
        if path.suffix == ".keras":
            return cls(KerasEngine.open(path), size)
        if path.suffix == ".tflite":
            return cls(TfliteEngine(path), size)
        raise RunError(
            f"{path}: is no model that tfseg can run. Expected a .keras file, a folder with saved_model.pb in it, or a "
            ".tflite file."
        )

    @property
    def classes(self) -> int:
        """How many classes the network tells apart."""
        return self._engine.classes

    @property
    def channels(self) -> int:
        """How many channels its images have."""
        return self._engine.channels

    @property
    def labels(self) -> Labels | None:
        """The classes by name, where the file or its folder says them."""
        return self._engine.labels

    def predict(self, image: np.ndarray) -> np.ndarray:
        """uint8 `[height, width, channels]` to ids `[height, width]`: uint8, past 256 classes uint16."""
        return self.masks(image[None])[0]

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """uint8 `[height, width, channels]` to float32 `[height, width, classes]`."""
        return self._probabilities(self._checked(image[None]))[0]

    def masks(self, images: np.ndarray) -> np.ndarray:
        """A batch of images of one size to a batch of masks."""
        images = self._checked(images)
        if self._size in (None, images.shape[1:3]):
            return self._engine.masks(images)
        return self._probabilities(images).argmax(-1).astype(np.min_scalar_type(self.classes - 1))

    def _probabilities(self, images: np.ndarray) -> np.ndarray:
        size = images.shape[1:3]
        if self._size in (None, size):
            return self._engine.probabilities(images)
        return _resized(self._engine.probabilities(_resized(images, self._size)), size)

    def _checked(self, images: np.ndarray) -> np.ndarray:
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != self.channels:
            raise ValueError(
                f"Expected images as uint8 [height, width, {self.channels}], 0 to 255. "
                f"Received: {images.dtype} {list(images.shape[1:])}"
            )
        return images


def _resized(images: np.ndarray, size: Any) -> np.ndarray:
    """Bilinear; bytes are rounded to the nearest, which the cast back to bytes would not do."""
    resized = resize(images.astype(np.float32), size).numpy()
    return np.rint(resized).astype(np.uint8) if images.dtype == np.uint8 else resized
