"""Prediction of masks with a trained network, from any kind of file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfseg.errors import RunError
from tfseg.images import ImageValues
from tfseg.inference.chain import (
    CrfRefinement,
    EnsembleScores,
    Link,
    McSamples,
    ProposalScores,
    WholeImage,
    with_scores,
)
from tfseg.inference.crf import WITHOUT_CRF, Crf, channels_problem
from tfseg.inference.engines import MODELS, Engine, KerasEngine, SavedModelEngine, TfliteEngine
from tfseg.inference.ensemble import Ensemble
from tfseg.inference.proposals import Proposals
from tfseg.labels import Labels, names_problem


class Predictor:
    """Predicts the mask of an image, at the size of the image.

    If the network has a fixed input size, as a TFLite file has, or if `size` is given, images are resized to it, and
    the probabilities are resized back before the argmax. With `proposals`, the network is applied to boxes of the
    image. With a `partner`, two networks are combined. A `crf` refines the resulting probabilities.

    >>> image = keras.Input((None, None, 3), name="image")
    >>> model = keras.Model(image, keras.layers.Conv2D(5, 1, name="logits")(image))
    >>> mask = Predictor(model).predict(np.zeros((40, 60, 3), np.uint8))
    >>> mask.shape, mask.dtype
    ((40, 60), dtype('uint8'))

    Args:
        network: Keras model with one input image and one output of logits, or an `Engine`.
        size: Height and width to resize images to. Defaults to native resolution.
        samples: Integer, number of passes with Monte Carlo dropout to average. Defaults to one pass without dropout.
        seed: Integer, random seed of the passes. All images get the same dropout masks, in any order.
        proposals: `Proposals`, the boxes to apply the network to and their merge rule. Defaults to the whole image.
        partner: Tuple of an `Ensemble` and the predictor of the second network.
        crf: `Crf`, the fully connected CRF that refines the probabilities. Defaults to none.

    Raises:
        RunError: If `samples` is given and the network has no MC dropout; `proposals` or the partner need logits that
            the network's file does not output; the input size of the network is fixed and differs from that of
            `proposals`; the partner has other classes or channels; or a CRF is given and images are neither gray nor
            RGB.
        ValueError: If both `samples` and `proposals` are given.
        DataError: If the box file of `proposals` cannot be used.
    """

    def __init__(
        self,
        network: keras.Model | Engine,
        size: tuple[int, int] | None = None,
        *,
        samples: int | None = None,
        seed: int = 0,
        proposals: Proposals | None = None,
        partner: "tuple[Ensemble, Predictor] | None" = None,
        crf: Crf | None = None,
    ) -> None:
        if samples is not None and proposals is not None:
            raise ValueError(
                "`samples` is not supported with `proposals`: each box is predicted once. Set one of them to None. "
                f"Received: samples={samples}, proposals={proposals}"
            )
        self._engine: Engine = KerasEngine(network) if isinstance(network, keras.Model) else network
        if proposals is not None and self.values.value_range is not None:
            raise RunError(
                "inference.proposals: is not supported by a network that was trained with `data.value_range`, since "
                "boxes are padded with zeros. Set inference.proposals to null."
            )
        self._own = _first_link(self._engine, self._engine.size or size, proposals, samples, seed)
        self._chain: Link = self._own
        if partner is not None:
            ensemble, other = partner
            check_partner(other, self.classes, self.channels, self.labels, self.values)
            for each in (self, other) if ensemble.merge == "score_product" else ():
                with_scores(each._engine)
            self._chain = EnsembleScores(self._own, other._chain, ensemble)
        self._crf = crf
        if crf is not None:
            if (problem := channels_problem(self.channels)) is not None:
                raise RunError(f"inference.crf: {problem}. {WITHOUT_CRF}")
            self._chain = CrfRefinement(self._chain, crf, self.values)

    @classmethod
    def open(cls, path: Path, size: tuple[int, int] | None = None, **kwargs: Any) -> "Predictor":
        """Loads a `.keras` file, a SavedModel folder or a `.tflite` file.

        Args:
            path: Path of the file or folder.
            size: As in the constructor.
            **kwargs: Further arguments of the constructor.

        Raises:
            RunError: If the path does not exist, is not one of these, or does not support the given arguments.
        """
        path = Path(path)
        if not path.exists():
            raise RunError(f"{path}: no such model. Expected {MODELS}.")
        return cls(_engine(path), size, **kwargs)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self._engine.classes

    @property
    def channels(self) -> int:
        """Number of image channels."""
        return self._engine.channels

    @property
    def labels(self) -> Labels | None:
        """Class names, colors and ignore label, if they are stored in the model file or its folder; otherwise None."""
        return self._engine.labels

    @property
    def values(self) -> ImageValues:
        """Dtype of the images and, if it is not uint8, the range of their values that the network maps to 0..255."""
        return self._engine.values

    def predict(self, image: np.ndarray, name: str | None = None) -> np.ndarray:
        """Predicts the mask of an image.

        Args:
            image: Array `[height, width, channels]` of the dtype of `values`: uint8, unless the network was trained
                with a `value_range`.
            name: Name of the image in the box file. Required if this network or its partner has proposals from one.

        Returns:
            Class ids `[height, width]`: uint8, or uint16 with more than 256 classes.
        """
        return self.masks(image[None], (name,))[0]

    def probabilities(self, image: np.ndarray, name: str | None = None) -> np.ndarray:
        """Predicts the probabilities, float32 `[height, width, classes]`. Arguments are those of `predict`."""
        return self._chain.probabilities(self._checked(image[None])[0], name)

    def scores(self, image: np.ndarray, name: str | None = None) -> np.ndarray:
        """Predicts the logits of this network alone, float32 `[height, width, classes]`.

        Arguments are those of `predict`.

        Raises:
            RunError: If the network's file outputs probabilities only.
        """
        return self._own.scores(self._checked(image[None])[0], name)

    def predict_with_uncertainty(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predicts the mask and its uncertainty: the variance over the samples, averaged over classes.

        Args:
            image: Array `[height, width, channels]`, as in `predict`.

        Returns:
            Class ids `[height, width]`, as in `predict`, and the uncertainty, float32 `[height, width]`.

        Raises:
            ValueError: If the predictor has no `samples`.
        """
        if not isinstance(self._own, McSamples):
            raise ValueError("Expected a predictor with samples, Predictor(network, samples=8). Received: samples=None")
        image = self._checked(image[None])[0]
        mean, uncertainty = self._own.with_uncertainty(image)
        refined = mean if self._crf is None else self._crf(mean[None], self.values.shown(image[None]))[0]
        return self._best(refined), uncertainty

    def masks(self, images: np.ndarray, names: Sequence[str | None] | None = None) -> np.ndarray:
        """Predicts the masks of a batch of images of one size.

        Args:
            images: Array `[batch, height, width, channels]`, of images as in `predict`.
            names: Names of the images, as in `predict`.

        Returns:
            Class ids `[batch, height, width]`.
        """
        images = self._checked(images)
        plain = type(self._chain) is WholeImage and self._chain.is_native(images.shape[1:3])
        if plain:  # the argmax is part of the network's graph
            return self._engine.masks(images)
        pairs = zip(images, names or (None,) * len(images), strict=True)
        return np.stack([self._best(self._chain.probabilities(*pair)) for pair in pairs])

    def _best(self, probabilities: np.ndarray) -> np.ndarray:
        return probabilities.argmax(-1).astype(np.min_scalar_type(self.classes - 1))

    def _checked(self, images: np.ndarray) -> np.ndarray:
        if images.dtype != self.values.dtype or images.ndim != 4 or images.shape[-1] != self.channels:
            scale = ", 0 to 255" if self.values.value_range is None else ""
            raise ValueError(
                f"Expected images as {self.values.dtype} [height, width, {self.channels}]{scale}. "
                f"Received: {images.dtype} {list(images.shape[1:])}"
            )
        if np.isnan(images).any():
            raise ValueError(f"Expected images of numbers. Received: {images.dtype} with NaN")
        return images


