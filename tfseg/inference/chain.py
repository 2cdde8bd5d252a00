"""Inference steps around a network, as a chain of links.

Each link has two methods: `scores`, the logits of the network alone, and `probabilities`, the output of the chain up to
this link. Both take an image, `[height, width, channels]`, and its name in box files, and return float32
`[height, width, classes]` at the size of the image.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol

import keras
import numpy as np

from tfseg.errors import RunError
from tfseg.images import ImageValues
from tfseg.inference.crf import Crf
from tfseg.inference.engines import Engine, KerasEngine
from tfseg.inference.ensemble import Ensemble
from tfseg.inference.proposals import Proposals
from tfseg.inference.sampling import mean_and_uncertainty
from tfseg.ops.resize import resize

Size = tuple[int, int]


class Link(Protocol):
    """Protocol of the links of a chain."""

    def scores(self, image: np.ndarray, name: str | None) -> np.ndarray:
        """Returns the logits of the network alone.

        Raises:
            RunError: If the file of the network outputs probabilities only.
        """

    def probabilities(self, image: np.ndarray, name: str | None) -> np.ndarray:
        """Returns the probabilities of the chain up to this link."""


class WholeImage:
    """Applies the network to the whole image, at the size of the image or at a given size.

    Args:
        engine: Engine that runs the network.
        size: Height and width to resize images to, or None for native resolution.
    """

    def __init__(self, engine: Engine, size: Size | None) -> None:
        self.engine = engine
        self.size = size

    def is_native(self, size: Size) -> bool:
        """Returns whether images of this height and width are not resized."""
        return self.size in (None, size)

    def scores(self, image: np.ndarray, name: str | None) -> np.ndarray:
        engine = with_scores(self.engine)
        return self.resize_output(engine.scores(self.resize_input(image)), image)

    def probabilities(self, image: np.ndarray, name: str | None) -> np.ndarray:
        return self.resize_output(self.engine.probabilities(self.resize_input(image)), image)

    def resize_input(self, image: np.ndarray) -> np.ndarray:
        """Returns the input of the network, `[1, height, width, channels]`."""
        return image[None] if self.is_native(image.shape[:2]) else resized(image[None], self.size)

    def resize_output(self, outputs: np.ndarray, image: np.ndarray) -> np.ndarray:
        """Returns an output of the network at the size of the image."""
        return outputs[0] if self.is_native(image.shape[:2]) else resized(outputs, image.shape[:2])[0]


class McSamples(WholeImage):
    """Averages the probabilities of several passes with MC dropout. `scores` are logits of one pass without dropout.

    Args:
        engine: Engine that runs a network with MC dropout.
        size: As for `WholeImage`.
        samples: Integer, number of passes.
        seed: Integer, random seed of the passes. All images get the same dropout masks.

    Raises:
        RunError: If the network is deterministic.
    """

    def __init__(self, engine: Engine, size: Size | None, samples: int, seed: int) -> None:
        super().__init__(engine, size)
        self.sampler, self.samples, self.seed = _with_dropout(engine, samples), samples, seed

    def probabilities(self, image: np.ndarray, name: str | None) -> np.ndarray:
        return self.with_uncertainty(image)[0]

    def with_uncertainty(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Computes the mean and the uncertainty of the passes.

        Returns:
            Mean probabilities, float32 `[height, width, classes]`, and their variance over the passes, averaged over
            classes, float32 `[height, width]`.
        """
        return mean_and_uncertainty(self._passes(image))

    def _passes(self, image: np.ndarray) -> Iterator[np.ndarray]:
        for probabilities in self.sampler.passes(self.resize_input(image), self.samples, self.seed):
            yield self.resize_output(probabilities, image)


class ProposalScores:
    """Applies the network to boxes of the image, and merges their logits.

    Args:
        engine: Engine that runs the network.
        proposals: Proposals, the boxes and the merge rule.

    Raises:
        RunError: If the file of the network outputs probabilities only, or the input of the network is fixed to
            another size.
    """

    def __init__(self, engine: Engine, proposals: Proposals) -> None:
        self.engine, self.merge_boxes = with_scores(engine), proposals.open()
        if engine.size not in (None, (proposals.size, proposals.size)):
            height, width = engine.size
            raise RunError(
                "inference.proposals.size: boxes are resized to squares of this size, but the input of the network is "
                f"fixed to {height}x{width} (height x width). Set it to that size if it is a square, otherwise set "
                f"inference.proposals to null. Received: {proposals.size}."
            )

    def scores(self, image: np.ndarray, name: str | None) -> np.ndarray:
        return self.merge_boxes(image, self.engine.scores, self.engine.classes, name)

    def probabilities(self, image: np.ndarray, name: str | None) -> np.ndarray:
        return softmax(self.scores(image, name))


class EnsembleScores:
    """Combines two networks; `scores` are the logits of the first network.

    Args:
        first: Link of the first network.
        second: Link of the second network.
        ensemble: Ensemble, the rule that combines them.
    """

    def __init__(self, first: Link, second: Link, ensemble: Ensemble) -> None:
        self.first, self.second, self.ensemble = first, second, ensemble

    def scores(self, image: np.ndarray, name: str | None) -> np.ndarray:
        return self.first.scores(image, name)

    def probabilities(self, image: np.ndarray, name: str | None) -> np.ndarray:
        if self.ensemble.merge == "mean_prob":
            return self.ensemble(self.first.probabilities(image, name), self.second.probabilities(image, name))
        return softmax(self.ensemble(self.first.scores(image, name), self.second.scores(image, name)))


class CrfRefinement:
    """Refines the probabilities of a link by a fully connected CRF.

    Args:
        link: Link to refine.
        crf: Crf, the parameters.
        values: ImageValues, dtype and range of the images.
    """

    def __init__(self, link: Link, crf: Crf, values: ImageValues) -> None:
        self.link, self.crf, self.values = link, crf, values

    def scores(self, image: np.ndarray, name: str | None) -> np.ndarray:
        return self.link.scores(image, name)

    def probabilities(self, image: np.ndarray, name: str | None) -> np.ndarray:
        return self.crf(self.link.probabilities(image, name)[None], self.values.shown(image[None]))[0]


def with_scores(engine: Engine) -> KerasEngine:
    """Returns `engine` if it has logits.

    Raises:
        RunError: If the file of the network outputs probabilities only.
    """
    if isinstance(engine, KerasEngine):
        return engine
    raise RunError(
        "inference: proposals and the ensemble's score_product need logits, and a SavedModel or a TFLite file outputs "
        "probabilities. Use the run directory or its .keras file, or set inference.proposals to null and "
        "inference.ensemble.merge to mean_prob."
    )


def _with_dropout(engine: Engine, samples: int) -> KerasEngine:
    if isinstance(engine, KerasEngine) and engine.stochastic:
        return engine
    raise RunError(
        "inference.samples: this network has no MC dropout: it is a SavedModel, a TFLite file, or a network without "
        "mc_dropout. Predict with the .keras file of a network that has it, or set inference.samples to null. "
        f"Received: {samples}"
    )


def softmax(scores: np.ndarray) -> np.ndarray:
    """Computes the softmax over the last axis."""
    return np.asarray(keras.ops.softmax(scores))


def resized(images: np.ndarray, size: Iterable[int] | None) -> np.ndarray:
    """Resizes bilinearly, in float32. Integers are rounded to the nearest one, where a cast would truncate."""
    values = np.asarray(resize(images.astype(np.float32), size))
    return (np.rint(values) if images.dtype.kind in "iu" else values).astype(images.dtype)
