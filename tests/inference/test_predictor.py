"""One network, four ways to hold it: they give the same masks, at the image's own size."""

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


def test_says_what_the_model_says(predictor, model):
    picture = image(1, 24, 32)
    expected = probabilities(model, picture[None])[0]
    np.testing.assert_allclose(predictor.probabilities(picture), expected, atol=1e-5)
    np.testing.assert_array_equal(predictor.predict(picture), expected.argmax(-1))
    batch = np.stack([picture, image(2, 24, 32)])
    np.testing.assert_array_equal(predictor.masks(batch), probabilities(model, batch).argmax(-1))
    assert (predictor.classes, predictor.channels) == (3, 3)


@pytest.mark.parametrize("size", [(1, 1), (7, 45), (33, 64)])
def test_masks_have_the_size_of_the_image(predictor, size):
    mask, scores = predictor.predict(image(3, *size)), predictor.probabilities(image(3, *size))
    assert (mask.shape, mask.dtype, scores.shape, scores.dtype) == (size, np.uint8, (*size, 3), np.float32)
    np.testing.assert_allclose(scores.sum(-1), 1, atol=1e-5)


def test_only_the_size_that_a_tflite_file_has_is_exact(files, model):
    """Other sizes are seen resized to it: the mask of a smooth picture is nearly that of the network at full size."""
    predictor = Predictor.open(files["tflite"])
    rows, columns = np.mgrid[0:48, 0:64]
    smooth = np.stack([rows * 5, columns * 4, rows * 2 + columns], -1).astype(np.uint8)
    half = smooth.reshape(24, 2, 32, 2, 3).mean((1, 3))
    expected = tf.image.resize(probabilities(model, np.rint(half)[None]), (48, 64))[0]
    np.testing.assert_allclose(predictor.probabilities(smooth), expected, atol=0.02)
    np.testing.assert_array_equal(predictor.predict(smooth), predictor.probabilities(smooth).argmax(-1))


@settings(max_examples=20, deadline=None)
@given(height=st.integers(1, 70), width=st.integers(1, 70), seed=st.integers(0, 99))
def test_any_size_through_one_graph(model, height, width, seed):
    picture = image(seed, height, width)
    expected = probabilities(model, picture[None])[0].argmax(-1)
    np.testing.assert_array_equal(Predictor(model).predict(picture), expected)


def test_no_graph_is_traced_anew_for_another_size():
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


def test_a_model_of_one_size_is_served_like_a_tflite_file():
    inputs = keras.Input((16, 16, 1), name="image")
    flat = keras.layers.Flatten()(keras.layers.Conv2D(2, 3, padding="same")(inputs))
    predictor = Predictor(keras.Model(inputs, keras.layers.Reshape((16, 16, 2), name="logits")(flat)))
    assert predictor.predict(image(0, 30, 20, 1)).shape == (30, 20)


def test_more_than_256_classes_need_16_bits():
    scores = np.zeros(300, np.float32)
    scores[299] = 1
    mask = Predictor(constant(scores)).predict(image())
    assert (mask.dtype, np.unique(mask).tolist()) == (np.uint16, [299])


def test_the_classes_come_along(files):
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
        assert refusal(files["keras"]).startswith(f"{beside}: is not a valid labels file (Expecting value: line 1")
    finally:
        beside.unlink()
    assert str(error.value) == (
        f"{beside}: is not a valid labels file (names: Tuple should have at least 2 items after validation, not 1). "
        "Expected JSON with `names`, `ignore` and `colors`, as `tfseg fit` writes labels.json."
    )


def test_a_tflite_file_with_other_files_attached(files, tmp_path):
    bare = tmp_path / "bare.tflite"
    bare.write_bytes(files["tflite"].read_bytes())
    with zipfile.ZipFile(bare, "a") as archive:  # a later directory, which has all names
        archive.writestr("notes.txt", "mine")
    assert Predictor.open(bare).labels == Predictor.open(files["tflite"]).labels
    with zipfile.ZipFile(files["tflite"]) as archive:
        network = files["tflite"].read_bytes()[: archive.infolist()[0].header_offset]
    bare.write_bytes(network)
    with zipfile.ZipFile(bare, "a") as archive:
        archive.writestr("notes.txt", "mine")
    assert Predictor.open(bare).labels is None


