"""Prediction from images of more than 8 bits."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.exporting.toys import network
from tfseg.data import Data, Folder
from tfseg.errors import DataError, RunError
from tfseg.images import EIGHT_BITS, ImageValues
from tfseg.inference import Crf, Ensemble, Predictor, Proposals, predict_files, read_image
from tfseg.inference.engines import KerasEngine
from tfseg.labels import Labels
from tfseg.runs.evaluate import check_values

DEEP = ImageValues("uint16", (1000, 52000))
SIGNED = ImageValues("int16", (-500, 500))


@pytest.fixture(scope="module")
def model():
    return network()


def predictor(model, values, **options):
    return Predictor(KerasEngine(model, values=values), **options)


def drawn(values, height=20, width=30):
    limits = np.iinfo(values.dtype)
    return np.random.default_rng(0).integers(limits.min, limits.max, (height, width, 3), values.dtype, endpoint=True)


def expected(model, image, values):
    """Computes the probabilities from the image mapped in float64."""
    low, high = values.value_range
    mapped = np.clip((image.astype(np.float64) - low) * 255 / (high - low), 0, 255)
    return tf.nn.softmax(model(mapped[None].astype(np.float32), training=False))[0].numpy()


@pytest.mark.parametrize("values", [DEEP, SIGNED])
def test_prediction_is_that_of_the_mapped_image(model, values):
    image = drawn(values)
    probabilities = expected(model, image, values)
    np.testing.assert_allclose(predictor(model, values).probabilities(image), probabilities, atol=1e-5)
    np.testing.assert_array_equal(predictor(model, values).predict(image), probabilities.argmax(-1))


def test_resized_images_are_rounded_in_their_own_dtype(model):
    image = np.array([[0, 30001, 30000, 60000]] * 2, np.uint16)[..., None].repeat(3, 2)
    half = np.array([[15000, 45000]], np.uint16)[..., None].repeat(3, 2)  # the mean 15000.5 is rounded to even
    found = predictor(model, DEEP, size=(1, 2)).probabilities(image)
    resized = tf.image.resize(expected(model, half, DEEP), (2, 4))
    np.testing.assert_allclose(found, resized, atol=1e-5)


def test_crf_takes_the_image_as_it_is_shown(model):
    crf = Crf(parameters="deeplab_v1_largefov", iterations=2)
    image = drawn(DEEP)
    probabilities = predictor(model, DEEP).probabilities(image)
    refined = crf(probabilities[None], DEEP.shown(image)[None])[0]
    np.testing.assert_array_equal(predictor(model, DEEP, crf=crf).probabilities(image), refined)


def test_arrays_of_other_dtypes_are_refused(model):
    for image in (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.float32)):
        with pytest.raises(ValueError) as error:
            predictor(model, DEEP).predict(image)
        assert str(error.value) == f"Expected images as uint16 [height, width, 3]. Received: {image.dtype} [4, 4, 3]"
    with pytest.raises(ValueError) as error:
        predictor(model, ImageValues("float32", (0, 1))).predict(np.full((4, 4, 3), np.nan, np.float32))
    assert str(error.value) == "Expected images of numbers. Received: float32 with NaN"


def test_settings_that_do_not_fit(model):
    with pytest.raises(RunError) as error:
        predictor(model, DEEP, proposals=Proposals())
    assert str(error.value) == (
        "inference.proposals: is not supported by a network that was trained with `data.value_range`, since boxes are "
        "padded with zeros. Set inference.proposals to null."
    )
    with pytest.raises(RunError) as error:
        predictor(model, DEEP, partner=(Ensemble(network=Path("b")), predictor(model, EIGHT_BITS)))
    assert str(error.value) == (
        "inference.ensemble.network: takes images of uint8. Expected those of the first network: uint16 from "
        "[1000, 52000]. Train both with the same `data.value_range` and dtype."
    )


def test_evaluation_on_other_values_is_refused(model):
    data = Data(source=Folder(), value_range=(0, 255), root=Path("none")).open(Labels(names=("a", "b")))
    data.values = ImageValues("uint16", (0, 255))
    with pytest.raises(RunError) as error:
        check_values(predictor(model, DEEP), Path("best.keras"), data)
    assert str(error.value) == (
        "best.keras: takes images of uint16 from [1000, 52000]. Received: images of uint16 from [0, 255]. Evaluate it "
        "with the `data.value_range` and the dtype of its training images."
    )


def test_files_are_read_with_their_own_values(model, tmp_path):
    image = drawn(DEEP)
    (tmp_path / "a.png").write_bytes(tf.io.encode_png(image).numpy())
    np.save(tmp_path / "b.npy", image)
    Image.fromarray(DEEP.shown(image)).save(tmp_path / "c.bmp")
    for name in ("a.png", "b.npy"):
        found = read_image(tmp_path / name, 3, DEEP)
        assert found.dtype == np.uint16
        np.testing.assert_array_equal(found, image)
    found = read_image(tmp_path / "c.bmp", 3, DEEP)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, DEEP.shown(image))
    written = list(predict_files(predictor(model, DEEP), tmp_path / "a.png", tmp_path / "out", overlay=True))
    np.testing.assert_array_equal(np.asarray(Image.open(written[0])), predictor(model, DEEP).predict(image))
    assert Image.open(written[1]).size == (30, 20)


def test_files_that_do_not_fit(tmp_path):
    (tmp_path / "a.png").write_bytes(tf.io.encode_png(drawn(DEEP)).numpy())
    np.save(tmp_path / "b.npy", np.full((2, 3, 3), np.nan, np.float32))
    Image.fromarray(drawn(DEEP)[..., 0]).save(tmp_path / "c.tif")
    problems = [
        ("a.png", SIGNED, ": has values of uint16. Expected int16, as in the training images. Convert the image."),
        ("b.npy", DEEP, ": contains float32 [2, 3, 3]. Expected uint16 [height, width, 3], the input of the model."),
        (
            "b.npy",
            ImageValues("float64", (0, 1)),
            ": contains values that are not a number (NaN). Expected numbers: replace these values.",
        ),
    ]
    for name, values, message in problems:
        with pytest.raises(DataError) as error:
            read_image(tmp_path / name, 3, values)
        assert str(error.value) == f"{tmp_path / name}{message}"
