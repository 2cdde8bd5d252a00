"""Decoding of windows of image files, compared with windows of whole images."""

import io
import re
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.images.test_decode import PIXELS, encoded
from tfseg.images import cut, decode_image, decode_window, window

WINDOWS = [
    (0, 0, 43, 61),
    (0, 0, 1, 1),
    (42, 60, 1, 1),
    (7, 13, 20, 31),
    (16, 32, 27, 29),
    (9, 0, 5, 61),
    (15, 31, 17, 17),
    (1, 15, 31, 33),
]


def at(sides: tuple[int, ...]) -> Callable[[tf.Tensor], tf.Tensor]:
    return lambda size: tf.constant(sides) + 0 * size[0]


def compared(data: bytes, channels: int = 3) -> None:
    """Compares all windows with those of the whole image."""
    whole, _ = decode_image(data, channels)
    for sides in WINDOWS:
        pixels, size, chosen, problem = decode_window(tf.constant(data), at(sides), channels)
        assert (size.numpy().tolist(), problem.numpy()) == ([*whole.shape[:2]], b"")
        assert tuple(chosen.numpy()) == sides
        np.testing.assert_array_equal(pixels, cut(whole, tf.constant(sides)))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF"])
def test_windows_of_lossless_files_are_exact(kind: str) -> None:
    compared(encoded(PIXELS, kind))


@pytest.mark.parametrize(
    "options", [{"quality": 95}, {"quality": 60, "progressive": True}, {"subsampling": 0}, {"subsampling": 1}]
)
def test_windows_of_a_jpeg_equal_those_of_the_whole(options: dict[str, object]) -> None:
    compared(encoded(PIXELS, "JPEG", **options))


def test_windows_of_gray_and_cmyk_jpegs() -> None:
    compared(encoded(PIXELS[:, :, 0], "JPEG"))
    compared(encoded(PIXELS, "JPEG"), 1)
    file = io.BytesIO()
    Image.fromarray(PIXELS).convert("CMYK").save(file, "JPEG")
    compared(file.getvalue())


def rotated(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(PIXELS, "JPEG", exif=exif.tobytes(), subsampling=0)


@pytest.mark.parametrize("orientation", [3, 6])
def test_windows_are_those_of_the_upright_image(orientation: int) -> None:
    data = rotated(orientation)
    whole, _ = decode_image(data)
    pixels, size, _, _ = decode_window(tf.constant(data), at((2, 4, 30, 17)))
    assert size.numpy().tolist() == [*whole.shape[:2]]
    np.testing.assert_array_equal(pixels, whole[2:32, 4:21])


def test_upright_jpegs_are_not_decoded_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(data: tf.Tensor, channels: int) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.fill([43, 61, channels], tf.constant(9, tf.uint8)), tf.constant("decoded as a whole")

    monkeypatch.setattr(window, "decode_image", fail)
    found = [decode_window(tf.constant(data), at((0, 0, 5, 5)))[3].numpy() for data in map(rotated, (1, 6))]
    assert found == [b"", b"decoded as a whole"]
    assert decode_window(tf.constant(encoded(PIXELS, "JPEG")), at((0, 0, 5, 5)))[3].numpy() == b""


@pytest.mark.parametrize("end", [-1, -30, 700])
def test_truncated_jpegs_are_errors_in_every_window(end: int) -> None:
    data = encoded(PIXELS, "JPEG")[:end]
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode_window(tf.constant(data), at((0, 0, 1, 1)))


def test_problems_are_those_of_the_whole_image() -> None:
    sides = []
    for data in (b"II*\0" + bytes(20), b"?"):
        message = re.escape("Expected PNG, JPEG, BMP, GIF or .npy, with any suffix: save it as PNG.")
        pixels, size, _, problem = decode_window(tf.constant(data), lambda size: tf.concat([[0, 0], size], 0))
        assert re.search(message, problem.numpy().decode())
        sides.append((pixels.shape.as_list(), size.numpy().tolist()))
    assert sides == [([0, 0, 3], [0, 0])] * 2
