"""Writing of masks and blending of label maps over images."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfseg.images.overlay import blend, write_image, write_mask
from tfseg.labels import voc_palette


def test_mask_has_its_ids_and_palette(tmp_path: Path) -> None:
    ids = np.array([[0, 1, 15], [255, 21, 3]], np.int64)
    write_mask(tmp_path / "new" / "mask.png", ids, voc_palette())
    with Image.open(tmp_path / "new" / "mask.png") as file:
        assert file.mode == "P"
        np.testing.assert_array_equal(np.asarray(file), ids)
        np.testing.assert_array_equal(np.asarray(file.convert("RGB")), voc_palette()[ids])
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["mask.png"]


def test_mask_with_many_classes_has_16_bits(tmp_path: Path) -> None:
    ids = np.array([[0, 256], [1000, 65535]], np.int32)
    write_mask(tmp_path / "mask.png", ids, voc_palette())
    with Image.open(tmp_path / "mask.png") as file:
        np.testing.assert_array_equal(np.asarray(file), ids)


def test_failed_write_keeps_the_existing_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mask(tmp_path / "mask.png", np.zeros((2, 2), np.uint8), voc_palette())
    before = (tmp_path / "mask.png").read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(OSError, match="No space left"):
        write_mask(tmp_path / "mask.png", np.ones((2, 2), np.uint8), voc_palette())
    assert (tmp_path / "mask.png").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3)])
def test_image_is_written_unchanged(tmp_path: Path, shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    write_image(tmp_path / "image.png", image)
    with Image.open(tmp_path / "image.png") as file:
        np.testing.assert_array_equal(np.asarray(file), image.squeeze())


def test_blend_weights_image_and_colors() -> None:
    rng = np.random.default_rng(1)
    image, ids = rng.integers(0, 256, (6, 4, 3), np.uint8), rng.integers(0, 5, (6, 4))
    shown = blend(image, ids, voc_palette(), alpha=0.25, ignore=3)
    expected = np.round(0.75 * image + 0.25 * voc_palette()[ids])
    black = ids == 0  # the background of VOC
    expected[black | (ids == 3)] = image[black | (ids == 3)]
    np.testing.assert_allclose(shown, expected, atol=1)  # Pillow truncates instead of rounding
    np.testing.assert_array_equal(shown[black | (ids == 3)], image[black | (ids == 3)])
    np.testing.assert_array_equal(blend(image, ids, voc_palette(), alpha=0), image)
    whole = np.where(black[..., None], image, voc_palette()[ids])
    np.testing.assert_array_equal(blend(image, ids, voc_palette(), alpha=1), whole)


def test_gray_images_are_rendered_in_gray() -> None:
    gray, ids = np.array([[10, 20]], np.uint8), np.zeros((1, 2), int)
    expected = np.repeat(gray[..., None], 3, -1)
    for image in (gray, gray[..., None]):
        np.testing.assert_array_equal(blend(image, ids, voc_palette(), ignore=0), expected)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda path: write_mask(path, np.zeros((2, 2)), voc_palette()),
            "`ids` must be integers [height, width]. Received: float64 [2, 2]",
        ),
        (
            lambda path: write_mask(path, np.array([[-1, 3]]), voc_palette()),
            "`ids` must be in the range 0..65535. Received: -1 to 3",
        ),
        (
            lambda path: write_image(path, np.zeros((2, 2, 4), np.uint8)),
            "`image` must be uint8 [height, width], or with 1 or 3 channels. Received: uint8 [2, 2, 4]",
        ),
        (
            lambda _: blend(np.zeros((2, 3, 3)), np.zeros((3, 2), int), voc_palette()),
            "`image` must be [height, width], or with 1 or 3 channels, and of the same size as `ids`. "
            "Received: image [2, 3, 3], ids [3, 2]",
        ),
    ],
)
def test_invalid_arguments_raise(tmp_path: Path, call: object, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        call(tmp_path / "x.png")  # type: ignore[operator]
    assert not list(tmp_path.iterdir())
