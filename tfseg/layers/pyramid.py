"""The pyramid pooling module of PSPNet."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfseg.layers.composite import Composite
from tfseg.layers.norm import Kind, Normalization, check_groups
from tfseg.ops.adaptive import adaptive_average_pool
from tfseg.ops.resize import resize
from tfseg.serialization import serializable

Shape = Sequence[int | None]


@serializable
class PyramidPooling(Composite):
    """Means over the whole map, its quarters, ninths and so on, laid beside the map itself.

    For each `n` of `bins` the map is averaged into `n` by `n` parts (`tfseg.ops.adaptive_average_pool`), brought to
    `filters` channels by a 1x1 convolution with BatchNorm and ReLU, and interpolated back to the map's size. Any
    height and width will do, known in advance or not, also fewer pixels than parts.

    Example:

    >>> import numpy as np
    >>> tuple(PyramidPooling(filters=4, bins=(1, 2))(np.zeros((1, 5, 7, 16))).shape)
    (1, 5, 7, 24)

    Args:
        filters: channels of each level.
        bins: the parts in each direction, for each level.
        align_corners: put the centers of the corner parts onto the corner pixels when interpolating, as the authors
            do, rather than the borders of the two maps.
        momentum: of BatchNorm's moving averages.
        epsilon: what is added to variances.
        norm: `"batch"`, or `"group"` for group normalization in its place.
        groups: of channels, for `"group"`; they must divide `filters`.

    Call arguments:
        x: a tensor.

    Input shape:
        `[batch, height, width, channels]`.

    Output shape:
        `[batch, height, width, channels + filters * len(bins)]`.

    Raises:
        ValueError: bins that are not positive integers, or none, or groups that do not divide `filters`.

    Reference:
        Zhao, Shi, Qi, Wang, Jia, "Pyramid Scene Parsing Network", CVPR 2017, section 3.2.
    """

    receptive_field = None
    """How many places of its input one of its places sees: all of them."""

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
        self.supports_jit = False  # XLA interpolates wrongly, see tfseg/ops/resize.py
        plain = {"dtype": self.dtype_policy, "trainable": self.trainable}
        self.convs = [keras.layers.Conv2D(filters, 1, use_bias=False, name=f"conv{n}", **plain) for n in self.bins]
        choice = Normalization(norm, groups, momentum, epsilon)
        self.norms = [choice.layer(name=f"conv{n}_bn", **plain) for n in self.bins]

    def build(self, input_shape: Shape) -> None:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            conv.build((None, None, None, input_shape[-1]))
            check_groups(norm, self.filters)
            norm.build((None, None, None, self.filters))

    def call(self, x: Any, training: bool | None = None) -> Any:
        size = ops.shape(x)[1:3]
        levels = [x]
        for n, conv, norm in zip(self.bins, self.convs, self.norms, strict=True):
            level = ops.relu(norm(conv(adaptive_average_pool(x, (n, n)))))  # Keras tells them about `training`
            levels.append(resize(level, size, align_corners=self.align_corners))
        return ops.concatenate(levels, axis=-1)

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        channels = input_shape[-1]
        return (*input_shape[:3], None if channels is None else channels + self.filters * len(self.bins))

    def get_config(self) -> dict[str, Any]:
        names = ("filters", "bins", "align_corners", "momentum", "epsilon", "norm", "groups")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
