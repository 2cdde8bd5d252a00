"""Label maps as files and over pictures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tfseg.atomic import atomic_file

LARGEST_INDEX = 255
"""The largest id that an index PNG holds."""
LINE = 25
"""The height of a class in a legend, in pixels."""


def write_mask(path: Path, ids: np.ndarray, palette: np.ndarray) -> None:
    """Writes ids as an index PNG whose palette shows them in color; 16-bit gray where an id is above 255. Atomic.

    Args:
        path: the file, `.png`.
        ids: integers `[height, width]`.
        palette: uint8 `[256, 3]`, the color of every id.

    Raises:
        ValueError: `ids` are not integers from 0 to 65535 in two dimensions.
    """
    ids = _checked(ids)
    if ids.max(initial=0) > LARGEST_INDEX:
        picture = Image.fromarray(ids.astype(np.uint16))
    else:
        picture = Image.fromarray(ids.astype(np.uint8), "P")
        picture.putpalette(np.ascontiguousarray(palette, np.uint8).tobytes())
    with atomic_file(Path(path)) as partial:
        picture.save(partial, format="PNG")


def write_image(path: Path, image: np.ndarray) -> None:
    """Writes a uint8 picture `[height, width]` or `[height, width, 1 or 3]`; the suffix chooses the format. Atomic.

    Raises:
        ValueError: `image` is of another type or shape.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3)):
        raise ValueError(
            "`image` must be uint8 [height, width], or with 1 or 3 channels. "
            f"Received: {image.dtype} {list(image.shape)}"
        )
    with atomic_file(Path(path)) as partial:
        Image.fromarray(image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image).save(partial)


def blend(
    image: np.ndarray, ids: np.ndarray, palette: np.ndarray, alpha: float = 0.5, ignore: int | None = None
) -> np.ndarray:
    """The classes' colors over a picture, uint8 `[height, width, 3]`; black, as of a background, leaves it as it is.

    >>> import numpy as np
    >>> palette = np.array([[0, 0, 0], [200, 100, 0]], np.uint8)
    >>> blend(np.full((1, 2, 3), 100, np.uint8), np.array([[0, 1]]), palette).tolist()
    [[[100, 100, 100], [150, 100, 50]]]

    Args:
        image: uint8 or float in 0..255, `[height, width, 3]`; with 1 channel, or none, it is shown in gray.
        ids: integers `[height, width]`.
        palette: uint8 `[ids, 3]`; it repeats where ids are larger.
        alpha: the weight of the colors, 0 to 1.
        ignore: pixels of this id show the picture alone.

    Raises:
        ValueError: picture and ids differ in size, or `ids` are not integers in two dimensions.
    """
    ids, image = _checked(ids), np.asarray(image)
    if image.shape[:2] != ids.shape or image.shape[2:] not in ((), (1,), (3,)):
        raise ValueError(
            "`image` must be [height, width], or with 1 or 3 channels, and of the size of `ids`. "
            f"Received: image {list(image.shape)}, ids {list(ids.shape)}"
        )
    picture = np.broadcast_to(image.reshape(*ids.shape, -1), (*ids.shape, 3))
    colors = np.asarray(palette, np.uint8)[ids.astype(np.intp) % len(palette)]
    below, above = (Image.fromarray(np.ascontiguousarray(each)) for each in (_bytes(picture), colors))
    shown = colors.any(-1) if ignore is None else colors.any(-1) & (ids != ignore)
    return np.asarray(Image.composite(Image.blend(below, above, alpha), below, Image.fromarray(shown)))


def _bytes(picture: np.ndarray) -> np.ndarray:
    return picture if picture.dtype == np.uint8 else np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def legend(names: Sequence[str], palette: np.ndarray) -> np.ndarray:
    """The classes' colors with their names, one below the other, uint8 `[height, width, 3]`.

    >>> import numpy as np
    >>> legend(["ground", "disc"], np.array([[0, 0, 0], [200, 100, 0]], np.uint8)).shape[0]
    50

    Args:
        names: what each class is called.
        palette: uint8 `[ids, 3]`; it repeats where there are more classes.
    """
    font = ImageFont.load_default(LINE * 2 / 3)
    width = LINE * 2 + max((int(np.ceil(font.getlength(name))) for name in names), default=0)
    picture = Image.new("RGB", (width, LINE * len(names)), "white")
    draw = ImageDraw.Draw(picture)
    for index, name in enumerate(names):
        top, color = LINE * index, tuple(np.asarray(palette)[index % len(palette)].tolist())
        draw.rectangle((4, top + 4, LINE - 4, top + LINE - 4), fill=color, outline="gray")
        draw.text((LINE + 4, top + LINE // 2), name, fill="black", font=font, anchor="lm")
    return np.asarray(picture)


def _checked(ids: np.ndarray) -> np.ndarray:
    ids = np.asarray(ids)
    if not np.issubdtype(ids.dtype, np.integer) or ids.ndim != 2:
        raise ValueError(f"`ids` must be integers [height, width]. Received: {ids.dtype} {list(ids.shape)}")
    if ids.size and not 0 <= ids.min() <= ids.max() <= 65535:
        raise ValueError(f"`ids` must lie in 0..65535. Received: {ids.min()} to {ids.max()}")
    return ids
