"""Files in, files out: masks are index PNGs with a palette, of their images' size and name."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.exporting.toys import constant, image, network
from tfseg.errors import DataError
from tfseg.images import decode_image
from tfseg.inference import Inference, Predictor, predict_files, read_image
from tfseg.labels import Labels, voc_palette
from tfseg.spec.problems import SpecError

COLORS = ((10, 20, 30), (200, 0, 0), (0, 0, 250))


@pytest.fixture(scope="module")
def predictor():
    return Predictor(network())


def saved(path, array, **options):
    Image.fromarray(array.squeeze()).save(path, **options)
    return path


def test_masks_are_index_pngs_with_the_labels_palette(predictor, tmp_path):
    paths = [saved(tmp_path / "a.png", image(0, 20, 31)), saved(tmp_path / "b.jpg", image(1, 9, 8))]
    labels = Labels(names=("a", "b", "c"), colors=COLORS)
    written = list(predict_files(predictor, paths, tmp_path / "out", labels))
    assert written == [tmp_path / "out" / "a.png", tmp_path / "out" / "b.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png"]
    for path, mask in zip(paths, written, strict=True):
        with Image.open(mask) as picture:
            assert picture.mode == "P"
            assert tuple(picture.getpalette()[:9]) == sum(COLORS, ())
            np.testing.assert_array_equal(picture, predictor.predict(read_image(path, 3)))


def test_overlays_lie_beside_the_masks_and_follow_the_spec(predictor, tmp_path):
    path = saved(tmp_path / "a.png", image(0, 20, 31))
    given = {"overlay": True, "labels": Labels(names=("a", "b", "c"), colors=COLORS)}
    pictures = {}
    for opacity in (0.0, 0.5, 1.0):
        spec = Inference(opacity=opacity)
        mask, over = predict_files(predictor, [path], tmp_path / f"{opacity}", spec=spec, **given)
        assert (mask.name, over.name) == ("a.png", "a-overlay.png")
        pictures[opacity] = np.asarray(Image.open(over)).astype(float)
    colors = np.asarray(COLORS)[np.asarray(Image.open(mask))]
    np.testing.assert_array_equal(pictures[0.0], image(0, 20, 31))
    np.testing.assert_array_equal(pictures[1.0], colors)
    np.testing.assert_allclose(pictures[0.5], (pictures[0.0] + colors) / 2, atol=0.51)
    default = list(predict_files(predictor, [path], tmp_path / "default", **given))[1]
    np.testing.assert_array_equal(np.asarray(Image.open(default)), pictures[0.5])


def test_without_labels_the_palette_is_that_of_voc(predictor, tmp_path):
    (mask,) = predict_files(predictor, [saved(tmp_path / "a.png", image())], tmp_path / "out")
    assert Image.open(mask).getpalette() == voc_palette().ravel().tolist()


def test_more_than_256_classes_make_16_bit_files(tmp_path):
    scores = np.zeros(300, np.float32)
    scores[299] = 1
    path = saved(tmp_path / "a.png", image())
    (mask,) = predict_files(Predictor(constant(scores)), [path], tmp_path / "out")
    assert np.unique(tf.io.decode_png(mask.read_bytes(), dtype=tf.uint16)).tolist() == [299]


@pytest.mark.parametrize("channels", [1, 2, 4, 6])
def test_gray_and_many_channels(tmp_path, channels):
    predictor = Predictor(network(channels=channels))
    array = image(0, 20, 31, channels)
    path = tmp_path / "a.npy"
    np.save(path, array)
    mask, over = predict_files(predictor, [path], tmp_path / "out", overlay=True)
    np.testing.assert_array_equal(Image.open(mask), predictor.predict(array))
    assert Image.open(over).size == (31, 20)


@pytest.mark.parametrize(
    ("name", "mode", "channels"),
    [
        *[("gray.png", "L", 1), ("gray.png", "L", 3), ("gray.jpg", "L", 1), ("gray.jpg", "L", 3), ("bits.png", "1", 1)],
        *[("rgb.png", "RGB", 3), ("rgb.jpg", "RGB", 3), ("rgba.png", "RGBA", 3), ("rgba.png", "RGBA", 4)],
        ("palette.png", "P", 3),
    ],
)
def test_files_are_read_as_the_training_data_are(tmp_path, name, mode, channels):
    picture = Image.fromarray(image(5, 24, 40)).convert(mode)
    if mode == "RGBA":
        picture.putalpha(Image.fromarray(image(6, 24, 40, 1)[..., 0]))
    picture.save(tmp_path / name)
    expected, fault = decode_image(tf.constant((tmp_path / name).read_bytes()), channels)
    assert fault.numpy() == b""
    found = read_image(tmp_path / name, channels)
    assert (found.dtype, found.shape) == (np.uint8, (24, 40, channels))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone_as_in_training(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "a.jpg", image(0, 16, 24), exif=exif)
    np.testing.assert_array_equal(read_image(path, 3), decode_image(tf.constant(path.read_bytes()), 3)[0])


def test_real_photographs_are_read_as_in_training(shared):
    for path in sorted((shared / "data" / "camvid" / "val").glob("*.jpg"))[:3]:
        np.testing.assert_array_equal(read_image(path, 3), decode_image(tf.constant(path.read_bytes()), 3)[0])


def test_the_orientation_in_a_png_is_ignored_as_in_training(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path / "a.png", image(0, 16, 24), exif=exif)
    np.testing.assert_array_equal(read_image(path, 3), image(0, 16, 24))


@pytest.mark.parametrize("name", ["a.webp", "a.tif"])
def test_other_kinds_are_read_by_pillow(tmp_path, name):
    options = {"lossless": True} if name == "a.webp" else {}
    path = saved(tmp_path / name, image(0, 16, 24), **options)
    np.testing.assert_array_equal(read_image(path, 3), image(0, 16, 24))


def test_a_file_that_cannot_be_read_is_named():
    with pytest.raises(DataError) as error:
        read_image(Path("/proc/self/mem"), 3)
    assert str(error.value) == (
        "/proc/self/mem: cannot be read (Input/output error). Expected a file that may be read."
    )


def test_kinds_are_told_by_content(tmp_path):
    path = saved(tmp_path / "a.npy", image(0, 16, 24), format="PNG")
    np.testing.assert_array_equal(read_image(path, 3), image(0, 16, 24))
    path = saved(tmp_path / "a.jpg", image(0, 16, 24), format="PNG")
    np.testing.assert_array_equal(read_image(path, 3), image(0, 16, 24))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "a.png",
            "the image has 16 bits per channel, of which the lower 8 would be lost. Expected 8: rescale its values to "
            "0..255, as they should be displayed, and save it again.",
        ),
        (
            "a.tif",
            "has more than 8 bits a channel. Expected 8: scale its values to 0..255 as those of the training images "
            "were, and save them so.",
        ),
    ],
)
def test_16_bits_are_refused_as_in_training(tmp_path, name, words):
    path = saved(tmp_path / name, np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16))
    for channels in (1, 3):
        with pytest.raises(DataError) as error:
            read_image(path, channels)
        assert str(error.value) == f"{path}: {words}"


def refusal(predictor, paths, output, **options):
    with pytest.raises(DataError) as error:
        list(predict_files(predictor, paths, output, **options))
    return str(error.value)


def test_a_missing_image_is_found_before_anything_is_written(predictor, tmp_path):
    paths = [saved(tmp_path / "a.png", image()), tmp_path / "none.png"]
    assert refusal(predictor, paths, tmp_path / "out") == f"{tmp_path}/none.png: no such image. Check the path."
    assert not (tmp_path / "out").exists()
    for path in (tmp_path / "none.png", tmp_path / "none.npy"):
        with pytest.raises(DataError, match=f"^{re.escape(f'{path}: no such image. Check the path.')}$"):
            read_image(path, 3)


def test_two_images_of_one_name_are_refused(predictor, tmp_path):
    (tmp_path / "x").mkdir()
    paths = [saved(tmp_path / "a.png", image()), saved(tmp_path / "x" / "a.jpg", image())]
    assert refusal(predictor, paths, tmp_path / "out") == (
        f"{tmp_path}/out/a.png: two of the images would be written to this path. Masks take the name of their image; "
        "predict images of one name into different folders."
    )
    assert not (tmp_path / "out").exists()


def test_an_overlay_may_not_take_the_place_of_a_mask(predictor, tmp_path):
    paths = [saved(tmp_path / "a.png", image()), saved(tmp_path / "a-overlay.png", image())]
    assert refusal(predictor, paths, tmp_path / "out", overlay=True).startswith(f"{tmp_path}/out/a-overlay.png: two of")
    assert len(list(predict_files(predictor, paths, tmp_path / "out"))) == 2


def test_an_image_is_never_replaced_by_its_mask(predictor, tmp_path):
    path = saved(tmp_path / "a.png", image())
    before = path.read_bytes()
    assert refusal(predictor, [path], tmp_path) == (
        f"{path}: is one of the images, and its mask would replace it. Choose another --output."
    )
    assert path.read_bytes() == before


def test_a_name_that_is_too_long_is_found_before_anything_is_written(predictor, tmp_path):
    path = saved(tmp_path / f"{'x' * 245}.png", np.zeros((4, 4, 3), np.uint8))
    (written,) = predict_files(predictor, [path], tmp_path / "out")
    assert written.is_file()
    text = refusal(predictor, [path], tmp_path / "over", overlay=True)
    assert text == (
        f"{tmp_path}/over/{path.stem}-overlay.png: the name is longer than the file system takes. Rename the image."
    )
    assert not (tmp_path / "over").exists()


def test_a_legend_names_the_classes(predictor, tmp_path):
    path = saved(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
    labels = Labels(names=("ground", "a disc"), colors=((0, 0, 0), (200, 100, 0)))
    legend, mask = predict_files(predictor, [path], tmp_path / "out", labels, legend=True)
    assert (legend.name, mask.name) == ("legend.png", "a.png")
    pixels = np.asarray(Image.open(legend))
    assert [pixels[25 * index + 12, 12].tolist() for index in range(2)] == [[0, 0, 0], [200, 100, 0]]
    assert (pixels[:, 30:] < 128).any()
    text = refusal(predictor, [saved(tmp_path / "legend.png", np.zeros((4, 4, 3), np.uint8))], tmp_path, legend=True)
    assert text.startswith(f"{tmp_path}/legend.png: ")


def half_a_jpeg():
    buffer = io.BytesIO()
    Image.fromarray(image()).save(buffer, "JPEG")
    return buffer.getvalue()[:900]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cannot identify image file"),
        (b"plain text", "cannot identify image file"),
        (half_a_jpeg(), "image file is truncated (REST bytes not processed)"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 30, "cannot identify image file"),
    ],
    ids=["empty", "text", "half", "broken"],
)
def test_an_unreadable_image_is_named_and_the_others_are_predicted(predictor, tmp_path, content, reason):
    path = tmp_path / "b.jpg"
    path.write_bytes(content)
    good = [saved(tmp_path / f"{name}.png", image()) for name in "ac"]
    text = refusal(predictor, [good[0], path, good[1]], tmp_path / "out")
    assert re.sub(r"\d+ bytes", "REST bytes", text) == (
        "1 of 3 images could not be read, the others are predicted.\n"
        f"{path}: cannot be read as an image ({reason}). Expected a whole JPEG, PNG or other picture file; restore it "
        "or leave it out."
    )
    assert sorted(mask.name for mask in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]


def test_pixels_without_a_known_range_are_refused(tmp_path):
    path = saved(tmp_path / "a.tif", np.ones((4, 4), np.float32))
    with pytest.raises(DataError) as error:
        read_image(path, 1)
    assert str(error.value) == (
        f"{path}: has more than 8 bits a channel. Expected 8: scale its values to 0..255 as those of the training "
        "images were, and save them so."
    )


def test_channels_that_no_picture_has_ask_for_an_array(tmp_path):
    path = saved(tmp_path / "a.png", image())
    with pytest.raises(DataError) as error:
        read_image(path, 6)
    assert str(error.value) == (
        f"{path}: the model takes images of 6 channels, which a picture file cannot hold. Save it as .npy, uint8 "
        "[height, width, 6]."
    )


@pytest.mark.parametrize(
    ("array", "received"), [(image().astype(float), "float64 [40, 52, 3]"), (image(channels=2), "uint8 [40, 52, 2]")]
)
def test_an_array_of_another_kind_is_refused(tmp_path, array, received):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError) as error:
        read_image(tmp_path / "a.npy", 3)
    assert str(error.value) == (
        f"{tmp_path}/a.npy: holds {received}. Expected uint8 [height, width, 3], as the model takes it."
    )


HEADER = "{{'descr': '|u1', 'fortran_order': False, 'shape': {}, }}\n"


def array_file(header: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


@pytest.mark.parametrize(
    "content",
    [
        b"\x93NUMPY\x01\x00",
        b"",
        array_file("{'descr': (\n"),
        array_file(HEADER.format((10**9, 10**9, 3))),
        array_file(HEADER.format((2, 2, 3))),
    ],
    ids=["cut", "empty", "open_bracket", "huge", "no_values"],
)
def test_a_broken_array_is_named(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(DataError) as error:
        read_image(tmp_path / "a.npy", 3)
    assert str(error.value) == (
        f"{tmp_path}/a.npy: is no whole .npy file of numbers. Expected .npy, uint8 [height, width, 3]; write it again."
    )


def test_opacity_is_a_share():
    for wrong in (-0.1, 1.1):
        with pytest.raises(SpecError, match="opacity: expected a number from 0 to 1"):
            Inference(opacity=wrong)


def test_what_only_pillow_can_read_is_broken(tmp_path, monkeypatch):
    """Of a kind that training reads: it would not read this one."""

    def refused(*_):
        raise tf.errors.InvalidArgumentError(None, None, "Graph execution error:")

    Image.new("RGB", (8, 8)).save(tmp_path / "a.bmp")
    monkeypatch.setattr("tfseg.inference.reading.decode_image", refused)
    with pytest.raises(DataError) as error:
        read_image(tmp_path / "a.bmp", 3)
    assert str(error.value).startswith(
        f"{tmp_path}/a.bmp: cannot be read as an image (its parts contradict each other)."
    )


def test_a_folder_that_cannot_be_made(tmp_path, predictor):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "file").touch()
    for folder, reason in ((tmp_path / "file", "File exists"), (tmp_path / "file" / "x", "Not a directory")):
        with pytest.raises(DataError) as error:
            list(predict_files(predictor, tmp_path / "a.png", folder))
        assert str(error.value) == (
            f"{folder}: cannot be made ({reason}). Expected a folder that may be written; choose another with --output."
        )
