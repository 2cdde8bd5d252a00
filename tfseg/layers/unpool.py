"""Max pooling with argmax indices, and max unpooling."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import ops

from tfseg.layers.arguments import pair
from tfseg.ops.unpool import max_pool_with_argmax, max_unpool, native_max_pool_with_argmax, unpooled_size
from tfseg.serialization import serializable
from tfseg.typing import Tensor

Sizes = int | Sequence[int]
Shape = Sequence[int | None]
Padding = Literal["valid", "same", "VALID", "SAME"]


class _IndexedPooling2D(keras.layers.Layer):
    """Base class of both layers, with their common arguments."""

    def __init__(
        self, pool_size: Sizes = 2, strides: Sizes | None = None, padding: Padding = "valid", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.pool_size = pair("pool_size", pool_size)
        self.strides = self.pool_size if strides is None else pair("strides", strides)
        if not isinstance(padding, str) or padding.lower() not in ("valid", "same"):
            raise ValueError(f'`padding` must be "valid" or "same". Received: padding={padding!r}')
        self.padding: Literal["valid", "same"] = "same" if padding.lower() == "same" else "valid"

    def get_config(self) -> dict[str, Any]:
        own = {"pool_size": self.pool_size, "strides": self.strides, "padding": self.padding}
        return {**super().get_config(), **own}


@serializable
class MaxPoolingWithArgmax2D(_IndexedPooling2D):
    """Max pooling that also returns the argmax indices for `MaxUnpooling2D`.

    An index is `(row * width + column) * channels + channel` in the layer's input, without the batch axis, as in
    `tf.nn.max_pool_with_argmax`. Unlike that operation, the default implementation runs under XLA, in TFLite and on
    other backends. `implementation="native"` is TensorFlow's operation, three times as fast on CPUs. Both
    implementations return the same values.

    Example:

    >>> import numpy as np
    >>> x = np.array([[1.0, 5.0, 2.0], [3.0, 4.0, 9.0]]).reshape(1, 2, 3, 1)
    >>> values, indices = MaxPoolingWithArgmax2D(pool_size=2, padding="same")(x)
    >>> np.ravel(values).tolist(), np.ravel(indices).tolist()
    ([5.0, 9.0], [1, 5])

    Args:
        pool_size: Integer or pair of integers, height and width of the pooling window.
        strides: Integer or pair of integers, strides. If `None`, defaults to `pool_size`.
        padding: `"valid"` or `"same"` (case-insensitive).
        implementation: `"builtin"`: operations that are built into TFLite. `"native"`: TensorFlow's own operation.

    Call arguments:
        x: Input feature map.

    Input shape:
        `[batch, height, width, channels]`.

    Output shape:
        A pair of tensors `[batch, pooled_height, pooled_width, channels]`: the maxima and their argmax indices (int32).

    Raises:
        ValueError: If `pool_size` or `strides` are not positive integers, if `padding` or `implementation` is unknown,
            or if `implementation="native"` is used without TensorFlow.

    Reference:
        Badrinarayanan, Kendall, Cipolla, "SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image
        Segmentation", PAMI 2017, section 3.
    """

    OUTPUTS = ("output", "indices")
    """Names of the outputs in a model of `type: graph`."""

    def __init__(
        self,
        pool_size: Sizes = 2,
        strides: Sizes | None = None,
        padding: Padding = "valid",
        implementation: Literal["builtin", "native"] = "builtin",
        **kwargs: Any,
    ) -> None:
        super().__init__(pool_size, strides, padding, **kwargs)
        if implementation not in ("builtin", "native"):
            raise ValueError(
                f'`implementation` must be "builtin" or "native". Received: implementation={implementation!r}'
            )
        if implementation == "native" and keras.backend.backend() != "tensorflow":
            raise ValueError(
                f'`implementation="native"` requires the TensorFlow backend. Set `implementation` to "builtin". '
                f"Received: implementation={implementation!r} with the backend {keras.backend.backend()}"
            )
        self.implementation = implementation
        self.supports_jit = implementation == "builtin"

    def call(self, x: Tensor) -> tuple[Tensor, Tensor]:
        pool = native_max_pool_with_argmax if self.implementation == "native" else max_pool_with_argmax
        return pool(x, self.pool_size, self.strides, self.padding)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "implementation": self.implementation}

    def compute_output_shape(self, input_shape: Shape) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
        pool = keras.layers.MaxPooling2D(self.pool_size, self.strides, self.padding)
        shape = pool.compute_output_shape(input_shape)
        return shape, shape

    def compute_output_spec(self, x: Any) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        values, indices = self.compute_output_shape(x.shape)
        return keras.KerasTensor(values, self.compute_dtype), keras.KerasTensor(indices, "int32")


@serializable
class MaxUnpooling2D(_IndexedPooling2D):
    """Scatters pooled values to the argmax indices of `MaxPoolingWithArgmax2D`, with zeros elsewhere.

    With the input of the pooling layer, or its height and width, as `output_size`, every value returns to its original
    position. Without `output_size`, the size follows from `pool_size`, `strides` and `padding` as if the windows had
    covered that input exactly, as in `tensorflow_addons.layers.MaxUnpooling2D`. If they did not cover it exactly (an
    odd height or width with the default arguments), the size differs. With a different width, the indices refer to
    other pixels; TensorFlow Addons gives the same result.

    Values with the same index, from overlapping windows, are added.

    Example:

    >>> import numpy as np
    >>> x = np.array([[1.0, 5.0, 2.0], [3.0, 4.0, 9.0]]).reshape(1, 2, 3, 1)
    >>> values, indices = MaxPoolingWithArgmax2D(pool_size=2, padding="same")(x)
    >>> np.asarray(MaxUnpooling2D()(values, indices, output_size=x))[0, :, :, 0].tolist()
    [[0.0, 5.0, 0.0], [0.0, 0.0, 9.0]]

    Args:
        pool_size: Integer or pair of integers, height and width of the pooling window.
        strides: Integer or pair of integers, strides. If `None`, `pool_size` is used.
        padding: `"valid"` or `"same"` (case-insensitive). The default is that of TensorFlow Addons, whereas that of
            `MaxPoolingWithArgmax2D` is `"valid"`: pass the same arguments to both layers.

    Call arguments:
        updates: Pooled values, or a list of `updates`, `mask` and optionally `output_size` as a tensor.
        mask: Argmax indices of the pooling layer.
        output_size: Height and width of the output, or a tensor of that height and width.

    Input shape:
        `[batch, pooled_height, pooled_width, channels]` for `updates` and `mask`.

    Output shape:
        `[batch, height, width, channels]`.

    Raises:
        ValueError: If `pool_size` or `strides` are not positive integers, if `padding` is unknown, if `mask` is
            missing, or if `output_size` is neither a pair nor a tensor with four axes.

    Reference:
        Noh, Hong, Han, "Learning Deconvolution Network for Semantic Segmentation", ICCV 2015, section 3.2.1.
    """

    def __init__(
        self, pool_size: Sizes = 2, strides: Sizes | None = 2, padding: Padding = "same", **kwargs: Any
    ) -> None:
        super().__init__(pool_size, strides, padding, **kwargs)
        self.supports_masking = True  # Keras takes `mask` for a Keras mask and would warn

    def compute_mask(self, *args: Any, **kwargs: Any) -> None:
        """Returns `None`: `mask` holds argmax indices, not a Keras mask, and no mask is propagated."""

    def call(self, updates: Tensor, mask: Tensor = None, output_size: Sequence[int] | Tensor | None = None) -> Tensor:
        updates, mask, output_size = _unpacked(updates, mask, output_size)
        size = self._size(ops.shape(updates), output_size, ops.shape)
        return max_unpool(ops.cast(updates, self.compute_dtype), mask, size)

    def compute_output_spec(self, updates: Any, mask: Any = None, output_size: Any = None) -> keras.KerasTensor:
        updates, mask, output_size = _unpacked(updates, mask, output_size)
        batch, *_, channels = updates.shape
        size = self._size(updates.shape, output_size, lambda reference: reference.shape)
        sides = (side if isinstance(side, int) else None for side in size)
        return keras.KerasTensor((batch, *sides, channels), self.compute_dtype)

    def compute_output_shape(self, updates_shape: Any, mask_shape: Shape | None = None) -> tuple[int | None, ...]:
        """Computes the output shape; `updates_shape` may be the list of all input shapes, as for a call with a list."""
        shape, *others = updates_shape if isinstance(updates_shape[0], Sequence) else (updates_shape,)
        size = others[1][1:3] if len(others) == 2 else self._size(shape, None, tuple)
        return shape[0], *size, shape[3]

    def _size(self, shape: Any, output_size: Any, shape_of: Any) -> tuple[Any, Any]:
        """Returns the output height and width, from `output_size` or from the windows."""
        if output_size is None:
            windows = zip(shape[1:3], self.pool_size, self.strides, strict=True)
            height, width = (None if n is None else unpooled_size(n, k, s, self.padding) for n, k, s in windows)
            return height, width
        sizes = shape_of(output_size)[1:3] if len(getattr(output_size, "shape", ())) == 4 else output_size
        if getattr(sizes, "shape", (2,)) != (2,) or (isinstance(sizes, Sequence) and len(sizes) != 2):
            raise ValueError(
                "`output_size` must be a pair (height, width) or a tensor `[batch, height, width, channels]`. "
                f"Received: output_size={output_size}"
            )
        return sizes[0], sizes[1]


def _unpacked(updates: Any, mask: Any, output_size: Any) -> tuple[Any, Any, Any]:
    """Returns `updates`, `mask` and `output_size` of a call with separate arguments or with a list."""
    if isinstance(updates, Sequence) and len(updates) in (2, 3):
        updates, mask, output_size = (*updates, output_size)[:3]
    if mask is None:
        raise ValueError(
            "Expected `updates` and `mask`, the values and argmax indices of a pooling layer. Received: mask=None"
        )
    return updates, mask, output_size
