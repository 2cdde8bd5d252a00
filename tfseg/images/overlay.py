"""Writing of images and masks, and rendering of label maps over images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tfseg.atomic import atomic_file

LARGEST_INDEX = 255
"""Largest id of a palette PNG."""
LINE = 25
"""Height of one row of a legend, in pixels."""
PERIOD, STRIPE = 8, 2
"""Distance and width of the stripes over ignored pixels, in pixels."""


def write_mask(path: Path, ids: np.ndarray, palette: np.ndarray) -> None:
    """Writes a mask atomically as a palette PNG, or as a 16-bit gray PNG if an id is above 255.

    Args:
        path: Path of the file, with suffix `.png`.
        ids: Integer array of shape `[height, width]`.
        palette: Uint8 array of shape `[256, 3]`, RGB color of every id.

    Raises:
        ValueError: If `ids` is not a 2D array of integers from 0 to 65535.
    """
    ids = _checked(ids)
    if ids.max(initial=0) > LARGEST_INDEX:
        drawing = Image.fromarray(ids.astype(np.uint16))
    else:
        drawing = Image.fromarray(ids.astype(np.uint8), "P")
        drawing.putpalette(np.ascontiguousarray(palette, np.uint8).tobytes())
    with atomic_file(Path(path)) as partial:
        drawing.save(partial, format="PNG")


def write_image(path: Path, image: np.ndarray) -> None:
    """Writes an image atomically, in the format of the suffix.

    Args:
        path: Path of the file.
        image: Uint8 array of shape `[height, width]` or `[height, width, channels]`, with 1 or 3 channels.

    Raises:
        ValueError: If `image` has another dtype or shape.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3)):
        raise ValueError(
            "`image` must be uint8 [height, width], or with 1 or 3 channels. "
            f"Received: {image.dtype} {list(image.shape)}"
        )
    with atomic_file(Path(path)) as partial:
        Image.fromarray(image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image).save(partial)


def visible(image: np.ndarray) -> np.ndarray:
    """Returns the channels of an image to display: the first three, or the first one if there are fewer.

    >>> visible(np.zeros((2, 2, 5))).shape, visible(np.zeros((2, 2, 2))).shape
    ((2, 2, 3), (2, 2, 1))
    """
    return image[:, :, :3] if image.shape[2] >= 3 else image[:, :, :1]


def blend(
    image: np.ndarray, ids: np.ndarray, palette: np.ndarray, alpha: float = 0.5, ignore: int | None = None
) -> np.ndarray:
    """Blends the class colors of a label map over an image.

    Pixels whose class has the color black, such as background, show the image alone.

    >>> import numpy as np
    >>> palette = np.array([[0, 0, 0], [200, 100, 0]], np.uint8)
    >>> blend(np.full((1, 2, 3), 100, np.uint8), np.array([[0, 1]]), palette).tolist()
    [[[100, 100, 100], [150, 100, 50]]]

    Args:
        image: Uint8 or float array in the range 0..255, of shape `[height, width, 3]`; `[height, width, 1]` and
            `[height, width]` are rendered in gray.
        ids: Integer array of shape `[height, width]`.
        palette: Uint8 array of shape `[ids, 3]`; it repeats for larger ids.
        alpha: Float, weight of the colors, 0 to 1.
        ignore: Ignore label; its pixels show the image alone.

    Returns:
        Uint8 array of shape `[height, width, 3]`.

    Raises:
        ValueError: If `image` has another shape, or `ids` is not a 2D array of integers from 0 to 65535.
    """
    ids, image = _checked(ids), np.asarray(image)
    if image.shape[:2] != ids.shape or image.shape[2:] not in ((), (1,), (3,)):
        raise ValueError(
            "`image` must be [height, width], or with 1 or 3 channels, and of the same size as `ids`. "
            f"Received: image {list(image.shape)}, ids {list(ids.shape)}"
        )
    rgb = np.broadcast_to(image.reshape(*ids.shape, -1), (*ids.shape, 3))
    colors = np.asarray(palette, np.uint8)[ids.astype(np.intp) % len(palette)]
    below, above = (Image.fromarray(np.ascontiguousarray(each)) for each in (_bytes(rgb), colors))
    shown = colors.any(-1) if ignore is None else colors.any(-1) & (ids != ignore)
    return np.asarray(Image.composite(Image.blend(below, above, alpha), below, Image.fromarray(shown)))


def hatched(image: np.ndarray, ignored: np.ndarray) -> np.ndarray:
    """Returns an image whose ignored pixels are half as bright, with white diagonal stripes.

    >>> hatched(np.full((1, 4, 3), 100, np.uint8), np.array([[True, True, True, False]]))[0, :, 0].tolist()
    [255, 255, 50, 100]

    Args:
        image: Uint8 array of shape `[height, width, 3]`.
        ignored: Boolean array of shape `[height, width]`.
    """
    diagonal = np.add.outer(*map(np.arange, ignored.shape))
    hatch = np.where((diagonal % PERIOD < STRIPE)[..., None], np.uint8(255), image // 2)
    return np.where(ignored[..., None], hatch, image)


def _bytes(image: np.ndarray) -> np.ndarray:
    return image if image.dtype == np.uint8 else np.clip(np.rint(image), 0, 255).astype(np.uint8)


def legend(names: Sequence[str], palette: np.ndarray) -> np.ndarray:
    """Draws a legend with the color and the name of each class, one per row.

    >>> import numpy as np
    >>> legend(["ground", "disc"], np.array([[0, 0, 0], [200, 100, 0]], np.uint8)).shape[0]
    50

    Args:
        names: Class names.
        palette: Uint8 array of shape `[ids, 3]`; it repeats for more classes.

    Returns:
        Uint8 array of shape `[height, width, 3]`.
    """
    font = ImageFont.load_default(LINE * 2 / 3)
    width = LINE * 2 + max((int(np.ceil(font.getlength(name))) for name in names), default=0)
    drawing = Image.new("RGB", (width, LINE * len(names)), "white")
    draw = ImageDraw.Draw(drawing)
    for index, name in enumerate(names):
        top, color = LINE * index, tuple(np.asarray(palette)[index % len(palette)].tolist())
        draw.rectangle((4, top + 4, LINE - 4, top + LINE - 4), fill=color, outline="gray")
        draw.text((LINE + 4, top + LINE // 2), name, fill="black", font=font, anchor="lm")
    return np.asarray(drawing)


def _checked(ids: np.ndarray) -> np.ndarray:
    ids = np.asarray(ids)
    if not np.issubdtype(ids.dtype, np.integer) or ids.ndim != 2:
        raise ValueError(f"`ids` must be integers [height, width]. Received: {ids.dtype} {list(ids.shape)}")
    if ids.size and not 0 <= ids.min() <= ids.max() <= 65535:
        raise ValueError(f"`ids` must be in the range 0..65535. Received: {ids.min()} to {ids.max()}")
    return ids
