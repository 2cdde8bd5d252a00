"""Reading of images and writing of masks, overlays and legends."""

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


def test_masks_are_palette_pngs_with_the_colors_of_the_labels(predictor, tmp_path):
    paths = [saved(tmp_path / "a.png", image(0, 20, 31)), saved(tmp_path / "b.jpg", image(1, 9, 8))]
    labels = Labels(names=("a", "b", "c"), colors=COLORS)
    written = list(predict_files(predictor, paths, tmp_path / "out", labels))
    assert written == [tmp_path / "out" / "a.png", tmp_path / "out" / "b.png"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png"]
    for path, mask in zip(paths, written, strict=True):
        with Image.open(mask) as found:
            assert found.mode == "P"
            assert tuple(found.getpalette()[:9]) == sum(COLORS, ())
            np.testing.assert_array_equal(found, predictor.predict(read_image(path, 3)))


def test_overlays_have_the_given_opacity(predictor, tmp_path):
    path = saved(tmp_path / "a.png", image(0, 20, 31))
    given = {"overlay": True, "labels": Labels(names=("a", "b", "c"), colors=COLORS)}
    overlays = {}
    for opacity in (0.0, 0.5, 1.0):
        spec = Inference(opacity=opacity)
        mask, over = predict_files(predictor, [path], tmp_path / f"{opacity}", spec=spec, **given)
        assert (mask.name, over.name) == ("a.png", "a-overlay.png")
        overlays[opacity] = np.asarray(Image.open(over)).astype(float)
    colors = np.asarray(COLORS)[np.asarray(Image.open(mask))]
    np.testing.assert_array_equal(overlays[0.0], image(0, 20, 31))
    np.testing.assert_array_equal(overlays[1.0], colors)
    np.testing.assert_allclose(overlays[0.5], (overlays[0.0] + colors) / 2, atol=0.51)
    default = list(predict_files(predictor, [path], tmp_path / "default", **given))[1]
    np.testing.assert_array_equal(np.asarray(Image.open(default)), overlays[0.5])


def test_palette_defaults_to_that_of_voc(predictor, tmp_path):
    (mask,) = predict_files(predictor, [saved(tmp_path / "a.png", image())], tmp_path / "out")
    assert Image.open(mask).getpalette() == voc_palette().ravel().tolist()


def test_more_than_256_classes_make_16_bit_masks(tmp_path):
    scores = np.zeros(300, np.float32)
    scores[299] = 1
    path = saved(tmp_path / "a.png", image())
    (mask,) = predict_files(Predictor(constant(scores)), [path], tmp_path / "out")
    assert np.unique(tf.io.decode_png(mask.read_bytes(), dtype=tf.uint16)).tolist() == [299]


@pytest.mark.parametrize("channels", [1, 2, 4, 6])
def test_arrays_with_any_number_of_channels(tmp_path, channels):
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
def test_images_are_read_as_in_training(tmp_path, name, mode, channels):
    sample = Image.fromarray(image(5, 24, 40)).convert(mode)
    if mode == "RGBA":
        sample.putalpha(Image.fromarray(image(6, 24, 40, 1)[..., 0]))
    sample.save(tmp_path / name)
    expected, problem = decode_image(tf.constant((tmp_path / name).read_bytes()), channels)
    assert problem.numpy() == b""
    found = read_image(tmp_path / name, channels)
    assert (found.dtype, found.shape) == (np.uint8, (24, 40, channels))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_as_in_training(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "a.jpg", image(0, 16, 24), exif=exif)
    np.testing.assert_array_equal(read_image(path, 3), decode_image(tf.constant(path.read_bytes()), 3)[0])


def test_photographs_are_read_as_in_training(shared):
    for path in sorted((shared / "data" / "camvid" / "val").glob("*.jpg"))[:3]:
        np.testing.assert_array_equal(read_image(path, 3), decode_image(tf.constant(path.read_bytes()), 3)[0])


def test_orientation_of_a_png_is_ignored_as_in_training(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path / "a.png", image(0, 16, 24), exif=exif)
    np.testing.assert_array_equal(read_image(path, 3), image(0, 16, 24))


@pytest.mark.parametrize("name", ["a.webp", "a.tif"])
def test_other_formats_are_read_by_pillow(tmp_path, name):
    options = {"lossless": True} if name == "a.webp" else {}
    path = saved(tmp_path / name, image(0, 16, 24), **options)
    np.testing.assert_array_equal(read_image(path, 3), image(0, 16, 24))


def test_file_that_cannot_be_read():
    with pytest.raises(DataError) as error:
        read_image(Path("/proc/self/mem"), 3)
    assert str(error.value) == ("/proc/self/mem: cannot be read (Input/output error). Expected a readable file.")


def test_formats_are_detected_by_content(tmp_path):
    path = saved(tmp_path / "a.npy", image(0, 16, 24), format="PNG")
    np.testing.assert_array_equal(read_image(path, 3), image(0, 16, 24))
    path = saved(tmp_path / "a.jpg", image(0, 16, 24), format="PNG")
    np.testing.assert_array_equal(read_image(path, 3), image(0, 16, 24))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "a.png",
            ": has 16 bits per channel. Expected 8, as in the training images: convert the image to 8 bits, or use a "
            "network that was trained with data.value_range.",
        ),
        (
            "a.tif",
            ": has more than 8 bits per channel. Expected 8: scale its values to 0..255, like those of the training "
            "images, and save it again.",
        ),
    ],
)
def test_16_bits_are_rejected(tmp_path, name, words):
    path = saved(tmp_path / name, np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16))
    for channels in (1, 3):
        with pytest.raises(DataError) as error:
            read_image(path, channels)
        assert str(error.value) == f"{path}{words}"


