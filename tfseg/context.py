"""What the sections of a pipeline are told of each other, so that each can say what does not fit it."""

from dataclasses import dataclass

from tfseg.labels import Labels

Crop = int | tuple[int, int] | None
"""Side, or height and width, of what training sees of an image; None: all of it."""


@dataclass(frozen=True)
class Grid:
    """The sizes that a network sees without continuing them: `multiple * k + remainder`.

    Args:
        output_stride: image pixels between two places of the deepest map.
        multiple: the output stride, or a multiple of it where there are several scales.
        remainder: 0 or 1; None: both, because the network continues no image.
    """

    output_stride: int
    multiple: int
    remainder: int | None


@dataclass(frozen=True)
class Context:
    """What a section cannot know by itself.

    Args:
        labels: the classes.
        channels: of the images.
        crop: what training sees of an image.
        grid: the sizes that crops should have for the network; None: any.
    """

    labels: Labels
    channels: int
    crop: Crop = None
    grid: Grid | None = None
