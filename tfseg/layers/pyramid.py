"""Pyramid pooling module of PSPNet."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfseg.layers.composite import Composite
from tfseg.layers.norm import Kind, Normalization, check_groups
from tfseg.ops.adaptive import adaptive_average_pool
from tfseg.ops.resize import resize
from tfseg.serialization import serializable
from tfseg.typing import Tensor

Shape = Sequence[int | None]


@serializable
class PyramidPooling(Composite):
    """Concatenates a feature map with its average-pooled and upsampled levels: the pyramid pooling module of PSPNet.

    Each `n` of `bins` defines one level: adaptive average pooling to `n` by `n` bins
    (`tfseg.ops.adaptive_average_pool`), a 1x1 convolution to `filters` channels with normalization and ReLU, and
    bilinear upsampling to the size of the input. Any height and width is valid, static or dynamic, even with fewer
    positions than bins.

    Example:

    >>> import numpy as np
    >>> tuple(PyramidPooling(filters=4, bins=(1, 2))(np.zeros((1, 5, 7, 16))).shape)
    (1, 5, 7, 24)

    Args:
        filters: Integer, number of filters of each level.
        bins: Sequence of integers, number of bins along each axis, one per level.
        align_corners: Boolean, whether to upsample with aligned corners, as in the authors' release, rather than with
            half-pixel centers.
        momentum: Momentum of the moving averages of BatchNormalization.
        epsilon: Small float added to the variances.
        norm: Type of normalization: `"batch"` or `"group"`.
        groups: Integer, number of groups for `"group"`. It must divide `filters`.

    Call arguments:
        x: Input feature map.
        training: Boolean, whether to run normalization in training mode.

    Input shape:
        `[batch, height, width, channels]`.

    Output shape:
        `[batch, height, width, channels + filters * len(bins)]`.

    Raises:
        ValueError: If `bins` is empty or contains anything but positive integers, if `norm` is unknown, or if `groups`
            does not divide `filters`.

    Reference:
        Zhao, Shi, Qi, Wang, Jia, "Pyramid Scene Parsing Network", CVPR 2017, section 3.2.
    """

    receptive_field = None
    """Receptive field: the whole input."""

    def __init__(
        self,
        filters: int = 512,
        bins: Sequence[int] = (1, 2, 3, 6),
        align_corners: bool = True,
        momentum: float = 0.9,
        epsilon: float = 1e-3,
        norm: Kind = "batch",
        groups: int = 32,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(bins, Sequence) or not bins or not all(isinstance(n, int) and n > 0 for n in bins):
            raise ValueError(f"`bins` must be one or more integers of at least 1. Received: bins={bins!r}")
        self.filters, self.bins, self.align_corners = filters, tuple(bins), align_corners
        self.momentum, self.epsilon, self.norm, self.groups = momentum, epsilon, norm, groups
        self.supports_jit = False  # resizing gives wrong values under XLA, see tfseg/ops/resize.py
        options = {"dtype": self.dtype_policy, "trainable": self.trainable}
        self.convs = [keras.layers.Conv2D(filters, 1, use_bias=False, name=f"conv{n}", **options) for n in self.bins]
        choice = Normalization(norm, groups, momentum, epsilon)
        self.norms = [choice.layer(name=f"conv{n}_bn", **options) for n in self.bins]

    def build(self, input_shape: Shape) -> None:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            conv.build((None, None, None, input_shape[-1]))
            check_groups(norm, self.filters)
            norm.build((None, None, None, self.filters))

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        size = ops.shape(x)[1:3]
        levels = [x]
        for n, conv, norm in zip(self.bins, self.convs, self.norms, strict=True):
            level = ops.relu(norm(conv(adaptive_average_pool(x, (n, n)))))  # Keras passes `training` on to inner layers
            levels.append(resize(level, size, align_corners=self.align_corners))
        return ops.concatenate(levels, axis=-1)

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        channels = input_shape[-1]
        return (*input_shape[:3], None if channels is None else channels + self.filters * len(self.bins))

    def get_config(self) -> dict[str, Any]:
        names = ("filters", "bins", "align_corners", "momentum", "epsilon", "norm", "groups")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
