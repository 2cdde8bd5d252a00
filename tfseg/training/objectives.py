"""Losses of pipeline files."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import keras
from pydantic import Field, model_validator

from tfseg import losses
from tfseg.context import Context
from tfseg.labels import Labels
from tfseg.losses.annotated import Annotated as Classes
from tfseg.losses.class_weights import Balance, Counts, balanced
from tfseg.losses.resolution import Positions, Resolution
from tfseg.spec.declare import spec
from tfseg.spec.nesting import Inner
from tfseg.spec.problems import FieldProblem, InvalidFields, component_problems, prefixed
from tfseg.training.contracts import Objective

Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
INNER = Inner("loss")
"""Mark of a loss inside a sum: the same choices as in `training.loss`."""


@spec
class PixelObjective(Objective):
    """Base class of losses of a label map and logits. Subclasses implement `loss`."""

    type: str = ""
    class_weights: tuple[Weight, ...] | Balance | None = None
    """One weight per class, or the method that computes them from the training split. null: no weights."""
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
        shared = {"resolution": resolution, "positions": positions, "annotated": annotated}
        return self.loss({"ignore_label": labels.ignore, "class_weights": weights, **shared})

    def loss(self, options: Mapping[str, Any]) -> keras.losses.Loss:
        """Creates the Keras loss with the keyword arguments that all losses have."""
        raise NotImplementedError


@spec
class CrossEntropy(PixelObjective):
    """Softmax cross-entropy over the labeled pixels."""

    type: Literal["cross_entropy"] = "cross_entropy"
    reduction: Literal["mean", "sum"] = "mean"
    """`mean`: weighted mean over the labeled pixels of a batch. `sum`: weighted sum divided by the number of images."""
    label_smoothing: Share = 0.0
    """Share of each label that is spread over all classes."""

    def loss(self, options: Mapping[str, Any]) -> keras.losses.Loss:
        return losses.CrossEntropy(reduction=self.reduction, label_smoothing=self.label_smoothing, **options)


@spec
class TopKCrossEntropy(PixelObjective):
    """Softmax cross-entropy over the hardest pixels of each image (Wu, Shen & van den Hengel 2016, section 3.2)."""

    type: Literal["top_k_cross_entropy"] = "top_k_cross_entropy"
    pixels: Annotated[int, Field(ge=1)] = 512
    """Number of pixels per image: those whose labels have the lowest probability."""

    def loss(self, options: Mapping[str, Any]) -> keras.losses.Loss:
        return losses.TopKCrossEntropy(self.pixels, **options)


@spec
class OhemCrossEntropy(PixelObjective):
    """Softmax cross-entropy over the pixels of each image whose labels have low probabilities (Yuan & Wang 2018)."""

    type: Literal["ohem_cross_entropy"] = "ohem_cross_entropy"
    threshold: Share = 0.7
    """Probability of the label below which a pixel counts."""
    min_kept: Share = 0.0625
    """Minimum share of the labeled pixels of an image that count: the hardest ones."""

    def loss(self, options: Mapping[str, Any]) -> keras.losses.Loss:
        return losses.OhemCrossEntropy(self.threshold, self.min_kept, **options)


@spec
class Focal(PixelObjective):
    """Cross-entropy with less weight for pixels that are already well classified (Lin et al. 2017, section 3)."""

    type: Literal["focal"] = "focal"
    gamma: Annotated[float, Field(ge=0)] = 2.0
    """Focusing parameter. 0: cross-entropy."""

    def loss(self, options: Mapping[str, Any]) -> keras.losses.Loss:
        return losses.Focal(self.gamma, **options)


@spec
class Dice(PixelObjective):
    """One minus the Dice coefficient of probabilities, mean over the classes (Milletari et al. 2016, section 3)."""

    type: Literal["dice"] = "dice"
    over: losses.Over = "image"
    """`image`: coefficients of each image, of the classes in its label. `batch`: of all pixels of the batch."""

    def loss(self, options: Mapping[str, Any]) -> keras.losses.Loss:
        return losses.Dice(self.over, **options)


@spec
class Tversky(PixelObjective):
    """One minus the Tversky index of probabilities, mean over the classes (Salehi et al. 2017, equation 4)."""

    type: Literal["tversky"] = "tversky"
    alpha: Annotated[float, Field(ge=0)] = 0.3
    """Weight of false positives."""
    beta: Annotated[float, Field(gt=0)] = 0.7
    """Weight of false negatives."""
    over: losses.Over = "image"
    """`image`: indices of each image, of the classes in its label. `batch`: of all pixels of the batch."""

    def loss(self, options: Mapping[str, Any]) -> keras.losses.Loss:
        return losses.Tversky(self.alpha, self.beta, self.over, **options)


@spec
class LovaszSoftmax(PixelObjective):
    """Surrogate of one minus the IoU, mean over the classes of each image (Berman et al. 2018, equations 9 to 12)."""

    type: Literal["lovasz_softmax"] = "lovasz_softmax"

    def loss(self, options: Mapping[str, Any]) -> keras.losses.Loss:
        return losses.LovaszSoftmax(**options)


@spec
class Boundary(PixelObjective):
    """Probabilities of wrong classes, weighted by the distance to the right ones (Kervadec et al. 2019, equation 5)."""

    type: Literal["boundary"] = "boundary"
    max_distance: Annotated[int, Field(ge=1, le=255)] = 10
    """Limit of the distances in pixels."""

    def loss(self, options: Mapping[str, Any]) -> keras.losses.Loss:
        return losses.Boundary(self.max_distance, **options)


@spec
class BoundaryCrossEntropy(Objective):
    """Balanced binary cross-entropy of a score map of boundaries, an auxiliary output of one channel (PIDNet)."""

    type: Literal["boundary_cross_entropy"] = "boundary_cross_entropy"
    channels: ClassVar[int | None] = 1  # type: ignore[misc]  # not a field
    radius: Annotated[int, Field(ge=1)] = 2
    """Largest distance of a boundary pixel to another class, in pixels."""
    resolution: Resolution = "image"
    """`image`: scores are upsampled to the image. `scores`: labels are subsampled to the scores."""

    def __call__(
        self,
        labels: Labels,
        counts: Counts | None = None,
        *,
        resolution: Resolution | None = None,
        positions: Positions | None = None,
        annotated: Classes | None = None,
    ) -> keras.losses.Loss:
        """Creates the Keras loss; see `PixelObjective`."""
        return losses.BoundaryCrossEntropy(
            self.radius,
            labels.count,
            ignore_label=labels.ignore,
            resolution=resolution,
            positions=positions,
            annotated=annotated,
        )


@spec
class Term:
    """One loss of a sum."""

    loss: Annotated[Objective, INNER]
    """Loss."""
    weight: Weight = 1.0
    """Weight of the loss in the sum."""


@spec
class Sum(Objective):
    """Weighted sum of several losses."""

    type: Literal["sum"] = "sum"
    terms: Annotated[tuple[Term, ...], Field(min_length=1)]
    """Losses with weights. All have the same `resolution`."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for index, term in enumerate(self.terms):
            if term.loss.resolution != self.resolution:
                message = f"expected {self.resolution}, the resolution of the first loss of the sum"
                raise InvalidFields(
                    (("terms", index, "loss", "resolution"), f"{message}; received {term.loss.resolution}")
                )
        return self

    @property
    def resolution(self) -> Resolution:  # type: ignore[override]  # that of the losses
        """Resolution at which the losses are computed."""
        return self.terms[0].loss.resolution

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """Yields problems with settings that do not fit the classes, as pairs `(path, message)`."""
        for index, term in enumerate(self.terms):
            for path, message in prefixed("loss", component_problems(term.loss, context)):
                yield ("terms", index, *path), message

    def __call__(self, labels: Labels, counts: Counts | None = None, **options: Any) -> keras.losses.Loss:
        """Creates the Keras loss; see `PixelObjective`."""
        terms = [term.loss(labels, counts, **options) for term in self.terms]
        return losses.WeightedSum(terms, [term.weight for term in self.terms])


Losses = CrossEntropy | TopKCrossEntropy | OhemCrossEntropy | Focal | Dice | Tversky | LovaszSoftmax | Boundary | Sum
AuxiliaryLosses = Losses | BoundaryCrossEntropy
