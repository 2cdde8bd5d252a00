"""The three kinds of file that a trained network comes in, each as the same two functions of a batch of images."""

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

import tfseg.layers  # noqa: F401  # registers what a saved model names
from tfseg.errors import RunError, first_line
from tfseg.labels import LABELS, Labels, read_labels
from tfseg.layers.deterministic import deterministic

MODELS = "a run directory, a .keras file, a SavedModel folder or a .tflite file"
"""In what a trained network comes."""
UNKNOWN_CLASS = re.compile(r"Could not locate class '(\w+)'")
"""How Keras says that nobody has registered one."""
SEED_STATE = "seed_generator_state"
"""What Keras calls the variable that a layer draws its random numbers from."""


class Engine(Protocol):
    """A network that runs. Images are uint8 `[batch, height, width, channels]`."""

    channels: int
    classes: int
    size: tuple[int, int] | None
    """Height and width where the network is fixed to one size."""
    labels: Labels | None
    """The classes, if the file or its folder says them."""

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """float32 `[batch, height, width, classes]`."""

    def masks(self, images: np.ndarray) -> np.ndarray:
        """The best class of each pixel, `[batch, height, width]`: uint8, past 256 classes uint16."""


def labels_of(path: Path) -> Labels | None:
    """The classes of a network, where its file or its folder says them.

    Raises:
        RunError: what says them is damaged.
    """
    if path.suffix == ".tflite" and zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:  # of whatever files somebody has attached
                return read_labels(path, archive.read(LABELS)) if LABELS in archive.namelist() else None
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, OSError, EOFError) as error:
            raise RunError(
                f"{path}: the labels at its end are damaged ({first_line(error)}). "
                "Expected a file as `tfseg export` writes it."
            ) from error
    file = path / LABELS if path.is_dir() else path.with_name(LABELS)
    return read_labels(file, file.read_bytes()) if file.is_file() else None


def load_model(path: Path) -> keras.Model:
    """The network in a `.keras` file, whose layers may be tfseg's.

    Raises:
        RunError: Keras cannot read the file.
    """
    if not zipfile.is_zipfile(path):
        raise RunError(
            f"{path}: Keras cannot read it as a model: it is no whole zip archive, as such files are. "
            "Expected a .keras file as `tfseg fit` writes it."
        )
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # a damaged file can fail in any part of Keras, h5py and zlib
        if unknown := UNKNOWN_CLASS.search(str(error)):
            raise RunError(
                f"{path}: Keras knows no {unknown[1]}, which the network is made of. Expected a class that a module "
                "registers, and that the module was imported: of a run by allow_plugins=True or --allow-plugins."
            ) from error
        raise RunError(
            f"{path}: Keras cannot read it as a model: {first_line(error)}. Expected a .keras file as `tfseg fit` "
            "writes it."
        ) from error


class KerasEngine:
    """A Keras model of one image to logits. Dropout that stays on is off, except in `passes`."""

    def __init__(self, model: keras.Model, labels: Labels | None = None) -> None:
        _, height, width, self.channels = model.inputs[0].shape
        self.classes = int(model.outputs[0].shape[-1])
        self.size = (height, width) if height and width else None
        self.labels = labels
        image = tf.TensorSpec((None, height, width, self.channels), tf.uint8)  # one graph for all sizes
        smallest = tf.as_dtype(np.min_scalar_type(self.classes - 1))
        steady = deterministic(model)
        self.stochastic = steady is not model
        """Whether one pass through the network differs from the next."""

        def logits(network: keras.Model, images: tf.Tensor) -> tf.Tensor:
            return tf.cast(network(tf.cast(images, network.inputs[0].dtype), training=False), tf.float32)

        self._probabilities = tf.function(
            lambda images: tf.nn.softmax(logits(steady, images)), [image], autograph=False
        )
        self._masks = tf.function(
            lambda images: tf.cast(tf.argmax(logits(steady, images), -1, tf.int32), smallest), [image], autograph=False
        )
        self._scores = tf.function(lambda images: logits(steady, images), [image], autograph=False)
        self._sample = tf.function(lambda images: tf.nn.softmax(logits(model, images)), [image], autograph=False)
        self._states = [variable for variable in model.variables if variable.name == SEED_STATE]

    @classmethod
    def open(cls, path: Path) -> "KerasEngine":
        return cls(load_model(path), labels_of(path))

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        return self._probabilities(images).numpy()

    def masks(self, images: np.ndarray) -> np.ndarray:
        return self._masks(images).numpy()

    def scores(self, images: np.ndarray) -> np.ndarray:
        """What the softmax is taken of, float32 `[batch, height, width, classes]`."""
        return self._scores(images).numpy()

    def passes(self, images: np.ndarray, count: int, seed: int) -> Iterator[np.ndarray]:
        """The probabilities of `count` passes with dropout on, the same ones for the same `seed`."""
        for state, start in zip(self._states, np.random.SeedSequence(seed).spawn(len(self._states)), strict=True):
            state.assign([start.generate_state(1)[0], 0])
        for _ in range(count):
            yield self._sample(images).numpy()


class SavedModelEngine:
    """A SavedModel with the signatures that `tfseg export` gives it."""

    def __init__(self, path: Path) -> None:
        try:
            self._loaded = tf.saved_model.load(str(path))  # the signatures live as long as this does
        except Exception as error:  # a damaged file can fail in any part of TensorFlow's loader
            raise RunError(
                f"{path}: TensorFlow cannot read it as a SavedModel: {first_line(error)}. Expected a folder as `tfseg "
                "export` writes it."
            ) from error
        signatures = self._loaded.signatures
        try:
            self._masks, self._probabilities = signatures["serving_default"], signatures["probabilities"]
            image = self._masks.structured_input_signature[1]["image"].shape
            self.classes = int(self._probabilities.structured_outputs["probabilities"].shape[-1])
        except KeyError as error:
            raise RunError(
                f"{path}: is a SavedModel with the signatures {sorted(signatures)}. Expected `serving_default` and "
                "`probabilities` of an `image`, as `tfseg export` writes them."
            ) from error
        self.channels = int(image[-1])
        self.size: tuple[int, int] | None = None
        self.labels = labels_of(path)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        return self._probabilities(image=tf.constant(images))["probabilities"].numpy()

    def masks(self, images: np.ndarray) -> np.ndarray:
        return self._masks(image=tf.constant(images))["mask"].numpy()


class TfliteEngine:
    """A TFLite file with the signature that `tfseg export` gives it: one size, batch 1."""

    def __init__(self, path: Path) -> None:
        try:
            self._interpreter = Interpreter(model_path=str(path), num_threads=os.cpu_count())
            self._run = self._interpreter.get_signature_runner("probabilities")
        except ValueError as error:
            raise RunError(
                f"{path}: cannot be run as a TFLite file ({first_line(error)}). Expected the "
                "signature `probabilities` of an `image`, as `tfseg export` writes it."
            ) from error
        _, height, width, self.channels = (int(side) for side in self._run.get_input_details()["image"]["shape"])
        self.size: tuple[int, int] | None = (height, width)
        self.classes = int(self._run.get_output_details()["probabilities"]["shape"][-1])
        self.labels = labels_of(path)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        return np.concatenate([self._run(image=image[None].astype(np.float32))["probabilities"] for image in images])

    def masks(self, images: np.ndarray) -> np.ndarray:
        return self.probabilities(images).argmax(-1).astype(np.min_scalar_type(self.classes - 1))
