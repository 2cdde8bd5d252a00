"""Upsampling: to the size of another tensor, and by a transposed convolution that interpolates."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import ops

from tfseg.layers.arguments import pair, two_shapes
from tfseg.ops.kernels import bilinear_kernel
from tfseg.ops.resize import Method, resize
from tfseg.serialization import serializable

Shape = Sequence[int | None]


@serializable
class ResizeLike(keras.layers.Layer):
    """Resizes `x` to the height and width of a reference, whatever they turn out to be.

    Interpolation is computed in float32 under every precision policy. Unlike `keras.layers.UpSampling2D` it needs no
    factor, exports with unknown sizes, and keeps its model from being compiled by XLA, which interpolates wrongly.

    Example:

    >>> import numpy as np
    >>> scores, image = np.zeros((1, 12, 16, 21)), np.zeros((1, 375, 500, 3))
    >>> tuple(ResizeLike()([scores, image]).shape)
    (1, 375, 500, 21)

    Args:
        align_corners: put the centers of the corner pixels onto each other, as DeepLab does, rather than the borders
            of the two pictures.
        interpolation: `"bilinear"` or `"nearest"`.

    Call arguments:
        inputs: `[x, reference]`; of the reference only the height and width matter.

    Input shape:
        `[[batch, height, width, channels], [batch, new_height, new_width, any]]`.

    Output shape:
        `[batch, new_height, new_width, channels]`.

    Raises:
        ValueError: another interpolation, or one input.
    """

    def __init__(self, align_corners: bool = False, interpolation: Method = "bilinear", **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)  # the reference may be a uint8 or float32 image
        if interpolation not in ("bilinear", "nearest"):
            raise ValueError(
                f'`interpolation` must be "bilinear" or "nearest". Received: interpolation={interpolation!r}'
            )
        self.align_corners = align_corners
        self.interpolation = interpolation
        self.supports_jit = interpolation == "nearest"  # XLA interpolates wrongly, see tfseg/ops/resize.py

    def call(self, inputs: Sequence[Any]) -> Any:
        x, reference = inputs
        _, height, width, _ = ops.shape(reference)
        x = ops.cast(x, "float32")  # a float32 head on half scores must not round what it interpolates
        return ops.cast(resize(x, (height, width), self.interpolation, self.align_corners), self.compute_dtype)

    def compute_output_shape(self, input_shape: Sequence[Shape]) -> tuple[int | None, ...]:
        x, reference = two_shapes(input_shape)
        return x[0], *reference[1:3], x[3]

    def get_config(self) -> dict[str, Any]:
        own = {"align_corners": self.align_corners, "interpolation": self.interpolation}
        return {**super().get_config(), **own}


@serializable
class BilinearConv2DTranspose(keras.layers.Conv2DTranspose):
    """A transposed convolution that starts as bilinear interpolation of each map, and by default stays so.

    The kernel is the full `filters` by `filters` one of the released FCN, zero off its diagonal. For an upsampling by
    `s` take `kernel_size = 2 s` (or `2 s - 1`) and `strides = s`.

    A layer made with `trainable=False` keeps its kernel for good: setting `trainable` on its model later, as one does
    to freeze and unfreeze a net, does not make it learn.

    Example:

    >>> import numpy as np
    >>> up = BilinearConv2DTranspose(filters=1, kernel_size=4, strides=2, padding="same")
    >>> np.ravel(up(np.array([[[[4.0], [8.0]], [[4.0], [8.0]]]]))[0, 1]).tolist()
    [3.0, 5.0, 7.0, 6.0]

    Args:
        filters: the number of maps, of the input and the output.
        kernel_size: height and width of the kernel.
        strides: the factors of upsampling.
        padding: `"valid"`: Caffe's output, `(n - 1) strides + kernel_size`. `"same"`: `n strides`.
        use_bias: add a learned value to each map.
        trainable: learn the kernel from here on.

    Call arguments:
        x: a tensor.

    Input shape:
        `[batch, height, width, filters]`.

    Output shape:
        `[batch, new_height, new_width, filters]`.

    Raises:
        ValueError: an input of another number of channels, or a kernel that is smaller than the stride and would leave
            gaps.

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
                "`kernel_size` must not be smaller than `strides`, which would leave gaps. "
                f"Received: kernel_size={sizes}, strides={steps}"
            )
        super().__init__(
            filters,
            sizes,
            steps,
            padding,
            use_bias=use_bias,
            kernel_initializer=_interpolation,
            trainable=trainable,
            data_format="channels_last",
            **kwargs,
        )

    @property
    def trainable(self) -> bool:
        """Whether the kernel is learned."""
        return bool(self._trainable)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        if not self._fixed:
            keras.layers.Layer.trainable.fset(self, value)

    def build(self, input_shape: Shape) -> None:
        if input_shape[-1] != self.filters:
            raise ValueError(
                f"Expected an input of {self.filters} channels, as many as `filters`: each is upsampled on its own. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        super().build(input_shape)

    def get_config(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("filters", "kernel_size", "strides", "padding", "use_bias")}
        return {**keras.layers.Layer.get_config(self), **own}


def _interpolation(shape: Sequence[int], dtype: str | None = None) -> Any:
    """A kernel initializer. The layer makes it anew, so it is in no config."""
    height, width, channels, _ = shape
    return ops.convert_to_tensor(bilinear_kernel((height, width), channels), dtype=dtype)
