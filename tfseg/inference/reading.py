"""Reading of image files for prediction, on the host."""

import warnings
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps, UnidentifiedImageError

from tfseg.errors import DataError, RunError, first_line
from tfseg.images import EIGHT_BITS, ImageValues, decode_image, decode_native, is_supported
from tfseg.images.decode import BROKEN, NUMPY
from tfseg.images.native import dtype_of
from tfseg.images.npy_file import read_array
from tfseg.images.raster import MODES, is_tiff, read_tiff
from tfseg.images.values import DTYPES

MORE_THAN_BYTES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
"""Pillow's modes with 16 or 32 bits per channel."""
UNREADABLE = (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError)
"""Errors that Pillow raises for files that it cannot read."""


def read_image(path: Path, channels: int, values: ImageValues = EIGHT_BITS) -> np.ndarray:
    """Reads an image as `[height, width, channels]`, of uint8 or the dtype of `values`.

    Formats that are supported in training are decoded in the same way, see `tfseg.images.decode_image`. Other formats
    are decoded by Pillow, rotated by their EXIF orientation, and converted to 1 (luma), 2 (luma and alpha), 3 (RGB) or
    4 (RGBA) channels. Images with more channels are `.npy` files of uint8.

    If `values` has a range, PNG files may have 16 bits, and `.npy` and TIFF files any dtype that can be converted to
    that of `values` without loss. The values of the files are not changed.

    Args:
        path: Path of the file.
        channels: Integer, number of channels.
        values: ImageValues, dtype and range of the images.

    Raises:
        DataError: If the file does not exist, is corrupt, has more than 8 bits per channel, or cannot be converted to
            that number of channels.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such image. Check the path.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Expected a readable file.") from error
    if data.startswith(NUMPY) or (path.suffix == ".npy" and not is_supported(data)):
        return _array(path, data, channels, values)
    if is_tiff(data) and values.value_range is not None:
        return _fitted(path, _tiff(path, data), channels, values)
    if channels not in MODES:
        raise DataError(
            f"{path}: the model takes {channels}-channel images, which image formats do not support. "
            f"Save it as .npy, {values.dtype} [height, width, {channels}]."
        )
    image = _decoded(path, data, channels, values) if is_supported(data) else _opened(path, channels)
    if not np.can_cast(dtype := dtype_of(data), values.dtype):
        raise DataError(
            f"{path}: has values of {dtype}. Expected {values.dtype}, as in the training images. Convert the image."
        )
    return image.astype(values.dtype)


def _decoded(path: Path, data: bytes, channels: int, values: ImageValues) -> np.ndarray:
    decode = decode_image if values.value_range is None else decode_native
    try:
        image, problem = decode(tf.constant(data), channels)
    except BROKEN as error:
        _opened(path, channels)  # raises with Pillow's message for most corrupt files
        raise _unreadable(path, "its contents are inconsistent") from error
    if values.value_range is None and dtype_of(data) != "uint8":
        raise DataError(
            f"{path}: has 16 bits per channel. Expected 8, as in the training images: convert the image to 8 bits, or "
            "use a network that was trained with data.value_range."
        )
    if message := problem.numpy().decode():
        raise DataError(f"{path}: {message}")
    return image.numpy()


def _opened(path: Path, channels: int) -> np.ndarray:
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore")  # about metadata
            return _pixels(path, ImageOps.exif_transpose(image), channels)
    except UNREADABLE as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: BaseException | str) -> DataError:
    return DataError(
        f"{path}: cannot be read as an image ({_first_line(error, path)}). Expected a complete JPEG, PNG or other "
        "image file; restore it or leave it out."
    )


def _pixels(path: Path, image: Image.Image, channels: int) -> np.ndarray:
    if image.mode in MORE_THAN_BYTES:
        raise DataError(
            f"{path}: has more than 8 bits per channel. Expected 8: scale its values to 0..255, like those of the "
            "training images, and save it again."
        )
    pixels = np.asarray(image.convert(MODES[channels]))
    return pixels[..., None] if channels == 1 else pixels


def _array(path: Path, data: bytes, channels: int, values: ImageValues) -> np.ndarray:
    try:
        array = read_array(data)
    except ValueError as error:
        raise DataError(
            f"{path}: is not a complete .npy file of numbers ({error}). Expected .npy, {values.dtype} [height, width, "
            f"{channels}]; write it again."
        ) from error
    return _fitted(path, array, channels, values)


def _tiff(path: Path, data: bytes) -> np.ndarray:
    try:
        return read_tiff(data)
    except RunError:
        raise
    except Exception as error:  # codecs raise exceptions of all kinds for corrupt files
        raise _unreadable(path, str(error) or type(error).__name__) from error


def _fitted(path: Path, array: np.ndarray, channels: int, values: ImageValues) -> np.ndarray:
    if array.ndim == 2 and channels == 1:
        array = array[..., None]
    fits = array.dtype.name in DTYPES and np.can_cast(array.dtype, values.dtype)
    if not fits or array.ndim != 3 or array.shape[-1] != channels or not array.size:
        raise DataError(
            f"{path}: contains {array.dtype} {list(array.shape)}. Expected {values.dtype} [height, width, {channels}], "
            "the input of the model."
        )
    if np.isnan(array).any():
        raise DataError(f"{path}: contains values that are not a number (NaN). Expected numbers: replace these values.")
    return array.astype(values.dtype)


def _first_line(error: BaseException | str, path: Path) -> str:
    """Returns the first line of a library's message, without the path."""
    text = first_line(getattr(error, "strerror", None) or error)
    return text.replace(f" '{path}'", "").replace(f" {str(path)!r}", "")
