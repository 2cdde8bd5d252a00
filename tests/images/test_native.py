"""Decoding of images of more than 8 bits, compared with the arrays that were encoded."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.images.test_decode import PIXELS, encoded
from tests.images.test_window import WINDOWS, at
from tfseg.images import cut, decode_image, decode_native, decode_window, is_decodable
from tfseg.images.native import dtype_of

DTYPES = ("uint8", "int16", "uint16", "int32", "float16", "float32", "float64")


def array(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def decoded(data: bytes, channels: int) -> np.ndarray:
    image, problem = decode_native(tf.constant(data), channels)
    assert problem.numpy() == b"" and image.dtype == tf.float32
    return image.numpy()


def problem_of(data: bytes, channels: int = 1) -> str:
    image, problem = decode_native(tf.constant(data), channels)
    assert image.shape == (0, 0, channels)
    return problem.numpy().decode()


def drawn(dtype: str, channels: int) -> np.ndarray:
    """Draws values of the whole range that float32 represents exactly."""
    rng = np.random.default_rng(channels)
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=(5, 7, channels)).astype(np.float16).astype(dtype)
    limits = np.iinfo(dtype) if dtype != "int32" else np.iinfo(np.int16)
    values = rng.integers(limits.min, limits.max, (5, 7, channels), dtype, endpoint=True)
    return values * 256 if dtype == "int32" else values


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_keep_their_values(dtype: str) -> None:
    for channels in (1, 2, 4, 7):
        values = drawn(dtype, channels)
        for each in (values, np.asfortranarray(values)):
            np.testing.assert_array_equal(decoded(array(each), channels), values.astype(np.float64))
    np.testing.assert_array_equal(decoded(array(values[..., 0]), 1), values[..., :1])
    assert dtype_of(array(values)) == dtype


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_of_16_bits(channels: int) -> None:
    values = drawn("uint16", channels)
    data = tf.io.encode_png(values).numpy()
    np.testing.assert_array_equal(decoded(data, channels), values)
    assert dtype_of(data) == "uint16"


def test_png_of_16_bits_by_pillow() -> None:
    values = np.array([[0, 1, 255], [256, 40000, 65535]], np.uint16)
    data = encoded(values, "PNG")
    np.testing.assert_array_equal(decoded(data, 1)[..., 0], values)
    np.testing.assert_array_equal(decoded(data, 3), np.repeat(values[..., None], 3, 2))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "JPEG"])
def test_files_of_8_bits_are_decoded_as_usual(kind: str) -> None:
    data = encoded(PIXELS, kind)
    image, _ = decode_image(tf.constant(data))
    np.testing.assert_array_equal(decoded(data, 3), image)
    assert dtype_of(data) == "uint8"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "NPY"])
def test_windows_equal_those_of_the_whole(kind: str) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (43, 61, 3), np.uint16)
    files = {"PNG": tf.io.encode_png(deep).numpy(), "JPEG": encoded(PIXELS, "JPEG"), "NPY": array(deep)}
    whole = decoded(files[kind], 3)
    for sides in WINDOWS:
        pixels, size, _, problem = decode_window(tf.constant(files[kind]), at(sides), 3, native=True)
        assert (size.numpy().tolist(), problem.numpy(), pixels.dtype) == ([43, 61], b"", tf.float32)
        np.testing.assert_array_equal(pixels, cut(whole, tf.constant(sides)))


def test_integers_above_2_to_the_24_are_rounded() -> None:
    assert decoded(array(np.array([[2**24 + 1, -(2**31)]], np.int32)), 1).ravel().tolist() == [2**24, -(2**31)]


def test_infinity_is_a_value_but_nan_is_a_problem() -> None:
    values = np.array([[1.0, np.inf]], np.float32)
    assert decoded(array(values), 1).ravel().tolist() == [1, np.inf]
    for dtype in ("float16", "float32", "float64"):
        assert problem_of(array(np.array([[1, np.nan]], dtype))) == (
            "the image has values that are not a number (NaN). Expected numbers: replace these values."
        )


@pytest.mark.parametrize("kind", [">u2", "<u4", "<i8", "<c8", "|b1"])
def test_other_types_are_named(kind: str) -> None:
    expected = (
        f"the image is a .npy array of type {kind}. Expected |u1, <i2, <u2, <i4, <f2, <f4, <f8, as NumPy writes uint8, "
        "int16, uint16, int32 and floats: convert it."
    )
    assert problem_of(array(np.zeros((2, 3), kind))) == expected


def test_arrays_of_more_than_8_bits_need_a_range() -> None:
    image, problem = decode_image(tf.constant(array(np.zeros((2, 3), np.uint16))), 1)
    assert image.shape == (0, 0, 1)
    assert problem.numpy().decode() == (
        "the image is a .npy array of type <u2. Expected |u1 (uint8): set `data.value_range` to the values that become "
        "0 and 255, or save values of 0..255 as uint8."
    )


def test_wrong_number_of_channels() -> None:
    data = array(np.zeros((2, 3, 4), np.float32))
    message = "the image has 4 channels. Expected 7: correct `data.source.channels`, or the file."
    assert problem_of(data, 7) == message


def test_truncated_files_are_not_decodable() -> None:
    values = np.ones((20, 30), np.uint16)
    for data in (array(values), tf.io.encode_png(values[..., None]).numpy()):
        assert is_decodable(data)
        for length in (*range(len(data) // 2), len(data) // 2, len(data) - 1):
            assert length > 1000 or not is_decodable(data[:length])
    structured = np.zeros((2, 3), [("a", "u1"), ("b", "u2")])
    assert not is_decodable(array(structured)) and not is_decodable(array(np.zeros((0, 3), np.int16)))


def test_one_pixel_and_palette_files() -> None:
    assert decoded(array(np.array([[-5]], np.int16)), 1).tolist() == [[[-5]]]
    file = io.BytesIO()
    Image.fromarray(np.zeros((2, 3), np.uint8), "L").convert("P").save(file, "PNG")
    assert decoded(file.getvalue(), 3).shape == (2, 3, 3)
