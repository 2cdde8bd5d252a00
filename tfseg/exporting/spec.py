"""Export settings of a pipeline."""

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
    """Float32 TFLite file with a fixed image size and batch 1, and with builtin operations only."""

    size: tuple[Side, Side] | None = None
    """Height and width of the input. Defaults to `inference.size`, or to the size of the first image compared."""


@spec
class Export:
    """Artifacts to write besides the SavedModel, and the tolerance of their comparison with the model."""

    tflite: Tflite | None = Tflite()
    """TFLite file; null for none."""
    examples: Annotated[int, Field(ge=1)] = 2
    """Number of validation images on which each artifact is compared with the model."""
    tolerance: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    """Maximum difference of a probability. The default lies between measured float32 rounding errors (1e-4 with logits
    of 300, 1e-5 with usual logits) and the smallest error of a wrong export (1e-2: a resize with aligned corners
    instead of half-pixel centers). The class of a pixel may differ only if its two highest probabilities differ by at
    most twice this value."""

    def network_problems(self, model: keras.Model) -> Iterator[FieldProblem]:
        """Yields the artifacts that the network does not support, as (path, message)."""
        lattices = [
            layer.name
            for layer in layers_within(model)
            if isinstance(layer, CrfRnn) and layer.kernel == "permutohedral"
        ]
        if self.tflite is not None and lattices:
            yield (
                ("tflite",),
                f"TFLite has no operations for the permutohedral lattice. Set the kernel of {listed(lattices)} to "
                "convolutional, or export.tflite to null to export the SavedModel only. Received: a TFLite file, which "
                "is the default",
            )
