"""How a decoder's scores come to the size of the image."""

from typing import Literal

import keras

from tfseg.layers import CropLike, PadToGrid, ResizeLike, ZoomLike
from tfseg.models.coordinates import offset
from tfseg.spec.declare import spec

MEAN_COLOUR = (122.675, 116.669, 104.008)
"""Red, green and blue of the mean over ImageNet, by which DeepLab continues images."""
MIDDLE = 127.5
"""What images of other than three channels are continued by: zero once they are normalised."""


class _Unpadded:
    """A head that leaves the image as it is."""

    def prepared(self, image: keras.KerasTensor, stride: int) -> keras.KerasTensor:
        """The image as the backbone shall see it."""
        return image


@spec
class Crop(_Unpadded):
    """Cuts the image's extent out of scores that lie on the image's grid and reach beyond it.

    Where to cut follows from the paddings, kernels and strides between the image and the scores: 19, 27 and 31 for
    FCN-32s, 16s and 8s as released.
    """

    type: Literal["crop"] = "crop"

    def __call__(self, scores: keras.KerasTensor, image: keras.KerasTensor, stride: int) -> keras.KerasTensor:
        return CropLike(offset(scores, image), dtype="float32", name="score")([scores, image])


@spec
class Resize(_Unpadded):
    """Resizes scores bilinearly to the image's height and width."""

    type: Literal["resize"] = "resize"
    align_corners: bool = False
    """Put the corner places onto the image's corner pixels, as DeepLab does, rather than halves of pixels beside."""

    def __call__(self, scores: keras.KerasTensor, image: keras.KerasTensor, stride: int) -> keras.KerasTensor:
        return ResizeLike(align_corners=self.align_corners, dtype="float32", name="resize")([scores, image])


@spec
class Zoom(_Unpadded):
    """Lays place `i` of the scores onto pixel `i * output_stride`, and interpolates bilinearly between the places."""

    type: Literal["zoom"] = "zoom"

    def __call__(self, scores: keras.KerasTensor, image: keras.KerasTensor, stride: int) -> keras.KerasTensor:
        return ZoomLike(stride, dtype="float32", name="zoom")([scores, image])


@spec
class Interp:
    """As `zoom`, on an image that the mean colour continues below and to the right, to a multiple of the stride plus 1.

    So the places of DeepLab lie on the corners of what the backbone sees, whatever size the image has. (The authors
    continue every image to 513x513, on which fewer places depend on the image's edge alone.)
    """

    type: Literal["interp"] = "interp"

    def prepared(self, image: keras.KerasTensor, stride: int) -> keras.KerasTensor:
        """The image as the backbone shall see it."""
        value = MEAN_COLOUR if image.shape[-1] == len(MEAN_COLOUR) else MIDDLE
        return PadToGrid(stride, 1, value, dtype="float32", name="grid")(image)

    def __call__(self, scores: keras.KerasTensor, image: keras.KerasTensor, stride: int) -> keras.KerasTensor:
        return ZoomLike(stride, dtype="float32", name="interp")([scores, image])


Head = Crop | Interp | Resize | Zoom

HEADS: dict[str, Head] = {
    "crop": Crop(),
    "interp": Interp(),
    "resize": Resize(),
    "resize_corners": Resize(align_corners=True),
    "zoom": Zoom(),
}
"""What a decoder may ask for by its `head`, and the head that it gets where the file names none."""
