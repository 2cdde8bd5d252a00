"""Softmax cross-entropy over the hardest pixels."""

from collections.abc import Mapping, Sequence
from typing import Any

from keras import ops

from tfseg.losses.pixel_loss import PixelLoss
from tfseg.losses.pixels import Pixels, share, whole
from tfseg.losses.resolution import Positions
from tfseg.serialization import serializable
from tfseg.typing import Tensor


@serializable
class TopKCrossEntropy(PixelLoss):
    """Computes the mean softmax cross-entropy over the `pixels` hardest labeled pixels of each image.

    The hardest pixels are those whose label has the lowest probability; they are selected anew at each step (online
    bootstrapping). The divisor is the number of selected pixels in the batch, or the sum of their weights with
    `sample_weight`; under a distribution strategy, in the global batch. An image with fewer labeled pixels contributes
    all of them. A batch without labeled pixels has loss 0. The loss is computed in float32.

    A label that is neither a class id nor `ignore_label`, or that is not a whole number, raises an error at run time.
    With XLA or JAX, the loss is NaN instead.

    Example:

    >>> import numpy as np
    >>> labels = np.array([[[0, 1, 0, 255]]])
    >>> logits = np.log([[[[0.5, 0.5], [0.75, 0.25], [0.9, 0.1], [0.1, 0.9]]]])
    >>> round(float(TopKCrossEntropy(2)(labels, logits)), 4)  # (log 2 + log 4) / 2
    1.0397

    Args:
        pixels: Integer, number of pixels selected per image.
        ignore_label: Integer, label of the pixels to ignore. Defaults to 255.
        resolution: Resolution at which the loss is computed if logits and labels differ in size, as for `CrossEntropy`.
            The paper selects among the positions of the scores, 512 of about 65x65.
        positions: Positions of the logits in the image if logits and labels differ in size, as for `CrossEntropy`.
        name: Name of the loss.
        class_weights: One weight per class, or None: weights of the losses of the selected pixels. They do not affect
            the selection.
        ignore_class: Alias of `ignore_label`, the name used by Keras.
        from_logits: Must be True. Accepted for compatibility with the losses of Keras.
        annotated: Boolean per source and class, for labels that contain the source of each pixel, as
            `tfseg.ops.label_maps.with_source` makes them: the classes that the source of a pixel does not annotate are
            left out of its softmax. None: labels are class ids.

    Call arguments:
        y_true: Label map, of integers or of floats that are whole numbers.
        y_pred: Logits.
        sample_weight: Weights of the losses of the selected pixels, one per pixel or one per image. They do not affect
            the selection.

    Input shape:
        `y_true`: `[batch, height, width]` or `[batch, height, width, 1]`. `y_pred`: `[batch, height, width, classes]`;
        with a `resolution`, height and width may differ from those of `y_true`.

    Output shape:
        A scalar. On a replica, its share of the loss: the shares add up to the loss of the global batch.

    Raises:
        ValueError: If `pixels` is less than 1, if `y_true` is neither of integers nor of floats, if shapes do not
            match, if `resolution` is unknown, if `ignore_label` and `ignore_class` differ, if `from_logits` is not
            True, or if `annotated` has not one boolean per class in each row.

    Reference:
        Wu, Shen and van den Hengel, High-performance Semantic Segmentation Using Very Deep Fully Convolutional
        Networks (2016), section 3.2.
    """

    def __init__(
        self,
        pixels: int = 512,
        ignore_label: int | None = None,
        resolution: str | None = None,
        positions: Mapping[str, Any] | Positions | None = None,
        name: str = "top_k_cross_entropy",
        *,
        class_weights: Sequence[float] | None = None,
        ignore_class: int | None = None,
        from_logits: bool = True,
        annotated: Sequence[Sequence[bool]] | None = None,
    ) -> None:
        super().__init__(
            name=name,
            ignore_label=ignore_label,
            class_weights=class_weights,
            resolution=resolution,
            positions=positions,
            ignore_class=ignore_class,
            from_logits=from_logits,
            annotated=annotated,
        )
        self.pixels = whole("pixels", pixels)

    def compute(self, pixels: Pixels) -> Tensor:
        """Computes the loss of a batch, a float32 scalar."""
        return share(*self._hardest(pixels.cross_entropy, pixels.counted, pixels.cross_entropy, pixels.weights))

    def _hardest(self, losses: Tensor, counted: Tensor, *maps: Tensor) -> list[Tensor]:
        """Gathers `maps` at the hardest pixels of each image, as `[batch, pixels]`."""
        images, height, width = ops.shape(losses)
        area = height * width
        count = min(self.pixels, area) if isinstance(area, int) else ops.minimum(area, self.pixels)
        hardness = ops.stop_gradient(ops.where(counted == 0, -1.0, losses))
        _, indices = ops.top_k(ops.reshape(hardness, (images, area)), count, sorted=False)
        return [ops.take_along_axis(ops.reshape(each, (images, area)), indices, axis=1) for each in maps]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pixels": self.pixels}
