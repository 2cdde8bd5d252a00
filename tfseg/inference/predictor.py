"""A trained network as a function of an image, whatever file it came in."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfseg.errors import RunError
from tfseg.inference.crf import Crf, channels_problem
from tfseg.inference.engines import MODELS, Engine, KerasEngine, SavedModelEngine, TfliteEngine
from tfseg.inference.ensemble import Ensemble
from tfseg.inference.proposals import Proposals
from tfseg.inference.sampling import mean_and_uncertainty
from tfseg.labels import Labels, names_problem
from tfseg.ops.resize import resize


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
            a CRF of images that are neither grey nor RGB.
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
        self._size = self._engine.size or size
        self._proposals, self._partner, self._crf = proposals, partner, crf
        if proposals is not None:
            _check_proposals(self._engine, proposals)
        if partner is not None:
            check_partner(partner[1], self.classes, self.channels, self.labels)
            for each in (self, partner[1]) if partner[0].rule == "score_product" else ():
                _scoring(each._engine)
        if crf is not None and (problem := channels_problem(self.channels)) is not None:
            raise RunError(f"inference.crf: {problem}")
        self._sampler: KerasEngine | None = None
        if samples is not None:
            self._sampler, self._samples, self._seed = _stochastic(self._engine, samples), samples, seed

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
        return self._probabilities(self._checked(image[None]), (name,))[0]

    def scores(self, image: np.ndarray, name: str | None = None) -> np.ndarray:
        """float32 `[height, width, classes]` before softmax, of this network alone; arguments as of `predict`.

        Raises:
            RunError: the network's file gives probabilities only.
        """
        images, engine = self._checked(image[None]), _scoring(self._engine)
        if self._proposals is not None:
            return self._proposals(image, engine.scores, self.classes, name)
        if self._size in (None, image.shape[:2]):
            return engine.scores(images)[0]
        return _resized(engine.scores(_resized(images, self._size)), image.shape[:2])[0]

    def predict_with_uncertainty(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The mask of `predict`, and float32 `[height, width]`: the samples' variance, averaged over the classes.

        Raises:
            ValueError: the predictor takes no samples.
        """
        if self._sampler is None:
            raise ValueError("Expected a predictor of several samples, Predictor(network, samples=8). Received: none")
        images = self._checked(image[None])
        mean, uncertainty = mean_and_uncertainty(self._passes(images))
        return self._best(self._refined(mean, images))[0], uncertainty[0]

    def masks(self, images: np.ndarray, names: Sequence[str | None] | None = None) -> np.ndarray:
        """A batch of images of one size, and their names as of `predict`, to a batch of masks."""
        images = self._checked(images)
        plain = all(one is None for one in (self._sampler, self._proposals, self._partner, self._crf))
        if plain and self._size in (None, images.shape[1:3]):
            return self._engine.masks(images)
        return self._best(self._probabilities(images, names or (None,) * len(images)))

    def _best(self, probabilities: np.ndarray) -> np.ndarray:
        return probabilities.argmax(-1).astype(np.min_scalar_type(self.classes - 1))

    def _probabilities(self, images: np.ndarray, names: Sequence[str | None]) -> np.ndarray:
        return self._refined(self._together(images, names), images)

    def _refined(self, probabilities: np.ndarray, images: np.ndarray) -> np.ndarray:
        return probabilities if self._crf is None else self._crf(probabilities, images)

    def _together(self, images: np.ndarray, names: Sequence[str | None]) -> np.ndarray:
        """The probabilities of all networks."""
        if self._partner is None:
            return self._own(images, names)
        how, other = self._partner
        pairs = list(zip(images, names, strict=True))
        if how.rule == "mean_prob":
            return how(self._own(images, names), np.stack([other.probabilities(*pair) for pair in pairs]))
        return _softmax(np.stack([how(self.scores(*pair), other.scores(*pair)) for pair in pairs]))

    def _own(self, images: np.ndarray, names: Sequence[str | None]) -> np.ndarray:
        """The probabilities of this network alone."""
        if self._proposals is not None:
            return _softmax(np.stack([self.scores(*pair) for pair in zip(images, names, strict=True)]))
        return mean_and_uncertainty(self._passes(images))[0] if self._sampler else next(self._passes(images))

    def _passes(self, images: np.ndarray) -> Iterator[np.ndarray]:
        """The probabilities at the size of `images`: of each sample, or of the one pass without dropout."""
        size = images.shape[1:3]
        own = self._size in (None, size)
        seen = images if own else _resized(images, self._size)
        if self._sampler is None:
            found: Iterable[np.ndarray] = (self._engine.probabilities(seen),)
        else:
            found = self._sampler.passes(seen, self._samples, self._seed)
        for probabilities in found:
            yield probabilities if own else _resized(probabilities, size)

    def _checked(self, images: np.ndarray) -> np.ndarray:
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != self.channels:
            raise ValueError(
                f"Expected images as uint8 [height, width, {self.channels}], 0 to 255. "
                f"Received: {images.dtype} {list(images.shape[1:])}"
            )
        return images


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


def _check_proposals(engine: Engine, proposals: Proposals) -> None:
    _scoring(engine)
    if engine.size not in (None, (proposals.size, proposals.size)):
        height, width = engine.size
        raise RunError(
            f"inference.proposals.size: the network sees images of {height}x{width} (height x width) only, and boxes "
            f"are resized to squares. Received: {proposals.size}."
        )


def _scoring(engine: Engine) -> KerasEngine:
    if isinstance(engine, KerasEngine):
        return engine
    raise RunError(
        "inference: proposals and the ensemble's score_product need scores before the softmax, and a SavedModel or a "
        "TFLite file gives probabilities. Use the run directory or its .keras file, or set inference.proposals to null "
        "and inference.ensemble.rule to mean_prob."
    )


def _softmax(scores: np.ndarray) -> np.ndarray:
    return np.asarray(keras.ops.softmax(scores))


def _stochastic(engine: Engine, samples: int) -> KerasEngine:
    """`engine`, which can give samples.

    Raises:
        RunError: it answers the same every time.
    """
    if isinstance(engine, KerasEngine) and engine.stochastic:
        return engine
    raise RunError(
        "inference.samples: passes differ by dropout that stays on, and this network has none: a SavedModel, a TFLite "
        "file, or a network without mc_dropout. Predict with the .keras file of one that has it, or set "
        f"inference.samples to null. Received: {samples}"
    )


def _resized(images: np.ndarray, size: Any) -> np.ndarray:
    """Bilinear; bytes are rounded to the nearest, which the cast back to bytes would not do."""
    resized = resize(images.astype(np.float32), size).numpy()
    return np.rint(resized).astype(np.uint8) if images.dtype == np.uint8 else resized
