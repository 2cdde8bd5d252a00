"""Expected calibration error and reliability curve."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfseg.metrics.counting import PixelMetric
from tfseg.ops.confusion import assert_labels
from tfseg.ops.label_maps import int32_ids
from tfseg.serialization import serializable
from tfseg.typing import Tensor


@serializable
class CalibrationError(PixelMetric):
    """Computes the expected calibration error: how far the confidence of a prediction is from its accuracy.

    The confidence of a pixel is the probability of its predicted class. Labeled pixels are divided into bins of equal
    width by their confidence. The error is the mean over the bins of the absolute difference of their accuracy and
    their mean confidence, weighted by their pixels.

    Example:

    >>> import numpy as np
    >>> metric = CalibrationError(num_classes=2, from_logits=False)
    >>> metric.update_state(np.array([[[0, 1]]]), np.array([[[[0.8, 0.2], [0.8, 0.2]]]]))
    >>> round(float(metric.result()["calibration_error"]), 4)  # accuracy 0.5, confidence 0.8
    0.3

    Args:
        num_classes: Integer, number of classes.
        bins: Integer, number of bins.
        ignore_label: Integer, label of the pixels to ignore. Defaults to 255.
        from_logits: Boolean, whether predictions are logits rather than probabilities.
        name: Name of the metric. Not part of the logged names.
        ignore_class: Alias of `ignore_label`, the name used by Keras.

    Call arguments:
        y_true: Label map, of integers or of floats that are whole numbers.
        y_pred: Logits, or probabilities with `from_logits=False`.
        sample_weight: Not supported. Use `ignore_label` to exclude pixels.

    Input shape:
        `y_true`: `[batch, height, width]` or `[batch, height, width, 1]`. `y_pred`: `[batch, height, width, classes]`.

    Output shape:
        A dict with one scalar, `calibration_error`.

    Raises:
        ValueError: If `bins` is less than 1, if predictions are class ids, and as for
            `tfseg.metrics.SegmentationMetrics`.

    Reference:
        Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks (2017), section 2, equation 3.
    """

    def __init__(
        self,
        num_classes: int,
        bins: int = 15,
        ignore_label: int | None = None,
        from_logits: bool = True,
        name: str = "calibration",
        *,
        ignore_class: int | None = None,
    ) -> None:
        if bins != int(bins) or bins < 1:
            raise ValueError(f"`bins` must be an integer of at least 1. Received: bins={bins}")
        super().__init__(num_classes, ignore_label, ignore_class, (2, bins), name)
        self.confidence = self.add_variable(
            (bins,), initializer="zeros", dtype="float64", aggregation="sum", name="confidence"
        )
        self.bins, self.from_logits = bins, from_logits

    def predicted(self, predictions: Tensor) -> Tensor:
        """Returns the predictions as float32, checked."""
        if "int" in keras.backend.standardize_dtype(predictions.dtype):
            raise ValueError(
                "Predictions must be logits or probabilities, floats of shape [batch, height, width, "
                f"{self.num_classes}]: class ids have no confidence. Received: y_pred of dtype "
                f"{keras.backend.standardize_dtype(predictions.dtype)}"
            )
        self.check_channels(predictions)
        return ops.cast(predictions, "float32")

    def add(self, labels: Tensor, predicted: Tensor) -> None:
        """Adds pixels, correct pixels, and the sum of the confidences of each bin."""
        probabilities = ops.softmax(predicted) if self.from_logits else predicted
        confidence, ids = (each[..., 0] for each in ops.top_k(probabilities, k=1))
        labels = int32_ids(labels)
        counted = assert_labels(labels, self.num_classes, self.ignore_label)
        bins = ops.cast(ops.clip(ops.ceil(confidence * self.bins) - 1, 0, self.bins - 1), "int32")
        bins = ops.where(ops.isnan(confidence), 0, bins)  # NaN makes the error NaN
        bins = ops.reshape(ops.where(counted, bins, self.bins), (-1,))  # one more for ignored pixels
        hits = ops.cast(ops.equal(labels, ops.cast(ids, "int32")), "int64")

        def summed(values: Tensor) -> Tensor:
            return ops.segment_sum(ops.reshape(values, (-1,)), bins, num_segments=self.bins + 1)[:-1]

        self.confusion.assign_add(ops.stack([summed(ops.ones_like(hits)), summed(hits)]))
        self.confidence.assign_add(summed(ops.cast(confidence, "float64")))

    def result(self) -> dict[str, Any]:
        """Computes the error of all pixels counted since the last reset."""
        pixels, hits = ops.unstack(ops.cast(self.confusion, "float64"))
        error = ops.divide_no_nan(ops.sum(ops.abs(hits - self.confidence)), ops.sum(pixels))
        return {"calibration_error": ops.cast(error, "float32")}

    def curve(self) -> dict[str, np.ndarray]:
        """Returns the reliability curve.

        Returns:
            A dict of arrays `[bins]`: `pixels`, int64, and `confidence` and `accuracy`, float64, NaN for bins without
            pixels.
        """
        (pixels, hits), confidence = (ops.convert_to_numpy(each) for each in (self.confusion, self.confidence))
        with np.errstate(invalid="ignore"):
            return {"pixels": pixels, "confidence": confidence / pixels, "accuracy": hits / pixels}

    def report(self) -> dict[str, Any]:
        """Returns the error and the reliability curve in double precision, for JSON: None for bins without pixels."""
        curve = self.curve()
        pixels, gaps = curve["pixels"], np.abs(curve["accuracy"] - curve["confidence"])
        error = float(np.nansum(gaps * pixels) / max(pixels.sum(), 1))
        lists = {name: [None if np.isnan(value) else value for value in each.tolist()] for name, each in curve.items()}
        return {"expected_calibration_error": error, **lists}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "bins": self.bins, "from_logits": self.from_logits}
