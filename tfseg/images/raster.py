"""Reading of TIFF and WebP files on the host, for prediction and for conversion to TFRecord files."""

import io
import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tfseg.errors import RunError, first_line
from tfseg.images.suffixes import WEBP_SUFFIXES

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of TIFF and BigTIFF files."""
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
"""Pillow's mode for each number of channels."""
_BANDS = "SCQIZ"
"""Codes of `tifffile` for axes that are bands: samples, channels, other dimensions, pages and planes."""

LARGEST_PLAIN, LARGEST_RATIO = 1 << 28, 1 << 12
"""Number of bytes of an image that may be compressed to any size, and largest ratio of compression of other images.
Deflate and LZW reach 1032 and about 1365."""


def is_tiff(data: bytes) -> bool:
    """Returns whether a file begins like a TIFF file."""
    return data.startswith(TIFF_MAGIC)


def check_tifffile() -> None:
    """Raises RunError if the extra `raster` is not installed."""
    _tifffile()


def read_tiff(data: bytes) -> np.ndarray:
    """Decodes the first image of a TIFF or GeoTIFF file, of any dtype, to `[height, width, bands]`.

    Bands may be interleaved, planar or pages. An image is stored as segments, strips or tiles. All that
    the size of the image needs must lie in the file before any is decoded. Memory is bounded by the file: an image of
    more than `LARGEST_PLAIN` bytes has at most `LARGEST_RATIO` times as many bytes as its segments.

    Raises:
        RunError: If `tifffile` is not installed.
        ValueError: If segments are missing, or the file has other axes, or is neither gray nor RGB, such as a palette
            image.
        Exception: Any other exception of `tifffile` and its codecs for a corrupt file.
    """
    with _silent(), _tifffile().TiffFile(io.BytesIO(data)) as file:
        series, page = file.series[0], file.pages[0]
        _check_segments(series, len(data))
        kind, orientation = page.photometric.name, page.tags.valueof(274, 1)
        if kind not in ("MINISBLACK", "RGB") or orientation != 1:
            kinds = "MINISBLACK or RGB of orientation 1"
            raise ValueError(f"a TIFF of kind {kind} and orientation {orientation}, not {kinds}")
        values, axes = series.asarray(), series.axes
    if axes == "YX":
        values = values[:, :, None]
    elif len(axes) == 3 and axes[1:] == "YX" and axes[0] in _BANDS:
        values = np.moveaxis(values, 0, 2)
    elif len(axes) != 3 or axes[:2] != "YX" or axes[2] not in _BANDS:
        raise ValueError(f"a TIFF of the axes {axes}, not of height, width and bands")
    return np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<")))


def _check_segments(series: Any, size: int) -> None:
    """Checks the segments of all pages of an image, in a file of `size` bytes.

    Raises:
        ValueError: If one is missing. `tifffile` would fill it with a constant value.
    """
    stored, decoded = 0, 0
    for page in series.pages:
        if page is None:
            raise ValueError("a TIFF with a missing page")
        segments = list(zip(page.dataoffsets, page.databytecounts, strict=True))
        needed = math.prod(page.chunked)
        if len(segments) != needed:
            raise ValueError(f"a TIFF of {needed} strips or tiles, of which {len(segments)} are stored")
        if any(start < 1 or count < 1 for start, count in segments):
            raise ValueError("a TIFF with empty strips or tiles")
        if max(start + count for start, count in segments) > size:
            raise ValueError("a TIFF whose end is missing")
        stored += sum(count for _, count in segments)
        decoded += page.keyframe.dtype.itemsize * (math.prod(page.chunks) * needed if page.is_tiled else page.size)
    decoded = max(decoded, series.nbytes)
    if decoded > max(LARGEST_PLAIN, LARGEST_RATIO * min(stored, size)):
        raise ValueError(f"a TIFF of {decoded} bytes, compressed to {stored}, which is too few")


@contextmanager
def _silent() -> Iterator[None]:
    """Hides the log messages of `tifffile` about corrupt files, which become errors here."""

    def hidden(record: logging.LogRecord) -> bool:
        return False

    logger = logging.getLogger("tifffile")
    logger.addFilter(hidden)  # one per call: calls may overlap in threads
    try:
        yield
    finally:
        logger.removeFilter(hidden)


def as_npy(path: Path, channels: int) -> bytes:
    """Returns the content of an image file, that of a TIFF or WebP file as `.npy`; empty if it cannot be decoded.

    Args:
        path: Path of the file.
        channels: Integer, number of channels to which WebP is converted. Bands of a TIFF are not converted.
    """
    data = path.read_bytes()
    webp = path.suffix.lower() in WEBP_SUFFIXES and channels in MODES
    if not webp and not is_tiff(data):
        return data
    with suppress(Exception):  # codecs raise exceptions of all kinds for corrupt files
        return _saved(_read_webp(data, channels) if webp else read_tiff(data))
    return b""


def _read_webp(data: bytes, channels: int) -> np.ndarray:
    with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data)) as image:
        pixels = np.asarray(image.convert(MODES[channels]))
    return pixels.reshape(*pixels.shape[:2], channels)


def _saved(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def _tifffile() -> Any:
    try:
        import_module("imagecodecs")  # the codecs of tifffile
        return import_module("tifffile")
    except ImportError as error:
        raise RunError(
            f"TIFF files need the Python module {error.name or 'tifffile'}, which cannot be imported "
            f"({first_line(error)}). Install the extra `raster`: pip install 'tfseg[raster]'"
        ) from error
