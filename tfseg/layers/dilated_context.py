"""Context module of Yu and Koltun: dilated convolutions that enlarge the receptive field of class scores."""

import itertools
from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import ops

from tfseg.layers.arguments import rates_of
from tfseg.layers.composite import Composite
from tfseg.layers.conv import AtrousConv2D
from tfseg.ops.kernels import grouped_identity
from tfseg.serialization import serializable
from tfseg.typing import Tensor

Shape = Sequence[int | None]

NOISE = 0.01
"""Standard deviation of the random initial weights of the large module, relative to its identity weights."""


@serializable
class DilatedContext(Composite):
    """Refines class scores by 3x3 convolutions with increasing dilation rates: the context module of Yu and Koltun.

    ReLU follows every convolution except the last, which is 1x1. The receptive field grows to 3, 5, 9, 17, 33, 65 and
    67 positions. The kernels are initialized to the identity. The *basic* module, which keeps `num_classes` channels
    throughout, returns exactly `relu(x)`. The *large* module, whose number of channels grows with the dilation rate to
    32 times the number of classes, returns `relu(x)` with an error of about 10%, because its kernels also contain
    small random weights. According to the authors, random initialization is not effective.

    `sublayers` maps the layer names of the released networks to the convolutions: `ctx_conv1_1`, `ctx_conv1_2`,
    `ctx_conv2_1` … `ctx_conv5_1`, `ctx_fc1`, `ctx_final`.

    Example:

    >>> import numpy as np
    >>> context = DilatedContext(num_classes=21)
    >>> x = np.random.default_rng(0).normal(size=(1, 16, 16, 21)).astype("float32")
    >>> bool(np.all(context(x) == np.maximum(x, 0))), context.count_params(), context.receptive_field
    (True, 28392, 67)

    Args:
        num_classes: Integer, number of classes: channels of the input and of the output.
        size: `"basic"`, or `"large"` with 2, 2, 4, 8, 16, 32 and 32 times `num_classes` channels.
        dilation_rates: Dilation rates of the 3x3 convolutions. The default is for VOC and CamVid,
            `(1, 1, 2, 4, 8, 16, 32, 64, 1)` for Cityscapes and `(1, 1, 2, 4, 8, 1)` for KITTI. In a large module, a
            convolution has `2 * num_classes * rate` filters, where `rate` is the largest dilation rate up to it.
        padding: `"same"`: zero padding at each convolution. `"once"`: the total padding of all convolutions (33 by
            default) at the first one, as in the released VOC networks.
        use_bias: Boolean, whether the convolutions have biases, initialized to zero.

    Call arguments:
        x: Class scores.

    Input shape:
        `[batch, height, width, classes]`.

    Output shape:
        Same as the input.

    Raises:
        ValueError: If `size` or `padding` is unknown, if `dilation_rates` are not positive integers, or if the input
            does not have `num_classes` channels.

    Reference:
        Yu, Koltun, "Multi-Scale Context Aggregation by Dilated Convolutions", ICLR 2016, section 3, table 1, equations
        4 and 5.
    """

    def __init__(
        self,
        num_classes: int,
        size: Literal["basic", "large"] = "basic",
        dilation_rates: Sequence[int] = (1, 1, 2, 4, 8, 16, 1),
        padding: Literal["same", "once"] = "same",
        use_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_classes, self.size, self.dilation_rates = num_classes, size, rates_of("dilation_rates", dilation_rates)
        self.padding, self.use_bias = padding, use_bias
        for name, value, choices in (("size", size, ("basic", "large")), ("padding", padding, ("same", "once"))):
            if value not in choices:
                raise ValueError(f'`{name}` must be "{choices[0]}" or "{choices[1]}". Received: {name}={value!r}')
        convolutions = [
            self._conv(*each) for each in zip(self._names(), self._filters(), self.dilation_rates, strict=True)
        ]
        self.parts = {conv.name: conv for conv in [*convolutions, self._conv("ctx_final", num_classes, None)]}

    def _names(self) -> list[str]:
        """Returns the layer names of the released networks, numbered by dilation rate and convolution."""
        runs = [list(run) for _, run in itertools.groupby(self.dilation_rates[:-1])]
        names = [f"ctx_conv{i}_{j}" for i, run in enumerate(runs, start=1) for j in range(1, len(run) + 1)]
        return [*names, "ctx_fc1"] if self.dilation_rates else []

    def _filters(self) -> list[int]:
        """Returns the numbers of filters of the 3x3 convolutions."""
        if self.size == "basic":
            return [self.num_classes] * len(self.dilation_rates)
        return [2 * largest * self.num_classes for largest in itertools.accumulate(self.dilation_rates, max)]

    def _conv(self, name: str, filters: int, dilation: int | None) -> keras.layers.Layer:
        return AtrousConv2D(
            filters,
            1 if dilation is None else 3,
            padding="same" if self.padding == "same" else "valid",
            dilation_rate=dilation or 1,
            activation=None if dilation is None else "relu",
            use_bias=self.use_bias,
            kernel_initializer=self._identity,
            dtype=self.dtype_policy,
            trainable=self.trainable,
            name=name,
        )

    def _identity(self, shape: Sequence[int], dtype: str | None = None) -> Tensor:
        """Initializes a kernel to the identity. The constructor sets this initializer, so it is not in the config."""
        mask = grouped_identity(shape, self.num_classes)
        scale = self.num_classes / shape[-1]
        if self.size == "basic":
            return ops.convert_to_tensor(mask * scale, dtype=dtype)
        noise = keras.initializers.RandomNormal(stddev=NOISE * scale)(shape, dtype=dtype)
        return ops.where(mask, ops.cast(scale, noise.dtype), noise)

    @property
    def receptive_field(self) -> int:
        """Receptive field in input positions along one axis."""
        return 1 + 2 * sum(self.dilation_rates)

    def build(self, input_shape: Shape) -> None:
        if input_shape[-1] != self.num_classes:
            raise ValueError(
                f"Expected an input of {self.num_classes} channels, one per class (`num_classes`). "
                f"Received: input_shape={tuple(input_shape)}"
            )
        channels = self.num_classes
        for conv in self.parts.values():
            conv.build((input_shape[0], None, None, channels))
            channels = conv.filters

    def call(self, x: Tensor) -> Tensor:
        if self.padding == "once":
            border = (sum(self.dilation_rates),) * 2
            x = ops.pad(x, [(0, 0), border, border, (0, 0)])
        for conv in self.parts.values():
            x = conv(x)
        return x

    def compute_output_shape(self, input_shape: Shape) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        names = ("num_classes", "size", "dilation_rates", "padding", "use_bias")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
