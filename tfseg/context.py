"""Properties of other sections of a pipeline, which each section needs for its checks."""

from dataclasses import dataclass

from tfseg.labels import Labels

Crop = int | tuple[int, int] | None
"""Side, or height and width, of training crops; None: whole images."""


@dataclass(frozen=True)
class Grid:
    """Image sizes that a network does not pad: `multiple * k + remainder`.

    Args:
        output_stride: Integer, ratio of the input resolution to that of the deepest feature map.
        multiple: Integer, the output stride, or a multiple of it for networks with several scales.
        remainder: 0 or 1; None: either, for a network that does not pad images.
    """

    output_stride: int
    multiple: int
    remainder: int | None


@dataclass(frozen=True)
class Context:
    """Properties of other sections.

    Args:
        labels: Classes and ignore label.
        channels: Integer, number of channels of the images.
        crop: Size of training crops.
        grid: Sizes that crops should have for the network; None: any.
    """

    labels: Labels
    channels: int
    crop: Crop = None
    grid: Grid | None = None
