"""Engines that run a trained network from a `.keras` file, a SavedModel or a TFLite file, with one interface."""

import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

import tfseg.layers  # noqa: F401  # registers the layers that a saved model may contain
from tfseg.errors import RunError, first_line
from tfseg.images import EIGHT_BITS, ImageValues
from tfseg.images.values import read_values
from tfseg.labels import LABELS, Labels, read_labels
from tfseg.layers.deterministic import deterministic

MODELS = "a run directory, a .keras file, a SavedModel folder or a .tflite file"
"""Kinds of files of a trained network."""
UNKNOWN_CLASS = re.compile(r"Could not locate class '(\w+)'")
"""Keras's message for a class that is not registered."""
SEED_STATE = "seed_generator_state"
"""Name of the variable of Keras's `SeedGenerator`."""


class Engine(Protocol):
    """Interface of the engines. Images are `[batch, height, width, channels]`, of the dtype of `values`."""

    channels: int
    classes: int
    size: tuple[int, int] | None
    """Height and width of the input, or None if they are not fixed."""
    labels: Labels | None
    """Class names, colors and ignore label, if they are stored in the model file or its folder; otherwise None."""
    values: ImageValues
    """Dtype and range of the images; uint8 unless the model file or its folder states others."""

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Returns the probabilities, float32 `[batch, height, width, classes]`."""

    def masks(self, images: np.ndarray) -> np.ndarray:
        """Returns the class ids, `[batch, height, width]`: uint8, or uint16 with more than 256 classes."""


def labels_of(path: Path) -> Labels | None:
    """Returns the labels stored in the file of a network or in its folder, or None.

    Raises:
        RunError: If the stored labels are corrupt.
    """
    stored = _stored(path)
    return None if stored is None else read_labels(*stored)


def values_of(path: Path) -> ImageValues:
    """Returns the values of images stored with the labels of a network; by default, those of images of 8 bits.

    Raises:
        RunError: If the stored values are corrupt.
    """
    stored = _stored(path)
    return EIGHT_BITS if stored is None else read_values(*stored)


def _stored(path: Path) -> tuple[Path, bytes] | None:
    """Returns the path and the content of the labels file in the file of a network or in its folder, or None."""
    if path.suffix == ".tflite" and zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:  # may contain other files as well
                return (path, archive.read(LABELS)) if LABELS in archive.namelist() else None
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, OSError, EOFError) as error:
            raise RunError(
                f"{path}: its associated file {LABELS} is corrupt ({first_line(error)}). "
                "Expected a file written by `tfseg export`."
            ) from error
    file = path / LABELS if path.is_dir() else path.with_name(LABELS)
    return (file, file.read_bytes()) if file.is_file() else None


def load_model(path: Path) -> keras.Model:
    """Loads a `.keras` file, which may contain layers of tfseg.

    Raises:
        RunError: If Keras cannot read the file.
    """
    if not zipfile.is_zipfile(path):
        raise RunError(
            f"{path}: Keras cannot load it: it is not a complete zip archive. "
            "Expected a .keras file written by `tfseg fit`."
        )
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # a corrupt file can fail in any part of Keras, h5py and zlib
        if unknown := UNKNOWN_CLASS.search(str(error)):
            raise RunError(
                f"{path}: Keras cannot load it: the class {unknown[1]} is not registered. Import the module that "
                "registers it; for the plugins of a run, use allow_plugins=True or --allow-plugins."
            ) from error
        raise RunError(
            f"{path}: Keras cannot load it: {first_line(error)}. Expected a .keras file written by `tfseg fit`."
        ) from error


class KerasEngine:
    """Runs a Keras model with one input image and one output of logits. MC dropout is off, except in `passes`."""

    def __init__(self, model: keras.Model, labels: Labels | None = None, values: ImageValues = EIGHT_BITS) -> None:
        _, height, width, self.channels = model.inputs[0].shape
        self.classes = int(model.outputs[0].shape[-1])
        self.size = (height, width) if height and width else None
        self.labels, self.values = labels, values
        image = tf.TensorSpec(
            (None, height, width, self.channels), tf.as_dtype(values.dtype)
        )  # one graph for all sizes
        smallest = tf.as_dtype(np.min_scalar_type(self.classes - 1))
        without_dropout = deterministic(model)
        self.stochastic = without_dropout is not model
        """True if the network has MC dropout."""

        def logits(network: keras.Model, images: tf.Tensor) -> tf.Tensor:
            return tf.cast(network(tf.cast(values.mapped(images), network.inputs[0].dtype), training=False), tf.float32)

        self._probabilities = tf.function(
            lambda images: tf.nn.softmax(logits(without_dropout, images)), [image], autograph=False
        )
        self._masks = tf.function(
            lambda images: tf.cast(tf.argmax(logits(without_dropout, images), -1, tf.int32), smallest),
            [image],
            autograph=False,
        )
        self._scores = tf.function(lambda images: logits(without_dropout, images), [image], autograph=False)
        self._sample = tf.function(lambda images: tf.nn.softmax(logits(model, images)), [image], autograph=False)
        self._states = [variable for variable in model.variables if variable.name == SEED_STATE]

    @classmethod
    def open(cls, path: Path) -> "KerasEngine":
        return cls(load_model(path), labels_of(path), values_of(path))

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        return self._probabilities(images).numpy()

    def masks(self, images: np.ndarray) -> np.ndarray:
        return self._masks(images).numpy()

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Returns the logits, float32 `[batch, height, width, classes]`."""
        return self._scores(images).numpy()

    def passes(self, images: np.ndarray, count: int, seed: int) -> Iterator[np.ndarray]:
        """Yields the probabilities of `count` passes with MC dropout, reproducible by `seed`."""
        for state, start in zip(self._states, np.random.SeedSequence(seed).spawn(len(self._states)), strict=True):
            state.assign([start.generate_state(1)[0], 0])
        for _ in range(count):
            yield self._sample(images).numpy()


