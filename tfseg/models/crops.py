"""Which crops a network whose layers pad `same` works best with."""


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


def _nearest(side: int, stride: int) -> str:
    below = side // stride * stride
    return f"{below + 1} or {below + stride}" if below else str(stride)
