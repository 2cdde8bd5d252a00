"""Atrous spatial pyramid pooling (ASPP) of DeepLab v3 and v3+."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import keras
from keras import ops

from tfseg.layers.arguments import pair, rates_of
from tfseg.layers.composite import Composite
from tfseg.layers.conv import AtrousConv2D
from tfseg.layers.norm import Kind, Normalization, check_groups
from tfseg.ops.resize import resize
from tfseg.serialization import serializable
from tfseg.typing import Tensor

Shape = Sequence[int | None]
Order = Literal["pooling_last", "pooling_first"]


@serializable
class AtrousSpatialPyramidPooling(Composite):
    """Applies the ASPP of DeepLab v3 and v3+: parallel atrous convolutions and image-level pooling.

    The branches are a 1x1 convolution, one 3x3 atrous convolution per dilation rate, and image-level pooling: the mean
    over the feature map, a 1x1 convolution, and broadcasting to the input size. Each branch outputs `filters` channels
    and ends with normalization and activation. The branches are concatenated and projected to `filters` channels by a
    1x1 convolution with normalization, activation and optional dropout.

    Image-level pooling accepts any height and width, static or dynamic. When training with a batch size of 1, the
    BatchNormalization after pooling the whole map receives a single value per channel and outputs `beta`: finite, but
    independent of the image. Use a batch size of at least 2, or freeze that layer.

    `sublayers` maps names to the inner layers that exist, in this order: `pointwise`, `atrous_1` … `atrous_n` in the
    order of `rates`, `pooling`, `projection`, `dropout`. The normalization and activation of a convolution follow it
    with the suffixes `_norm` and `_activation`. In separable branches, `atrous_1_depthwise` precedes `atrous_1`. The
    names do not depend on the rates, so that weights load at every output stride.

    Example:

    >>> import numpy as np
    >>> aspp = AtrousSpatialPyramidPooling(filters=4, rates=(6, 12))
    >>> tuple(aspp(np.zeros((1, 33, 45, 8))).shape)
    (1, 33, 45, 4)

    Args:
        filters: Integer, number of filters of each branch and of the projection.
        rates: Dilation rates of the 3x3 branches: 6, 12 and 18 at output stride 16, twice that at output stride 8. If
            empty, only the 1x1 branch and image-level pooling remain, as on MobileNetV2.
        pooling: Boolean, whether to add the image-level pooling branch.
        pointwise: Boolean, whether to add the 1x1 branch.
        projection: Boolean, whether to project the concatenated branches. If `False`, the layer returns the
            concatenation.
        separable: Boolean, whether to replace each 3x3 convolution by a depthwise 3x3 atrous convolution followed by a
            1x1 convolution, as in DeepLab v3+.
        depthwise_norm: Boolean, whether normalization and activation also follow the depthwise convolution of a
            separable branch, as in the authors' release of DeepLab v3+. TF Model Garden omits them.
        dropout: Dropout rate after the projection.
        activation: Activation function after each normalization layer.
        momentum: Momentum of the moving averages of BatchNormalization.
        epsilon: Small float added to the variances.
        order: Position of image-level pooling among the concatenated branches: `pooling_first` (authors' release) or
            `pooling_last` (TF Model Garden).
        pool_size: Integer or pair of integers, height and width of the non-overlapping windows of average pooling,
            whose result is resized bilinearly to the input size. Along an axis that is shorter than the window, pooling
            covers the whole axis. If `None`, pooling covers the whole feature map.
        align_corners: Boolean, whether to resize with aligned corners, as in the authors' release, rather than with
            half-pixel centers.
        norm: Type of normalization: `"batch"` or `"group"`.
        groups: Integer, number of groups for `"group"`. It must divide `filters` and, if `separable`, also the number
            of input channels.

    Call arguments:
        x: Input feature map.
        training: Boolean, whether to run normalization and dropout in training mode.

    Input shape:
        `[batch, height, width, channels]`.

    Output shape:
        `[batch, height, width, filters]`. Without the projection, the last axis has `filters` channels per branch.

    Raises:
        ValueError: If `rates` are not positive integers, if there is no branch, if `order` or `norm` is unknown, if
            `pool_size` is given without `pooling` or `dropout` without `projection`, or if `groups` does not divide the
            number of channels.

    Reference:
        Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017, section 3.3; Chen et al.,
        "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation", ECCV 2018, section 3.1.
    """

    def __init__(
        self,
        filters: int = 256,
        rates: Sequence[int] = (6, 12, 18),
        pooling: bool = True,
        pointwise: bool = True,
        projection: bool = True,
        separable: bool = False,
        depthwise_norm: bool = True,
        dropout: float = 0.0,
        activation: str = "relu",
        momentum: float = 0.9,
        epsilon: float = 1e-3,
        order: Order = "pooling_last",
        pool_size: int | Sequence[int] | None = None,
        align_corners: bool = False,
        norm: Kind = "batch",
        groups: int = 32,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters, self.rates = filters, rates_of("rates", rates)
        self.pooling, self.pointwise, self.projection = pooling, pointwise, projection
        self.separable, self.depthwise_norm = separable, depthwise_norm
        self.dropout, self.activation, self.momentum, self.epsilon = dropout, activation, momentum, epsilon
        self.order, self.align_corners = order, align_corners
        self.norm, self.groups = norm, groups
        self.pool_size = None if pool_size is None else pair("pool_size", pool_size)
        self._check()
        self.supports_jit = self.pool_size is None  # resizing gives wrong values under XLA, see tfseg/ops/resize.py
        branches = list(self._make_branches())
        self.parts = {layer.name: layer for layers in branches for layer in layers}
        self._branches = [[layer.name for layer in layers] for layers in branches]

    def _check(self) -> None:
        if not (self.rates or self.pooling or self.pointwise):
            raise ValueError(
                "At least one branch is required: `rates`, `pooling` or `pointwise`. "
                "Received: rates=(), pooling=False, pointwise=False"
            )
        if self.order not in ("pooling_last", "pooling_first"):
            raise ValueError(f'`order` must be "pooling_last" or "pooling_first". Received: order={self.order!r}')
        if self.pool_size is not None and not self.pooling:
            raise ValueError(
                f"`pool_size` requires `pooling=True`. Received: pool_size={self.pool_size}, pooling=False"
            )
        if self.dropout and not self.projection:
            raise ValueError(
                f"`dropout` requires `projection=True`. Received: dropout={self.dropout}, projection=False"
            )

    def _make_branches(self) -> Iterator[list[keras.layers.Layer]]:
        """Yields the layers of each branch in call order; the pooling branch and the projection come last."""
        if self.pointwise:
            yield self._conv_block("pointwise", self._conv("pointwise"))
        for number, rate in enumerate(self.rates, start=1):
            name = f"atrous_{number}"
            yield (
                self._separable_branch(name, rate)
                if self.separable
                else self._conv_block(name, self._conv(name, 3, rate))
            )
        if self.pooling:
            yield self._conv_block("pooling", self._conv("pooling"))
        if self.projection:
            projection = self._conv_block("projection", self._conv("projection"))
            dropout = [keras.layers.Dropout(self.dropout, **self._options("dropout"))] if self.dropout else []
            yield [*projection, *dropout]

    def _separable_branch(self, name: str, rate: int) -> list[keras.layers.Layer]:
        options = self._options(f"{name}_depthwise")
        conv = keras.layers.DepthwiseConv2D(3, padding="same", dilation_rate=rate, use_bias=False, **options)
        before = self._conv_block(options["name"], conv) if self.depthwise_norm else [conv]
        return [*before, *self._conv_block(name, self._conv(name))]

    def _conv(self, name: str, size: int = 1, rate: int = 1) -> keras.layers.Layer:
        options = self._options(name)
        return AtrousConv2D(self.filters, size, padding="same", dilation_rate=rate, use_bias=False, **options)

    def _conv_block(self, name: str, conv: keras.layers.Layer) -> list[keras.layers.Layer]:
        """Returns a convolution, its normalization and its activation."""
        choice = Normalization(self.norm, self.groups, self.momentum, self.epsilon)
        norm = choice.layer(**self._options(f"{name}_norm"))
        activation = keras.layers.Activation(self.activation, **self._options(f"{name}_activation"))
        return [conv, norm, activation]

    def _options(self, name: str) -> dict[str, Any]:
        return {"dtype": self.dtype_policy, "trainable": self.trainable, "name": name}

    @property
    def receptive_field(self) -> int | None:
        """Receptive field in input positions along one axis; `None` if it covers the whole input."""
        return None if self.pooling else 1 + 2 * max(self.rates, default=0)

    def build(self, input_shape: Shape) -> None:
        for names in self._branches:
            shape = self._concatenated_shape(input_shape) if names[0] == "projection" else input_shape
            for name in names:
                check_groups(self.parts[name], shape[-1])
                self.parts[name].build(shape)
                shape = self.parts[name].compute_output_shape(shape)

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        branches = [self._run(names, x) for names in self._branches if names[0] not in ("pooling", "projection")]
        if self.pooling:
            branches.insert(0 if self.order == "pooling_first" else len(branches), self._image_pooling(x))
        concatenated = branches[0] if len(branches) == 1 else ops.concatenate(branches, axis=-1)
        return self._run(self._branches[-1], concatenated) if self.projection else concatenated

    def _run(self, names: list[str], x: Tensor) -> Tensor:
        for name in names:  # Keras passes `training` on to inner layers
            x = self.parts[name](x)
        return x

    def _image_pooling(self, x: Tensor) -> Tensor:
        """Computes the pooling branch, broadcast or resized to the size of `x`."""
        batch, height, width, _ = ops.shape(x)
        (names,) = (names for names in self._branches if names[0] == "pooling")
        if self.pool_size is not None:
            pooled = _average_pool(x, self.pool_size)
            return resize(self._run(names, pooled), (height, width), "bilinear", self.align_corners)
        # In float32: the sum over a feature map overflows float16.
        mean = ops.mean(ops.cast(x, "float32"), axis=(1, 2), keepdims=True)
        pooled = self._run(names, ops.cast(mean, x.dtype))
        return ops.broadcast_to(pooled, (batch, height, width, self.filters))

    def _concatenated_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        return *input_shape[:3], self.filters * (self.pointwise + len(self.rates) + self.pooling)

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        return (*input_shape[:3], self.filters) if self.projection else self._concatenated_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        names = (
            "filters", "rates", "pooling", "pointwise", "projection", "separable", "depthwise_norm", "dropout",
            "activation", "momentum", "epsilon", "order", "pool_size", "align_corners",
            "norm", "groups",
        )  # fmt: skip
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _average_pool(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Averages over non-overlapping windows; a window that exceeds an axis is cut to the length of that axis."""
    missing = [_missing(window, length) for window, length in zip(size, ops.shape(x)[1:3], strict=True)]
    if all(isinstance(each, int) and each == 0 for each in missing):
        return ops.average_pool(x, size, size, "valid")
    borders = [(0, 0), *((0, each) for each in missing), (0, 0)]
    coverage = ops.average_pool(ops.pad(ops.ones_like(x[:1, :, :, :1]), borders), size, size, "valid")
    return ops.average_pool(ops.pad(x, borders), size, size, "valid") / coverage


def _missing(window: int, length: Any) -> Any:
    return max(window - length, 0) if isinstance(length, int) else ops.maximum(window - length, 0)
