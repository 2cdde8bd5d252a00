"""How a decoder's scores come to the size of the image."""

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
"""What is left of the sizes that a network sees when they are divided by its output stride; None: any size is seen."""


class Head:
    """What brings scores to the image's size. One of your own needs `type` and `__call__`."""

    type: str
    ASKED: ClassVar[tuple[str, ...]] = ("__call__",)
    align_corners: bool = False
    """Whether the corner places lie on the corners of what the backbone sees, rather than half a stride inside."""

    def __call__(
        self, scores: keras.KerasTensor, seen: keras.KerasTensor, image: keras.KerasTensor, stride: int
    ) -> keras.KerasTensor:
        """Scores of the height and width of `image`; `seen` is the image as the backbone saw it, continued."""
        raise NotImplementedError

    def grid(self, features: Features) -> Remainder:
        """The sizes that the backbone should see: multiples of the output stride."""
        return 0

    def problems(self, features: Features, context: Context) -> Iterator[FieldProblem]:
        """What keeps it from bringing scores of `features` to the image, each as (path, message)."""
        yield from ()


@spec
class Crop(Head):
    """Cuts the image's extent out of scores that lie on the image's grid and reach beyond it.

    Where to cut follows from the paddings, kernels and strides between the image and the scores: 19, 27 and 31 for
    FCN-32s, 16s and 8s as released.
    """

    type: Literal["crop"] = "crop"
    align_corners: ClassVar[bool] = True  # type: ignore[misc]  # no field here
    """The first place lies on the first pixel."""

    def grid(self, features: Features) -> Remainder:
        """Any size is seen: places do not move with it."""
        return None

    def __call__(
        self, scores: keras.KerasTensor, seen: keras.KerasTensor, image: keras.KerasTensor, stride: int
    ) -> keras.KerasTensor:
        return CropLike(offset(scores, image), dtype="float32", name="score")([scores, image])


@spec
class Resize(Head):
    """Resizes scores bilinearly to the height and width of what the backbone saw, and cuts the image out of it."""

    type: Literal["resize"] = "resize"
    align_corners: bool = False
    """Put the corner places onto the image's corner pixels, as DeepLab does, rather than halves of pixels beside."""

    def grid(self, features: Features) -> Remainder:
        """A multiple of the stride is divided evenly by half-pixel places; one more, by places on both corners."""
        return 1 if self.align_corners else 0

    def __call__(
        self, scores: keras.KerasTensor, seen: keras.KerasTensor, image: keras.KerasTensor, stride: int
    ) -> keras.KerasTensor:
        raised = ResizeLike(align_corners=self.align_corners, dtype="float32", name="resize")([scores, seen])
        return cut(raised, seen, image)


@spec
class Zoom(Head):
    """Lays place `i` of the scores onto pixel `i * output_stride`, and interpolates bilinearly between the places."""

    type: Literal["zoom"] = "zoom"
    align_corners: ClassVar[bool] = True  # type: ignore[misc]  # no field here
    """The first place lies on the first pixel."""

    def grid(self, features: Features) -> Remainder:
        """One more than a multiple of the stride, at which places lie so, unless they do at every size."""
        return 1 if unknown_positions(features) else None

    def __call__(
        self, scores: keras.KerasTensor, seen: keras.KerasTensor, image: keras.KerasTensor, stride: int
    ) -> keras.KerasTensor:
        return ZoomLike(stride, dtype="float32", name=self.type)([scores, image])


@spec
class Interp(Zoom):
    """As `zoom`, on an image that is continued to a multiple of the stride plus 1, whatever the backbone.

    So the places of DeepLab lie on the corners of what the backbone sees, whatever size the image has. (The authors
    continue every image to 513x513, on which fewer places depend on the image's edge alone.)
    """

    type: Literal["interp"] = "interp"  # type: ignore[assignment]  # another word in a file

    def grid(self, features: Features) -> Remainder:
        """One more than a multiple of the stride."""
        return 1


def cut(x: keras.KerasTensor, seen: keras.KerasTensor, image: keras.KerasTensor) -> keras.KerasTensor:
    """The image's extent out of what was made at the size of `seen`."""
    return x if seen is image else CropLike(0, dtype="float32", name="crop")([x, image])


HEADS: dict[str, Head] = {
    "crop": Crop(),
    "interp": Interp(),
    "resize": Resize(),
    "resize_corners": Resize(align_corners=True),
    "zoom": Zoom(),
}
"""What a decoder may ask for by its `head`, and the head that it gets where the file names none."""
OURS = frozenset(head.type for head in HEADS.values())
