"""Base class of losses, and the pixels of a batch."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypedDict

import keras
from keras import ops

from tfseg.losses.annotated import checked_annotated, restricted
from tfseg.losses.pixels import Pixels, check_from_logits, checked_class_weights, pixel_labels
from tfseg.losses.resolution import Positions, check, matched
from tfseg.ops.label_maps import integer_labels, resolve_ignore_label
from tfseg.typing import Tensor


class Options(TypedDict, total=False):
    """Keyword arguments of all losses."""

    ignore_label: int | None
    class_weights: Sequence[float] | None
    resolution: str | None
    positions: Mapping[str, Any] | Positions | None
    name: str
    ignore_class: int | None
    from_logits: bool
    annotated: Sequence[Sequence[bool]] | None


class PixelLoss(keras.losses.Loss):
    """Base class of losses of a label map and logits. Subclasses implement `compute`.

    Labels and logits are checked and brought to one size, and logits become float32. `compute` then receives the
    `Pixels` of the batch. The loss is a scalar: on a replica its share, so that the shares of all replicas add up to
    the loss of the global batch.

    Args:
        name: Name of the loss. Defaults to `NAME`.
        ignore_label: Integer, label of the pixels to ignore. Defaults to 255.
        class_weights: One weight per class, or None to weight all classes equally.
        resolution: See `tfseg.losses.CrossEntropy`.
        positions: See `tfseg.losses.CrossEntropy`.
        ignore_class: Alias of `ignore_label`, the name used by Keras.
        from_logits: Must be True.
        annotated: See `tfseg.losses.CrossEntropy`.
    """

    NAME: ClassVar[str]

    def __init__(
        self,
        *,
        name: str | None = None,
        ignore_label: int | None = None,
        class_weights: Sequence[float] | None = None,
        resolution: str | None = None,
        positions: Mapping[str, Any] | Positions | None = None,
        ignore_class: int | None = None,
        from_logits: bool = True,
        annotated: Sequence[Sequence[bool]] | None = None,
    ) -> None:
        check_from_logits(from_logits)
        check(resolution)
        super().__init__(name=name or self.NAME, reduction="mean", dtype="float32")
        self.ignore_label = resolve_ignore_label(ignore_label, ignore_class)
        self.class_weights = checked_class_weights(class_weights)
        self.resolution = resolution
        self.positions = Positions.of(positions)
        self.annotated = checked_annotated(annotated)

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Computes the loss without the reduction of Keras, which ignores no pixels and does not sum over replicas."""
        with keras.name_scope(self.name):
            logits = ops.convert_to_tensor(y_pred, dtype="float32")
            labels, logits, sample_weight = matched(
                integer_labels(y_true), logits, sample_weight, self.resolution, self.positions, self.ignore_label
            )
            pixels = self.pixels_of(labels, logits, sample_weight)
            return self.compute(pixels) + pixels.invalid

    def pixels_of(self, labels: Tensor, logits: Tensor, sample_weight: Tensor | None) -> Pixels:
        """Checks label maps and logits of equal height and width, and returns the pixels of the batch."""
        labels, logits, included = restricted(labels, logits, self.annotated)
        labels, counted = pixel_labels(labels, logits.shape, self.ignore_label)
        return Pixels(labels, logits, counted, sample_weight, self.class_weights, included)

    def compute(self, pixels: Pixels) -> Tensor:
        """Computes the loss of a batch, a float32 scalar."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "ignore_label": self.ignore_label,
            "class_weights": self.class_weights,
            "resolution": self.resolution,
            "positions": self.positions._asdict(),
            "annotated": self.annotated,
        }
