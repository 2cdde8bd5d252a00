"""Images of every kind come back as the pixels that were meant."""

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
PICTURE = np.asarray(
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
    """Traced once: it takes longer than to decode."""
    return tf.function(lambda data: decode_image(data, channels), [tf.TensorSpec([], tf.string)])


def decoded(data: bytes, channels: int = 3) -> np.ndarray:
    image, fault = graph(channels)(data)
    assert fault.numpy() == b""
    assert image.shape[-1] == channels
    return image.numpy()


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_lossless_files_are_exact(kind: str) -> None:
    np.testing.assert_array_equal(decoded(encoded(PICTURE, kind)), PICTURE)


@pytest.mark.parametrize("options", [{"quality": 95}, {"quality": 60, "progressive": True}, {"subsampling": 0}])
def test_jpeg_pixels_equal_those_of_pillow(options: dict[str, object]) -> None:
    """What `predict` reads from a file is what training and evaluation saw."""
    data = encoded(PICTURE, "JPEG", **options)
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
def test_bmp_and_gif_are_what_pillow_sees(mode: str, kind: str, channels: int) -> None:
    """Color, gray and palettes, asked for as luma, as color, and opaque."""
    if (mode, kind) == ("RGBA", "GIF"):
        pytest.skip("a GIF has a palette")
    file = io.BytesIO()
    Image.fromarray(PICTURE).convert(mode).save(file, kind)
    with Image.open(io.BytesIO(file.getvalue())) as picture:
        expected = np.asarray(picture.convert("RGB").convert({1: "L", 3: "RGB", 4: "RGBA"}[channels]))
    np.testing.assert_array_equal(decoded(file.getvalue(), channels), expected.reshape(43, 61, channels))


def test_what_lies_behind_the_pixels_of_a_bmp_is_passed_over() -> None:
    data = encoded(PICTURE, "BMP")
    np.testing.assert_array_equal(decoded(data + b"further bytes"), PICTURE)


def test_the_first_frame_of_a_gif() -> None:
    frames = [Image.fromarray(PICTURE).convert("P"), Image.fromarray(PICTURE[::-1]).convert("P")]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(decoded(file.getvalue()), np.asarray(Image.open(file).convert("RGB")))


def test_a_cmyk_jpeg_is_converted() -> None:
    """TensorFlow and Pillow both take Adobe's inverted CMYK; rounding differs by one."""
    file = io.BytesIO()
    Image.fromarray(PICTURE).convert("CMYK").save(file, "JPEG", quality=95)
    expected = np.asarray(Image.open(io.BytesIO(file.getvalue())).convert("RGB")).astype(int)
    assert np.abs(decoded(file.getvalue()).astype(int) - expected).max() <= 1


def faults(data: bytes, channels: int = 3) -> str:
    image, fault = graph(channels)(data)
    assert image.shape == (0, 0, channels)
    return fault.numpy().decode()


def animated_webp() -> bytes:
    frames = [Image.fromarray(PICTURE), Image.fromarray(PICTURE[::-1])]
    file = io.BytesIO()
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:])
    return file.getvalue()


def test_what_is_no_supported_kind_never_reaches_a_decoder() -> None:
    """TensorFlow dies of an animated WebP, whatever it is called."""
    expected = "Expected PNG, JPEG, BMP, GIF or .npy, whatever its suffix: save it as PNG."
    assert faults(animated_webp()) == faults(encoded(PICTURE, "WEBP")) == f"the image is a WebP file. {expected}"
    assert faults(encoded(PICTURE, "TIFF")) == f"the image is a TIFF file. {expected}"
    for data in (b"R", b"RIFF", b"hello", b"RIFF1234WEB"):
        assert faults(data) == f"the image is of an unknown kind. {expected}"


