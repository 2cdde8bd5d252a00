"""Decoding of masks to class ids."""

import io
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfseg.data import Binary, Colors, Ids
from tfseg.data.sources.masks import MaskSpec
from tfseg.images.png import header, samples
from tfseg.labels import Labels, voc_palette

FOUR = Labels(names=("a", "b", "c", "d"))
IDS = np.random.default_rng(0).choice([0, 1, 2, 3, 255], (31, 45)).astype(np.uint8)


def png(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def palette(ids: np.ndarray, colors: np.ndarray, **options: object) -> bytes:
    image = Image.fromarray(ids, "P")
    image.putpalette(colors.tobytes())
    return png(image, **options)


def decoded(kind: MaskSpec, data: bytes, labels: Labels = FOUR) -> np.ndarray:
    """Decodes ids inside a graph, as in tf.data."""
    ids, problem = tf.function(kind(labels))(tf.constant(data))
    assert problem.numpy() == b""
    assert ids.dtype == (tf.uint8 if kind == Ids() and labels.ignore < 256 else tf.int32)
    return ids.numpy()


def problem_of(kind: MaskSpec, data: bytes, labels: Labels = FOUR) -> str:
    return tf.function(kind(labels))(tf.constant(data))[1].numpy().decode()


def in_color(ids: np.ndarray, colors: np.ndarray) -> Image.Image:
    return Image.fromarray(colors[ids])


def test_all_encodings_decode_to_the_same_ids() -> None:
    """Gray, palette, 16-bit, color-coded, and raw ids with a mapping."""
    gray, wide = png(Image.fromarray(IDS)), png(Image.fromarray(IDS.astype(np.uint16)))
    for data in (gray, wide, palette(IDS, voc_palette()), palette(IDS, voc_palette()[::-1].copy())):
        np.testing.assert_array_equal(decoded(Ids(), data), IDS)
    np.testing.assert_array_equal(decoded(Colors(), png(in_color(IDS, voc_palette()))), IDS)
    np.testing.assert_array_equal(decoded(Colors(), palette(IDS, voc_palette())), IDS)
    raw = np.where(IDS == 255, 90, 7 * IDS + 3)
    mapping = {3: 0, 10: 1, 17: 2, 24: 3, 90: 255}
    np.testing.assert_array_equal(decoded(Ids(mapping=mapping), png(Image.fromarray(raw.astype(np.uint8)))), IDS)


def test_binary_masks() -> None:
    ids = (IDS > 1).astype(np.uint8)
    two = Labels(names=("a", "b"))
    for data in (
        png(Image.fromarray(ids * 255)),
        png(Image.fromarray(ids)),
        png(Image.fromarray(ids.astype(bool))),
        palette(ids, np.array([[0, 0, 0], [255, 255, 255]], np.uint8)),
        png(in_color(ids, np.array([[0, 0, 0], [255, 255, 255]], np.uint8))),
    ):
        np.testing.assert_array_equal(decoded(Binary(), data, two), ids)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("transparent", [False, True])
def test_palette_files_decode_to_indices_at_every_bit_depth(bits: int, transparent: bool) -> None:
    """Also with transparent palette entries, and with equal palette colors."""
    rng = np.random.default_rng(bits)
    ids = rng.integers(0, 2**bits, (33, 47)).astype(np.uint8)
    many = Labels(names=tuple(map(str, range(2**bits))), ignore=300)
    options = {"transparency": bytes(rng.integers(0, 256, 2**bits).astype(np.uint8))} if transparent else {}
    for colors in (rng.integers(0, 256, (2**bits, 3), np.uint8), np.full((2**bits, 3), 7, np.uint8)):
        data = palette(ids, colors, bits=bits, **options)
        assert [int(value) for value in header(tf.constant(data))] == [bits, 3]
        np.testing.assert_array_equal(decoded(Ids(), data, many), ids)


def test_low_bit_gray_values_are_not_scaled() -> None:
    """A 1-bit gray file contains the ids 0 and 1, although decoders return 0 and 255."""
    ids = IDS > 100
    np.testing.assert_array_equal(decoded(Ids(), png(Image.fromarray(ids))), ids)


def test_16_bit_ids() -> None:
    ids = np.array([[0, 300], [999, 65535]], np.uint16)
    many = Labels(names=tuple(map(str, range(1000))), ignore=65535)
    np.testing.assert_array_equal(decoded(Ids(), png(Image.fromarray(ids)), many), ids)


def test_16_bit_ids_stored_as_color() -> None:
    """Pillow does not write 16-bit color files; TensorFlow does."""
    ids = np.array([[0, 300], [999, 65535]], np.uint16)
    many = Labels(names=tuple(map(str, range(1000))), ignore=65535)
    data = tf.io.encode_png(np.repeat(ids[:, :, None], 3, 2)).numpy()
    np.testing.assert_array_equal(decoded(Ids(), data, many), ids)


def test_gray_masks_stored_as_color_and_with_alpha() -> None:
    color = np.repeat(IDS[:, :, None], 3, 2)
    alpha = np.full((*IDS.shape, 1), 9, np.uint8)
    for values in (color, np.concatenate([color, alpha], 2), np.concatenate([IDS[:, :, None], alpha], 2)):
        np.testing.assert_array_equal(decoded(Ids(), png(Image.fromarray(values))), IDS)


def test_ids_outside_of_the_mapping() -> None:
    data = png(Image.fromarray(np.array([[7, 8, 9]], np.uint8)))
    np.testing.assert_array_equal(decoded(Ids(mapping={7: 0, 8: 3}, rest=255), data), [[0, 3, 255]])
    np.testing.assert_array_equal(decoded(Ids(mapping={7: 0, 8: 3}, rest=1), data), [[0, 3, 1]])


def test_colors_of_labels_table_and_ignore() -> None:
    own = Labels(names=("a", "b"), ignore=9, colors=((1, 2, 3), (250, 0, 0)))
    colors = np.array([[1, 2, 3], [250, 0, 0], [0, 0, 0], [7, 7, 7]], np.uint8)
    ids = np.array([[0, 1, 2, 3]])
    data = png(in_color(ids, colors))
    np.testing.assert_array_equal(decoded(Colors(ignore=((0, 0, 0), (7, 7, 7))), data, own), [[0, 1, 9, 9]])
    table = Colors(table=((250, 0, 0), (1, 2, 3)), ignore=((0, 0, 0), (7, 7, 7)))
    np.testing.assert_array_equal(decoded(table, data, own), [[1, 0, 9, 9]])


def test_errors_list_invalid_ids() -> None:
    mask = np.array([[0, 4, 200], [4, 255, 3]], np.uint8)
    assert problem_of(Ids(), png(Image.fromarray(mask))) == (
        "the mask contains 4, 200; expected a class (0 to 3) or 255 (ignore). "
        "Correct the mask or `labels`, or remap the ids with `data.source.mask`."
    )
    assert problem_of(Ids(mapping={0: 0, 4: 1}), png(Image.fromarray(mask))).startswith(
        "the mask contains 3, 200; expected"
    )
    many = np.arange(4, 20, dtype=np.uint8)[None]
    assert problem_of(Ids(), png(Image.fromarray(many))).startswith(
        "the mask contains 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, ...; expected"
    )


def test_errors_list_invalid_colors() -> None:
    colors = np.array([[0, 0, 0], [1, 2, 3], [255, 254, 253]], np.uint8)
    assert problem_of(Colors(), png(in_color(np.array([[0, 1, 2, 1]]), colors))) == (
        "the mask contains colors of no class: [1, 2, 3], [255, 254, 253]. "
        "Correct the mask, or add them to `labels.colors`, or to `table` or `ignore` of `data.source.mask`."
    )


def test_color_images_are_rejected_as_ids() -> None:
    assert problem_of(Ids(), png(in_color(IDS, voc_palette()))) == (
        "the mask is a color image, but `data.source.mask` expects ids. Set `data.source.mask: colors`."
    )


def test_masks_must_be_png() -> None:
    problems = {
        "BMP": "the mask is not a PNG; other formats lose or shift ids. Save it as PNG.",
        "JPEG": "the mask is a JPEG, whose compression changes ids at borders. Expected a PNG: export the mask again "
        "as PNG; a converted JPEG keeps the wrong ids.",
    }
    for name, problem in problems.items():
        file = io.BytesIO()
        Image.fromarray(IDS).save(file, name)
        for kind in (Ids(), Binary(), Colors()):
            assert problem_of(kind, file.getvalue()) == problem


def test_corrupt_header_stays_corrupt() -> None:
    """The rewritten checksum does not repair a corrupt header."""
    data = bytearray(palette(IDS, voc_palette()))
    data[19] ^= 1  # the width
    with pytest.raises(tf.errors.InvalidArgumentError):
        samples(tf.constant(bytes(data)))


def test_voc_masks_equal_those_of_pillow(shared: Path) -> None:
    files = sorted((shared / "data" / "voc2012" / "SegmentationClassAug").glob("*.png"))[::10]
    assert len(files) > 60
    decode = tf.function(lambda data: samples(data)[0])
    for file in files:
        with Image.open(file) as image:
            assert image.mode == "P"
            np.testing.assert_array_equal(decode(tf.constant(file.read_bytes())), np.asarray(image))


def test_masks_of_other_datasets(shared: Path) -> None:
    """Raw ids of Cityscapes (8 and 16 bits), palettes of Mapillary, three-channel gray of REFUGE."""
    folder = shared / "data" / "miniatures"
    city = folder / "pseudo_cityscapes_dataset" / "gtFine" / "val" / "frankfurt"
    for file in (
        city / "frankfurt_000000_000294_gtFine_instanceIds.png",
        city / "frankfurt_000000_000294_gtFine_labelIds.png",
        folder / "pseudo_mapillary_dataset" / "v1.2" / "__CRyFzoDOXn6unQ6a3DnQ.png",
        folder / "pseudo_refuge_dataset" / "ann_dir" / "pseudo_g0001.png",
    ):
        with Image.open(file) as image:
            expected = np.asarray(image)
        ids, problem = samples(tf.constant(file.read_bytes()))
        assert problem == ""
        np.testing.assert_array_equal(ids, expected if expected.ndim == 2 else expected[:, :, 0])
