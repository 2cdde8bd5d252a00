"""TensorBoard event files with scalars and sample predictions, written without the tensorboard package."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfseg.images import EIGHT_BITS
from tfseg.images.overlay import blend, visible
from tfseg.labels import Labels
from tfseg.training.checkpoints import writing
from tfseg.training.files import LOGS
from tfseg.training.outputs import single_output

SCALARS, IMAGES = "scalars", "images"
"""Names of TensorBoard plugins."""


class TensorBoardEvents(keras.callbacks.Callback):
    """Callback that writes `logs/train` and `logs/validation` after every epoch, for `tensorboard --logdir`.

    Both contain loss and metrics under the same tags, so TensorBoard shows them in one chart. `logs/train` also
    contains the learning rate, `logs/validation` the samples: image, ground truth and prediction side by side.

    Args:
        folder: Run directory.
        labels: Class names, colors and ignore label.
        samples: Pairs of an image, uint8 or float32 `[height, width, channels]`, and a mask `[height, width]`.
    """

    def __init__(self, folder: Path, labels: Labels, samples: Sequence[tuple[Any, Any]] = ()) -> None:
        super().__init__()
        self.folder = Path(folder) / LOGS
        self.labels = labels
        self.samples = [(np.asarray(image), np.asarray(mask)) for image, mask in samples]
        self._writers: dict[str, Any] = {}

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        metrics = {name: float(value) for name, value in (logs or {}).items()}
        train = {name: value for name, value in metrics.items() if not name.startswith("val_")}
        validation = {name[4:]: value for name, value in metrics.items() if name.startswith("val_")}
        strips = [self._strip(image, mask) for image, mask in self.samples] if validation else []
        with writing(self.folder, self.folder.parent), _system_errors():
            with self._writer("train").as_default(step=epoch + 1):  # flushes on exit
                _write_scalars({**train, "learning_rate": float(self.model.optimizer.learning_rate)})
            with self._writer("validation").as_default(step=epoch + 1):
                _write_scalars(validation)
                _write_images(strips)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        while self._writers:
            self._writers.popitem()[1].close()

    def _writer(self, name: str) -> Any:
        if name not in self._writers:
            self._writers[name] = tf.summary.create_file_writer(str(self.folder / name))
        return self._writers[name]

    def _strip(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        scores = single_output(self.model)(tf.constant(image[None], tf.float32), training=False)
        prediction = tf.argmax(scores[0], axis=-1).numpy()
        shown = EIGHT_BITS.shown(visible(image))
        rgb = np.broadcast_to(shown, (*shown.shape[:2], 3))
        palette, ignore = self.labels.palette, self.labels.ignore
        panels = [rgb, blend(rgb, mask, palette, ignore=ignore), blend(rgb, prediction, palette)]
        return np.concatenate([np.asarray(panel, np.uint8) for panel in panels], axis=1)


def _write_scalars(values: dict[str, float]) -> None:
    for tag, value in values.items():
        tf.summary.write(tag, tf.constant(value, tf.float32), metadata=_metadata(SCALARS))


def _write_images(images: Sequence[np.ndarray]) -> None:
    for index, image in enumerate(images):
        height, width = image.shape[:2]
        parts = [str(width).encode(), str(height).encode(), tf.io.encode_png(image).numpy()]
        tf.summary.write(f"sample_{index}", tf.constant(parts), metadata=_metadata(IMAGES))


@contextmanager
def _system_errors() -> Iterator[None]:
    """Context that converts errors of TensorFlow to `OSError`, with the reason at the end of their first line."""
    try:
        yield
    except tf.errors.OpError as error:
        raise OSError(error.message.splitlines()[0].split("; ")[-1]) from error


def _metadata(plugin: str) -> tf.compat.v1.SummaryMetadata:
    """Returns the summary metadata of a TensorBoard plugin: its name and the data class."""
    metadata = tf.compat.v1.SummaryMetadata()
    metadata.plugin_data.plugin_name = plugin
    scalar = plugin == SCALARS
    metadata.data_class = 1 if scalar else 3  # DATA_CLASS_SCALAR, DATA_CLASS_BLOB_SEQUENCE of summary.proto
    return metadata
