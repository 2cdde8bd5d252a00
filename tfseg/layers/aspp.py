"""Atrous spatial pyramid pooling, as DeepLab v3 and v3+ have it: branches side by side, joined and projected."""

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

Shape = Sequence[int | None]
Order = Literal["pooling_last", "pooling_first"]


@serializable
class AtrousSpatialPyramidPooling(Composite):
    """Looks at every place at several scales: a 1x1 convolution, dilated 3x3 ones, and the mean of the image.

    Each branch is a convolution, BatchNorm and activation to `filters` channels. They are concatenated, and a 1x1
    convolution with BatchNorm and activation (and dropout) brings them back to `filters`.

    The mean is that of the map as it comes, at any size, known or not. Trained with one image in a batch, its BatchNorm
    sees a single value in each channel and gives `beta`: finite, but blind; use two images at least, or freeze it.

    `sublayers` holds the inner layers by name, in this order where they exist: `pointwise`, `atrous_1` … `atrous_n` in
    the order of `rates`, `pooling`, `projection`; their BatchNorms `…_norm`; separable ones have `atrous_1_depthwise`
    before `atrous_1`. Names do not depend on the rates, so that weights fit at every output stride.

    Example:

    >>> import numpy as np
    >>> aspp = AtrousSpatialPyramidPooling(filters=4, rates=(6, 12))
    >>> tuple(aspp(np.zeros((1, 33, 45, 8))).shape)
    (1, 33, 45, 4)

    Args:
        filters: channels of each branch, and of what follows.
        rates: dilation rates of the 3x3 branches: 6, 12 and 18 at output stride 16, twice that at 8; none leaves the
            1x1 branch and the image's mean, as on MobileNetV2.
        pooling: whether there is a branch of the image's mean.
        pointwise: whether there is a 1x1 branch.
        projection: whether to project; the concatenated branches otherwise.
        separable: depthwise (dilated) 3x3 convolutions followed by 1x1 ones, where a full 3x3 would be, as in DeepLab
            v3+.
        depthwise_norm: normalization and activation also between a branch's two, as the authors of v3+ have them; the
            Model Garden has not.
        dropout: share of values left out after the projection, before what follows, in training.
        activation: what follows each normalization.
        momentum: of BatchNorm's moving averages.
        epsilon: what is added to variances.
        order: where the image's mean stands among the branches: `pooling_first` (authors) or `pooling_last` (Model
            Garden).
        pool_size: average over windows of so many places, in height and width, rather than over the whole image, and
            resize bilinearly; along an axis of the map that is shorter, over all of it.
        align_corners: resize with the corner places on the corner pixels, as the authors do, rather than halves of
            pixels beside.
        norm: `"batch"`, or `"group"` for group normalization in its place.
        groups: of channels, for `"group"`; they must divide `filters`, with `separable` the channels of the input too.

    Call arguments:
        x: a tensor.
        training: as of BatchNorm and dropout.

    Input shape:
        `[batch, height, width, channels]`.

    Output shape:
        `[batch, height, width, filters]`, or as many `filters` as there are branches without the projection.

    Raises:
        ValueError: rates that are no positive integers, no branch at all, another order, arguments about something
            that the layer is told not to have, or groups that do not divide the channels.

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
        self.supports_jit = self.pool_size is None  # XLA interpolates wrongly, see tfseg/ops/resize.py
        branches = list(self._make_branches())
        self.parts = {layer.name: layer for layers in branches for layer in layers}
        self._calls = [[layer.name for layer in layers] for layers in branches]

    def _check(self) -> None:
        if not (self.rates or self.pooling or self.pointwise):
            raise ValueError(
                "At least one branch is needed: `rates`, `pooling` or `pointwise`. "
                "Received: rates=(), pooling=False, pointwise=False"
            )
        if self.order not in ("pooling_last", "pooling_first"):
            raise ValueError(f'`order` must be "pooling_last" or "pooling_first". Received: order={self.order!r}')
        if self.pool_size is not None and not self.pooling:
            raise ValueError(
                f"`pool_size` is about the pooled branch. Received: pool_size={self.pool_size}, pooling=False"
            )
        if self.dropout and not self.projection:
            raise ValueError(f"`dropout` follows the projection. Received: dropout={self.dropout}, projection=False")

    def _make_branches(self) -> Iterator[list[keras.layers.Layer]]:
        """The layers of every branch in the order of their calls; the pooled branch and the projection are last."""
        if self.pointwise:
            yield self._unit("pointwise", self._conv("pointwise"))
        for number, rate in enumerate(self.rates, start=1):
            name = f"atrous_{number}"
            yield self._separated(name, rate) if self.separable else self._unit(name, self._conv(name, 3, rate))
        if self.pooling:
            yield self._unit("pooling", self._conv("pooling"))
        if self.projection:
            last = self._unit("projection", self._conv("projection"))
            yield [*last, keras.layers.Dropout(self.dropout, **self._plain("dropout"))] if self.dropout else last

    def _separated(self, name: str, rate: int) -> list[keras.layers.Layer]:
        plain = self._plain(f"{name}_depthwise")
        conv = keras.layers.DepthwiseConv2D(3, padding="same", dilation_rate=rate, use_bias=False, **plain)
        before = self._unit(plain["name"], conv) if self.depthwise_norm else [conv]
        return [*before, *self._unit(name, self._conv(name))]

    def _conv(self, name: str, size: int = 1, rate: int = 1) -> keras.layers.Layer:
        plain = self._plain(name)
        return AtrousConv2D(self.filters, size, padding="same", dilation_rate=rate, use_bias=False, **plain)

    def _unit(self, name: str, conv: keras.layers.Layer) -> list[keras.layers.Layer]:
        """A convolution, its normalization and its activation."""
        choice = Normalization(self.norm, self.groups, self.momentum, self.epsilon)
        norm = choice.layer(**self._plain(f"{name}_norm"))
        activation = keras.layers.Activation(self.activation, **self._plain(f"{name}_activation"))
        return [conv, norm, activation]

    def _plain(self, name: str) -> dict[str, Any]:
        return {"dtype": self.dtype_policy, "trainable": self.trainable, "name": name}

    @property
    def receptive_field(self) -> int | None:
        """How many places of its input one place of the output sees, in one direction; None where it sees all."""
        return None if self.pooling else 1 + 2 * max(self.rates, default=0)

    def build(self, input_shape: Shape) -> None:
        for names in self._calls:
            shape = self._joined(input_shape) if names[0] == "projection" else input_shape
            for name in names:
                check_groups(self.parts[name], shape[-1])
                self.parts[name].build(shape)
                shape = self.parts[name].compute_output_shape(shape)

    def call(self, x: Any, training: bool | None = None) -> Any:
        branches = [self._run(names, x) for names in self._calls if names[0] not in ("pooling", "projection")]
        if self.pooling:
            branches.insert(0 if self.order == "pooling_first" else len(branches), self._context(x))
        joined = branches[0] if len(branches) == 1 else ops.concatenate(branches, axis=-1)
        return self._run(self._calls[-1], joined) if self.projection else joined

    def _run(self, names: list[str], x: Any) -> Any:
        for name in names:  # Keras tells them about `training`
            x = self.parts[name](x)
        return x

    def _context(self, x: Any) -> Any:
        """What the pooled branch says of every place."""
        batch, height, width, _ = ops.shape(x)
        (names,) = (names for names in self._calls if names[0] == "pooling")
        if self.pool_size is not None:
            pooled = _average_pool(x, self.pool_size)
            return resize(self._run(names, pooled), (height, width), "bilinear", self.align_corners)
        # In float32: the sum over a map does not fit into a half.
        mean = ops.mean(ops.cast(x, "float32"), axis=(1, 2), keepdims=True)
        pooled = self._run(names, ops.cast(mean, x.dtype))
        return ops.broadcast_to(pooled, (batch, height, width, self.filters))

    def _joined(self, input_shape: Shape) -> tuple[int | None, ...]:
        return *input_shape[:3], self.filters * (self.pointwise + len(self.rates) + self.pooling)

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        return (*input_shape[:3], self.filters) if self.projection else self._joined(input_shape)

    def get_config(self) -> dict[str, Any]:
        names = (
            "filters", "rates", "pooling", "pointwise", "projection", "separable", "depthwise_norm", "dropout",
            "activation", "momentum", "epsilon", "order", "pool_size", "align_corners",
            "norm", "groups",
        )  # fmt: skip
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _average_pool(x: Any, size: tuple[int, int]) -> Any:
    """Means over windows, of whole maps along an axis that is shorter than a window."""
    missing = [_missing(window, length) for window, length in zip(size, ops.shape(x)[1:3], strict=True)]
    if all(isinstance(each, int) and each == 0 for each in missing):
        return ops.average_pool(x, size, size, "valid")
    borders = [(0, 0), *((0, each) for each in missing), (0, 0)]
    share = ops.average_pool(ops.pad(ops.ones_like(x[:1, :, :, :1]), borders), size, size, "valid")
    return ops.average_pool(ops.pad(x, borders), size, size, "valid") / share


def _missing(window: int, length: Any) -> Any:
    return max(window - length, 0) if isinstance(length, int) else ops.maximum(window - length, 0)
