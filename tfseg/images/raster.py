"""Reading of TIFF and WebP files on the host, for prediction and for conversion to TFRecord files."""

import io
import warnings
from contextlib import suppress
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


def is_tiff(data: bytes) -> bool:
    """Returns whether a file begins like a TIFF file."""
    return data.startswith(TIFF_MAGIC)


def check_tifffile() -> None:
    """Raises RunError if the extra `raster` is not installed."""
    _tifffile()


def read_tiff(data: bytes) -> np.ndarray:
    """Decodes the first image of a TIFF or GeoTIFF file, of any dtype, to `[height, width, bands]`.

    Bands may be interleaved, planar or pages.

    Raises:
        RunError: If `tifffile` is not installed.
        ValueError: If the file has other axes, or is neither gray nor RGB, such as a palette image.
        Exception: Any other exception of `tifffile` and its codecs for a corrupt file.
    """
    with _tifffile().TiffFile(io.BytesIO(data)) as file:
        series, page = file.series[0], file.pages[0]
        parts = [zip(each.dataoffsets, each.databytecounts, strict=True) for each in series.pages if each is not None]
        if max(start + count for part in parts for start, count in part) > len(data):  # not all codecs notice it
            raise ValueError("a TIFF whose end is missing")
        values, axes = series.asarray(), series.axes
        kind, orientation = page.photometric.name, page.tags.valueof(274, 1)
    if kind not in ("MINISBLACK", "RGB") or orientation != 1:
        raise ValueError(f"a TIFF of kind {kind} and orientation {orientation}, not MINISBLACK or RGB of orientation 1")
    if axes == "YX":
        values = values[:, :, None]
    elif len(axes) == 3 and axes[1:] == "YX" and axes[0] in _BANDS:
        values = np.moveaxis(values, 0, 2)
    elif len(axes) != 3 or axes[:2] != "YX" or axes[2] not in _BANDS:
        raise ValueError(f"a TIFF of the axes {axes}, not of height, width and bands")
    return np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<")))


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
