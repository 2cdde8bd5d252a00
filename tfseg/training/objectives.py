"""The losses a pipeline file can name."""

from collections.abc import Iterator
from typing import Annotated, Literal

import keras
from pydantic import Field

from tfseg import losses
from tfseg.context import Context
from tfseg.labels import Labels
from tfseg.losses.class_weights import Balance, Counts, balanced
from tfseg.losses.resolution import Positions, Resolution
from tfseg.spec.declare import spec
from tfseg.spec.problems import FieldProblem
from tfseg.training.contracts import Objective

Weight = Annotated[float, Field(ge=0)]


@spec
class CrossEntropy(Objective):
    """Softmax cross-entropy of every labeled pixel."""

    type: Literal["cross_entropy"] = "cross_entropy"
    class_weights: tuple[Weight, ...] | Balance | None = None
    """One weight for each class, or how to compute them from the training split; null where all count the same."""
    reduction: Literal["mean", "sum"] = "mean"
    """`mean`: over a batch's labeled pixels, by their weights. `sum`: over pixels, divided by the batch's images."""
    resolution: Resolution = "image"
    """`image`: scores are brought to the image. `scores`: labels are taken at the scores' places, as in DeepLab."""

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """What does not fit the classes, each as (path, message)."""
        given, count = self.class_weights, context.labels.count
        if isinstance(given, tuple) and len(given) != count:
            yield ("class_weights",), f"must be {count} weights, one for each class. Received: {len(given)}"

    def __call__(
        self,
        labels: Labels,
        counts: Counts | None = None,
        *,
        resolution: Resolution | None = None,
        positions: Positions | None = None,
    ) -> keras.losses.Loss:
        """The Keras loss.

        Args:
            labels: the classes.
            counts: counts the classes of the training split; called where `class_weights` follow from that.
            resolution: what to do with an output that is not of the labels' size; None: it is.
            positions: where such an output lies in the image; None: from corner to corner.
        """
        weights = self.class_weights
        if isinstance(weights, str):
            if counts is None:
                raise ValueError(f"class_weights={weights!r} needs `counts`. Received: None")
            weights = balanced(weights, *counts())
        return losses.CrossEntropy(labels.ignore, weights, self.reduction, resolution, positions)


@spec
class TopKCrossEntropy(Objective):
    """Softmax cross-entropy of the hardest pixels of each image (Wu, Shen and van den Hengel 2016, section 3.2)."""

    type: Literal["top_k_cross_entropy"] = "top_k_cross_entropy"
    pixels: Annotated[int, Field(ge=1)] = 512
    """How many pixels of each image count: those whose labels have the least probability."""
    resolution: Resolution = "image"
    """`image`: scores are brought to the image. `scores`: labels are taken at the scores' places, as in DeepLab."""

    def __call__(
        self,
        labels: Labels,
        counts: Counts | None = None,
        *,
        resolution: Resolution | None = None,
        positions: Positions | None = None,
    ) -> keras.losses.Loss:
        """The Keras loss.

        Args:
            labels: the classes.
            counts: not called.
            resolution: what to do with an output that is not of the labels' size; None: it is.
            positions: where such an output lies in the image; None: from corner to corner.
        """
        return losses.TopKCrossEntropy(self.pixels, labels.ignore, resolution, positions)
