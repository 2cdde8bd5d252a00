"""Reading of `.npy` files on the host, for prediction and conversion. Every damaged file is a ValueError with words."""

import io
import math
import os
import warnings
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.lib import format as npy_format

from tfseg.errors import first_line
from tfseg.images.npy import MAGIC

ZIP = b"PK"
"""First bytes of a `.npz` file."""
_PARSERS = {
    (1, 0): npy_format.read_array_header_1_0,
    (2, 0): npy_format.read_array_header_2_0,
    (3, 0): npy_format.read_array_header_2_0,  # differs in the encoding of field names only
}


class Header(NamedTuple):
    """Header of a `.npy` file: shape, whether the order is Fortran's, dtype, and position of the values in bytes."""

    shape: tuple[int, ...]
    columns: bool
    dtype: np.dtype
    start: int


def read_header(file: BinaryIO) -> Header:
    """Reads the header of a `.npy` file, and checks it against the size of the file. No values are read.

    Bytes after the values are allowed: NumPy saves several arrays to one file, and reads the first one.

    Args:
        file: File, open for reading of bytes at its beginning.

    Raises:
        ValueError: If it is not a `.npy` file of numbers or text with all of its values.
    """
    magic = file.read(len(MAGIC))
    if magic != MAGIC:
        kind = "is a .npz file of several arrays" if magic.startswith(ZIP) else "has no header of a .npy file"
        raise ValueError(f"the file {kind if magic else 'is empty'}")
    shape, columns, dtype = _header(file)
    if min(shape, default=0) < 0:
        raise ValueError(f"its header is damaged: a negative size in the shape {list(shape)}")
    if dtype.hasobject or not dtype.itemsize:
        raise ValueError(f"an array of type {dtype}, not of numbers")
    start = file.tell()
    held, needed = file.seek(0, os.SEEK_END) - start, math.prod(shape) * dtype.itemsize
    if held < needed:
        raise ValueError(f"an array of {dtype} {list(shape)} has {needed} bytes, but the file has {held} of them")
    return Header(shape, columns, dtype, start)


def read_array(data: bytes) -> np.ndarray:
    """Returns the array of a `.npy` file, not writable; see `read_header`.

    >>> file = io.BytesIO()
    >>> np.save(file, np.eye(2))
    >>> read_array(file.getvalue()).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    header = read_header(io.BytesIO(data))
    values = np.frombuffer(data, header.dtype, math.prod(header.shape), header.start)
    return values.reshape(header.shape, order="F" if header.columns else "C")


def _header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Parses the header by NumPy's functions, which raise exceptions of all kinds for damaged headers."""
    file.seek(0)
    try:
        with warnings.catch_warnings(action="ignore"):
            return _PARSERS[npy_format.read_magic(file)](file)
    except KeyError as error:
        raise ValueError(
            f"version {error} of the .npy format. Expected one of {', '.join(map(str, _PARSERS))}"
        ) from error
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"its header is damaged: {first_line(str(*error.args[:1]))}") from error
