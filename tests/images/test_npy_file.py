"""Reading of `.npy` files on the host, compared with `numpy.load`."""

import io
import re

import numpy as np
import pytest

from tfseg.images.npy_file import read_array, read_header

PREAMBLE = b"\x93NUMPY\x01\x00"


def saved(values: np.ndarray, version: tuple[int, int] | None = None) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, values, version)
    return file.getvalue()


def with_text(text: str) -> bytes:
    return PREAMBLE + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize("kind", ["|u1", "<i2", ">u2", "<u8", "<f2", ">f8", "|b1", "<c8", "<U3"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_arrays_equal_those_of_numpy(kind: str, version: tuple[int, int]) -> None:
    values = np.random.default_rng(0).integers(0, 2, (4, 5, 3)).astype(kind)
    for each in (values, np.asfortranarray(values), values[..., 0], values[:0], values[0, 0, 0]):
        data = saved(each, version)
        for extra in (b"", b"more bytes"):
            found = read_array(data + extra)
            assert found.dtype == each.dtype
            np.testing.assert_array_equal(found, np.load(io.BytesIO(data)))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (PREAMBLE[:3], "the file has no header of a .npy file"),
        (b"PK\3\4", "the file is a .npz file of several arrays"),
        (PREAMBLE[:6], "its header is damaged: EOF: reading magic string, expected 8 bytes got 6"),
        (PREAMBLE[:6] + b"\x09\x09", "version (9, 9) of the .npy format. Expected one of (1, 0), (2, 0), (3, 0)"),
        (with_text("{(" * 30), "its header is damaged: "),
        (with_text("{" + "\0" * 30), "its header is damaged: "),
        (with_text("(" * 9000), "its header is damaged: "),
        (with_text("{'descr': (1,), 'fortran_order': False, 'shape': (2,)}"), "its header is damaged: "),
        (
            with_text("{'descr': '|O', 'fortran_order': False, 'shape': (2,)}"),
            "an array of type object, not of numbers",
        ),
        (
            with_text("{'descr': '|u1', 'fortran_order': False, 'shape': (-2, -3)}"),
            "its header is damaged: a negative size in the shape [-2, -3]",
        ),
        (
            with_text("{'descr': '|V0', 'fortran_order': False, 'shape': (99999999999999,)}"),
            "an array of type |V0, not of numbers",
        ),
        (
            with_text("{'descr': '<u2', 'fortran_order': False, 'shape': (99999999999999999999, 6)}"),
            "[99999999999999999999, 6] has 1199999999999999999988 bytes, but the file has 0 of them",
        ),
        (saved(np.zeros((5, 6), np.uint8))[:-9], "an array of uint8 [5, 6] has 30 bytes, but the file has 21 of them"),
    ],
    ids=range(14),
)
def test_damaged_files(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        read_array(data)


def test_every_damaged_header_is_a_value_error() -> None:
    """Changes each byte of the header to some others."""
    data = saved(np.zeros((5, 6, 3), np.uint8))
    for index in range(128):
        for value in b"\0\n'(){},0L\xff":
            damaged = data[:index] + bytes([value]) + data[index + 1 :]
            try:
                read_header(io.BytesIO(damaged))
            except ValueError as error:
                assert str(error)
