"""Max pooling that remembers where each maximum was, and the way back."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import ops

from tfseg.layers.arguments import pair
from tfseg.ops.unpool import max_pool_with_argmax, max_unpool, native_max_pool_with_argmax, unpooled_size
from tfseg.serialization import serializable

Sizes = int | Sequence[int]
Shape = Sequence[int | None]
Padding = Literal["valid", "same", "VALID", "SAME"]


class _IndexedPooling2D(keras.layers.Layer):
    """What the two have in common: the arguments."""

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
    """Max pooling that also gives the place of each maximum, for `MaxUnpooling2D`.

    A place is the index `(row * width + column) * channels + channel` into the layer's input, without the batch, as
    `tf.nn.max_pool_with_argmax` gives it. Unlike that, the layer runs under XLA, in TFLite and on other backends; with
    `implementation="native"` it is that operation, three times as fast on CPUs. The two give the same.

    Example:

    >>> import numpy as np
    >>> x = np.array([[1.0, 5.0, 2.0], [3.0, 4.0, 9.0]]).reshape(1, 2, 3, 1)
    >>> values, places = MaxPoolingWithArgmax2D(pool_size=2, padding="same")(x)
    >>> np.ravel(values).tolist(), np.ravel(places).tolist()
    ([5.0, 9.0], [1, 5])

    Args:
        pool_size: height and width of a window.
        strides: rows and columns from one window to the next; `pool_size` by default.
        padding: `"valid"` or `"same"`, in either case.
        implementation: `"builtin"`: of operations that TFLite has built in. `"native"`: TensorFlow's own.

    Call arguments:
        x: a tensor.

    Input shape:
        `[batch, height, width, channels]`.

    Output shape:
        Two times `[batch, rows, columns, channels]`: the maxima, and their places in int32.

    Raises:
        ValueError: sizes that are no positive integers, another padding or implementation, or the native one without
            TensorFlow.

    Reference:
        Badrinarayanan, Kendall, Cipolla, "SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image
        Segmentation", PAMI 2017, section 3.
    """

    OUTPUTS = ("output", "indices")
    """What its outputs are called in a graph that is written layer by layer."""

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
                f'`implementation="native"` is an operation of TensorFlow. Set it to "builtin". '
                f"Received: implementation={implementation!r} with the backend {keras.backend.backend()}"
            )
        self.implementation = implementation
        self.supports_jit = implementation == "builtin"

    def call(self, x: Any) -> tuple[Any, Any]:
        pool = native_max_pool_with_argmax if self.implementation == "native" else max_pool_with_argmax
        return pool(x, self.pool_size, self.strides, self.padding)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "implementation": self.implementation}

    def compute_output_shape(self, input_shape: Shape) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
        pool = keras.layers.MaxPooling2D(self.pool_size, self.strides, self.padding)
        shape = pool.compute_output_shape(input_shape)
        return shape, shape

    def compute_output_spec(self, x: Any) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        values, places = self.compute_output_shape(x.shape)
        return keras.KerasTensor(values, self.compute_dtype), keras.KerasTensor(places, "int32")


@serializable
class MaxUnpooling2D(_IndexedPooling2D):
    """Puts values back where `MaxPoolingWithArgmax2D` found them, and zero everywhere else.

    Give it the size of the pooled tensor, or that tensor itself, as `output_size`: then every value stands where it
    came from. Without, the size follows from `pool_size`, `strides` and `padding` as if the windows had covered the
    pooled tensor exactly, which is what `tensorflow_addons.layers.MaxUnpooling2D` does. Where they had not (an odd
    height or width with `"same"`), that size is another one and places mean other pixels: this is TFA's result too.

    Values that come from one place, out of windows that overlap, are added.

    Example:

    >>> import numpy as np
    >>> x = np.array([[1.0, 5.0, 2.0], [3.0, 4.0, 9.0]]).reshape(1, 2, 3, 1)
    >>> values, places = MaxPoolingWithArgmax2D(pool_size=2, padding="same")(x)
    >>> np.asarray(MaxUnpooling2D()(values, places, output_size=x))[0, :, :, 0].tolist()
    [[0.0, 5.0, 0.0], [0.0, 0.0, 9.0]]

    Args:
        pool_size: height and width of a window.
        strides: rows and columns from one window to the next; None: `pool_size`.
        padding: `"valid"` or `"same"`, in either case. The defaults of all three are TFA's, which are not those of
            `MaxPoolingWithArgmax2D`: give both layers the same arguments.

    Call arguments:
        updates: the values, or a list of `updates`, `mask` and, if need be, a reference tensor.
        mask: the places that the pooling gave.
        output_size: height and width of the result, or a tensor of that height and width.

    Input shape:
        `[batch, rows, columns, channels]` for both.

    Output shape:
        `[batch, height, width, channels]`.

    Raises:
        ValueError: sizes that are no positive integers, another padding, no places, or an `output_size` that is neither
            a pair nor an image.

    Reference:
        Noh, Hong, Han, "Learning Deconvolution Network for Semantic Segmentation", ICCV 2015, section 3.2.1.
    """

    def __init__(
        self, pool_size: Sizes = 2, strides: Sizes | None = 2, padding: Padding = "same", **kwargs: Any
    ) -> None:
        super().__init__(pool_size, strides, padding, **kwargs)
        self.supports_masking = True  # Keras takes an argument named `mask` for one of its own, and would warn

    def compute_mask(self, *args: Any, **kwargs: Any) -> None:
        """None: places are no Keras mask, and nothing is masked after this layer."""

    def call(self, updates: Any, mask: Any = None, output_size: Any = None) -> Any:
        updates, mask, output_size = _three(updates, mask, output_size)
        size = self._size(ops.shape(updates), output_size, ops.shape)
        return max_unpool(ops.cast(updates, self.compute_dtype), mask, size)

    def compute_output_spec(self, updates: Any, mask: Any = None, output_size: Any = None) -> keras.KerasTensor:
        updates, mask, output_size = _three(updates, mask, output_size)
        batch, *_, channels = updates.shape
        size = self._size(updates.shape, output_size, lambda reference: reference.shape)
        sides = (side if isinstance(side, int) else None for side in size)
        return keras.KerasTensor((batch, *sides, channels), self.compute_dtype)

    def compute_output_shape(self, updates_shape: Any, mask_shape: Shape | None = None) -> tuple[int | None, ...]:
        """`updates_shape` may be a list of all shapes, as of a call with a list."""
        shape, *others = updates_shape if isinstance(updates_shape[0], Sequence) else (updates_shape,)
        size = others[1][1:3] if len(others) == 2 else self._size(shape, None, tuple)
        return shape[0], *size, shape[3]

    def _size(self, shape: Any, output_size: Any, shape_of: Any) -> tuple[Any, Any]:
        """Height and width: what `output_size` says, or what the windows would have covered."""
        if output_size is None:
            windows = zip(shape[1:3], self.pool_size, self.strides, strict=True)
            height, width = (None if n is None else unpooled_size(n, k, s, self.padding) for n, k, s in windows)
            return height, width
        sizes = shape_of(output_size)[1:3] if len(getattr(output_size, "shape", ())) == 4 else output_size
        if getattr(sizes, "shape", (2,)) != (2,) or (isinstance(sizes, Sequence) and len(sizes) != 2):
            raise ValueError(
                "`output_size` must be a height and a width, or a tensor `[batch, height, width, channels]`. "
                f"Received: output_size={output_size}"
            )
        return sizes[0], sizes[1]


def _three(updates: Any, mask: Any, output_size: Any) -> tuple[Any, Any, Any]:
    """`updates`, `mask` and `output_size`, however they were passed."""
    if isinstance(updates, Sequence) and len(updates) in (2, 3):
        updates, mask, output_size = (*updates, output_size)[:3]
    if mask is None:
        raise ValueError("Expected `updates` and `mask`, the values and places of a pooling. Received: mask=None")
    return updates, mask, output_size
