"""Pixel normalization inside the model, so that every exported model contains it."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from tfseg.serialization import serializable
from tfseg.typing import Tensor

Mode = Literal["caffe", "tf", "torch"]

MODES: dict[str, tuple[tuple[float, ...], tuple[float, ...], bool]] = {
    "caffe": ((104.00699, 116.66877, 122.67892), (1.0,), True),
    "tf": ((127.5,), (1 / 127.5,), False),
    "torch": ((123.675, 116.28, 103.53), (1 / 58.395, 1 / 57.12, 1 / 57.375), False),
}
"""Mean and scale in the order of the output channels, and whether to reverse the channels first."""


@serializable
class Normalize(keras.layers.Layer):
    """Normalizes pixels of 0 to 255 to the range that a backbone was trained on.

    Computes `y = (x - mean) * scale` per channel, after an optional reversal of the channels. The computation runs in
    float32 under every precision policy and is cast to the compute dtype afterwards, so that no pixel is rounded before
    the mean is subtracted.

    Example:

    >>> import numpy as np
    >>> red = np.array([[[[255, 0, 0]]]], dtype="uint8")
    >>> np.ravel(Normalize("tf")(red)).tolist()
    [1.0, -1.0, -1.0]
    >>> [f"{value:.3f}" for value in np.ravel(Normalize("caffe")(red))]
    ['-104.007', '-116.669', '132.321']

    Args:
        mode: `"caffe"`: RGB to BGR and subtraction of the mean of the ImageNet training images, for VGG, AlexNet,
            GoogLeNet and ResNet as released by their authors. `"tf"`: scaling to -1 … 1, for MobileNet and Inception
            and any number of channels. `"torch"`: ImageNet mean and standard deviation of RGB. `None`: as given by
            `mean`, `scale` and `reverse`.
        mean: Float, or sequence of floats per output channel, subtracted from the pixels.
        scale: Float, or sequence of floats per output channel, factor of `x - mean`.
        reverse: Boolean, whether to reverse the order of the channels first.

    Call arguments:
        x: Integer or float image with values of 0 to 255.

    Input shape:
        `[..., channels]`.

    Output shape:
        Same as the input.

    Raises:
        ValueError: If `mode` is unknown, if it is combined with `mean`, `scale` or `reverse`, or if the number of
            channels does not match.

    Reference:
        The mean of `"caffe"` is that of `net.py` in the released FCN; the three modes are named as in
        `keras.applications`.
    """

    def __init__(
        self,
        mode: Mode | None = None,
        mean: float | Sequence[float] | None = None,
        scale: float | Sequence[float] | None = None,
        reverse: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(autocast=False, **kwargs)
        if mode is not None and mode not in MODES:
            raise ValueError(f'`mode` must be "caffe", "tf", "torch" or None. Received: mode={mode!r}')
        if mode is not None and (mean is not None or scale is not None or reverse):
            raise ValueError(
                "`mean`, `scale` and `reverse` require `mode=None`, because each mode defines its own. "
                f"Received: mode={mode!r}, mean={mean}, scale={scale}, reverse={reverse}"
            )
        self.mode, self.mean, self.scale, self.reverse = mode, _as_config(mean), _as_config(scale), reverse
        given = (_as_tuple(mean, 0.0), _as_tuple(scale, 1.0), reverse)
        self._mean, self._scale, self._reverse = given if mode is None else MODES[mode]

    def for_channels(self, channels: int) -> "Normalize":
        """Returns a layer of the same name for images with this number of channels.

        If this layer has different values for red, green and blue and the images have other channels, all channels get
        the averages of its means and its scales.

        >>> layer = Normalize("torch").for_channels(4)
        >>> round(layer.mean, 3), round(1 / layer.scale, 3)
        (114.495, 57.625)
        """
        if len({len(self._mean), len(self._scale)} - {1, channels}) == 0:
            return self
        mean, scale = (float(np.mean(values)) for values in (self._mean, self._scale))
        return Normalize(mean=mean, scale=scale, name=self.name)

    def build(self, input_shape: Sequence[int | None]) -> None:
        channels = input_shape[-1]
        for name, values in (("mean", self._mean), ("scale", self._scale)):
            if len(values) not in (1, channels):
                raise ValueError(
                    f"Expected an input of {len(values)} channels, one per value of `{name}`"
                    f"{'' if self.mode is None else f' of mode={self.mode!r}'}. Received: input_shape={input_shape}"
                )

    def call(self, x: Tensor) -> Tensor:
        x = ops.cast(x, "float32")
        if self._reverse:
            x = ops.flip(x, axis=-1)
        x = (x - np.array(self._mean, "float32")) * np.array(self._scale, "float32")
        return ops.cast(x, self.compute_dtype)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        given = {"mode": self.mode, "mean": self.mean, "scale": self.scale, "reverse": self.reverse}
        return {**super().get_config(), **given}


def _as_config(value: float | Sequence[float] | None) -> float | list[float] | None:
    return list(map(float, value)) if isinstance(value, Sequence) else value


def _as_tuple(value: float | Sequence[float] | None, default: float) -> tuple[float, ...]:
    if value is None:
        return (default,)
    return tuple(map(float, value)) if isinstance(value, Sequence) else (float(value),)