def error_of(predictor, paths, output, **options):
    """Returns the message of the error that `predict_files` raises."""
    with pytest.raises(DataError) as error:
        list(predict_files(predictor, paths, output, **options))
    return str(error.value)


def test_missing_image_is_reported_before_any_prediction(predictor, tmp_path):
    paths = [saved(tmp_path / "a.png", image()), tmp_path / "none.png"]
    assert error_of(predictor, paths, tmp_path / "out") == f"{tmp_path}/none.png: no such image. Check the path."
    assert not (tmp_path / "out").exists()
    for path in (tmp_path / "none.png", tmp_path / "none.npy"):
        with pytest.raises(DataError, match=f"^{re.escape(f'{path}: no such image. Check the path.')}$"):
            read_image(path, 3)


def test_two_images_with_the_same_name_are_rejected(predictor, tmp_path):
    (tmp_path / "x").mkdir()
    paths = [saved(tmp_path / "a.png", image()), saved(tmp_path / "x" / "a.jpg", image())]
    assert error_of(predictor, paths, tmp_path / "out") == (
        f"{tmp_path}/out/a.png: two of the files to write have this path. Masks have the names of their images; "
        "predict images of the same name into different folders."
    )
    assert not (tmp_path / "out").exists()


def test_overlay_with_the_name_of_a_mask_is_rejected(predictor, tmp_path):
    paths = [saved(tmp_path / "a.png", image()), saved(tmp_path / "a-overlay.png", image())]
    assert error_of(predictor, paths, tmp_path / "out", overlay=True).startswith(
        f"{tmp_path}/out/a-overlay.png: two of"
    )
    assert len(list(predict_files(predictor, paths, tmp_path / "out"))) == 2


def test_images_are_never_overwritten(predictor, tmp_path):
    path = saved(tmp_path / "a.png", image())
    before = path.read_bytes()
    assert error_of(predictor, [path], tmp_path) == (
        f"{path}: is one of the images and would be overwritten. Choose another --output."
    )
    assert path.read_bytes() == before


def test_too_long_name_is_reported_before_any_prediction(predictor, tmp_path):
    path = saved(tmp_path / f"{'x' * 245}.png", np.zeros((4, 4, 3), np.uint8))
    (written,) = predict_files(predictor, [path], tmp_path / "out")
    assert written.is_file()
    text = error_of(predictor, [path], tmp_path / "over", overlay=True)
    assert text == (
        f"{tmp_path}/over/{path.stem}-overlay.png: the name is too long for the file system. Rename the image."
    )
    assert not (tmp_path / "over").exists()