def _first_link(
    engine: Engine, size: tuple[int, int] | None, proposals: Proposals | None, samples: int | None, seed: int
) -> WholeImage | ProposalScores:
    """Returns the link that applies the network itself."""
    if proposals is not None:
        return ProposalScores(engine, proposals)
    return WholeImage(engine, size) if samples is None else McSamples(engine, size, samples, seed)


def _engine(path: Path) -> Engine:
    if path.is_dir() and (path / "saved_model.pb").is_file():
        return SavedModelEngine(path)
    if path.suffix == ".keras" and path.is_file():
        return KerasEngine.open(path)
    if path.suffix == ".tflite" and path.is_file():
        return TfliteEngine(path)
    inside = sorted(file.parent for file in path.glob("*/saved_model.pb")) if path.is_dir() else []
    hint = f" Did you mean {inside[-1]}?" if inside else ""
    raise RunError(f"{path}: is not a model that tfseg can run. Expected {MODELS}.{hint}")


def check_partner(other: Predictor, classes: int, channels: int, labels: Labels | None, values: ImageValues) -> None:
    """Raises RunError unless the second network of an ensemble has the classes and channels of the first."""
    received = (other.classes, other.channels)
    if received != (classes, channels):
        raise RunError(
            f"inference.ensemble.network: predicts {received[0]} classes from {received[1]}-channel images. "
            f"Expected those of the first network: {classes} classes and {channels} channels."
        )
    if other.values != values:
        raise RunError(
            f"inference.ensemble.network: takes images of {other.values}. Expected those of the first network: "
            f"{values}. Train both with the same `data.value_range` and dtype."
        )
    if (problem := names_problem(other.labels, labels)) is not None:
        raise RunError(
            f"inference.ensemble.network: {problem}, as in the first network. Train both with labels in the same order."
        )
