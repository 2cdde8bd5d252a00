"""Images of every kind come back as the pixels that were meant."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from tfseg.data.decode import decode_image, is_decodable

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


def decoded(data: bytes, channels: int = 3) -> np.ndarray:
    image, fault = tf.function(lambda data: decode_image(data, channels))(tf.constant(data))
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


def test_grey_and_colour_meet_the_channels_that_are_asked_for() -> None:
    grey = PICTURE[:, :, 0]
    for kind in ("PNG", "JPEG"):
        one = decoded(encoded(grey, kind), 1)
        np.testing.assert_array_equal(decoded(encoded(grey, kind), 3), np.repeat(one, 3, 2))
    np.testing.assert_array_equal(decoded(encoded(grey, "PNG"), 1)[:, :, 0], grey)
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
    for data in (b"", b"hello", png[: len(png) // 2], array(np.zeros((2, 3))), array(np.zeros((2, 3), np.uint8, "F"))):
        assert not is_decodable(data)
