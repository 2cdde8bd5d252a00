"""Contact sheet of the examples of findings: image with mask, name and message."""

import textwrap
from collections import Counter
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image, ImageDraw, ImageFont

from tfseg.atomic import atomic_file
from tfseg.data.dataset import Dataset
from tfseg.data.doctor.findings import Finding, Report
from tfseg.errors import printable
from tfseg.images import EIGHT_BITS
from tfseg.images.decode import BROKEN
from tfseg.images.overlay import blend, hatched, visible

MOST = 24
"""Maximum number of examples."""
COLUMNS = 6
CELL, TEXT = 240, 84
"""Side of an image on the sheet, and height of the text below it, in pixels."""
MARGIN, SIZE, LINES, LETTERS = 8, 12, 5, 38
"""Margin, font size, and number of lines and of letters per line of a text, in pixels."""
BLANK = (96, 96, 96)
"""Color of an image that cannot be decoded."""


def write_sheet(path: Path, data: Dataset, report: Report) -> int:
    """Writes a contact sheet of at most 24 examples, errors first, as a PNG file.

    Images with a mask of another size are shown with the mask stretched to the image. Ignored pixels are hatched.

    Returns:
        Number of examples on the sheet. No file is written if it is 0.
    """
    shown = _worst(report)
    if not shown:
        return 0
    columns, rows = min(COLUMNS, len(shown)), -(-len(shown) // COLUMNS)
    width, height = CELL + 2 * MARGIN, CELL + TEXT + 2 * MARGIN
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    for number, (finding, split, name) in enumerate(shown):
        corner = (number % COLUMNS * width + MARGIN, number // COLUMNS * height + MARGIN)
        sheet.paste(_thumbnail(data, split, name), corner)
        _caption(sheet, (corner[0], corner[1] + CELL + 2), f"{split}/{name}", finding)
    with atomic_file(path) as partial:
        sheet.save(partial, format="PNG")  # with any suffix
    return len(shown)


def _worst(report: Report) -> list[tuple[Finding, str, str]]:
    """Returns findings with one example each: errors first, and the first of every kind before further ones."""
    ranked = []
    seen: Counter[str] = Counter()
    for finding in (*report.errors, *report.warnings):
        for name in finding.names if finding.split else ():
            ranked.append((finding.level == "warning", seen[finding.kind], (finding, finding.split or "", name)))
            seen[finding.kind] += 1
    return [each for *_, each in sorted(ranked, key=lambda rank: rank[:2])[:MOST]]


def _thumbnail(data: Dataset, split: str, name: str) -> Image.Image:
    """Renders an example with its mask, at the center of a square."""
    cell = Image.new("RGB", (CELL, CELL), BLANK)
    listing = data.listing(split)
    examples = data.decoded(listing)
    try:
        image, mask, _ = examples.load(tf.constant(listing.names.index(name), tf.int64))
    except (*BROKEN, tf.errors.OpError):
        return cell
    if not tf.size(image):
        return cell
    drawing = _overlay(EIGHT_BITS.shown(image.numpy()), mask.numpy(), data)
    cell.paste(drawing, ((CELL - drawing.width) // 2, (CELL - drawing.height) // 2))
    return cell


def _overlay(image: np.ndarray, mask: np.ndarray, data: Dataset) -> Image.Image:
    """Blends the mask over the image and reduces both. Ignored pixels are hatched; without a mask, none are."""
    rgb, labels = visible(image), data.labels
    ids = _sampled(mask if mask.size else np.full(rgb.shape[:2], labels.ignore), *rgb.shape[:2])
    drawing = Image.fromarray(blend(rgb, np.clip(ids, 0, 65535), labels.palette, ignore=labels.ignore))
    drawing.thumbnail((CELL, CELL))
    ignored = _sampled(ids, drawing.height, drawing.width) == labels.ignore  # stripes of the sheet, not of the image
    return Image.fromarray(hatched(np.asarray(drawing), ignored)) if mask.size else drawing


def _sampled(ids: np.ndarray, height: int, width: int) -> np.ndarray:
    rows, columns = (np.arange(side) * given // side for side, given in zip((height, width), ids.shape, strict=True))
    return ids[np.ix_(rows, columns)]


def _caption(sheet: Image.Image, corner: tuple[int, int], name: str, finding: Finding) -> None:
    font, draw = ImageFont.load_default(SIZE), ImageDraw.Draw(sheet)
    color = "#b00000" if finding.level == "error" else "#805000"
    message = finding.message
    for file in sorted(finding.files, key=len, reverse=True):  # the folders would fill the lines
        message = message.replace(file, Path(file).name)
    lines = textwrap.wrap(printable(message), LETTERS, max_lines=LINES - 1, placeholder=" ...")
    draw.text(corner, textwrap.shorten(printable(name), LETTERS, placeholder="..."), fill="black", font=font)
    draw.multiline_text((corner[0], corner[1] + SIZE + 4), "\n".join(lines), fill=color, font=font, spacing=3)
