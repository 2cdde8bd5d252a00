"""What to export, and how exactly it has to agree with the model."""

from collections.abc import Iterator
from typing import Annotated

import keras
from pydantic import Field

from tfseg.keras_internals import layers_within
from tfseg.layers import CrfRnn
from tfseg.spec.declare import spec
from tfseg.spec.messages import listed
from tfseg.spec.problems import FieldProblem

Side = Annotated[int, Field(ge=1)]


@spec
class Tflite:
    """A float32 TFLite file of one image size and batch 1, of builtin operations only."""

    size: tuple[Side, Side] | None = None
    """Height and width of its input; by default those of the first image that the export is compared on."""


@spec
class Export:
    """Which artifacts are written beside the SavedModel, and what they are held to."""

    tflite: Tflite | None = Tflite()
    """The TFLite file; null for none."""
    examples: Annotated[int, Field(ge=1)] = 2
    """On how many images of the validation split each artifact is compared with the model."""
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    """The largest difference of a probability that passes. The default lies between what rounding in float32 was
    measured to do (1e-4 with logits of 300, 1e-5 with usual ones) and the mildest of faults (1e-2: a resize of the
    other convention). No pixel may change its class whose two best are more than twice this apart."""

    def network_problems(self, model: keras.Model) -> Iterator[FieldProblem]:
        """What cannot be exported of the network, each as (path, message)."""
        lattices = [
            layer.name
            for layer in layers_within(model)
            if isinstance(layer, CrfRnn) and layer.kernel == "permutohedral"
        ]
        if self.tflite is not None and lattices:
            yield (
                ("tflite",),
                f"TFLite has no operations for the lattice of a CRF. Set the kernel of {listed(lattices)} to "
                "convolutional, or this to null to export the SavedModel alone. Received: a TFLite file, which is the "
                "default",
            )
