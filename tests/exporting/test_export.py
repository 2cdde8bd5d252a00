"""Artifacts of an export: files that run without tfseg, at any size, with the outputs of the model."""

import io
import json
import shutil
import subprocess
import sys
import textwrap
import time
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

import tfseg
from tfseg.exporting import Export, Tflite, export
from tfseg.exporting.precision import in_float32
from tfseg.exporting.tflite import operations, write_tflite
from tfseg.inference import Predictor, read_image

from .toys import constant, image, labels, network

pytestmark = pytest.mark.usefixtures("one_isolated_worker")


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def report(model, tmp_path_factory):
    images = [image(0), image(1, 33, 64)]
    spec = Export(tflite=Tflite(size=(32, 48)))
    return export(model, labels(), tmp_path_factory.mktemp("out"), "toy", spec=spec, images=images, metadata={"a": 1})


def probabilities(model, images):
    return tf.nn.softmax(model(tf.cast(images, tf.float32), training=False)).numpy()


def test_folders_are_those_of_tf_serving(report):
    assert report.folder.parts[-2:] == ("toy", "1")
    names = "assets export.json fingerprint.pb labels.json saved_model.pb toy_float32_32x48.tflite variables"
    assert sorted(path.name for path in report.folder.iterdir()) == names.split()
    assert report.tflite == report.folder / "toy_float32_32x48.tflite"
    assert [path.name for path in report.folder.parent.iterdir()] == ["1"]


def test_report_contains_the_comparisons(report):
    saved, tflite = report.comparisons
    assert (saved.artifact, saved.images, saved.wrong, saved.mask_agreement) == ("SavedModel", 7, 0, 1.0)
    assert saved.pixels == 2 * 40 * 52 + 33 * 64 + 2 * 40 * 52 + 2 * 40 * 52
    assert saved.largest_difference < 1e-5
    assert (tflite.artifact, tflite.images, tflite.pixels, tflite.wrong) == ("TFLite file", 2, 2 * 32 * 48, 0)
    assert 0 < tflite.largest_difference < 1e-5
    assert str(report).splitlines()[:2] == [str(report.folder), str(report.tflite)]
    record = json.loads((report.folder / "export.json").read_text())
    assert record["comparisons"][1]["largest_difference"] == tflite.largest_difference
    packages = {"tfseg": tfseg, "tensorflow": tf, "keras": keras, "numpy": np}
    assert record["versions"] == {name: package.__version__ for name, package in packages.items()}
    assert record["a"] == 1


def test_signatures_have_free_batch_and_image_sizes(report):
    signatures = tf.saved_model.load(str(report.folder)).signatures

    def tensors(name):
        (given,) = signatures[name].structured_input_signature[1].items()
        outputs = signatures[name].structured_outputs.items()
        return [(key, spec.dtype.name, spec.shape.as_list()) for key, spec in [given, *sorted(outputs)]]

    assert sorted(signatures) == ["probabilities", "serving_bytes", "serving_default"]
    assert tensors("serving_default") == [
        ("image", "uint8", [None, None, None, 3]),
        ("confidence", "float32", [None, None, None]),
        ("mask", "uint8", [None, None, None]),
    ]
    assert tensors("probabilities") == [
        ("image", "uint8", [None, None, None, 3]),
        ("probabilities", "float32", [None, None, None, 3]),
    ]
    assert tensors("serving_bytes") == [("encoded", "string", [None]), ("mask_png_bytes", "string", [None])]


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (33, 65), (64, 31)])
def test_saved_model_runs_at_any_size(model, report, size):
    batch = np.stack([image(2, *size), image(3, *size)])
    signatures = tf.saved_model.load(str(report.folder)).signatures
    outputs = signatures["serving_default"](image=tf.constant(batch))
    expected = probabilities(model, batch)
    np.testing.assert_array_equal(outputs["mask"], expected.argmax(-1))
    np.testing.assert_allclose(outputs["confidence"], expected.max(-1), atol=1e-6)
    found = signatures["probabilities"](image=tf.constant(batch))["probabilities"]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_serving_bytes_takes_files_of_mixed_formats_and_sizes(model, report):
    images = [
        (Image.fromarray(image(4, 20, 31)), "PNG"),
        (Image.fromarray(image(5, 9, 8, 1)[..., 0]), "PNG"),
        (Image.fromarray(image(6, 16, 16, 4), "RGBA"), "PNG"),
        (Image.fromarray(image(7, 24, 40)), "JPEG"),
    ]
    files = []
    for sample, form in images:
        buffer = io.BytesIO()
        sample.save(buffer, form)
        files.append(buffer.getvalue())
    outputs = tf.saved_model.load(str(report.folder)).signatures["serving_bytes"](encoded=tf.constant(files))
    for file, png in zip(files, outputs["mask_png_bytes"].numpy(), strict=True):
        decoded = np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
        mask = Image.open(io.BytesIO(png))
        assert mask.mode == "L"
        np.testing.assert_array_equal(mask, probabilities(model, decoded[None]).argmax(-1)[0])


