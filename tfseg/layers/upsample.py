"""Upsampling to the size of another tensor, and by bilinear transposed convolution."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import ops

from tfseg.layers.arguments import pair, two_shapes
from tfseg.ops.kernels import bilinear_kernel
from tfseg.ops.resize import Method, resize
from tfseg.serialization import serializable
from tfseg.typing import Tensor

Shape = Sequence[int | None]


@serializable
class ResizeLike(keras.layers.Layer):
    """Resizes `x` to the height and width of a reference tensor.

    The reference may have dynamic size. Interpolation is computed in float32 under every precision policy. Unlike
    `keras.layers.UpSampling2D`, the layer needs no factor and exports with dynamic sizes. With bilinear interpolation
    the layer disables XLA compilation of the model, because resizing gives wrong values under XLA.

    Example:

    >>> import numpy as np
    >>> scores, image = np.zeros((1, 12, 16, 21)), np.zeros((1, 375, 500, 3))
    >>> tuple(ResizeLike()([scores, image]).shape)
    (1, 375, 500, 21)

    Args:
        align_corners: Boolean, whether to resize with aligned corners, as in DeepLab, rather than with half-pixel
            centers.
        interpolation: `"bilinear"` or `"nearest"`.

    Call arguments:
        inputs: `[x, reference]`. Only the height and width of the reference are used.

    Input shape:
        `[[batch, height, width, channels], [batch, new_height, new_width, any]]`.

    Output shape:
        `[batch, new_height, new_width, channels]`.

    Raises:
        ValueError: If `interpolation` is unknown, or if there are not two inputs.
    """

    def __init__(self, align_corners: bool = False, interpolation: Method = "bilinear", **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)  # the reference may be a uint8 or float32 image
        if interpolation not in ("bilinear", "nearest"):
            raise ValueError(
                f'`interpolation` must be "bilinear" or "nearest". Received: interpolation={interpolation!r}'
            )
        self.align_corners = align_corners
        self.interpolation = interpolation
        self.supports_jit = interpolation == "nearest"  # resizing gives wrong values under XLA, see tfseg/ops/resize.py

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        x, reference = inputs
        _, height, width, _ = ops.shape(reference)
        x = ops.cast(x, "float32")  # do not round to half precision before interpolating
        return ops.cast(resize(x, (height, width), self.interpolation, self.align_corners), self.compute_dtype)

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> tuple[int | None, ...]:
        x, reference = two_shapes(input_shape)
        return x[0], *reference[1:3], x[3]

    def get_config(self) -> dict[str, Any]:
        own = {"align_corners": self.align_corners, "interpolation": self.interpolation}
        return {**super().get_config(), **own}


@serializable
class BilinearConv2DTranspose(keras.layers.Conv2DTranspose):
    """Transposed convolution initialized to bilinear interpolation of each channel, by default non-trainable.

    The kernel is the full `filters` by `filters` kernel of the released FCN, zero off the diagonal. To upsample by a
    factor `s`, use `kernel_size = 2 s` (or `2 s - 1`) and `strides = s`.

    A layer created with `trainable=False` keeps its weights permanently: setting `trainable` on its model later, for
    example to freeze and unfreeze a network, has no effect on the layer.

    Example:

    >>> import numpy as np
    >>> up = BilinearConv2DTranspose(filters=1, kernel_size=4, strides=2, padding="same")
    >>> np.ravel(up(np.array([[[[4.0], [8.0]], [[4.0], [8.0]]]]))[0, 1]).tolist()
    [3.0, 5.0, 7.0, 6.0]

    Args:
        filters: Integer, number of input and output channels.
        kernel_size: Integer or pair of integers, height and width of the kernel.
        strides: Integer or pair of integers, upsampling factors.
        padding: `"valid"`: output size `(n - 1) strides + kernel_size`, as in Caffe. `"same"`: output size `n strides`.
        use_bias: Boolean, whether to add a bias to each channel.
        trainable: Boolean, whether the kernel and the bias are trainable.

    Call arguments:
        x: Input feature map.

    Input shape:
        `[batch, height, width, filters]`.

    Output shape:
        `[batch, new_height, new_width, filters]`.

    Raises:
        ValueError: If the input does not have `filters` channels, or if `kernel_size` is smaller than `strides`, which
            would leave gaps.

    Reference:
        Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation", CVPR 2015, section 3.3.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: Literal["valid", "same"] = "valid",
        use_bias: bool = False,
        trainable: bool = False,
        **kwargs: Any,
    ) -> None:
        self._fixed = not trainable
        sizes, steps = pair("kernel_size", kernel_size), pair("strides", strides)
        if sizes[0] < steps[0] or sizes[1] < steps[1]:
            raise ValueError(
                "`kernel_size` must be at least `strides`; a smaller kernel leaves gaps in the output. "
                f"Received: kernel_size={sizes}, strides={steps}"
            )
        super().__init__(
            filters,
            sizes,
            steps,
            padding,
            use_bias=use_bias,
            kernel_initializer=_bilinear_initializer,
            trainable=trainable,
            data_format="channels_last",
            **kwargs,
        )

    @property
    def trainable(self) -> bool:
        """Trainable flag of the kernel and the bias."""
        return bool(self._trainable)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        if not self._fixed:
            keras.layers.Layer.trainable.fset(self, value)

    def build(self, input_shape: Shape) -> None:
        if input_shape[-1] != self.filters:
            raise ValueError(
                f"Expected an input of {self.filters} channels, as many as `filters`: channels are upsampled "
                f"independently. Received: input_shape={tuple(input_shape)}"
            )
        super().build(input_shape)

    def get_config(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("filters", "kernel_size", "strides", "padding", "use_bias")}
        return {**keras.layers.Layer.get_config(self), **own}


def _bilinear_initializer(shape: Sequence[int], dtype: str | None = None) -> Tensor:
    """Initializes a kernel to bilinear interpolation. Set by the constructor, so it is not in the config."""
    height, width, channels, _ = shape
    return ops.convert_to_tensor(bilinear_kernel((height, width), channels), dtype=dtype)
