"""Image files to arrays, on the host: what `predict` is given, one at a time."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tfseg.errors import DataError

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
"""Channel count to the way of keeping pixels that a picture is converted to."""
SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
UNBOUNDED = ("I", "F")
"""Pixels that are no bytes and have no known range."""


def read_image(path: Path, channels: int) -> np.ndarray:
    """The image as uint8 `[height, width, channels]`, turned upright by its EXIF orientation.

    Grey is repeated for three channels and alpha dropped. Other channel counts come as `.npy`, uint8.

    Raises:
        DataError: the file is missing or broken, or has not that many channels.
    """
    if path.suffix == ".npy":
        return _array(path, channels)
    if channels not in MODES:
        raise DataError(
            f"{path}: the model takes images of {channels} channels, which a picture file cannot hold. "
            f"Save it as .npy, uint8 [height, width, {channels}]."
        )
    try:
        with Image.open(path) as picture:
            return _pixels(path, ImageOps.exif_transpose(picture), channels)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such image. Check the path.") from error
    except (OSError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{path}: cannot be read as an image ({_first_line(error, path)}). Expected a whole JPEG, PNG or other "
            "picture file; restore it or leave it out."
        ) from error


def _pixels(path: Path, picture: Image.Image, channels: int) -> np.ndarray:
    if picture.mode in SIXTEEN_BITS:  # Pillow would cut values off at 255; every other decoder keeps the high byte
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode in UNBOUNDED:
        raise DataError(
            f"{path}: has 32-bit pixels, whose range nobody knows. Expected 8 or 16 bits a channel; convert it as the "
            "training images were."
        )
    pixels = np.asarray(picture.convert(MODES[channels]))
    return pixels[..., None] if channels == 1 else pixels


def _array(path: Path, channels: int) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such image. Check the path.") from error
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: cannot be read as an array ({_first_line(error, path)}). Expected .npy, uint8 "
            f"[height, width, {channels}]."
        ) from error
    if array.ndim == 2 and channels == 1:
        array = array[..., None]
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[-1] != channels:
        raise DataError(
            f"{path}: holds {array.dtype} {list(array.shape)}. Expected uint8 [height, width, {channels}], as the "
            "model takes it."
        )
    return array


def _first_line(error: BaseException, path: Path) -> str:
    """What the library said, without repeating the path."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.splitlines()[0].replace(f" '{path}'", "").replace(f" {str(path)!r}", "")
