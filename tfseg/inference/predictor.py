"""A trained network as a function of an image, whatever file it came in."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfseg.errors import RunError
from tfseg.inference.chain import CrfRefinement, EnsembleScores, Link, McSamples, ProposalScores, WholeImage, scored
from tfseg.inference.crf import Crf, channels_problem
from tfseg.inference.engines import MODELS, Engine, KerasEngine, SavedModelEngine, TfliteEngine
from tfseg.inference.ensemble import Ensemble
from tfseg.inference.proposals import Proposals
from tfseg.labels import Labels, names_problem


class Predictor:
    """Gives every image its mask at its own size.

    A network that is fixed to one size, as a TFLite file is, sees each image resized to that; its probabilities are
    resized back before the best class is taken. So does another where a `size` is given. With `proposals` it sees
    boxes of the image one by one; with a `partner` two networks answer together; a `crf` refines what comes
    of all that.

    >>> image = keras.Input((None, None, 3), name="image")
    >>> model = keras.Model(image, keras.layers.Conv2D(5, 1, name="logits")(image))
    >>> mask = Predictor(model).predict(np.zeros((40, 60, 3), np.uint8))
    >>> mask.shape, mask.dtype
    ((40, 60), dtype('uint8'))

    Args:
        network: a Keras model of one image to logits, or what `open` found in a file.
        size: height and width at which a network of any size is to see its images; by default, their own.
        samples: how many passes with Monte Carlo dropout to average; by default one pass without dropout.
        seed: what the passes draw their dropout from. Each image is seen by the same passes, whichever came before it.
        proposals: which boxes of an image to see, and how their scores meet; by default the whole image.
        partner: a second network, and how its answers meet this one's.
        crf: a fully connected CRF that refines the probabilities; by default none.

    Raises:
        RunError: there are to be `samples` of a network that answers the same every time; `proposals` or the partner
            need scores that the network's file does not give; the partner tells other classes apart; or there is to be
            a CRF of images that are neither gray nor RGB.
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
        self._engine: Engine = KerasEngine(network) if isinstance(network, keras.Model) else network
        self._own = _own(self._engine, self._engine.size or size, proposals, samples, seed)
        self._chain: Link = self._own
        if partner is not None:
            how, other = partner
            check_partner(other, self.classes, self.channels, self.labels)
            for each in (self, other) if how.merge == "score_product" else ():
                scored(each._engine)
            self._chain = EnsembleScores(self._own, other._chain, how)
        self._crf = crf
        if crf is not None:
            if (problem := channels_problem(self.channels)) is not None:
                raise RunError(f"inference.crf: {problem}")
            self._chain = CrfRefinement(self._chain, crf)

    @classmethod
    def open(cls, path: Path, size: tuple[int, int] | None = None, **how: Any) -> "Predictor":
        """Reads a `.keras` file, a SavedModel folder or a `.tflite` file.

        Args:
            path: the file or folder.
            size: as of the constructor.
            **how: the constructor's further arguments.

        Raises:
            RunError: there is no such file, it is not one of these, or it cannot be used so.
        """
        path = Path(path)
        if not path.exists():
            raise RunError(f"{path}: no such model. Expected {MODELS}.")
        return cls(_engine(path), size, **how)

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

    def predict(self, image: np.ndarray, name: str | None = None) -> np.ndarray:
        """uint8 `[height, width, channels]` to ids `[height, width]`: uint8, past 256 classes uint16.

        Args:
            image: the image.
            name: what a file of boxes calls it, where `proposals` or those of the partner read one.
        """
        return self.masks(image[None], (name,))[0]

    def probabilities(self, image: np.ndarray, name: str | None = None) -> np.ndarray:
        """uint8 `[height, width, channels]` to float32 `[height, width, classes]`; arguments as of `predict`."""
        return self._chain.probabilities(self._checked(image[None])[0], name)

    def scores(self, image: np.ndarray, name: str | None = None) -> np.ndarray:
        """float32 `[height, width, classes]` before softmax, of this network alone; arguments as of `predict`.

        Raises:
            RunError: the network's file gives probabilities only.
        """
        return self._own.scores(self._checked(image[None])[0], name)

    def predict_with_uncertainty(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The mask of `predict`, and float32 `[height, width]`: the samples' variance, averaged over the classes.

        Raises:
            ValueError: the predictor takes no samples.
        """
        if not isinstance(self._own, McSamples):
            raise ValueError("Expected a predictor of several samples, Predictor(network, samples=8). Received: none")
        image = self._checked(image[None])[0]
        mean, uncertainty = self._own.with_uncertainty(image)
        refined = mean if self._crf is None else self._crf(mean[None], image[None])[0]
        return self._best(refined), uncertainty

    def masks(self, images: np.ndarray, names: Sequence[str | None] | None = None) -> np.ndarray:
        """A batch of images of one size, and their names as of `predict`, to a batch of masks."""
        images = self._checked(images)
        plain = type(self._chain) is WholeImage and self._chain.sees(images.shape[1:3])
        if plain:  # the best class is found in the network's own graph
            return self._engine.masks(images)
        pairs = zip(images, names or (None,) * len(images), strict=True)
        return np.stack([self._best(self._chain.probabilities(*pair)) for pair in pairs])

    def _best(self, probabilities: np.ndarray) -> np.ndarray:
        return probabilities.argmax(-1).astype(np.min_scalar_type(self.classes - 1))

    def _checked(self, images: np.ndarray) -> np.ndarray:
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != self.channels:
            raise ValueError(
                f"Expected images as uint8 [height, width, {self.channels}], 0 to 255. "
                f"Received: {images.dtype} {list(images.shape[1:])}"
            )
        return images


def _own(
    engine: Engine, size: tuple[int, int] | None, proposals: Proposals | None, samples: int | None, seed: int
) -> WholeImage | ProposalScores:
    """How the network itself sees an image."""
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
    raise RunError(f"{path}: is no model that tfseg can run. Expected {MODELS}.{hint}")


def check_partner(other: Predictor, classes: int, channels: int, labels: Labels | None) -> None:
    """Raises RunError where `other` cannot answer together with a network of these classes and so many channels."""
    received = (other.classes, other.channels)
    if received != (classes, channels):
        raise RunError(
            f"inference.ensemble.network: tells {received[0]} classes apart in images of {received[1]} channels. "
            f"Expected those of the first network: {classes} classes and {channels} channels."
        )
    if (problem := names_problem(other.labels, labels)) is not None:
        raise RunError(
            f"inference.ensemble.network: {problem}, as in the first network. Train both with labels in one order."
        )