@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_are_refused(channels: int) -> None:
    values = np.arange(0, 4096, 16, dtype=np.uint16).reshape(16, 16)
    assert faults(encoded(values, "PNG"), channels) == (
        "the image has 16 bits a channel, of which the lower 8 would be lost. Expected 8: scale its values to 0..255 "
        "as they are meant to be seen, and save them so."
    )


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "JPEG", "NPY"])
def test_files_that_end_anywhere_are_broken_in_words(kind: str) -> None:
    """TensorFlow cannot turn a message into text that quotes the bytes of the file."""
    data = array(PICTURE) if kind == "NPY" else encoded(PICTURE, kind)
    for length in (*range(60), len(data) // 2, len(data) - 1):
        try:
            _, fault = graph(3)(data[:length])
        except tf.errors.InvalidArgumentError as error:
            assert error.message
        else:
            assert fault.numpy() or length > 60  # a GIF may lack its end


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_arrays_of_all_versions(version: tuple[int, int]) -> None:
    file = io.BytesIO()
    np.lib.format.write_array(file, PICTURE, version)
    np.testing.assert_array_equal(decoded(file.getvalue()), PICTURE)
    np.testing.assert_array_equal(decoded(file.getvalue() + b"more"), PICTURE)


def test_arrays_without_values_are_broken() -> None:
    for values in (np.zeros((0, 4, 3), np.uint8), np.zeros((4, 0, 3), np.uint8)):
        assert not is_decodable(array(values))


def test_orientation_is_found_behind_a_comment() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(PICTURE, "JPEG", exif=exif.tobytes())
    comment = b"\xff\xfe" + struct.pack(">H", 9) + b"comment"
    assert decoded(data[:2] + comment + data[2:]).shape == (61, 43, 3)


def test_a_bmp_of_few_bits_is_refused() -> None:
    file = io.BytesIO()
    Image.fromarray(PICTURE).convert("1").save(file, "BMP")
    assert faults(file.getvalue()) == (
        "the image is a BMP of 1 bits and compression 0. Expected 8, 24 or 32 bits, uncompressed: save it as PNG."
    )


def test_the_orientation_in_a_png_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    np.testing.assert_array_equal(decoded(encoded(PICTURE, "PNG", exif=exif)), PICTURE)


def test_gray_and_color_meet_the_channels_that_are_asked_for() -> None:
    gray = PICTURE[:, :, 0]
    for kind in ("PNG", "JPEG"):
        one = decoded(encoded(gray, kind), 1)
        np.testing.assert_array_equal(decoded(encoded(gray, kind), 3), np.repeat(one, 3, 2))
    np.testing.assert_array_equal(decoded(encoded(gray, "PNG"), 1)[:, :, 0], gray)
    assert decoded(encoded(PICTURE, "JPEG"), 1).shape == (43, 61, 1)


def test_alpha_is_dropped_or_kept() -> None:
    alpha = RNG.integers(0, 256, (43, 61, 1), np.uint8)
    data = encoded(np.concatenate([PICTURE, alpha], 2), "PNG")
    np.testing.assert_array_equal(decoded(data, 3), PICTURE)
    np.testing.assert_array_equal(decoded(data, 4), np.concatenate([PICTURE, alpha], 2))
    two = np.concatenate([PICTURE[:, :, :1], alpha], 2)
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


def test_an_array_without_a_channel_axis() -> None:
    values = RNG.integers(0, 256, (7, 11), np.uint8)
    np.testing.assert_array_equal(decoded(array(values), 1)[:, :, 0], values)


def test_a_wrong_number_of_channels_is_a_fault() -> None:
    for data, found in ((array(np.zeros((2, 3, 5), np.uint8)), 5), (encoded(PICTURE, "JPEG"), 3)):
        image, fault = decode_image(tf.constant(data), 7)
        assert fault == f"the image has {found} channels. Expected 7: correct `data.source.channels`, or the file."
        assert image.shape == (0, 0, 7)


@pytest.mark.parametrize("orientation", [None, *range(10)])
@pytest.mark.parametrize("order", ["<", pytest.param(">", marks=pytest.mark.slow)])
def test_photographs_are_turned_upright(orientation: int | None, order: str) -> None:
    """All eight orientations in both byte orders; values that EXIF does not know change nothing."""
    exif = Image.Exif()
    exif.endian = order
    exif[0x010F] = "maker"
    if orientation is not None:
        exif[0x0112] = orientation
    data = encoded(PICTURE, "JPEG", exif=exif.tobytes())
    assert (b"II*\0" in data[:64]) == (order == "<")
    with Image.open(io.BytesIO(data)) as picture:
        np.testing.assert_array_equal(decoded(data), np.asarray(ImageOps.exif_transpose(picture)))


def test_orientation_is_found_behind_other_blocks() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(PICTURE, "JPEG", exif=exif.tobytes())
    other = b"\xff\xe1" + struct.pack(">H", 31) + b"http://ns.adobe.com/xap/1.0/\0"
    turned = decoded(data[:2] + other * 3 + data[2:])
    np.testing.assert_array_equal(turned, decoded(data))
    assert turned.shape == (61, 43, 3)


@pytest.mark.parametrize("place", [12, 14, 17, 20, 22])
def test_a_damaged_note_of_the_camera_does_not_stop_the_decoder(place: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = 1
    data = bytearray(encoded(PICTURE, "JPEG", exif=exif.tobytes()))
    start = data.index(b"Exif\0\0")
    data[start + place] = 0xFF
    assert decoded(bytes(data)).size == PICTURE.size


def test_what_is_no_image() -> None:
    png = encoded(PICTURE, "PNG")
    assert is_decodable(png) and is_decodable(array(np.zeros((2, 3), np.uint8)))
    for data in (b"", b"hello", png[: len(png) // 2], array(np.zeros((2, 3)))):
        assert not is_decodable(data)
