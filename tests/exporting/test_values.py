"""Exports of networks for images of more than 8 bits, which map the values inside the graph."""

import io
import json

import numpy as np
import pytest
import tensorflow as tf

from tfseg.exporting import Export, Tflite, export
from tfseg.exporting.signatures import Signatures
from tfseg.exporting.verify import comparison_inputs
from tfseg.images import ImageValues
from tfseg.inference import Predictor

from .toys import labels, network

pytestmark = pytest.mark.usefixtures("one_isolated_worker")

DEEP = ImageValues("uint16", (1000.0, 52000.0))
FLOATS = ImageValues("float32", (-1.0, 1.0))


def drawn(values, seed=0, height=40, width=52):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3))
    return values.unmapped(image * 1.2 - 20)  # some values are clipped


def expected(model, image, values):
    low, high = values.value_range
    mapped = np.clip((image.astype(np.float64) - low) * 255 / (high - low), 0, 255)
    return tf.nn.softmax(model(mapped.astype(np.float32), training=False)).numpy()


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture(scope="module")
def report(model, tmp_path_factory):
    spec = Export(tflite=Tflite(size=(32, 48)), examples=1)
    folder = tmp_path_factory.mktemp("out")
    return export(model, labels(), folder, "deep", spec=spec, images=[drawn(DEEP)], values=DEEP)


def test_artifacts_take_values_of_the_files(model, report):
    """The comparison ran in a process that cannot import tfseg."""
    saved, tflite = report.comparisons
    assert (saved.images, saved.wrong, tflite.images, tflite.wrong) == (5, 0, 1, 0)
    image = drawn(DEEP, 1)
    signatures = tf.saved_model.load(str(report.folder)).signatures
    for name in ("serving_default", "probabilities"):
        assert signatures[name].structured_input_signature[1]["image"].dtype == tf.uint16
    found = signatures["probabilities"](image=tf.constant(image[None]))["probabilities"]
    np.testing.assert_allclose(found, expected(model, image[None], DEEP), atol=1e-5)
    masks = signatures["serving_bytes"](encoded=tf.constant([tf.io.encode_png(image).numpy()]))["mask_png_bytes"]
    mask = tf.io.decode_png(masks[0])[..., 0]
    np.testing.assert_array_equal(mask, expected(model, image[None], DEEP)[0].argmax(-1))


def test_values_are_part_of_both_artifacts(model, report):
    fields = json.loads((report.folder / "labels.json").read_text())
    assert (fields["dtype"], fields["value_range"]) == ("uint16", [1000, 52000])
    small = drawn(DEEP, 2, 32, 48)
    for path in (report.folder, report.tflite):
        predictor = Predictor.open(path)
        assert (predictor.values, predictor.labels.names) == (DEEP, labels().names)
        np.testing.assert_allclose(predictor.probabilities(small), expected(model, small[None], DEEP)[0], atol=1e-5)


def test_floats_are_exported_without_tflite(model, tmp_path):
    report = export(
        model, labels(), tmp_path, "floats", spec=Export(tflite=None), images=[drawn(FLOATS)], values=FLOATS
    )
    image = drawn(FLOATS, 3)
    signatures = tf.saved_model.load(str(report.folder)).signatures
    file = io.BytesIO()
    np.save(file, image)
    masks = signatures["serving_bytes"](encoded=tf.constant([file.getvalue()]))["mask_png_bytes"]
    exact = expected(model, image[None], FLOATS)[0].argmax(-1)
    np.testing.assert_array_equal(tf.io.decode_png(masks[0])[..., 0], exact)
    np.testing.assert_array_equal(signatures["serving_default"](image=tf.constant(image[None]))["mask"][0], exact)


def test_encoded_inputs_are_png_or_npy():
    deep, floats = (comparison_inputs([drawn(values)], 3, None) for values in (DEEP, FLOATS))
    assert bytes(deep["encoded/0"][:4]) == b"\x89PNG" and bytes(floats["encoded/1"][:6]) == b"\x93NUMPY"
    assert "encoded/2" not in deep


def test_resized_integers_are_rounded_before_the_mapping(model):
    image = np.array([[0, 30001, 30000, 60000]] * 2, np.uint16)[..., None].repeat(3, 2)[None]
    half = np.array([[15000, 45000]], np.uint16)[..., None].repeat(3, 2)[None]
    found = Signatures(model, size=(1, 2), values=DEEP).probabilities(tf.constant(image))["probabilities"]
    np.testing.assert_allclose(found, tf.image.resize(expected(model, half, DEEP), (2, 4)), atol=1e-5)


def test_images_of_another_dtype(model, tmp_path):
    with pytest.raises(ValueError) as error:
        export(model, labels(), tmp_path, "a", spec=Export(), images=[np.zeros((8, 8, 3), np.uint8)], values=DEEP)
    assert str(error.value) == (
        "Expected `images` to be one or more uint16 arrays [height, width, 3]. Received: images=['uint8 (8, 8, 3)']"
    )
