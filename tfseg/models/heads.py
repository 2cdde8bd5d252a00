"""How a decoder's scores come to the size of the image."""

from typing import Literal

import keras

from tfseg.layers import CropLike, ResizeLike
from tfseg.models.coordinates import offset
from tfseg.spec.declare import spec


@spec
class Crop:
    """Cuts the image's extent out of scores that lie on the image's grid and reach beyond it.

    Where to cut follows from the paddings, kernels and strides between the image and the scores: 19, 27 and 31 for
    FCN-32s, 16s and 8s as released.
    """

    type: Literal["crop"] = "crop"

    def __call__(self, scores: keras.KerasTensor, image: keras.KerasTensor) -> keras.KerasTensor:
        return CropLike(offset(scores, image), dtype="float32", name="score")([scores, image])


@spec
class Resize:
    """Resizes scores bilinearly to the image's height and width."""

    type: Literal["resize"] = "resize"
    align_corners: bool = False
    """Put the corner places onto the image's corner pixels, as DeepLab does, rather than halves of pixels beside."""

    def __call__(self, scores: keras.KerasTensor, image: keras.KerasTensor) -> keras.KerasTensor:
        return ResizeLike(align_corners=self.align_corners, dtype="float32", name="resize")([scores, image])


HEADS: dict[str, Crop | Resize] = {"crop": Crop(), "resize": Resize(), "resize_corners": Resize(align_corners=True)}
"""What a decoder may ask for by its `head`, and the head that it gets where the file names none."""
