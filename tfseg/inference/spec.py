"""How images are predicted."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Self

import keras
from pydantic import Field, model_validator

from tfseg.context import Context
from tfseg.inference.crf import Crf, channels_problem
from tfseg.inference.ensemble import Ensemble
from tfseg.inference.predictor import Predictor
from tfseg.inference.proposals import Proposals
from tfseg.layers.deterministic import stochastic
from tfseg.spec.declare import spec
from tfseg.spec.problems import FieldProblem, InvalidFields

Side = Annotated[int, Field(ge=1)]


@spec
class Inference:
    """How a trained network is put to use."""

    size: Side | tuple[Side, Side] | None = None
    """Side, or height and width, that `evaluate` and `predict` resize every image to before the network sees it; its
    probabilities are resized back. For a network that was trained on images of one size; by default it sees each image
    at the image's own. An exported SavedModel does the same. Validation during training resizes nothing."""
    samples: Annotated[int, Field(ge=1)] | None = None
    """How many passes with Monte Carlo dropout to average the probabilities of (Kendall et al. 2017, section 4): each
    pass leaves out other units, by the pipeline's seed. By default one pass with all units, as an exported network
    gives, too: in an export, dropout is off."""
    uncertainty: bool = False
    """Write `<stem>-uncertainty.png` beside each mask: the samples' variance, a mean over the classes, as 16-bit gray;
    white is the most that so many classes allow."""
    proposals: Proposals | None = None
    """The network sees boxes of each image instead of the whole, as DeconvNet does; see `docs/deconvnet.md`. By default
    the whole image. What is exported sees whole images."""
    ensemble: Ensemble | None = None
    """A second network that answers together with this one. By default this one alone, as what is exported."""
    crf: Crf | None = None
    """A fully connected CRF that refines the probabilities at the image's own size, after boxes, samples and networks
    have been put together. By default none. It is no part of an export; a CRF that is goes into `model.refine`."""
    opacity: Annotated[float, Field(ge=0, le=1)] = 0.5
    """How much of the picture the colors of an overlay hide."""

    @model_validator(mode="after")
    def _spread(self) -> Self:
        for field in ("size", "samples"):
            if self.proposals is not None and getattr(self, field) is not None:
                told = f"boxes are seen once each, at proposals.size; set {field} to null, or proposals"
                raise InvalidFields(((field,), f"{told}. Received: {getattr(self, field)}"))
        if self.ensemble is not None and self.samples is not None:
            told = "the networks of an ensemble answer once each; set samples to null, or ensemble"
            raise InvalidFields((("samples",), f"{told}. Received: {self.samples}"))
        if self.uncertainty and (self.samples or 0) < 2:
            raise InvalidFields(
                (
                    ("uncertainty",),
                    f"one pass does not differ from itself; set samples to 2 or more. Received: samples={self.samples}",
                )
            )
        return self

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """What does not fit the images, each as (path, message)."""
        if self.crf is not None and (problem := channels_problem(context.channels)) is not None:
            yield ("crf",), problem

    def network_problems(self, model: keras.Model) -> Iterator[FieldProblem]:
        """What the network cannot do of what is asked of it, each as (path, message)."""
        if self.samples is not None and not stochastic(model):
            message = "the network has no mc_dropout, and every pass would give the same; set it to null"
            yield ("samples",), f"{message}. Received: {self.samples}"

    def open(self, path: Path, seed: int = 0, partner: Predictor | None = None) -> Predictor:
        """The network at `path`, used so.

        Args:
            path: a `.keras` file, a SavedModel folder or a `.tflite` file.
            seed: what `samples` draw their dropout from.
            partner: the second network, where there is an `ensemble`.

        Raises:
            RunError: there is no such network, or it cannot be used so.
        """
        return Predictor.open(
            path,
            self.sides,
            samples=self.samples,
            seed=seed,
            proposals=self.proposals,
            partner=None if self.ensemble is None or partner is None else (self.ensemble, partner),
            crf=self.crf,
        )

    @property
    def sides(self) -> tuple[int, int] | None:
        """Height and width of `size`."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size
