"""What is done around a network for one image: links, each laid over another one.

A link answers twice: `scores`, of the network alone and before the softmax, and `probabilities`, of the chain so far.
Both take an image, uint8 `[height, width, channels]`, and what files of boxes call it, and give float32
`[height, width, classes]` at the image's own size.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol

import keras
import numpy as np

from tfseg.errors import RunError
from tfseg.inference.crf import Crf
from tfseg.inference.engines import Engine, KerasEngine
from tfseg.inference.ensemble import Ensemble
from tfseg.inference.proposals import Proposals
from tfseg.inference.sampling import mean_and_uncertainty
from tfseg.ops.resize import resize

Size = tuple[int, int]


class Link(Protocol):
    """A part of the chain."""

    def scores(self, image: np.ndarray, name: str | None) -> np.ndarray:
        """Of the network alone, before the softmax.

        Raises:
            RunError: the network's file gives probabilities only.
        """

    def probabilities(self, image: np.ndarray, name: str | None) -> np.ndarray:
        """Of the chain up to this link."""


class WholeImage:
    """The network sees the whole image, at the image's size or at a given one.

    Args:
        engine: the network.
        size: height and width that it sees images at; None: their own.
    """

    def __init__(self, engine: Engine, size: Size | None) -> None:
        self.engine = engine
        self.size = size

    def sees(self, size: Size) -> bool:
        """Whether it sees images of that height and width as they are."""
        return self.size in (None, size)

    def scores(self, image: np.ndarray, name: str | None) -> np.ndarray:
        scoring = scored(self.engine)
        return self.back(scoring.scores(self.seen(image)), image)

    def probabilities(self, image: np.ndarray, name: str | None) -> np.ndarray:
        return self.back(self.engine.probabilities(self.seen(image)), image)

    def seen(self, image: np.ndarray) -> np.ndarray:
        """The image as the network sees it, `[1, height, width, channels]`."""
        return image[None] if self.sees(image.shape[:2]) else resized(image[None], self.size)

    def back(self, found: np.ndarray, image: np.ndarray) -> np.ndarray:
        """What the network found, at the size of the image."""
        return found[0] if self.sees(image.shape[:2]) else resized(found, image.shape[:2])[0]


class McSamples(WholeImage):
    """The mean of several passes with dropout that stays on; `scores` are of one pass without.

    Args:
        engine: the network; it must answer otherwise from pass to pass.
        size: as of `Whole`.
        samples: how many passes.
        seed: what they draw from. Each image is seen by the same ones.

    Raises:
        RunError: the network answers the same every time.
    """

    def __init__(self, engine: Engine, size: Size | None, samples: int, seed: int) -> None:
        super().__init__(engine, size)
        self.sampler, self.samples, self.seed = _stochastic(engine, samples), samples, seed

    def probabilities(self, image: np.ndarray, name: str | None) -> np.ndarray:
        return self.with_uncertainty(image)[0]

    def with_uncertainty(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The mean, and float32 `[height, width]`: the variance of the passes, averaged over the classes."""
        return mean_and_uncertainty(self._passes(image))

    def _passes(self, image: np.ndarray) -> Iterator[np.ndarray]:
        for found in self.sampler.passes(self.seen(image), self.samples, self.seed):
            yield self.back(found, image)


class ProposalScores:
    """The network sees boxes of the image one by one.

    Args:
        engine: the network.
        proposals: which boxes, and how their scores meet.

    Raises:
        RunError: the network's file gives probabilities only, or it is fixed to another size.
    """

    def __init__(self, engine: Engine, proposals: Proposals) -> None:
        self.engine, self.by_boxes = scored(engine), proposals.open()
        if engine.size not in (None, (proposals.size, proposals.size)):
            height, width = engine.size
            raise RunError(
                f"inference.proposals.size: the network sees images of {height}x{width} (height x width) only, and "
                f"boxes are resized to squares. Received: {proposals.size}."
            )

    def scores(self, image: np.ndarray, name: str | None) -> np.ndarray:
        return self.by_boxes(image, self.engine.scores, self.engine.classes, name)

    def probabilities(self, image: np.ndarray, name: str | None) -> np.ndarray:
        return softmax(self.scores(image, name))


class EnsembleScores:
    """Two networks answer together.

    Args:
        first: the first network's link, whose `scores` these are.
        second: the other one's.
        how: the rule by which their answers meet.
    """

    def __init__(self, first: Link, second: Link, how: Ensemble) -> None:
        self.first, self.second, self.how = first, second, how

    def scores(self, image: np.ndarray, name: str | None) -> np.ndarray:
        return self.first.scores(image, name)

    def probabilities(self, image: np.ndarray, name: str | None) -> np.ndarray:
        if self.how.merge == "mean_prob":
            return self.how(self.first.probabilities(image, name), self.second.probabilities(image, name))
        return softmax(self.how(self.first.scores(image, name), self.second.scores(image, name)))


class CrfRefinement:
    """A fully connected CRF over what another link gives.

    Args:
        link: what is refined.
        crf: by which CRF.
    """

    def __init__(self, link: Link, crf: Crf) -> None:
        self.link, self.crf = link, crf

    def scores(self, image: np.ndarray, name: str | None) -> np.ndarray:
        return self.link.scores(image, name)

    def probabilities(self, image: np.ndarray, name: str | None) -> np.ndarray:
        return self.crf(self.link.probabilities(image, name)[None], image[None])[0]


def scored(engine: Engine) -> KerasEngine:
    """`engine`, which can give scores.

    Raises:
        RunError: its file gives probabilities only.
    """
    if isinstance(engine, KerasEngine):
        return engine
    raise RunError(
        "inference: proposals and the ensemble's score_product need scores before the softmax, and a SavedModel or a "
        "TFLite file gives probabilities. Use the run directory or its .keras file, or set inference.proposals to null "
        "and inference.ensemble.merge to mean_prob."
    )


def _stochastic(engine: Engine, samples: int) -> KerasEngine:
    if isinstance(engine, KerasEngine) and engine.stochastic:
        return engine
    raise RunError(
        "inference.samples: passes differ by dropout that stays on, and this network has none: a SavedModel, a TFLite "
        "file, or a network without mc_dropout. Predict with the .keras file of one that has it, or set "
        f"inference.samples to null. Received: {samples}"
    )


def softmax(scores: np.ndarray) -> np.ndarray:
    """Over the last axis."""
    return np.asarray(keras.ops.softmax(scores))


def resized(images: np.ndarray, size: Iterable[int] | None) -> np.ndarray:
    """Bilinear; bytes are rounded to the nearest, which the cast back to bytes would not do."""
    found = np.asarray(resize(images.astype(np.float32), size))
    return np.rint(found).astype(np.uint8) if images.dtype == np.uint8 else found
