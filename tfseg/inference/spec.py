"""How images are predicted."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from tfseg.spec.declare import Misfit, spec

Side = Annotated[int, Field(ge=1)]


@spec
class Inference:
    """How a trained network is put to use."""

    size: Side | tuple[Side, Side] | None = None
    """Side, or height and width, that `evaluate` and `predict` resize every image to before the network sees it; its
    probabilities are resized back. For a network that was trained on images of one size; by default it sees each image
    at the image's own. Validation during training, and what is exported, resize nothing."""
    samples: Annotated[int, Field(ge=1)] | None = None
    """How many passes with Monte Carlo dropout to average the probabilities of (Kendall et al. 2017, section 4): each
    pass leaves out other units, by the pipeline's seed. By default one pass with all units, as an exported network
    gives, too: in an export, dropout is off."""
    uncertainty: bool = False
    """Write `<stem>-uncertainty.png` beside each mask: the samples' variance, a mean over the classes, as 16-bit grey;
    white is the most that so many classes allow."""
    opacity: Annotated[float, Field(ge=0, le=1)] = 0.5
    """How much of the picture the colours of an overlay hide."""

    @model_validator(mode="after")
    def _spread(self) -> Self:
        if self.uncertainty and (self.samples or 0) < 2:
            raise Misfit(
                (
                    "uncertainty",
                    f"one pass does not differ from itself; set samples to 2 or more. Received: samples={self.samples}",
                )
            )
        return self

    @property
    def sides(self) -> tuple[int, int] | None:
        """Height and width of `size`."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size
