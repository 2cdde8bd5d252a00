"""Checks of dilation rates and pooling windows against the feature map of a training crop."""

from collections.abc import Iterator, Sequence

from tfseg.context import Crop
from tfseg.spec.problems import FieldProblem


def map_size(crop: int | tuple[int, int], stride: int) -> tuple[int, int]:
    """Returns height and width of the feature map of `stride` for a crop.

    >>> map_size(321, 8), map_size((320, 65), 16)
    ((41, 41), (20, 5))
    """
    height, width = (crop, crop) if isinstance(crop, int) else crop
    return -(-height // stride), -(-width // stride)


def rates_problems(rates: Sequence[int], crop: Crop, stride: int) -> Iterator[FieldProblem]:
    """Yields a problem if a 3x3 convolution has a dilation rate too large for the feature map of a crop.

    At a rate of at least the longer side of the map, only the center tap of the nine falls inside the map, and the
    others read zero padding at every position. Training never updates the weights of these taps, and a larger image
    would use their random initial values.

    >>> list(rates_problems((6, 12, 18, 24), 321, 8))
    []
    """
    if crop is None or not rates or max(rates) < (most := max(map_size(crop, stride))):
        return
    rows, columns = map_size(crop, stride)
    yield (
        ("rates",),
        f"on crops of {_shown(crop)} the feature map of output stride {stride} is only {rows}x{columns}, where a 3x3 "
        f"convolution of rate {most} or more uses only its center tap. Use rates below {most}, or a larger data.crop. "
        f"Received: {list(rates)}",
    )


def pool_problems(size: int | tuple[int, int] | None, crop: Crop, stride: int) -> Iterator[FieldProblem]:
    """Yields a problem if an average pooling window exceeds the feature map of a crop."""
    if size is None or crop is None:
        return
    rows, columns = map_size(crop, stride)
    height, width = (size, size) if isinstance(size, int) else size
    if height > rows or width > columns:
        yield (
            ("pool_size",),
            f"on crops of {_shown(crop)} the feature map of output stride {stride} is {rows}x{columns}, smaller than "
            f"the pooling window. Set pool_size to null for global average pooling. Received: {_shown(size)}",
        )


def _shown(value: int | tuple[int, int]) -> str:
    return str(value if isinstance(value, int) else list(value))