class SavedModelEngine:
    """Runs a SavedModel with the signatures written by `tfseg export`."""

    def __init__(self, path: Path) -> None:
        try:
            self._loaded = tf.saved_model.load(str(path))  # keeps the signatures alive
        except Exception as error:  # a corrupt file can fail in any part of TensorFlow's loader
            raise RunError(
                f"{path}: TensorFlow cannot load it as a SavedModel: {first_line(error)}. Expected a folder written by "
                "`tfseg export`."
            ) from error
        signatures = self._loaded.signatures
        try:
            self._masks, self._probabilities = signatures["serving_default"], signatures["probabilities"]
            image = self._masks.structured_input_signature[1]["image"].shape
            self.classes = int(self._probabilities.structured_outputs["probabilities"].shape[-1])
        except KeyError as error:
            raise RunError(
                f"{path}: is a SavedModel with the signatures {sorted(signatures)}. Expected `serving_default` and "
                "`probabilities` with the input `image`, as written by `tfseg export`."
            ) from error
        self.channels = int(image[-1])
        self.size: tuple[int, int] | None = None
        self.labels, self.values = labels_of(path), values_of(path)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        return self._probabilities(image=tf.constant(images))["probabilities"].numpy()

    def masks(self, images: np.ndarray) -> np.ndarray:
        return self._masks(image=tf.constant(images))["mask"].numpy()


class TfliteEngine:
    """Runs a TFLite file with the signature written by `tfseg export`: fixed size, batch 1."""

    def __init__(self, path: Path) -> None:
        try:
            self._interpreter = Interpreter(model_path=str(path), num_threads=os.cpu_count())
            self._run = self._interpreter.get_signature_runner("probabilities")
        except ValueError as error:
            raise RunError(
                f"{path}: cannot be run as a TFLite file ({first_line(error)}). Expected the "
                "signature `probabilities` with the input `image`, as written by `tfseg export`."
            ) from error
        _, height, width, self.channels = (int(side) for side in self._run.get_input_details()["image"]["shape"])
        self.size: tuple[int, int] | None = (height, width)
        self.classes = int(self._run.get_output_details()["probabilities"]["shape"][-1])
        self.labels, self.values = labels_of(path), values_of(path)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        return np.concatenate([self._run(image=image[None].astype(np.float32))["probabilities"] for image in images])

    def masks(self, images: np.ndarray) -> np.ndarray:
        return self.probabilities(images).argmax(-1).astype(np.min_scalar_type(self.classes - 1))
