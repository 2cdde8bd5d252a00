"""Padding, pooling and preprocessing of VGG16 in the forms of several segmentation networks."""

from dataclasses import dataclass
from typing import Literal

import keras

from tfseg.layers import (
    AtrousConv2D,
    AtrousMaxPooling2D,
    CaffeMaxPooling2D,
    MirrorPadding2D,
    Normalize,
)

MARGIN = 186
"""Pixels that the unpadded convolutions of the dilation network remove at each border of the image."""


@dataclass(frozen=True)
class Form:
    """Fixed properties of a form of VGG16."""

    output_strides: tuple[int, ...]
    """Supported output strides."""
    rate: int
    """Default dilation rate of `fc6` at the largest output stride."""
    mean: tuple[float, float, float] | None = None
    """Mean of blue, green and red, if it differs from that of the `caffe` mode of `Normalize`."""
    unpadded: tuple[str, ...] = ()
    """Name prefixes of the convolutions that do not pad."""


FORMS = {
    "original": Form((32,), 1, unpadded=("conv1_1", "fc6")),  # conv1_1 follows a padding by 100
    "same": Form((8, 16, 32), 1),
    "deeplab": Form((8,), 4, (104.008, 116.669, 122.675)),
    "dilation": Form((8,), 4, (102.93, 111.36, 116.52), ("conv", "fc")),
}


def preprocessed(image: keras.KerasTensor, form: str) -> keras.KerasTensor:
    """Normalizes an image and pads it before the first convolution.

    For images with other than 3 channels, the means are averaged.
    """
    mean = FORMS[form].mean
    given = {"mode": "caffe"} if mean is None else {"mean": mean, "reverse": True}
    x = Normalize(**given, name="normalize").for_channels(image.shape[-1])(image)
    if form == "original":
        return keras.layers.ZeroPadding2D(100, name="pad")(x)
    return MirrorPadding2D(MARGIN, 8, name="pad")(x) if form == "dilation" else x


def convolution(
    form: str, filters: int, size: int, rate: int, activation: str | None, name: str
) -> keras.layers.Conv2D:
    """Returns a convolution layer.

    A layer that is dilated at some output stride is an `AtrousConv2D` at every stride, so that weight files fit.
    """
    padding: Literal["valid", "same"] = "valid" if name.startswith(FORMS[form].unpadded) else "same"
    layer = AtrousConv2D if form != "original" and name.startswith(("conv5", "fc6")) else keras.layers.Conv2D
    return layer(
        filters,
        size,
        padding=padding,
        dilation_rate=rate,
        activation=activation,
        kernel_initializer="he_normal",
        name=name,
    )


def pool(form: str, step: int, rate: int, name: str) -> keras.layers.Layer | None:
    """Returns a max pool, or None if the form has none.

    Only the `same` form dilates it, and so computes the same values as with the stride, at more positions.
    """
    if form == "deeplab":
        return CaffeMaxPooling2D(3, step, padding=1, name=name)
    if form == "dilation" and step == 1:
        return None
    if step == 1:
        return AtrousMaxPooling2D(2, rate, name=name)
    return keras.layers.MaxPooling2D(2, 2, "same", name=name) if form == "same" else CaffeMaxPooling2D(2, 2, name=name)
