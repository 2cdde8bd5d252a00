"""Image files to arrays, on the host: what `predict` is given, one at a time."""

import tokenize
import warnings
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps, UnidentifiedImageError

from tfseg.errors import DataError, first_line
from tfseg.images import decode_image, is_supported
from tfseg.images.decode import BROKEN, NUMPY

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
"""Channel count to the way of keeping pixels that a picture is converted to."""
MORE_THAN_BYTES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
"""Pixels of 16 or 32 bits."""
UNREADABLE = (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError)
"""What Pillow raises for files that it cannot read."""


def read_image(path: Path, channels: int) -> np.ndarray:
    """The image as uint8 `[height, width, channels]`.

    The kinds of file that training reads are decoded as there, see `tfseg.images.decode_image`; others by Pillow,
    turned upright by their EXIF orientation. Gray is repeated for three channels and alpha dropped. Other channel
    counts come as `.npy`, uint8.

    Raises:
        DataError: the file is missing or broken, or has not that many channels.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such image. Check the path.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Expected a file that may be read.") from error
    if data.startswith(NUMPY) or (path.suffix == ".npy" and not is_supported(data)):
        return _array(path, channels)
    if channels not in MODES:
        raise DataError(
            f"{path}: the model takes images of {channels} channels, which a picture file cannot hold. "
            f"Save it as .npy, uint8 [height, width, {channels}]."
        )
    return _decoded(path, data, channels) if is_supported(data) else _opened(path, channels)


def _decoded(path: Path, data: bytes, channels: int) -> np.ndarray:
    try:
        image, fault = decode_image(tf.constant(data), channels)
    except BROKEN as error:
        _opened(path, channels)  # Pillow has words for most of what is broken
        raise _unreadable(path, "its parts contradict each other") from error
    if fault := fault.numpy().decode():
        raise DataError(f"{path}: {fault}")
    return image.numpy()


def _opened(path: Path, channels: int) -> np.ndarray:
    try:
        with warnings.catch_warnings(), Image.open(path) as picture:
            warnings.simplefilter("ignore")  # of metadata that do not matter here
            return _pixels(path, ImageOps.exif_transpose(picture), channels)
    except UNREADABLE as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: BaseException | str) -> DataError:
    return DataError(
        f"{path}: cannot be read as an image ({_first_line(error, path)}). Expected a whole JPEG, PNG or other "
        "picture file; restore it or leave it out."
    )


def _pixels(path: Path, picture: Image.Image, channels: int) -> np.ndarray:
    if picture.mode in MORE_THAN_BYTES:
        raise DataError(
            f"{path}: has more than 8 bits a channel. Expected 8: scale its values to 0..255 as those of the training "
            "images were, and save them so."
        )
    pixels = np.asarray(picture.convert(MODES[channels]))
    return pixels[..., None] if channels == 1 else pixels


def _array(path: Path, channels: int) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError, SyntaxError, tokenize.TokenError) as error:
        raise DataError(
            f"{path}: is no whole .npy file of numbers. Expected .npy, uint8 [height, width, {channels}]; write it "
            "again."
        ) from error
    if array.ndim == 2 and channels == 1:
        array = array[..., None]
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[-1] != channels or not array.size:
        raise DataError(
            f"{path}: holds {array.dtype} {list(array.shape)}. Expected uint8 [height, width, {channels}], as the "
            "model takes it."
        )
    return array


def _first_line(error: BaseException | str, path: Path) -> str:
    """What the library said, without repeating the path."""
    text = first_line(getattr(error, "strerror", None) or error)
    return text.replace(f" '{path}'", "").replace(f" {str(path)!r}", "")
