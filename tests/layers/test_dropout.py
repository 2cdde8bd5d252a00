"""Monte Carlo dropout: the samples, and saved, exported and converted models."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.checks import run_tflite, tflite
from tfseg.layers import McDropout

ONES = np.ones((4, 32, 32, 8), "float32")


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_is_applied_at_inference(rate: float) -> None:
    for actual in (McDropout(rate)(ONES), McDropout(rate)(ONES, training=False)):
        values = np.asarray(actual)
        assert np.mean(values == 0) == pytest.approx(rate, abs=0.02)
        np.testing.assert_allclose(values[values != 0], 1 / (1 - rate), rtol=1e-6)


def test_dropout_is_applied_in_predict() -> None:
    model = keras.Sequential([keras.Input((None, None, 8)), McDropout(0.5)])
    one, other = (model.predict(ONES, verbose=0) for _ in range(2))
    assert np.mean(one == 0) == pytest.approx(0.5, abs=0.02)
    assert np.mean(one == other) == pytest.approx(0.5, abs=0.02)  # independent samples


def test_mean_of_the_samples_is_the_input() -> None:
    samples = [np.asarray(McDropout(0.5, seed=seed)(ONES)) for seed in range(64)]
    np.testing.assert_allclose(np.mean(samples, axis=0), 1, atol=6 / np.sqrt(64))
    assert np.mean(samples) == pytest.approx(1, abs=0.01)


def test_always_on_false_is_ordinary_dropout() -> None:
    layer = McDropout(0.5, always_on=False)
    np.testing.assert_array_equal(layer(ONES), ONES)
    assert np.mean(np.asarray(layer(ONES, training=True)) == 0) == pytest.approx(0.5, abs=0.02)


def test_equal_seeds_give_equal_sequences() -> None:
    one, other, third = McDropout(0.5, seed=3), McDropout(0.5, seed=3), McDropout(0.5, seed=4)
    first = one(ONES)
    np.testing.assert_array_equal(first, other(ONES))
    np.testing.assert_array_equal(one(ONES), other(ONES))
    assert np.any(np.asarray(third(ONES)) != first)
    assert np.any(np.asarray(one(ONES)) != first)


def test_noise_shape_drops_whole_feature_maps() -> None:
    values = np.asarray(McDropout(0.5, noise_shape=(None, 1, 1, None), seed=0)(ONES))
    assert np.all(values == values[:, :1, :1])
    assert {0.0, 2.0} == set(np.unique(values))


def network(always_on: bool, batch: int = 4) -> keras.Model:
    image = keras.Input((32, 32, 8), batch)
    return keras.Model(image, McDropout(0.5, always_on, seed=1)(image))


def test_saved_model_samples_and_restarts_when_loaded(tmp_path: Path) -> None:
    network(True).export(tmp_path / "exported", verbose=False)
    runs = []
    for _ in range(2):
        loaded = tf.saved_model.load(str(tmp_path / "exported"))
        runs.append([np.asarray(loaded.serve(ONES)) for _ in range(2)])
    assert np.mean(runs[0][0] == 0) == pytest.approx(0.5, abs=0.02)
    assert np.any(runs[0][0] != runs[0][1])
    np.testing.assert_array_equal(runs[0], runs[1])


def test_keras_file_keeps_dropout_on(tmp_path: Path) -> None:
    network(True).save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert np.mean(again.predict(ONES, verbose=0) == 0) == pytest.approx(0.5, abs=0.02)


def test_tflite_rejects_always_on_and_omits_it_otherwise() -> None:
    with pytest.raises(Exception, match=r"(?i)flex|custom|Select TF"):
        tflite(network(True))
    one = ONES[:1]  # the converter of TensorFlow 2.20 sets the batch size to 1
    (actual,), names = run_tflite(tflite(network(False, batch=1)), [one])
    np.testing.assert_array_equal(actual, one)
    assert not names
