"""Crop sizes that fit the output stride of a network."""

from tfseg.context import Crop, Grid

REMAINDERS = {(0,): "", (1,): " plus one", (0, 1): ", or that plus one"}
"""Text for each tuple of allowed remainders of a size."""


def crop_problem(crop: Crop, grid: Grid) -> str | None:
    """Returns the reason why a crop size does not fit the grid of a network, or None.

    A network that pads its images to `multiple * k + remainder` pixels should be trained on crops of such a size, with
    `k` at least 1; for other sizes, padding costs time. If `remainder` is None, the network does not pad images. With
    padding `same` in its layers, positions of the feature map are then evenly spaced for sizes that are a multiple of
    the output stride, or such a multiple plus one.

    Example:

    >>> crop_problem((321, 480), Grid(32, 32, None)) is None
    True
    >>> crop_problem(30, Grid(8, 8, None))
    'with output stride 8, height and width must be a multiple of 8, or that plus one. Nearest: 25 or 32. Received: 30'
    >>> crop_problem(30, Grid(8, 8, 0))
    'with output stride 8, height and width must be a multiple of 8. Nearest: 24 or 32. Received: 30'
    """
    sides = () if crop is None else (crop,) if isinstance(crop, int) else crop
    multiple, allowed = grid.multiple, (0, 1) if grid.remainder is None else (grid.remainder,)
    invalid = [side for side in sides if side < multiple or side % multiple not in allowed]
    if not invalid:
        return None
    fitting = {side: _nearest(side, multiple, allowed) for side in invalid}
    nearest = "; ".join(f"{sizes} for {side}" if len(sides) > 1 else sizes for side, sizes in fitting.items())
    received = sides[0] if len(sides) == 1 else list(sides)
    scales = "" if multiple == grid.output_stride else " and the scales of the model"
    return (
        f"with output stride {grid.output_stride}{scales}, height and width must be a multiple of {multiple}"
        f"{REMAINDERS[allowed]}. Nearest: {nearest}. Received: {received}"
    )


def _nearest(side: int, multiple: int, allowed: tuple[int, ...]) -> str:
    below = side // multiple * multiple
    fitting = (below + allowed[-1], below + multiple + allowed[0])
    return " or ".join(str(each) for each in fitting if each >= multiple)
