"""Ops that change values of the image against NumPy, SciPy and Pillow: colors, histograms, blur, noise, JPEG."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from scipy import ndimage

from tests.data.augment.inputs import MEAN, noise, photo, run, seeds
from tfseg.data import Affine, Blur, Clahe, Cutout, Data, Gamma, Gray, Jpeg, Noise, Shapes
from tfseg.data.augment import AugmentSpec, View
from tfseg.data.augment.clahe import equalized
from tfseg.spec.problems import SpecError

VIEW = View(255, fill=MEAN)


def changed(op: AugmentSpec, image: np.ndarray, seed: tf.Tensor) -> np.ndarray:
    """Returns the changed image as floats."""
    return run(op, image, np.zeros(image.shape[:2], np.int32), seed, VIEW)[0].astype(float)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_gamma_is_a_power(dtype: type) -> None:
    image = np.arange(256).reshape(16, 16, 1).astype(dtype)
    op, exponents = Gamma(gamma=(0.5, 2.0)), []
    for seed in seeds(30):
        result = changed(op, image, seed)
        exponent = np.log(result[8, 0, 0] / 255) / np.log(128 / 255)
        exact = 255 * (np.arange(256).reshape(16, 16, 1) / 255) ** exponent
        np.testing.assert_allclose(result, exact, atol=1.6 if dtype is np.uint8 else 0.01)
        exponents.append(exponent)
    assert 0.49 <= min(exponents) < 0.6 and 1.7 < max(exponents) < 2.03
    assert 7 <= sum(exponent > 1 for exponent in exponents) <= 23


def test_gray_is_the_luma_of_pillow() -> None:
    image = noise(20, 30)
    result = changed(Gray(probability=1), image, seeds(1)[0])
    expected = np.array(Image.fromarray(image).convert("L"), float)
    np.testing.assert_allclose(result, np.repeat(expected[:, :, None], 3, 2), atol=1)


@pytest.mark.parametrize("size", [(24, 31), (1, 1), (1, 7), (3, 2)])
def test_blur_against_scipy(size: tuple[int, int]) -> None:
    """Also for images smaller than the filter, which are mirrored several times."""
    image = noise(*size).astype(np.float32)
    for sigma in (0.3, 1.0, 2.7):
        result = changed(Blur(sigma=(sigma, sigma), probability=1), image, seeds(1)[0])
        expected = ndimage.gaussian_filter(image.astype(float), (sigma, sigma, 0), mode="reflect", truncate=4)
        np.testing.assert_allclose(result, expected, atol=1e-3)


def test_sizes_of_blur_are_within_their_bounds() -> None:
    image, sigmas = np.zeros((61, 61, 1), np.float32), []
    image[30, 30] = 255
    for seed in seeds(30):
        response = changed(Blur(sigma=(1.0, 3.0), probability=1), image, seed)[:, :, 0].sum(1)
        sigmas.append(np.sqrt((response * (np.arange(61) - 30) ** 2).sum() / response.sum()))
    assert 0.98 <= min(sigmas) < 1.2 and 2.8 < max(sigmas) <= 3.01


def test_noise_is_gaussian_and_independent() -> None:
    image, stds = np.full((60, 50, 3), 128, np.float32), []
    for seed in seeds(30):
        difference = changed(Noise(std=(0.02, 0.1), probability=1), image, seed) - 128
        stds.append(difference.std() / 255)
        assert abs(difference.mean()) < 3.5 * difference.std() / np.sqrt(difference.size)
        assert abs(np.mean(np.abs(difference) < difference.std()) - 0.683) < 0.02
        assert np.abs(np.corrcoef(difference.reshape(-1, 3).T) - np.eye(3)).max() < 0.08
        assert abs((difference[1:] * difference[:-1]).mean()) < 0.05 * difference.var()
    assert 0.019 < min(stds) < 0.03 and 0.09 < max(stds) < 0.102


def pillow_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image.squeeze()).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return np.array(Image.open(file), float).reshape(image.shape)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_against_pillow(channels: int) -> None:
    """Both use the same library; upsampling of the chroma may differ by a few values."""
    image = photo(40, 56, channels)
    for quality in (10, 60, 95):
        op = Jpeg(quality=(quality, quality), probability=1)
        for given in (image, image.astype(np.float32)):
            difference = np.abs(changed(op, given, seeds(1)[0]) - pillow_jpeg(image, quality))
            assert difference.mean() < 0.5 and difference.max() <= 8


def test_qualities_of_jpeg_are_within_their_bounds() -> None:
    image = photo(32, 32)
    of_each = [changed(Jpeg(quality=(each, each), probability=1), image, seeds(1)[0]) for each in range(70, 76)]
    found = [changed(Jpeg(quality=(71, 74), probability=1), image, seed) for seed in seeds(30)]
    used = {index for result in found for index, other in enumerate(of_each) if np.array_equal(result, other)}
    assert all(any(np.array_equal(result, other) for other in of_each) for result in found)
    assert used == {1, 2, 3, 4}


# Contrast limited adaptive histogram equalization.


def clahe_of_loops(levels: np.ndarray, limit: float, tiles: int) -> np.ndarray:
    """Equalizes a channel with loops over tiles and pixels, as OpenCV does."""
    height, width = levels.shape
    rows, columns = min(tiles, height), min(tiles, width)
    tall, wide = -(-height // rows), -(-width // columns)
    padded = np.pad(levels, [(0, rows * tall - height), (0, columns * wide - width)], mode="reflect")
    tables = np.zeros((rows, columns, 256))
    for row in range(rows):
        for column in range(columns):
            tile = padded[row * tall : (row + 1) * tall, column * wide : (column + 1) * wide]
            tables[row, column] = np.round(np.cumsum(_clipped(tile, limit)) * np.float32(255 / tile.size))
    result = np.zeros(levels.shape)
    for y in range(height):
        for x in range(width):
            v, u = y / tall - 0.5, x / wide - 0.5
            top, left = int(np.floor(v)), int(np.floor(u))
            for row, vertical in ((top, top + 1 - v), (top + 1, v - top)):
                for column, horizontal in ((left, left + 1 - u), (left + 1, u - left)):
                    table = tables[np.clip(row, 0, rows - 1), np.clip(column, 0, columns - 1)]
                    result[y, x] += vertical * horizontal * table[levels[y, x]]
    return np.round(result)


def _clipped(tile: np.ndarray, limit: float) -> np.ndarray:
    """Returns the clipped histogram of a tile. Pixels above the limit are spread over all levels."""
    histogram = np.bincount(tile.ravel(), minlength=256)
    clip = max(int(np.float32(limit) * tile.size / 256), 1)
    excess = int(np.maximum(histogram - clip, 0).sum())
    histogram = np.minimum(histogram, clip) + excess // 256
    rest = excess % 256
    step = max(256 // max(rest, 1), 1)
    for level in range(0, 256, step):
        if rest:
            histogram[level] += 1
            rest -= 1
    assert rest == 0 and histogram.sum() == tile.size
    return histogram


@pytest.mark.parametrize(
    ("size", "tiles", "limit"), [((40, 64), 4, 2.0), ((45, 33), 8, 4.0), ((9, 20), 8, 3.0), ((1, 7), 8, 2.0)]
)
def test_clahe_against_loops(size: tuple[int, int], tiles: int, limit: float) -> None:
    """The difference is at most 1, from rounding of values near one half, in few pixels."""
    levels = photo(*size, 1)[:, :, 0].astype(np.int32)
    difference = np.abs(
        equalized(tf.constant(levels), tf.constant(limit), tiles) - clahe_of_loops(levels, limit, tiles)
    )
    assert difference.max() <= 1 and np.mean(difference > 0) < 0.02


@pytest.mark.extra
def test_clahe_against_opencv() -> None:
    """OpenCV pads an axis also if the number of tiles divides it, unless it divides both axes."""
    cv2 = pytest.importorskip("cv2")
    for size in ((64, 80), (61, 83), (321, 321)):
        for limit in (1.0, 2.5, 40.0):
            image = photo(*size, 1)[:, :, 0]
            expected = cv2.createCLAHE(limit, (8, 8)).apply(image).astype(float)
            difference = np.abs(equalized(tf.constant(image, tf.int32), tf.constant(limit), 8) - expected)
            assert difference.max() <= 1 and np.mean(difference > 0) < 0.02


def test_clahe_of_channels() -> None:
    """Luma is equalized and chroma kept for 3 channels; 2 channels are equalized one by one."""
    op, seed = Clahe(clip_limit=(3, 3), tiles=2, probability=1), seeds(1)[0]
    two = photo(40, 40, 2)
    separate = [changed(op, two[:, :, [channel]], seed) for channel in (0, 1)]
    np.testing.assert_array_equal(changed(op, two, seed), np.concatenate(separate, -1))
    three = (photo(40, 40, 3) // 4 + 90).astype(np.float32)  # no value is clipped
    change = changed(op, three, seed) - three
    np.testing.assert_allclose(np.ptp(change, axis=-1), 0, atol=1e-4)
    luma = np.floor(three @ [0.299, 0.587, 0.114] + 0.5).astype(np.int32)
    expected = clahe_of_loops(luma, 3, 2) - luma
    assert np.mean(np.abs(change[..., 0] - expected) > 1) < 0.001


def test_clip_limits_are_within_their_bounds() -> None:
    image = photo(64, 64, 1)
    spreads = {
        limit: changed(Clahe(clip_limit=(limit, limit), tiles=2, probability=1), image, seeds(1)[0]).std()
        for limit in (2.0, 3.0)
    }
    found = [changed(Clahe(clip_limit=(2.0, 3.0), tiles=2, probability=1), image, seed).std() for seed in seeds(15)]
    assert spreads[2.0] - 0.05 <= min(found) < max(found) <= spreads[3.0] + 0.05


# Rectangles.


def test_cutout_erases_rectangles_of_the_stated_area() -> None:
    image, mask = np.full((60, 80, 3), 250, np.uint8), np.full((60, 80), 3, np.int32)
    op, areas, aspects, starts = Cutout(area=(0.05, 0.2), aspect=2.0, probability=1), [], [], set()
    for seed in seeds(60):
        new_image, new_mask = run(op, image, mask, seed, VIEW)
        erased = new_mask == 255
        rows, columns = np.flatnonzero(erased.any(1)), np.flatnonzero(erased.any(0))
        height, width = len(rows), len(columns)
        assert erased.sum() == height * width == (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
        assert (new_image[erased] == MEAN).all() and (new_image[~erased] == 250).all()
        areas.append(height * width / 4800)
        aspects.append(height / width)
        starts.add((rows[0], columns[0]))
    assert 0.045 < min(areas) < 0.07 and 0.18 < max(areas) < 0.21
    assert 0.47 < min(aspects) < 0.6 and 1.7 < max(aspects) < 2.13
    assert len(starts) > 50


def test_cutout_of_several_rectangles_and_kept_masks() -> None:
    image, mask = noise(60, 80), np.full((60, 80), 3, np.int32)
    for seed in seeds(5):
        ignored = run(Cutout(count=5, probability=1), image, mask, seed, VIEW)
        kept = run(Cutout(count=5, probability=1, mask="keep"), image, mask, seed, VIEW)
        np.testing.assert_array_equal(kept[0], ignored[0])
        np.testing.assert_array_equal(kept[1], mask)
        assert ndimage.label(ignored[1] == 255)[1] >= 1
    whole = run(Cutout(area=(1, 1), aspect=9, probability=1), image, mask, seeds(1)[0], VIEW)
    assert (whole[1] == 255).mean() > 0.3


# Messages.


def test_ranges_must_be_in_order() -> None:
    """The message names the field; every op with a range checks it."""
    message = "expected the minimum and the maximum of a range; received"
    with pytest.raises(SpecError, match=f"sigma: {message} 2.0 and 1.0"):
        Blur(sigma=(2.0, 1.0))
    for kind, field, values in [
        (Affine, "scale", (2.0, 0.5)),
        (Clahe, "clip_limit", (4.0, 1.0)),
        (Cutout, "area", (0.5, 0.1)),
        (Gamma, "gamma", (2.0, 1.0)),
        (Jpeg, "quality", (90, 10)),
        (Noise, "std", (0.1, 0.0)),
    ]:
        with pytest.raises(SpecError, match=f"{field}: {message} {values[0]} and {values[1]}"):
            kind(**{field: values})


def test_unsupported_numbers_of_channels() -> None:
    for op, message in [
        (Jpeg(), "augment.0: jpeg requires images with 1 or 3 channels; received 4"),
        (Gray(), "augment.0: gray requires images with 3 channels; received 4"),
    ]:
        with pytest.raises(SpecError, match=message):
            Data(source=Shapes(channels=4), augment=(op,))
    assert Data(source=Shapes(channels=1), augment=(Jpeg(),)).channels == 1