@pytest.mark.parametrize(
    ("picture", "received"),
    [
        (image().astype(np.float32), "float32 [40, 52, 3]"),
        (image(channels=1), "uint8 [40, 52, 1]"),
        (image()[..., 0], "uint8 [40, 52]"),
    ],
)
def test_wrong_arrays_are_refused(model, picture, received):
    text = f"Expected images as uint8 [height, width, 3], 0 to 255. Received: {received}"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        Predictor(model).predict(picture)


MODELS = "a run directory, a .keras file, a SavedModel folder or a .tflite file"


def refusal(path):
    with pytest.raises(RunError) as error:
        Predictor.open(path)
    return str(error.value)


def test_a_missing_model_is_named(tmp_path):
    path = tmp_path / "none.keras"
    assert refusal(path) == f"{path}: no such model. Expected {MODELS}."


def test_what_is_no_model_is_named(tmp_path):
    words = f"{tmp_path}: is no model that tfseg can run. Expected {MODELS}."
    assert refusal(tmp_path) == words
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").touch()
    assert refusal(tmp_path) == f"{words} Did you mean {tmp_path}/1?"


@pytest.mark.parametrize("content", [b"", b"not a zip archive", b"PK\x03\x04 half"])
def test_a_broken_keras_file_is_named(tmp_path, content):
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    text = refusal(path)
    assert text.startswith(f"{path}: Keras cannot read it as a model: ")
    assert text.endswith(
        ": Keras cannot read it as a model: it is no whole zip archive, as such files are. Expected a .keras file as "
        "`tfseg fit` writes it."
    )


def damaged(content: bytes, number: int) -> bytes:
    """Cut off, or with some of its bytes replaced."""
    random = np.random.default_rng(number)
    if number % 3 == 0:
        return content[: random.integers(len(content))]
    found = np.frombuffer(content, np.uint8).copy()
    found[random.integers(len(found), size=1 + number % 7)] = random.integers(256, size=1 + number % 7)
    return found.tobytes()


@pytest.mark.parametrize("kind", ["keras", "pb", "index", "tflite"])
def test_whatever_is_damaged_is_refused_in_words(kind, files, tmp_path):
    """Or does no harm, where it hits nothing that is read."""
    folder = shutil.copytree(files["keras"].parent, tmp_path / "copy")
    whole = next(folder.rglob(f"*.{kind}"))
    content, refused = whole.read_bytes(), 0
    for number in range(30):
        whole.write_bytes(damaged(content, number))
        try:
            Predictor.open(whole if kind in ("keras", "tflite") else folder / "toy" / "1")
        except RunError as error:
            refused += 1
            assert str(error).endswith("writes it.") or str(error).endswith("write them.")
    assert refused >= 5


def test_damaged_labels_in_a_tflite_file_are_named(files, tmp_path):
    path = tmp_path / "a.tflite"
    content = files["tflite"].read_bytes()
    path.write_bytes(content.replace(b'"names"', b'"nemas"', 1))
    text = refusal(path)
    assert text.startswith(f"{path}: the labels at its end are damaged (Bad CRC-32")
    assert text.endswith("). Expected a file as `tfseg export` writes it.")


@pytest.mark.parametrize("content", [b"", b"not a flatbuffer at all, but long enough to be one"])
def test_a_broken_tflite_file_is_named(tmp_path, content):
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    text = refusal(path)
    assert text.startswith(f"{path}: cannot be run as a TFLite file (")
    assert text.endswith("). Expected the signature `probabilities` of an `image`, as `tfseg export` writes it.")


def test_a_tflite_file_of_another_maker_is_named(tmp_path):
    converter = tf.lite.TFLiteConverter.from_keras_model(
        keras.Sequential([keras.Input((4, 4, 3)), keras.layers.ReLU()])
    )
    path = tmp_path / "foreign.tflite"
    path.write_bytes(converter.convert())
    assert refusal(path).startswith(f"{path}: cannot be run as a TFLite file (Invalid signature_key provided")


def test_a_saved_model_of_another_maker_is_named(model, tmp_path):
    model.export(tmp_path / "foreign", verbose=False)
    assert refusal(tmp_path / "foreign") == (
        f"{tmp_path}/foreign: is a SavedModel with the signatures ['serve', 'serving_default']. Expected "
        "`serving_default` and `probabilities` of an `image`, as `tfseg export` writes them."
    )


def test_a_broken_saved_model_is_named(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"half")
    text = refusal(tmp_path)
    assert text.startswith(f"{tmp_path}: TensorFlow cannot read it as a SavedModel: ")
    assert text.endswith(". Expected a folder as `tfseg export` writes it.")
