"""The forms that segmentation nets gave VGG16: what each pads by, pools by, and takes off the pixels."""

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
"""Half of what the convolutions of the dilation net take off an image, in its pixels."""


@dataclass(frozen=True)
class Form:
    """What a form of VGG16 fixes."""

    output_strides: tuple[int, ...]
    """Image pixels between two places of its deepest stage; those that it can have."""
    rate: int
    """Of `fc6`, unless told otherwise, at the greatest of them."""
    mean: tuple[float, float, float] | None = None
    """Blue, green and red of the mean that is taken off, where it is not the one of the `caffe` mode."""
    unpadded: tuple[str, ...] = ()
    """What the names of those convolutions begin with that do not pad."""


FORMS = {
    "original": Form((32,), 1, unpadded=("conv1_1", "fc6")),  # conv1_1 gets its 100 before
    "same": Form((8, 16, 32), 1),
    "deeplab": Form((8,), 4, (104.008, 116.669, 122.675)),
    "dilation": Form((8,), 4, (102.93, 111.36, 116.52), ("conv", "fc")),
}


def entered(image: keras.KerasTensor, form: str) -> keras.KerasTensor:
    """Pixels as the first convolution reads them; images of other than three channels are scaled to -1..1."""
    if image.shape[-1] != 3:
        x = Normalize("tf", name="normalize")(image)
    elif (mean := FORMS[form].mean) is not None:
        x = Normalize(mean=mean, reverse=True, name="normalize")(image)
    else:
        x = Normalize("caffe", name="normalize")(image)
    if form == "original":
        return keras.layers.ZeroPadding2D(100, name="pad")(x)
    return MirrorPadding2D(MARGIN, 8, name="pad")(x) if form == "dilation" else x


def convolution(
    form: str, filters: int, size: int, rate: int, activation: str | None, name: str
) -> keras.layers.Conv2D:
    """A convolution; one that any output stride dilates is an atrous one at every stride, so that weight files fit."""
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
    """A max pool, or None where the form has none. Only the `same` form dilates it: it computes what it did with the
    stride, at more places."""
    if form == "deeplab":
        return CaffeMaxPooling2D(3, step, padding=1, name=name)
    if form == "dilation" and step == 1:
        return None
    if step == 1:
        return AtrousMaxPooling2D(2, rate, name=name)
    return keras.layers.MaxPooling2D(2, 2, "same", name=name) if form == "same" else CaffeMaxPooling2D(2, 2, name=name)
