"""Which crops a network works best with, and what is too large for the maps of such crops."""

from collections.abc import Sequence


def crop_problem(crop: int | tuple[int, int] | None, stride: int) -> str | None:
    """Why images should not be cropped to that height and width, or None.

    With `same` padding, places of the map fall evenly onto sizes that are a multiple of the output stride, or one
    more, as long as there is at least one whole stride; at other sizes the last place hangs over the edge, and a net
    trained so sees shifted features at other sizes.

    Example:

    >>> crop_problem((321, 480), 32) is None
    True
    >>> crop_problem(30, 8)
    'with output stride 8, height and width must be a multiple of 8, or that plus one. Nearest: 25 or 32. Received: 30'
    """
    sides = () if crop is None else (crop,) if isinstance(crop, int) else crop
    wrong = [side for side in sides if side < stride or side % stride > 1]
    if not wrong:
        return None
    nearest = "; ".join(f"{_nearest(side, stride)}" + (f" for {side}" if len(sides) > 1 else "") for side in wrong)
    received = sides[0] if len(sides) == 1 else list(sides)
    return (
        f"with output stride {stride}, height and width must be a multiple of {stride}, or that plus one. "
        f"Nearest: {nearest}. Received: {received}"
    )


def places(crop: int | tuple[int, int], stride: int) -> tuple[int, int]:
    """How many rows and columns a map of `stride` has on images of that height and width.

    >>> places(321, 8), places((320, 65), 16)
    ((41, 41), (20, 5))
    """
    height, width = (crop, crop) if isinstance(crop, int) else crop
    return -(-height // stride), -(-width // stride)


def rates_problem(rates: Sequence[int], crop: int | tuple[int, int] | None, stride: int) -> str | None:
    """Why 3x3 convolutions should not have these dilation rates on a map of such crops, or None.

    At a rate of the map's length or more, only the middle one of the nine taps ever lies on the map: the others read
    zeros at every place. Training never reaches them, and a larger image would be read by their first, random weights.

    >>> rates_problem((6, 12, 18, 24), 321, 8) is None
    True
    """
    if crop is None or not rates or max(rates) < (most := max(places(crop, stride))):
        return None
    return (
        f"on crops of {_shown(crop)} the map of output stride {stride} has {most} places in a row, where a 3x3 "
        f"convolution of rate {most} or more sees nothing but its middle place. Use rates below {most}, or a larger "
        f"data.crop. Received: {list(rates)}"
    )


def pool_problem(size: int | tuple[int, int] | None, crop: int | tuple[int, int] | None, stride: int) -> str | None:
    """Why an average over windows of that size does not fit on a map of such crops, or None."""
    if size is None or crop is None:
        return None
    rows, columns = places(crop, stride)
    height, width = (size, size) if isinstance(size, int) else size
    if height <= rows and width <= columns:
        return None
    return (
        f"on crops of {_shown(crop)} the map of output stride {stride} has {rows} rows and {columns} columns, on which "
        f"no larger window has a place. Set it to null for the mean of the whole map. Received: {_shown(size)}"
    )


def _shown(value: int | tuple[int, int]) -> str:
    return str(value if isinstance(value, int) else list(value))


def _nearest(side: int, stride: int) -> str:
    below = side // stride * stride
    return f"{below + 1} or {below + stride}" if below else str(stride)