def test_tflite_has_fixed_size_float32_and_builtin_operations(model, report):
    names = operations(report.tflite.read_bytes())
    assert names == ("MUL", "ADD", "CONV_2D", "MUL", "ADD", "CONV_2D", "CONV_2D", "RESIZE_BILINEAR", "SOFTMAX")
    interpreter = Interpreter(model_path=str(report.tflite))
    assert interpreter.get_signature_list() == {"probabilities": {"inputs": ["image"], "outputs": ["probabilities"]}}
    details = [*interpreter.get_input_details(), *interpreter.get_output_details()]
    assert [(detail["dtype"], detail["shape_signature"].tolist()) for detail in details] == [
        (np.float32, [1, 32, 48, 3]),
        (np.float32, [1, 32, 48, 3]),
    ]
    batch = image(8, 32, 48)[None].astype(np.float32)
    found = interpreter.get_signature_runner("probabilities")(image=batch)["probabilities"]
    np.testing.assert_allclose(found, probabilities(model, batch), atol=1e-5)


def test_labels_are_part_of_both_artifacts(report):
    expected = {
        "names": ["class0", "class1", "class2"],
        "ignore": 255,
        "colors": [[0, 0, 0], [128, 0, 0], [0, 128, 0]],
    }
    assert json.loads((report.folder / "labels.json").read_text()) == expected
    with zipfile.ZipFile(report.tflite) as archive:
        assert json.loads(archive.read("labels.json")) == expected


def test_tflite_can_be_left_out(tmp_path):
    report = export(constant([1.0, 2.0]), labels(2), tmp_path, "toy", spec=Export(tflite=None), images=[image()])
    assert report.tflite is None
    assert [one.artifact for one in report.comparisons] == ["SavedModel"]
    assert not list(report.folder.rglob("*.tflite"))


def test_next_version_leaves_earlier_ones_unchanged(report, tmp_path):
    """Only `examples` images are compared, and the size of the TFLite file is that of the first."""
    shutil.copytree(report.folder, tmp_path / "toy" / "7")
    (tmp_path / "toy" / "notes").mkdir()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    images = [image(seed, 21, 34) for seed in range(3)]
    later = export(constant([1.0, 2.0]), labels(2), tmp_path, "toy", spec=Export(examples=1), images=images)
    assert (later.folder.name, later.tflite.name) == ("8", "toy_float32_21x34.tflite")
    assert [one.images for one in later.comparisons] == [1 + 2 + 3, 1]
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {path: content for path, content in after.items() if later.folder not in path.parents} == before


