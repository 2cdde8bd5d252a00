"""Contact sheets: training examples with their masks, names and a legend, for `tfseg data show`."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tfseg.atomic import check_writable
from tfseg.data.dataset import Dataset
from tfseg.data.reading import arrays
from tfseg.errors import DataError
from tfseg.images import EIGHT_BITS
from tfseg.images.overlay import LINE, blend, hatched, legend, visible
from tfseg.labels import Labels

Example = tuple[str, np.ndarray, np.ndarray]
"""Name, image and mask."""

SUFFIXES = (".png", ".jpg", ".jpeg")
LARGEST, SMALLEST = 320, 160
"""Side in pixels to which larger images are reduced, and up to which smaller images are enlarged by a whole factor."""
GAP = 8
"""Width of the white border around each example, in pixels."""
IGNORED = "ignored"
"""Name of ignored pixels in the legend."""


def contact_sheet(
    data: Dataset,
    *,
    count: int = 12,
    epoch: int = 0,
    columns: int = 3,
    split: str | None = None,
    opacity: float = 0.5,
) -> np.ndarray:
    """Draws examples with their masks, names and a legend of the classes.

    Each example is a pair: the image, and the mask over the image. Ignored pixels are hatched: white stripes over the
    darkened image. The examples are the first ones of a training epoch, with crop, boxes and augmentation, exactly as
    training gets them, without padding examples.

    >>> from tfseg.data import Data, Shapes
    >>> data = Data(source=Shapes(size=32, train=4), batch_size=2).open(Labels(names=("ground", "disc")))
    >>> contact_sheet(data, count=3, columns=2).dtype
    dtype('uint8')

    Args:
        data: Dataset.
        count: Integer, maximum number of examples.
        epoch: Integer, epoch of the examples, from 0. Has no effect with `split`.
        columns: Integer, number of examples per row.
        split: Name of a split whose whole images are shown in file order, as in evaluation; None: training examples.
        opacity: Float, weight of the class colors, 0 to 1.

    Returns:
        Uint8 array of shape `[height, width, 3]`.

    Raises:
        DataError: If a file is missing or invalid.
        ValueError: If `count` or `columns` is not positive, or `epoch` is not from 0 to 2**31 - 1.
    """
    if count < 1 or columns < 1 or not 0 <= epoch < 2**31:
        raise ValueError(
            "Expected `count` and `columns` to be 1 or more, and `epoch` to be from 0 to 2**31 - 1. "
            f"Received: count={count}, columns={columns}, epoch={epoch}"
        )
    found = _training(data, epoch) if split is None else _evaluation(data, split)
    examples = [(name, EIGHT_BITS.shown(visible(image)), mask) for name, image, mask in islice(found, count)]
    scale = _scale(max(max(mask.shape) for _, _, mask in examples))
    cells = [_cell(*_scaled(example, scale), data.labels, opacity) for example in examples]
    return _beside(_grid(cells, columns), _legend(data.labels))


def check_output(path: Path, *, overwrite: bool) -> None:
    """Checks the path of a contact sheet before it is drawn.

    Raises:
        DataError: If the suffix is not one of `SUFFIXES`, or the file exists and `overwrite` is false.
        RunError: If the folder is not writable.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path}: expected a file name that ends in {', '.join(SUFFIXES)}. Change --output.")
    if os.path.lexists(path) and not path.is_dir() and not overwrite:
        raise DataError(f"{path}: already exists. Choose another --output, or replace it with --overwrite.")
    check_writable(path)


def _training(data: Dataset, epoch: int) -> Iterator[Example]:
    for step in range(data.steps_per_epoch):
        names = data.batch_names(epoch, step)
        images, masks = data.training_batch(epoch, step)
        yield from zip(names, images, masks, strict=False)  # padding examples have no name


def _evaluation(data: Dataset, split: str) -> Iterator[Example]:
    for name, (images, masks) in zip(data.names(split), arrays(data.evaluation(split)), strict=True):
        yield name, images[0], masks[0]


def _scale(side: int) -> float:
    """Returns the factor for all images of a sheet, from the longest side of any of them."""
    return min(LARGEST / side, 1.0) if side > SMALLEST else float(SMALLEST // side)


def _scaled(example: Example, scale: float) -> Example:
    """Resizes an example: enlarges it by whole pixels, or averages the pixels of the image, but not of the mask."""
    name, image, mask = example
    if scale >= 1:
        image, mask = (np.repeat(np.repeat(each, int(scale), 0), int(scale), 1) for each in (image, mask))
        return name, image, mask
    size = (max(round(mask.shape[1] * scale), 1), max(round(mask.shape[0] * scale), 1))
    channels = [
        np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BOX)) for plane in np.moveaxis(image, 2, 0)
    ]
    ids = Image.fromarray(mask.astype(np.int32)).resize(size, Image.Resampling.NEAREST)
    return name, np.stack(channels, 2), np.asarray(ids)


def _cell(name: str, image: np.ndarray, mask: np.ndarray, labels: Labels, opacity: float) -> np.ndarray:
    """Draws the image, the mask over the image, and the name below them, on white."""
    overlay = hatched(blend(image, mask, labels.palette, opacity, labels.ignore), mask == labels.ignore)
    pair = np.concatenate([np.broadcast_to(image, overlay.shape), overlay], 1)
    height, width = pair.shape[:2]
    drawing = Image.new("RGB", (width, height + LINE), "white")
    drawing.paste(Image.fromarray(pair))
    text = _fitted(name.encode("utf-8", "backslashreplace").decode(), width)
    ImageDraw.Draw(drawing).text((0, height + LINE // 2), text, fill="black", font=_font(), anchor="lm")
    return np.asarray(drawing)


def _fitted(text: str, width: int) -> str:
    """Returns a text, without its beginning if it is wider than `width` pixels: the ends of file names differ."""
    font = _font()
    shown = (text if start == 0 else f"…{text[start:]}" for start in range(len(text)))
    return next((each for each in shown if font.getlength(each) <= width), "")


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(LINE * 0.5)


def _legend(labels: Labels) -> np.ndarray:
    """Draws the legend of the classes, with a last row for ignored pixels."""
    drawing = legend(
        [*labels.names, IGNORED], np.concatenate([labels.palette[: labels.count], [(128, 128, 128)]])
    ).copy()
    inner = (slice(-LINE + 5, -4), slice(5, LINE - 4))  # without the outline of the last square
    swatch = drawing[inner]
    drawing[inner] = hatched(swatch, np.ones(swatch.shape[:2], bool))
    return drawing


def _grid(cells: list[np.ndarray], columns: int) -> np.ndarray:
    """Puts cells into rows, on white, with a border around each."""
    height, width = (max(cell.shape[axis] for cell in cells) + 2 * GAP for axis in (0, 1))
    columns = min(columns, len(cells))
    sheet = np.full((-(-len(cells) // columns) * height, columns * width, 3), 255, np.uint8)
    for index, cell in enumerate(cells):
        top, left = index // columns * height + GAP, index % columns * width + GAP
        sheet[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
    return sheet


def _beside(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Joins two images side by side, on white, with a border around the second."""
    height = max(left.shape[0], right.shape[0] + 2 * GAP)
    sheet = np.full((height, left.shape[1] + right.shape[1] + 2 * GAP, 3), 255, np.uint8)
    sheet[: left.shape[0], : left.shape[1]] = left
    sheet[GAP : GAP + right.shape[0], left.shape[1] + GAP : -GAP] = right
    return sheet
