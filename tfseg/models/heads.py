"""Heads, which bring a decoder's scores to the image size."""

from collections.abc import Iterator
from typing import ClassVar, Literal

import keras

from tfseg.backbones.features import Features
from tfseg.context import Context
from tfseg.layers import CropLike, ResizeLike, ZoomLike
from tfseg.models.backbone_features import unknown_positions
from tfseg.models.coordinates import offset
from tfseg.spec.declare import spec
from tfseg.spec.problems import FieldProblem

Remainder = int | None
"""Remainder of the padded image sides modulo the output stride; None to leave images unpadded."""


class Head:
    """Base class of heads, which resize or crop scores to the image size. A custom head needs `type` and `__call__`."""

    type: str
    ASKED: ClassVar[tuple[str, ...]] = ("__call__",)
    align_corners: bool = False
    """Alignment of the corner positions with the corner pixels of the padded image, rather than half a stride
    inside."""

    def __call__(
        self, scores: keras.KerasTensor, padded: keras.KerasTensor, image: keras.KerasTensor, stride: int
    ) -> keras.KerasTensor:
        """Returns scores with the height and width of `image`; `padded` is the input of the backbone."""
        raise NotImplementedError

    def grid(self, features: Features) -> Remainder:
        """Returns the remainder of the sides to which images are padded; 0 for multiples of the output stride."""
        return 0

    def problems(self, features: Features, context: Context) -> Iterator[FieldProblem]:
        """Yields the incompatibilities of `features` with the head, as pairs `(path, message)`."""
        yield from ()


@spec
class Crop(Head):
    """Crops scores that are aligned with the image and extend beyond it.

    The crop offset follows from the paddings, kernels and strides between the image and the scores: 19, 27 and 31 for
    FCN-32s, 16s and 8s as released.
    """

    type: Literal["crop"] = "crop"
    align_corners: ClassVar[bool] = True  # type: ignore[misc]  # not a field here
    """Aligned: after cropping, the first position is at the first pixel."""

    def grid(self, features: Features) -> Remainder:
        """Returns None, because positions do not depend on the image size."""
        return None

    def __call__(
        self, scores: keras.KerasTensor, padded: keras.KerasTensor, image: keras.KerasTensor, stride: int
    ) -> keras.KerasTensor:
        return CropLike(offset(scores, image), dtype="float32", name="score")([scores, image])


@spec
class Resize(Head):
    """Resizes scores bilinearly to the size of the padded image and crops them to the size of the image."""

    type: Literal["resize"] = "resize"
    align_corners: bool = False
    """Aligns the centers of the corner pixels, as DeepLab does, rather than using half-pixel centers."""

    def grid(self, features: Features) -> Remainder:
        """Returns 1 for aligned corners and 0 for half-pixel centers: positions are then exactly one stride apart."""
        return 1 if self.align_corners else 0

    def __call__(
        self, scores: keras.KerasTensor, padded: keras.KerasTensor, image: keras.KerasTensor, stride: int
    ) -> keras.KerasTensor:
        resized = ResizeLike(align_corners=self.align_corners, dtype="float32", name="resize")([scores, padded])
        return cut(resized, padded, image)


@spec
class Zoom(Head):
    """Upsamples scores bilinearly so that position `i` lies on pixel `i * output_stride`."""

    type: Literal["zoom"] = "zoom"
    align_corners: ClassVar[bool] = True  # type: ignore[misc]  # not a field here
    """Aligned: the first position is at the first pixel."""

    def grid(self, features: Features) -> Remainder:
        """Returns 1 if positions are unknown or depend on the image size; None otherwise."""
        return 1 if unknown_positions(features) else None

    def __call__(
        self, scores: keras.KerasTensor, padded: keras.KerasTensor, image: keras.KerasTensor, stride: int
    ) -> keras.KerasTensor:
        return ZoomLike(stride, dtype="float32", name=self.type)([scores, image])


@spec
class Interp(Zoom):
    """Upsamples scores like `zoom`, on images padded to a multiple of the output stride plus 1.

    With this padding, the corner positions of DeepLab's scores lie on the corners of the padded image for every image
    size. The authors pad every image to 513x513. The zero padding of convolutions then affects fewer scores.
    """

    type: Literal["interp"] = "interp"  # type: ignore[assignment]  # another name in a file

    def grid(self, features: Features) -> Remainder:
        """Returns 1."""
        return 1


def cut(x: keras.KerasTensor, padded: keras.KerasTensor, image: keras.KerasTensor) -> keras.KerasTensor:
    """Crops `x`, which has the size of `padded`, to the image."""
    return x if padded is image else CropLike(0, dtype="float32", name="crop")([x, image])


HEADS: dict[str, Head] = {
    "crop": Crop(),
    "interp": Interp(),
    "resize": Resize(),
    "resize_corners": Resize(align_corners=True),
    "zoom": Zoom(),
}
"""Head for each value of a decoder's `head`, used if the file sets none."""
BUILT_IN = frozenset(head.type for head in HEADS.values())