@pytest.mark.first_cases(2)
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_serving_bytes_applies_exif_orientation(report, model, tmp_path, orientation):
    """`predict` and training do the same. All three ignore the orientation of PNG files."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    serve = tf.saved_model.load(str(report.folder)).signatures["serving_bytes"]
    for kind in ("JPEG", "PNG"):
        path = tmp_path / f"photograph.{kind.lower()}"
        Image.fromarray(image(3, 16, 24)).save(path, kind, exif=exif)
        sample = np.asarray(Image.open(path))
        upright = np.rot90(sample, {1: 0, 3: 2, 6: 3, 8: 1}[orientation]) if kind == "JPEG" else sample
        expected = probabilities(model, upright[None]).argmax(-1)[0]
        (png,) = serve(encoded=tf.constant([path.read_bytes()]))["mask_png_bytes"].numpy()
        np.testing.assert_array_equal(Image.open(io.BytesIO(png)), expected)
        np.testing.assert_array_equal(Predictor(model).predict(read_image(path, 3)), expected)


def test_unsupported_formats_are_rejected(report):
    serve = tf.saved_model.load(str(report.folder)).signatures["serving_bytes"]
    buffer = io.BytesIO()
    Image.fromarray(image()).save(buffer, "WEBP")
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"the image is a WebP file\. Expected PNG"):
        serve(encoded=tf.constant([buffer.getvalue()]))


def test_inference_size_is_part_of_the_artifacts(model, tmp_path):
    """Artifacts resize images of any size, and the probabilities back, as the predictor does."""
    images = [image(0), image(1, 33, 64)]
    report = export(model, labels(), tmp_path, "toy", spec=Export(), images=images, inference_size=(16, 24))
    assert report.tflite.name == "toy_float32_16x24.tflite"
    expected = Predictor(model, (16, 24))
    served, lite = Predictor.open(report.folder), Predictor.open(report.tflite)
    signatures = tf.saved_model.load(str(report.folder)).signatures
    for sample in images:
        for found in (served, lite):
            np.testing.assert_allclose(found.probabilities(sample), expected.probabilities(sample), atol=1e-5)
            np.testing.assert_array_equal(found.predict(sample), expected.predict(sample))
        png = signatures["serving_bytes"](encoded=[tf.io.encode_png(sample)])["mask_png_bytes"][0]
        np.testing.assert_array_equal(tf.io.decode_png(png)[..., 0], expected.predict(sample))
        confidence = signatures["serving_default"](image=sample[None])["confidence"][0]
        np.testing.assert_allclose(confidence, expected.probabilities(sample).max(-1), atol=1e-5)
    assert np.any(expected.predict(images[1]) != Predictor(model).predict(images[1]))


@pytest.mark.parametrize("channels", [2, 4, 6])
def test_other_channel_counts(tmp_path, channels):
    """Files of numbers of channels that JPEG and PNG do not have are `.npy`."""
    model, sample = network(channels=channels), image(channels=channels)
    report = export(model, labels(), tmp_path, "toy", spec=Export(), images=[sample])
    signatures = tf.saved_model.load(str(report.folder)).signatures
    assert all(one.wrong == 0 for one in report.comparisons)
    assert report.comparisons[0].images == 5, "two of them are files"
    assert signatures["serving_default"].structured_input_signature[1]["image"].shape.as_list()[-1] == channels
    file = io.BytesIO()
    np.save(file, sample)
    (png,) = signatures["serving_bytes"](encoded=[file.getvalue()])["mask_png_bytes"]
    np.testing.assert_array_equal(tf.io.decode_png(png)[..., 0], Predictor(model).predict(sample))
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"the image has 3 channels. Expected {channels}"):
        signatures["serving_bytes"](encoded=[tf.io.encode_jpeg(image()).numpy()])


def test_more_than_256_classes_make_16_bit_masks(tmp_path):
    scores = np.zeros(300, np.float32)
    scores[299] = 5
    report = export(constant(scores), labels(300), tmp_path, "toy", spec=Export(tflite=None), images=[image()])
    signatures = tf.saved_model.load(str(report.folder)).signatures
    mask = signatures["serving_default"](image=image()[None])["mask"]
    assert (mask.dtype, np.unique(mask).tolist()) == (tf.uint16, [299])
    png = signatures["serving_bytes"](encoded=[tf.io.encode_png(image())])["mask_png_bytes"][0]
    assert np.unique(tf.io.decode_png(png, dtype=tf.uint16)).tolist() == [299]


def test_256_classes_make_8_bit_masks(tmp_path):
    report = export(constant(np.arange(256)), labels(256), tmp_path, "toy", spec=Export(tflite=None), images=[image()])
    mask = tf.saved_model.load(str(report.folder)).signatures["serving_default"](image=image()[None])["mask"]
    assert (mask.dtype, np.unique(mask).tolist()) == (tf.uint8, [255])


def test_ties_are_not_errors(tmp_path):
    """The classes of an untrained network may have equal probabilities. Artifacts may break these ties in any way."""
    report = export(constant([0.0, 0.0]), labels(2), tmp_path, "toy", spec=Export(), images=[image()])
    assert [one.wrong for one in report.comparisons] == [0, 0]


@pytest.fixture(params=["mixed_float16", "mixed_bfloat16", "float16"])
def half(request):
    keras.config.set_dtype_policy(request.param)
    yield network()
    keras.config.set_dtype_policy("float32")


@pytest.mark.first_cases(1)
def test_half_precision_is_exported_in_float32(half, tmp_path):
    policy = keras.config.dtype_policy().name
    single = in_float32(half)
    assert keras.config.dtype_policy().name == policy != "float32"
    assert "float32" not in {layer.compute_dtype for layer in half.layers[1:-1]}
    assert {layer.compute_dtype for layer in single.layers} == {"float32"}
    assert {weight.dtype for weight in single.weights} == {"float32"}
    np.testing.assert_allclose(probabilities(single, image()[None]), probabilities(half, image()[None]), atol=3e-2)
    write_tflite(single, tmp_path / "single.tflite", (8, 8))
    assert "CAST" not in operations((tmp_path / "single.tflite").read_bytes())


def test_export_converts_to_float32(tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    model = network()
    keras.config.set_dtype_policy("float32")
    report = export(model, labels(), tmp_path, "toy", spec=Export(), images=[image()])
    found = tf.saved_model.load(str(report.folder)).signatures["probabilities"](image=image()[None])["probabilities"]
    np.testing.assert_allclose(found, probabilities(in_float32(model), image()[None]), atol=1e-6)


def test_float32_model_is_not_copied(model):
    assert in_float32(model) is model


def test_saved_model_runs_without_tfseg_and_keras(model, report):
    program = f"""
        import sys
        for name in ("tfseg", "keras", "tf_keras"):
            sys.modules[name] = None
        import numpy, tensorflow
        loaded = tensorflow.saved_model.load({str(report.folder)!r})
        outputs = loaded.signatures["serving_default"](image=tensorflow.zeros((1, 11, 13, 3), tensorflow.uint8))
        print(outputs["mask"].numpy().tolist())
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    expected = probabilities(model, np.zeros((1, 11, 13, 3))).argmax(-1)
    np.testing.assert_array_equal(json.loads(done.stdout), expected)


def test_export_is_fast_and_prints_nothing(tmp_path, capfd):
    start = time.monotonic()
    export(network(), labels(), tmp_path, "toy", spec=Export(), images=[image()])
    assert time.monotonic() - start < 60
    assert capfd.readouterr() == ("", "")
