"""What is too large for the maps of the crops that training sees."""

from collections.abc import Iterator, Sequence

from tfseg.context import Crop
from tfseg.spec.problems import FieldProblem


def places(crop: int | tuple[int, int], stride: int) -> tuple[int, int]:
    """How many rows and columns a map of `stride` has on images of that height and width.

    >>> places(321, 8), places((320, 65), 16)
    ((41, 41), (20, 5))
    """
    height, width = (crop, crop) if isinstance(crop, int) else crop
    return -(-height // stride), -(-width // stride)


def rates_problems(rates: Sequence[int], crop: Crop, stride: int) -> Iterator[FieldProblem]:
    """Why 3x3 convolutions should not have these dilation rates on a map of such crops.

    At a rate of the map's length or more, only the middle one of the nine taps ever lies on the map: the others read
    zeros at every place. Training never reaches them, and a larger image would be read by their first, random weights.

    >>> list(rates_problems((6, 12, 18, 24), 321, 8))
    []
    """
    if crop is None or not rates or max(rates) < (most := max(places(crop, stride))):
        return
    yield (
        ("rates",),
        f"on crops of {_shown(crop)} the map of output stride {stride} has {most} places in a row, where a 3x3 "
        f"convolution of rate {most} or more sees nothing but its middle place. Use rates below {most}, or a larger "
        f"data.crop. Received: {list(rates)}",
    )


def pool_problems(size: int | tuple[int, int] | None, crop: Crop, stride: int) -> Iterator[FieldProblem]:
    """Why an average over windows of that size does not fit on a map of such crops."""
    if size is None or crop is None:
        return
    rows, columns = places(crop, stride)
    height, width = (size, size) if isinstance(size, int) else size
    if height > rows or width > columns:
        yield (
            ("pool_size",),
            f"on crops of {_shown(crop)} the map of output stride {stride} has {rows} rows and {columns} columns, on "
            "which no larger window has a place. Set it to null for the mean of the whole map. "
            f"Received: {_shown(size)}",
        )


def _shown(value: int | tuple[int, int]) -> str:
    return str(value if isinstance(value, int) else list(value))
