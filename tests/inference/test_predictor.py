"""`Predictor` of one network, given as a model and in three kinds of files."""

import json
import re
import shutil
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.exporting.toys import constant, image, labels, network
from tfseg.errors import RunError
from tfseg.exporting import Export, Tflite, export
from tfseg.inference import Predictor
from tfseg.labels import Labels

pytestmark = pytest.mark.usefixtures("one_isolated_worker")


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    model.save(folder / "model.keras")
    spec = Export(tflite=Tflite(size=(24, 32)))
    report = export(model, labels(), folder, "toy", spec=spec, images=[image()])
    return {"keras": folder / "model.keras", "saved": report.folder, "tflite": report.tflite}


@pytest.fixture(scope="module", params=["model", "keras", "saved", "tflite"])
def predictor(request, model, files):
    return Predictor(model) if request.param == "model" else Predictor.open(files[request.param])


def probabilities(model, images):
    return tf.nn.softmax(model(tf.cast(images, tf.float32), training=False)).numpy()


def test_outputs_are_those_of_the_model(predictor, model):
    sample = image(1, 24, 32)
    expected = probabilities(model, sample[None])[0]
    np.testing.assert_allclose(predictor.probabilities(sample), expected, atol=1e-5)
    np.testing.assert_array_equal(predictor.predict(sample), expected.argmax(-1))
    batch = np.stack([sample, image(2, 24, 32)])
    np.testing.assert_array_equal(predictor.masks(batch), probabilities(model, batch).argmax(-1))
    assert (predictor.classes, predictor.channels) == (3, 3)


@pytest.mark.parametrize("size", [(1, 1), (7, 45), (33, 64)])
def test_masks_have_the_size_of_the_image(predictor, size):
    mask, scores = predictor.predict(image(3, *size)), predictor.probabilities(image(3, *size))
    assert (mask.shape, mask.dtype, scores.shape, scores.dtype) == (size, np.uint8, (*size, 3), np.float32)
    np.testing.assert_allclose(scores.sum(-1), 1, atol=1e-5)


def test_images_are_resized_to_the_size_of_a_tflite_file(files, model):
    """The expected probabilities are those of the image at half its size, resized back."""
    predictor = Predictor.open(files["tflite"])
    rows, columns = np.mgrid[0:48, 0:64]
    smooth = np.stack([rows * 5, columns * 4, rows * 2 + columns], -1).astype(np.uint8)
    half = smooth.reshape(24, 2, 32, 2, 3).mean((1, 3))
    expected = tf.image.resize(probabilities(model, np.rint(half)[None]), (48, 64))[0]
    np.testing.assert_allclose(predictor.probabilities(smooth), expected, atol=0.02)
    np.testing.assert_array_equal(predictor.predict(smooth), predictor.probabilities(smooth).argmax(-1))


@settings(max_examples=20, deadline=None)
@given(height=st.integers(1, 70), width=st.integers(1, 70), seed=st.integers(0, 99))
def test_any_size(model, height, width, seed):
    sample = image(seed, height, width)
    expected = probabilities(model, sample[None])[0].argmax(-1)
    np.testing.assert_array_equal(Predictor(model).predict(sample), expected)


def test_graph_is_not_retraced_for_other_sizes():
    traces = []

    @keras.saving.register_keras_serializable(package="toys")
    class Counting(keras.layers.Layer):
        def call(self, x):
            traces.append(x.shape)
            return x

    predictor = Predictor(network(after=[Counting()]))
    traces.clear()
    for size in ((8, 9), (10, 11), (12, 13)):
        predictor.predict(image(0, *size))
    assert traces == [(None, None, None, 3)]


def test_model_with_a_fixed_input_size():
    inputs = keras.Input((16, 16, 1), name="image")
    flat = keras.layers.Flatten()(keras.layers.Conv2D(2, 3, padding="same")(inputs))
    predictor = Predictor(keras.Model(inputs, keras.layers.Reshape((16, 16, 2), name="logits")(flat)))
    assert predictor.predict(image(0, 30, 20, 1)).shape == (30, 20)


def test_more_than_256_classes_make_16_bit_masks():
    scores = np.zeros(300, np.float32)
    scores[299] = 1
    mask = Predictor(constant(scores)).predict(image())
    assert (mask.dtype, np.unique(mask).tolist()) == (np.uint16, [299])


def test_labels_are_read_from_file_or_folder(files):
    expected = Labels(names=("class0", "class1", "class2"), colors=((0, 0, 0), (128, 0, 0), (0, 128, 0)))
    assert Predictor.open(files["saved"]).labels == expected
    assert Predictor.open(files["tflite"]).labels == expected
    assert Predictor.open(files["keras"]).labels is None
    beside = files["keras"].with_name("labels.json")
    try:
        beside.write_text(json.dumps({"names": ["a", "b", "c"], "ignore": 7}))
        assert Predictor.open(files["keras"]).labels == Labels(names=("a", "b", "c"), ignore=7)
        beside.write_text('{"names": ["a"]}')
        with pytest.raises(RunError) as error:
            Predictor.open(files["keras"])
        beside.write_text("names:")
        assert error_of(files["keras"]).startswith(f"{beside}: is not a valid labels file (Expecting value: line 1")
    finally:
        beside.unlink()
    assert str(error.value) == (
        f"{beside}: is not a valid labels file (names: Tuple should have at least 2 items after validation, not 1). "
        "Expected JSON with `names`, and optionally `ignore` and `colors`, as `tfseg fit` writes labels.json."
    )