def test_legend(predictor, tmp_path):
    path = saved(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
    labels = Labels(names=("ground", "a disc"), colors=((0, 0, 0), (200, 100, 0)))
    legend, mask = predict_files(predictor, [path], tmp_path / "out", labels, legend=True)
    assert (legend.name, mask.name) == ("legend.png", "a.png")
    pixels = np.asarray(Image.open(legend))
    assert [pixels[25 * index + 12, 12].tolist() for index in range(2)] == [[0, 0, 0], [200, 100, 0]]
    assert (pixels[:, 30:] < 128).any()
    text = error_of(predictor, [saved(tmp_path / "legend.png", np.zeros((4, 4, 3), np.uint8))], tmp_path, legend=True)
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
def test_unreadable_image_is_reported_and_the_others_are_predicted(predictor, tmp_path, content, reason):
    path = tmp_path / "b.jpg"
    path.write_bytes(content)
    good = [saved(tmp_path / f"{name}.png", image()) for name in "ac"]
    text = error_of(predictor, [good[0], path, good[1]], tmp_path / "out")
    assert re.sub(r"\d+ bytes", "REST bytes", text) == (
        "1 of 3 images could not be read; the others were predicted.\n"
        f"{path}: cannot be read as an image ({reason}). Expected a complete JPEG, PNG or other image file; restore it "
        "or leave it out."
    )
    assert sorted(mask.name for mask in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]


def test_float_pixels_are_rejected(tmp_path):
    path = saved(tmp_path / "a.tif", np.ones((4, 4), np.float32))
    with pytest.raises(DataError) as error:
        read_image(path, 1)
    assert str(error.value) == (
        f"{path}: has more than 8 bits per channel. Expected 8: scale its values to 0..255, like those of the training "
        "images, and save it again."
    )


def test_unsupported_number_of_channels_requires_an_array(tmp_path):
    path = saved(tmp_path / "a.png", image())
    with pytest.raises(DataError) as error:
        read_image(path, 6)
    assert str(error.value) == (
        f"{path}: the model takes 6-channel images, which image formats do not support. Save it as .npy, uint8 "
        "[height, width, 6]."
    )


@pytest.mark.parametrize(
    ("array", "received"), [(image().astype(float), "float64 [40, 52, 3]"), (image(channels=2), "uint8 [40, 52, 2]")]
)
def test_array_of_another_type_or_shape_is_rejected(tmp_path, array, received):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError) as error:
        read_image(tmp_path / "a.npy", 3)
    assert str(error.value) == (
        f"{tmp_path}/a.npy: contains {received}. Expected uint8 [height, width, 3], the input of the model."
    )


HEADER = "{{'descr': '|u1', 'fortran_order': False, 'shape': {}, }}\n"


def array_file(header: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()


def archive():
    file = io.BytesIO()
    np.savez(file, np.zeros((2, 2, 3), np.uint8))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x93NUMPY\x01\x00", "its header is damaged: EOF: reading array header length, expected 2 bytes got 0"),
        (b"", "the file is empty"),
        (archive(), "the file is a .npz file of several arrays"),
        (b"text", "the file has no header of a .npy file"),
        (array_file("{'descr': (\n"), "its header is damaged: EOF in multi-line statement"),
        (
            array_file(HEADER.format((10**9, 10**9, 3))),
            "an array of uint8 [1000000000, 1000000000, 3] has 3000000000000000000 bytes, but the file has 0 of them",
        ),
        (array_file(HEADER.format((2, 2, 3))) + b"1234", "of uint8 [2, 2, 3] has 12 bytes, but the file has 4 of them"),
    ],
    ids=["cut", "empty", "archive", "text", "open_bracket", "huge", "few_values"],
)
def test_corrupt_array(tmp_path, content, reason):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(DataError) as error:
        read_image(tmp_path / "a.npy", 3)
    text = str(error.value)
    assert text.startswith(f"{tmp_path}/a.npy: is not a complete .npy file of numbers (") and f"{reason})" in text
    assert text.endswith("). Expected .npy, uint8 [height, width, 3]; write it again.")


def test_opacity_is_between_0_and_1():
    for wrong in (-0.1, 1.1):
        with pytest.raises(SpecError, match="opacity: expected a number from 0 to 1"):
            Inference(opacity=wrong)


def test_image_that_only_pillow_can_read_is_rejected(tmp_path, monkeypatch):
    """Formats that are supported in training must be readable in training."""

    def failing(*_):
        raise tf.errors.InvalidArgumentError(None, None, "Graph execution error:")

    Image.new("RGB", (8, 8)).save(tmp_path / "a.bmp")
    monkeypatch.setattr("tfseg.inference.reading.decode_image", failing)
    with pytest.raises(DataError) as error:
        read_image(tmp_path / "a.bmp", 3)
    assert str(error.value).startswith(f"{tmp_path}/a.bmp: cannot be read as an image (its contents are inconsistent).")


def test_folder_that_cannot_be_created(tmp_path, predictor):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "file").touch()
    for folder, reason in ((tmp_path / "file", "File exists"), (tmp_path / "file" / "x", "Not a directory")):
        with pytest.raises(DataError) as error:
            list(predict_files(predictor, tmp_path / "a.png", folder))
        assert str(error.value) == (
            f"{folder}: cannot be created ({reason}). Expected a writable folder; choose another with --output."
        )
