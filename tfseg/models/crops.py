"""Which crops a network works best with, and what is too large for the maps of such crops."""

from collections.abc import Sequence

REMAINDERS = {(0,): "", (1,): " plus one", (0, 1): ", or that plus one"}
"""What is said of sizes that may leave these over a multiple."""


def crop_problem(
    crop: int | tuple[int, int] | None, stride: int, multiple: int | None = None, remainder: int | None = None
) -> str | None:
    """Why images should not be cropped to that height and width, or None.

    A network that continues its images to `multiple * k + remainder` pixels should see crops of such a size, of at
    least one `multiple`: others would cost what it continues them by. Without a remainder, positions of the map fall
    evenly onto sizes that are a multiple of the output stride, or one more, where the padding is `same`.

    Example:

    >>> crop_problem((321, 480), 32) is None
    True
    >>> crop_problem(30, 8)
    'with output stride 8, height and width must be a multiple of 8, or that plus one. Nearest: 25 or 32. Received: 30'
    >>> crop_problem(30, 8, 8, 0)
    'with output stride 8, height and width must be a multiple of 8. Nearest: 24 or 32. Received: 30'
    """
    sides = () if crop is None else (crop,) if isinstance(crop, int) else crop
    multiple, allowed = multiple or stride, (0, 1) if remainder is None else (remainder,)
    wrong = [side for side in sides if side < multiple or side % multiple not in allowed]
    if not wrong:
        return None
    fitting = {side: _nearest(side, multiple, allowed) for side in wrong}
    nearest = "; ".join(f"{sizes} for {side}" if len(sides) > 1 else sizes for side, sizes in fitting.items())
    received = sides[0] if len(sides) == 1 else list(sides)
    scales = "" if multiple == stride else " and these scales"
    return (
        f"with output stride {stride}{scales}, height and width must be a multiple of {multiple}"
        f"{REMAINDERS[allowed]}. Nearest: {nearest}. Received: {received}"
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


def _nearest(side: int, multiple: int, allowed: tuple[int, ...]) -> str:
    below = side // multiple * multiple
    fitting = (below + allowed[-1], below + multiple + allowed[0])
    return " or ".join(str(each) for each in fitting if each >= multiple)