def test_tflite_file_with_other_associated_files(files, tmp_path):
    bare = tmp_path / "bare.tflite"
    bare.write_bytes(files["tflite"].read_bytes())
    with zipfile.ZipFile(bare, "a") as archive:  # appends a central directory with all names
        archive.writestr("notes.txt", "mine")
    assert Predictor.open(bare).labels == Predictor.open(files["tflite"]).labels
    with zipfile.ZipFile(files["tflite"]) as archive:
        network = files["tflite"].read_bytes()[: archive.infolist()[0].header_offset]
    bare.write_bytes(network)
    with zipfile.ZipFile(bare, "a") as archive:
        archive.writestr("notes.txt", "mine")
    assert Predictor.open(bare).labels is None


@pytest.mark.parametrize(
    ("sample", "received"),
    [
        (image().astype(np.float32), "float32 [40, 52, 3]"),
        (image(channels=1), "uint8 [40, 52, 1]"),
        (image()[..., 0], "uint8 [40, 52]"),
    ],
)
def test_invalid_images_are_rejected(model, sample, received):
    text = f"Expected images as uint8 [height, width, 3], 0 to 255. Received: {received}"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        Predictor(model).predict(sample)


MODELS = "a run directory, a .keras file, a SavedModel folder or a .tflite file"


def error_of(path):
    """Returns the message of the error that `Predictor.open` raises."""
    with pytest.raises(RunError) as error:
        Predictor.open(path)
    return str(error.value)


def test_missing_model(tmp_path):
    path = tmp_path / "none.keras"
    assert error_of(path) == f"{path}: no such model. Expected {MODELS}."


def test_path_that_is_not_a_model(tmp_path):
    message = f"{tmp_path}: is not a model that tfseg can run. Expected {MODELS}."
    assert error_of(tmp_path) == message
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").touch()
    assert error_of(tmp_path) == f"{message} Did you mean {tmp_path}/1?"


@pytest.mark.parametrize("content", [b"", b"not a zip archive", b"PK\x03\x04 half"])
def test_corrupt_keras_file(tmp_path, content):
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    assert error_of(path) == (
        f"{path}: Keras cannot load it: it is not a complete zip archive. Expected a .keras file written by `tfseg "
        "fit`."
    )


def corrupted(content: bytes, number: int) -> bytes:
    """Truncates the content, or replaces some of its bytes."""
    random = np.random.default_rng(number)
    if number % 3 == 0:
        return content[: random.integers(len(content))]
    found = np.frombuffer(content, np.uint8).copy()
    found[random.integers(len(found), size=1 + number % 7)] = random.integers(256, size=1 + number % 7)
    return found.tobytes()


@pytest.mark.parametrize("kind", ["keras", "pb", "index", "tflite"])
def test_corrupt_files_raise_run_error_or_are_harmless(kind, files, tmp_path):
    """Corrupt bytes that are not read raise no error."""
    folder = shutil.copytree(files["keras"].parent, tmp_path / "copy")
    file = next(folder.rglob(f"*.{kind}"))
    content, rejected = file.read_bytes(), 0
    for number in range(30):
        file.write_bytes(corrupted(content, number))
        try:
            Predictor.open(file if kind in ("keras", "tflite") else folder / "toy" / "1")
        except RunError as error:
            rejected += 1
            assert re.search("written by `tfseg (fit|export)`.$", str(error)), str(error)
    assert rejected >= 5


def test_corrupt_labels_in_a_tflite_file(files, tmp_path):
    path = tmp_path / "a.tflite"
    content = files["tflite"].read_bytes()
    path.write_bytes(content.replace(b'"names"', b'"nemas"', 1))
    text = error_of(path)
    assert text.startswith(f"{path}: its associated file labels.json is corrupt (Bad CRC-32")
    assert text.endswith("). Expected a file written by `tfseg export`.")


@pytest.mark.parametrize("content", [b"", b"not a flatbuffer at all, but long enough to be one"])
def test_corrupt_tflite_file(tmp_path, content):
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    text = error_of(path)
    assert text.startswith(f"{path}: cannot be run as a TFLite file (")
    assert text.endswith(
        "). Expected the signature `probabilities` with the input `image`, as written by `tfseg export`."
    )


def test_tflite_file_with_other_signatures(tmp_path):
    converter = tf.lite.TFLiteConverter.from_keras_model(
        keras.Sequential([keras.Input((4, 4, 3)), keras.layers.ReLU()])
    )
    path = tmp_path / "foreign.tflite"
    path.write_bytes(converter.convert())
    assert error_of(path).startswith(f"{path}: cannot be run as a TFLite file (Invalid signature_key provided")


def test_saved_model_with_other_signatures(model, tmp_path):
    model.export(tmp_path / "foreign", verbose=False)
    assert error_of(tmp_path / "foreign") == (
        f"{tmp_path}/foreign: is a SavedModel with the signatures ['serve', 'serving_default']. Expected "
        "`serving_default` and `probabilities` with the input `image`, as written by `tfseg export`."
    )


def test_corrupt_saved_model(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"half")
    text = error_of(tmp_path)
    assert text.startswith(f"{tmp_path}: TensorFlow cannot load it as a SavedModel: ")
    assert text.endswith(". Expected a folder written by `tfseg export`.")
