"""Checks that the readers of all formats share: sizes and coordinates."""

import numpy as np

from tfseg.data.convert.annotation import Invalid
from tfseg.data.convert.images import Found

TOLERANCE = 1.0
"""Distance in pixels by which coordinates may be outside the image. Annotation tools round and clip differently."""
POINTS = 3
"""Minimum number of points of a polygon."""


def check_size(found: Found, height: int, width: int, where: str) -> None:
    """Checks the size in an annotation against that of the image.

    Raises:
        Invalid: If the sizes differ.
    """
    if (height, width) == (found.height, found.width):
        return
    rotated = " after the rotation by its EXIF orientation" if (width, height) == (found.height, found.width) else ""
    raise Invalid(
        f"{where}: the size is {width}x{height} (width x height), but {found.path} is {found.width}x{found.height}"
        f"{rotated}. Use the images that were annotated."
    )


def checked_ring(points: np.ndarray, found: Found, where: str, least: int = POINTS) -> np.ndarray:
    """Returns the points of a shape, float64 `[points, 2]`.

    Raises:
        Invalid: If there are too few points, or one is not finite or outside the image by more than a pixel.
    """
    if len(points) < least:
        raise Invalid(f"{where}: expected at least {least} points; received {len(points)}")
    low, high = -TOLERANCE, np.array([found.width, found.height]) + TOLERANCE
    outside = ~((points >= low) & (points <= high)).all(1)
    if outside.any():
        index = int(outside.argmax())
        x, y = points[index].tolist()
        size = f"{found.width}x{found.height}"
        raise Invalid(
            f"{where}: point {index} ({x:g}, {y:g}) is outside the image of {size} pixels by more than a pixel"
        )
    return points
