"""One network at several scales of its input, with one set of weights."""

import functools
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Literal

import keras
from keras import ops

from tfseg.layers.composite import Composite
from tfseg.ops.geometry import interp_size
from tfseg.ops.resize import resize

Shape = Sequence[int | None]
Fusion = Literal["max", "mean", "attention"]


@keras.saving.register_keras_serializable(package="tfseg")
class MultiScale(Composite, keras.layers.Wrapper):
    """Lets a layer or a model see its input at several scales, and fuses the scores; all scales share its weights.

    The input is resized bilinearly to each scale, the scores of each are brought to the size of those at scale 1, and
    fused: by their maximum (DeepLab v2), their mean, or weighted by an attention model: a 3x3 convolution with ReLU and
    a 1x1 convolution read the features of all scales and give each scale a weight at each place, by a softmax over the
    scales.

    With aligned corners, sizes are those of Caffe's `Interp`: 321 pixels become 241 at 0.75 and 161 at 0.5. Otherwise
    they are `n scale`, rounded. Pixels are interpolated in float32 under every precision policy.

    Example:

    >>> import numpy as np
    >>> image = keras.Input((None, None, 3))
    >>> net = keras.Model(image, keras.layers.Conv2D(21, 3, 8, "same")(image))
    >>> tuple(MultiScale(net)(np.zeros((1, 321, 321, 3))).shape)
    (1, 41, 41, 21)
    >>> [tuple(each.shape)[1:3] for each in MultiScale(net, outputs="all")(np.zeros((1, 321, 321, 3)))]
    [(41, 41), (41, 41), (31, 31), (21, 21)]

    Args:
        layer: what gives scores; a layer or a Functional model. For attention it may give a list, `[scores, features]`;
            a layer with one output has its scores looked at.
        scales: the scales, one of them 1. They count as fractions of a denominator up to 100.
        fusion: `"max"`, `"mean"` or `"attention"`.
        align_corners: of all resizing, see `ResizeLike`.
        outputs: `"fused"`: the fused scores. `"all"`: a list of them and of the scores of each scale at its own size,
            in the order of `scales`, to put a loss on each. Weights are the same.
        attention_filters: channels of the attention model's 3x3 convolution.

    Call arguments:
        x: a tensor.
        training: as of `layer`.

    Input shape:
        `[batch, height, width, channels]`.

    Output shape:
        `[batch, score_height, score_width, classes]`, or a list of such.

    Raises:
        ValueError: scales without 1, twice the same or not positive, another fusion or other outputs.

    Reference:
        Chen et al., "DeepLab: Semantic Image Segmentation with Deep Convolutional Nets, Atrous Convolution, and Fully
        Connected CRFs", PAMI 2018, section 4.3 (MSC); Chen et al., "Attention to Scale: Scale-aware Semantic Image
        Segmentation", CVPR 2016, section 3.2.
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        scales: Sequence[float] = (1.0, 0.75, 0.5),
        fusion: Fusion = "max",
        align_corners: bool = True,
        outputs: Literal["fused", "all"] = "fused",
        attention_filters: int = 512,
        **kwargs: Any,
    ) -> None:
        super().__init__(layer, autocast=False, **kwargs)  # pixels are not rounded before they are interpolated
        if not self.trainable:
            layer.trainable = False  # Keras tells layers that are there when it is set, not when it is constructed
        self.scales, self.fusion, self.align_corners = tuple(scales), fusion, align_corners
        self.outputs, self.attention_filters = outputs, attention_filters
        self._check()
        self._fractions = [Fraction(scale).limit_denominator(100) for scale in self.scales]
        self.supports_jit = False  # XLA interpolates wrongly, see tfseg/ops/resize.py
        if fusion == "attention":
            plain = {"dtype": self.dtype_policy, "trainable": self.trainable}
            self.attention_hidden = keras.layers.Conv2D(
                attention_filters, 3, padding="same", activation="relu", name="attention_hidden", **plain
            )
            self.attention = keras.layers.Conv2D(len(self.scales), 1, name="attention", **plain)

    def _check(self) -> None:
        if 1 not in self.scales or len(set(self.scales)) < len(self.scales) or min(self.scales) < 0.01:
            raise ValueError(
                "`scales` must be different numbers of at least 0.01, one of them 1, whose scores set the size. "
                f"Received: scales={self.scales}"
            )
        if self.fusion not in ("max", "mean", "attention"):
            raise ValueError(f'`fusion` must be "max", "mean" or "attention". Received: fusion={self.fusion!r}')
        if self.outputs not in ("fused", "all"):
            raise ValueError(f'`outputs` must be "fused" or "all". Received: outputs={self.outputs!r}')

    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        if self.fusion == "attention":
            channels = self._looked_at(self._shapes(input_shape))[-1] * len(self.scales)
            self.attention_hidden.build((*input_shape[:3], channels))
            self.attention.build((*input_shape[:3], self.attention_filters))

    def call(self, x: Any, training: bool | None = None) -> Any:
        seen = [_listed(self.layer(self._scaled(x, scale))) for scale in self._fractions]
        _, *size, _ = ops.shape(seen[self.scales.index(1)][0])
        scores = [self._raised(outputs[0], size) for outputs in seen]
        fused = self._fused(scores, [self._looked_at(outputs) for outputs in seen], size)
        results = [fused, *(outputs[0] for outputs in seen)] if self.outputs == "all" else [fused]
        results = [ops.cast(each, self.compute_dtype) for each in results]
        return results if self.outputs == "all" else results[0]

    def _scaled(self, x: Any, scale: Fraction) -> Any:
        if scale == 1:
            return x
        size = [self._size(length, scale) for length in ops.shape(x)[1:3]]
        return resize(ops.cast(x, "float32"), size, "bilinear", self.align_corners)

    def _size(self, length: Any, scale: Fraction) -> Any:
        if self.align_corners:
            return interp_size(length, scale)
        return (2 * length * scale.numerator + scale.denominator) // (2 * scale.denominator)

    def _raised(self, x: Any, size: Sequence[Any]) -> Any:
        """Scores or features of any scale, at the size of those at scale 1."""
        return resize(ops.cast(x, "float32"), size, "bilinear", self.align_corners)

    def _fused(self, scores: list[Any], features: list[Any], size: Sequence[Any]) -> Any:
        if self.fusion == "max":
            return functools.reduce(ops.maximum, scores)
        if self.fusion == "mean":
            return sum(scores[1:], start=scores[0]) / len(scores)
        seen = ops.concatenate([self._raised(each, size) for each in features], axis=-1)
        shares = self.attention(self.attention_hidden(ops.cast(seen, self.compute_dtype)))
        shares = ops.softmax(ops.cast(shares, "float32"), axis=-1)
        weighted = [each * shares[..., index : index + 1] for index, each in enumerate(scores)]
        return sum(weighted[1:], start=weighted[0])

    @staticmethod
    def _looked_at(outputs: list[Any]) -> Any:
        """What attention reads: the features, or the scores where there are none."""
        return outputs[min(1, len(outputs) - 1)]

    def _shapes(self, input_shape: Shape, scale: Fraction = Fraction(1)) -> list[Any]:
        """The shapes of the layer's outputs at a scale."""
        batch, *sides, channels = input_shape
        sizes = (None if side is None else self._size(side, scale) for side in sides)
        return _listed(self.layer.compute_output_shape((batch, *sizes, channels)), shapes=True)

    def compute_output_shape(self, input_shape: Shape) -> Any:
        fused = tuple(self._shapes(input_shape)[0])
        if self.outputs == "fused":
            return fused
        return [fused, *(tuple(self._shapes(input_shape, scale)[0]) for scale in self._fractions)]

    def get_config(self) -> dict[str, Any]:
        names = ("scales", "fusion", "align_corners", "outputs", "attention_filters")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _listed(outputs: Any, shapes: bool = False) -> list[Any]:
    """One output or several, as a list; of shapes too, which are sequences themselves."""
    several = isinstance(outputs, Sequence) and not (shapes and not isinstance(outputs[0], Sequence))
    return list(outputs) if several else [outputs]
