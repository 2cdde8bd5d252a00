"""Inference settings of a pipeline."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Self

import keras
from pydantic import Field, model_validator

from tfseg.context import Context
from tfseg.inference.crf import WITHOUT_CRF, Crf, channels_problem
from tfseg.inference.ensemble import Ensemble
from tfseg.inference.predictor import Predictor
from tfseg.inference.proposals import Proposals
from tfseg.layers.deterministic import stochastic
from tfseg.spec.declare import spec
from tfseg.spec.problems import FieldProblem, InvalidFields

Side = Annotated[int, Field(ge=1)]


@spec
class Inference:
    """Inference settings of a trained network."""

    size: Side | tuple[Side, Side] | None = None
    """Side, or height and width, that `evaluate` and `predict` resize every image to; the probabilities are resized
    back. For a network trained on images of one size. Defaults to native resolution. An exported SavedModel also
    resizes; validation during training does not."""
    samples: Annotated[int, Field(ge=1)] | None = None
    """Number of passes with Monte Carlo dropout whose probabilities are averaged (Kendall et al. 2017). The
    dropout masks depend on the pipeline's seed. Defaults to one pass without dropout, as in an export."""
    uncertainty: bool = False
    """Writes `<stem>-uncertainty.png` beside each mask: the variance of the samples, averaged over classes, as 16-bit
    gray. White is the maximum for the number of classes."""
    proposals: Proposals | None = None
    """Boxes that the network is applied to instead of the whole image, as in DeconvNet; see `docs/deconvnet.md`.
    Defaults to the whole image. Not supported in exports."""
    ensemble: Ensemble | None = None
    """Second network that is combined with this one. Defaults to none. Not supported in exports."""
    crf: Crf | None = None
    """Fully connected CRF that refines the probabilities at native resolution, after boxes, samples and networks have
    been combined. Defaults to none. Not supported in exports; for those, use `model.refine`."""
    opacity: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Opacity of the class colors in overlays."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for field in ("size", "samples"):
            if self.proposals is not None and getattr(self, field) is not None:
                message = f"boxes are predicted once each, at proposals.size; set {field} or proposals to null"
                raise InvalidFields(((field,), f"{message}. Received: {getattr(self, field)}"))
        if self.ensemble is not None and self.samples is not None:
            message = "the networks of an ensemble are applied once each; set samples or ensemble to null"
            raise InvalidFields((("samples",), f"{message}. Received: {self.samples}"))
        if self.uncertainty and (self.samples or 0) < 2:
            raise InvalidFields(
                (
                    ("uncertainty",),
                    f"needs at least 2 samples; set samples to 2 or more. Received: samples={self.samples}",
                )
            )
        return self

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """Yields the settings that do not fit the images, as (path, message)."""
        if self.crf is not None and (problem := channels_problem(context.channels)) is not None:
            yield ("crf",), f"{problem}. {WITHOUT_CRF}"

    def network_problems(self, model: keras.Model) -> Iterator[FieldProblem]:
        """Yields the settings that the network does not support, as (path, message)."""
        if self.samples is not None and not stochastic(model):
            message = "the network has no mc_dropout, so that all passes would be equal; set samples to null"
            yield ("samples",), f"{message}. Received: {self.samples}"

    def open(self, path: Path, seed: int = 0, partner: Predictor | None = None) -> Predictor:
        """Loads the network at `path` with these settings.

        Args:
            path: Path of a `.keras` file, a SavedModel folder or a `.tflite` file.
            seed: Integer, random seed of the dropout masks of `samples`.
            partner: Predictor of the second network, if there is an `ensemble`.

        Raises:
            RunError: If there is no such network, or it does not support these settings.
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
        """`size` as height and width."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size
