"""Losses of pipeline files."""

from collections.abc import Iterator
from typing import Annotated, Literal

import keras
from pydantic import Field

from tfseg import losses
from tfseg.context import Context
from tfseg.labels import Labels
from tfseg.losses.annotated import Annotated as Classes
from tfseg.losses.class_weights import Balance, Counts, balanced
from tfseg.losses.resolution import Positions, Resolution
from tfseg.spec.declare import spec
from tfseg.spec.problems import FieldProblem
from tfseg.training.contracts import Objective

Weight = Annotated[float, Field(ge=0)]


@spec
class CrossEntropy(Objective):
    """Softmax cross-entropy over the labeled pixels."""

    type: Literal["cross_entropy"] = "cross_entropy"
    class_weights: tuple[Weight, ...] | Balance | None = None
    """One weight per class, or the method that computes them from the training split. null: no weights."""
    reduction: Literal["mean", "sum"] = "mean"
    """`mean`: weighted mean over the labeled pixels of a batch. `sum`: weighted sum divided by the number of images."""
    resolution: Resolution = "image"
    """`image`: scores are upsampled to the image. `scores`: labels are subsampled to the scores, as in DeepLab."""

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """Yields problems with settings that do not fit the classes, as pairs `(path, message)`."""
        given, count = self.class_weights, context.labels.count
        if isinstance(given, tuple) and len(given) != count:
            yield ("class_weights",), f"expected {count} weights, one per class. Received: {len(given)}"

    def __call__(
        self,
        labels: Labels,
        counts: Counts | None = None,
        *,
        resolution: Resolution | None = None,
        positions: Positions | None = None,
        annotated: Classes | None = None,
    ) -> keras.losses.Loss:
        """Creates the Keras loss.

        Args:
            labels: Class names and ignore label.
            counts: Function that counts the pixels per class in the training split, for computed `class_weights`.
            resolution: Resolution at which to compare an output with labels of another size. None if sizes are equal.
            positions: Positions of such an output in the image. None: corner-aligned.
            annotated: Boolean per source and class, if masks contain the source of each pixel.
        """
        weights = self.class_weights
        if isinstance(weights, str):
            if counts is None:
                raise ValueError(f"class_weights={weights!r} needs `counts`. Received: None")
            weights = balanced(weights, *counts())
        return losses.CrossEntropy(labels.ignore, weights, self.reduction, resolution, positions, annotated=annotated)


@spec
class TopKCrossEntropy(Objective):
    """Softmax cross-entropy over the hardest pixels of each image (Wu, Shen & van den Hengel 2016, section 3.2)."""

    type: Literal["top_k_cross_entropy"] = "top_k_cross_entropy"
    pixels: Annotated[int, Field(ge=1)] = 512
    """Number of pixels per image: those whose labels have the lowest probability."""
    resolution: Resolution = "image"
    """`image`: scores are upsampled to the image. `scores`: labels are subsampled to the scores, as in DeepLab."""

    def __call__(
        self,
        labels: Labels,
        counts: Counts | None = None,
        *,
        resolution: Resolution | None = None,
        positions: Positions | None = None,
        annotated: Classes | None = None,
    ) -> keras.losses.Loss:
        """Creates the Keras loss.

        Args:
            labels: Class names and ignore label.
            counts: Unused.
            resolution: Resolution at which to compare an output with labels of another size. None if sizes are equal.
            positions: Positions of such an output in the image. None: corner-aligned.
            annotated: Boolean per source and class, if masks contain the source of each pixel.
        """
        return losses.TopKCrossEntropy(self.pixels, labels.ignore, resolution, positions, annotated=annotated)
