"""Decoding of image files of all formats."""

import functools
import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from tfseg.images import decode_image, is_decodable

RNG = np.random.default_rng(0)
PIXELS = np.asarray(
    Image.fromarray(RNG.integers(0, 256, (6, 9, 3), np.uint8)).resize((61, 43), Image.Resampling.BICUBIC)
)


def encoded(values: np.ndarray, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, kind, **options)
    return file.getvalue()


def array(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


@functools.cache
def graph(channels: int) -> Any:
    """Returns the decoder, traced once because tracing takes longer than decoding."""
    return tf.function(lambda data: decode_image(data, channels), [tf.TensorSpec([], tf.string)])


def decoded(data: bytes, channels: int = 3) -> np.ndarray:
    image, problem = graph(channels)(data)
    assert problem.numpy() == b""
    assert image.shape[-1] == channels
    return image.numpy()


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_lossless_files_are_exact(kind: str) -> None:
    np.testing.assert_array_equal(decoded(encoded(PIXELS, kind)), PIXELS)


@pytest.mark.parametrize("options", [{"quality": 95}, {"quality": 60, "progressive": True}, {"subsampling": 0}])
def test_jpeg_pixels_equal_those_of_pillow(options: dict[str, object]) -> None:
    """`predict`, training and evaluation decode the same pixels from a file."""
    data = encoded(PIXELS, "JPEG", **options)
    np.testing.assert_array_equal(decoded(data), np.asarray(Image.open(io.BytesIO(data))))


def test_jpeg_pixels_of_real_photographs_equal_those_of_pillow(shared: Path) -> None:
    files = sorted((shared / "data" / "camvid" / "val").glob("*.jpg"))[:3]
    files += sorted((shared / "data" / "voc2012" / "JPEGImages").glob("*.jpg"))[:10]
    for file in files:
        np.testing.assert_array_equal(decoded(file.read_bytes()), np.asarray(Image.open(file).convert("RGB")))


@pytest.mark.first_cases(2)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("kind", ["BMP", "GIF"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA"])
def test_bmp_and_gif_pixels_equal_those_of_pillow(mode: str, kind: str, channels: int) -> None:
    """Color, gray and palette files, decoded to 1 (luma), 3 and 4 channels (opaque)."""
    if (mode, kind) == ("RGBA", "GIF"):
        pytest.skip("GIF is a palette format")
    file = io.BytesIO()
    Image.fromarray(PIXELS).convert(mode).save(file, kind)
    with Image.open(io.BytesIO(file.getvalue())) as image:
        expected = np.asarray(image.convert("RGB").convert({1: "L", 3: "RGB", 4: "RGBA"}[channels]))
    np.testing.assert_array_equal(decoded(file.getvalue(), channels), expected.reshape(43, 61, channels))


def test_trailing_bytes_of_a_bmp_are_ignored() -> None:
    data = encoded(PIXELS, "BMP")
    np.testing.assert_array_equal(decoded(data + b"further bytes"), PIXELS)


def test_first_frame_of_a_gif_is_decoded() -> None:
    frames = [Image.fromarray(PIXELS).convert("P"), Image.fromarray(PIXELS[::-1]).convert("P")]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(decoded(file.getvalue()), np.asarray(Image.open(file).convert("RGB")))


def test_cmyk_jpeg_is_converted_to_rgb() -> None:
    """TensorFlow and Pillow both read Adobe's inverted CMYK; rounding differs by one."""
    file = io.BytesIO()
    Image.fromarray(PIXELS).convert("CMYK").save(file, "JPEG", quality=95)
    expected = np.asarray(Image.open(io.BytesIO(file.getvalue())).convert("RGB")).astype(int)
    assert np.abs(decoded(file.getvalue()).astype(int) - expected).max() <= 1


def problem_of(data: bytes, channels: int = 3) -> str:
    image, problem = graph(channels)(data)
    assert image.shape == (0, 0, channels)
    return problem.numpy().decode()


def animated_webp() -> bytes:
    frames = [Image.fromarray(PIXELS), Image.fromarray(PIXELS[::-1])]
    file = io.BytesIO()
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:])
    return file.getvalue()


def test_unsupported_formats_never_reach_a_decoder() -> None:
    """TensorFlow aborts the process on an animated WebP, with any suffix."""
    expected = "Expected PNG, JPEG, BMP, GIF or .npy, with any suffix: save it as PNG."
    assert problem_of(animated_webp()) == problem_of(encoded(PIXELS, "WEBP")) == f"the image is a WebP file. {expected}"
    assert problem_of(encoded(PIXELS, "TIFF")) == f"the image is a TIFF file. {expected}"
    for data in (b"R", b"RIFF", b"hello", b"RIFF1234WEB"):
        assert problem_of(data) == f"the image is of an unknown format. {expected}"


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_images_are_rejected(channels: int) -> None:
    values = np.arange(0, 4096, 16, dtype=np.uint16).reshape(16, 16)
    assert problem_of(encoded(values, "PNG"), channels) == (
        "the image has 16 bits per channel, of which the lower 8 would be lost. Expected 8: set "
        "`data.value_range` to the values that become 0 and 255, or rescale its values to 0..255 and save it again."
    )


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "JPEG", "NPY"])
def test_truncated_files_raise_readable_errors(kind: str) -> None:
    """TensorFlow cannot decode a message that quotes the bytes of the file."""
    data = array(PIXELS) if kind == "NPY" else encoded(PIXELS, kind)
    for length in (*range(60), len(data) // 2, len(data) - 1):
        try:
            _, problem = graph(3)(data[:length])
        except tf.errors.InvalidArgumentError as error:
            assert error.message
        else:
            assert problem.numpy() or length > 60  # the end of a GIF may be missing


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_arrays_of_all_versions(version: tuple[int, int]) -> None:
    file = io.BytesIO()
    np.lib.format.write_array(file, PIXELS, version)
    np.testing.assert_array_equal(decoded(file.getvalue()), PIXELS)
    np.testing.assert_array_equal(decoded(file.getvalue() + b"more"), PIXELS)


def test_arrays_without_values_are_rejected() -> None:
    for values in (np.zeros((0, 4, 3), np.uint8), np.zeros((4, 0, 3), np.uint8)):
        assert not is_decodable(array(values))


def test_orientation_is_found_after_a_comment() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(PIXELS, "JPEG", exif=exif.tobytes())
    comment = b"\xff\xfe" + struct.pack(">H", 9) + b"comment"
    assert decoded(data[:2] + comment + data[2:]).shape == (61, 43, 3)


def test_1_bit_bmp_is_rejected() -> None:
    file = io.BytesIO()
    Image.fromarray(PIXELS).convert("1").save(file, "BMP")
    assert problem_of(file.getvalue()) == (
        "the image is a BMP of 1 bits and compression 0. Expected 8, 24 or 32 bits, uncompressed: save it as PNG."
    )


def test_exif_orientation_of_a_png_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    np.testing.assert_array_equal(decoded(encoded(PIXELS, "PNG", exif=exif)), PIXELS)


def test_gray_and_color_files_are_converted_to_the_requested_channels() -> None:
    gray = PIXELS[:, :, 0]
    for kind in ("PNG", "JPEG"):
        one = decoded(encoded(gray, kind), 1)
        np.testing.assert_array_equal(decoded(encoded(gray, kind), 3), np.repeat(one, 3, 2))
    np.testing.assert_array_equal(decoded(encoded(gray, "PNG"), 1)[:, :, 0], gray)
    assert decoded(encoded(PIXELS, "JPEG"), 1).shape == (43, 61, 1)


def test_alpha_is_dropped_or_kept_by_number_of_channels() -> None:
    alpha = RNG.integers(0, 256, (43, 61, 1), np.uint8)
    data = encoded(np.concatenate([PIXELS, alpha], 2), "PNG")
    np.testing.assert_array_equal(decoded(data, 3), PIXELS)
    np.testing.assert_array_equal(decoded(data, 4), np.concatenate([PIXELS, alpha], 2))
    two = np.concatenate([PIXELS[:, :, :1], alpha], 2)
    np.testing.assert_array_equal(decoded(encoded(two, "PNG"), 2), two)


@pytest.mark.parametrize("channels", [1, 2, 5, 13])
def test_arrays_with_any_number_of_channels(channels: int) -> None:
    values = RNG.integers(0, 256, (7, 11, channels), np.uint8)
    np.testing.assert_array_equal(decoded(array(values), channels), values)


@pytest.mark.parametrize("shape", [(7, 11), (7, 11, 3)])
def test_arrays_in_column_order(shape: tuple[int, ...]) -> None:
    values = np.asfortranarray(RNG.integers(0, 256, shape, np.uint8))
    channels = shape[2] if len(shape) == 3 else 1
    np.testing.assert_array_equal(decoded(array(values), channels), values.reshape(7, 11, channels))


def test_array_without_channel_axis() -> None:
    values = RNG.integers(0, 256, (7, 11), np.uint8)
    np.testing.assert_array_equal(decoded(array(values), 1)[:, :, 0], values)


def test_wrong_number_of_channels_is_a_problem() -> None:
    gray = array(np.zeros((2, 3), np.uint8))
    files = ((array(np.zeros((2, 3, 5), np.uint8)), "5 channels"), (encoded(PIXELS, "JPEG"), "3 channels"))
    for data, received in (*files, (gray, "1 channel")):
        image, problem = decode_image(tf.constant(data), 7)
        assert problem == f"the image has {received}. Expected 7: correct `data.source.channels`, or the file."
        assert image.shape == (0, 0, 7)


@pytest.mark.parametrize("orientation", [None, *range(10)])
@pytest.mark.parametrize("order", ["<", pytest.param(">", marks=pytest.mark.slow)])
def test_photographs_are_rotated_upright(orientation: int | None, order: str) -> None:
    """All eight orientations in both byte orders; other values are ignored."""
    exif = Image.Exif()
    exif.endian = order
    exif[0x010F] = "maker"
    if orientation is not None:
        exif[0x0112] = orientation
    data = encoded(PIXELS, "JPEG", exif=exif.tobytes())
    assert (b"II*\0" in data[:64]) == (order == "<")
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(decoded(data), np.asarray(ImageOps.exif_transpose(image)))


def test_orientation_is_found_after_other_blocks() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(PIXELS, "JPEG", exif=exif.tobytes())
    other = b"\xff\xe1" + struct.pack(">H", 31) + b"http://ns.adobe.com/xap/1.0/\0"
    upright = decoded(data[:2] + other * 3 + data[2:])
    np.testing.assert_array_equal(upright, decoded(data))
    assert upright.shape == (61, 43, 3)


@pytest.mark.parametrize("offset", [12, 14, 17, 20, 22])
def test_corrupt_exif_does_not_stop_the_decoder(offset: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = 1
    data = bytearray(encoded(PIXELS, "JPEG", exif=exif.tobytes()))
    start = data.index(b"Exif\0\0")
    data[start + offset] = 0xFF
    assert decoded(bytes(data)).size == PIXELS.size


def test_is_decodable() -> None:
    png = encoded(PIXELS, "PNG")
    assert is_decodable(png) and is_decodable(array(np.zeros((2, 3), np.uint8)))
    for data in (b"", b"hello", png[: len(png) // 2], array(np.zeros((2, 3)))[:-1]):
        assert not is_decodable(data)
