"""Perceptual hashes and the search for near duplicates, compared with SciPy, Pillow and loops."""

import io
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from scipy.fft import dctn

from tfseg.data.doctor import image_hash
from tfseg.data.doctor.image_hash import BITS, NO_HASH, THRESHOLD, near_pairs, perceptual_hash, pixel_hash


def scene(seed: int, height: int = 120, width: int = 160) -> np.ndarray:
    """Draws a smooth random image, uint8 `[height, width, 3]`."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def hashed(image: Any) -> int:
    return int(perceptual_hash(tf.constant(np.asarray(image))))


def different_bits(first: int, second: int) -> int:
    return (first ^ second).bit_count()


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (160, 320)])
def test_hash_equals_that_of_scipy(size: tuple[int, int]) -> None:
    """For sizes that are multiples of 32, areas are means of whole pixels."""
    image = scene(1, *size)
    gray = image.mean(-1).reshape(32, size[0] // 32, 32, size[1] // 32).mean((1, 3))
    block = dctn(gray, norm="ortho")[:8, :8].ravel()[1:]
    expected = sum(1 << index for index, value in enumerate(block) if value > np.median(block))
    assert hashed(image) == expected
    assert expected.bit_count() == BITS // 2


def test_copies_are_near_and_other_images_are_not() -> None:
    image = Image.fromarray(scene(2))
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=40)
    copies = [Image.open(encoded), image.resize((70, 50)), image.resize((400, 300)), image.point(lambda v: v * 0.9)]
    own = hashed(image)
    assert max(different_bits(own, hashed(copy)) for copy in copies) <= THRESHOLD
    assert min(different_bits(own, hashed(scene(seed))) for seed in range(3, 23)) > THRESHOLD


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_any_number_of_channels(channels: int) -> None:
    image = np.repeat(scene(4)[:, :, :1], channels, 2)
    assert hashed(image) == hashed(scene(4)[:, :, :1])
    assert hashed(image[:1, :1]) == NO_HASH, "one pixel"


def test_images_of_almost_one_color_have_no_hash() -> None:
    noise = np.random.default_rng(0).integers(126, 129, (64, 64, 3)).astype(np.uint8)
    assert hashed(noise) == NO_HASH
    assert near_pairs(np.array([NO_HASH, NO_HASH]), np.array([NO_HASH])) == []
    assert near_pairs(np.array([2**BITS - 1]), np.array([NO_HASH])) == [], "its bits are not compared"
    assert near_pairs(np.array([NO_HASH]), np.array([2**BITS - 1])) == []


def test_near_pairs_equal_those_of_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks are smaller than the lists, and the lists contain copies with some bits flipped."""
    monkeypatch.setattr(image_hash, "ROWS", 7)
    monkeypatch.setattr(image_hash, "COLUMNS", 11)
    random = np.random.default_rng(0)
    first = random.integers(0, 2**BITS, 50, np.int64)
    flips = [sum(1 << int(bit) for bit in random.choice(BITS, count, replace=False)) for count in range(12)]
    second = np.concatenate([first[3:15] ^ flips, random.integers(0, 2**BITS, 20, np.int64)])
    expected = []
    for index, value in enumerate(second.tolist()):
        distances = [different_bits(value, other) for other in first.tolist()]
        if min(distances) <= THRESHOLD:
            expected.append((distances.index(min(distances)), index, min(distances)))
    found = near_pairs(first, second)
    assert sorted(map(tuple, found), key=lambda pair: pair[1]) == expected and len(found) == 7
    assert [pair.distance for pair in found] == sorted(pair.distance for pair in found)
    assert near_pairs(first, second[:0]) == near_pairs(first[:0], second) == []


def test_pixel_hash_depends_on_every_pixel() -> None:
    image = scene(5)
    changed = image.copy()
    changed[-1, -1, -1] ^= 1
    hashes = [int(pixel_hash(tf.constant(each))) for each in (image, image.copy(), changed)]
    assert hashes[0] == hashes[1] != hashes[2]
