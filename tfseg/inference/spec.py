"""How images are predicted."""

from typing import Annotated

from pydantic import Field

from tfseg.spec.declare import spec


@spec
class Inference:
    """How a trained network is put to use."""

    opacity: Annotated[float, Field(ge=0, le=1)] = 0.5
    """How much of the picture the colours of an overlay hide."""
