"""How images are predicted."""

from typing import Annotated

from pydantic import Field

from tfseg.spec.declare import spec

Side = Annotated[int, Field(ge=1)]


@spec
class Inference:
    """How a trained network is put to use."""

    size: Side | tuple[Side, Side] | None = None
    """Side, or height and width, that `evaluate` and `predict` resize every image to before the network sees it; its
    probabilities are resized back. For a network that was trained on images of one size; by default it sees each image
    at the image's own. Validation during training, and what is exported, resize nothing."""
    opacity: Annotated[float, Field(ge=0, le=1)] = 0.5
    """How much of the picture the colours of an overlay hide."""

    @property
    def sides(self) -> tuple[int, int] | None:
        """Height and width of `size`."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size
