"""Statistics that are measured again, against NumPy."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.training import toy
from tfseg.errors import RunError
from tfseg.spec.problems import SpecError
from tfseg.training import Training, estimate_batch_norm

IMAGES = toy.pictures(12)[0]
BATCHES = (IMAGES[:4], IMAGES[4:8], IMAGES[8:])


def spoilt(model: keras.Model) -> keras.Model:
    """With statistics that have nothing to do with any image."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(np.full(layer.moving_mean.shape, 7.0))
            layer.moving_variance.assign(np.full(layer.moving_variance.shape, 9.0))
    return model


def by_hand(values: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Means, and E[x^2] - E[x]^2 times m / (m - 1), of each batch; averaged."""
    flat = [batch.reshape(-1, batch.shape[-1]).astype(np.float64) for batch in values]
    means = [batch.mean(0) for batch in flat]
    variances = [((batch**2).mean(0) - batch.mean(0) ** 2) * len(batch) / (len(batch) - 1) for batch in flat]
    return np.mean(means, 0), np.mean(variances, 0)


def test_averages_of_batches() -> None:
    model = spoilt(toy.network())
    before = keras.Model(model.input, model.get_layer("conv").output)
    mean, variance = by_hand([before(batch).numpy() for batch in BATCHES])
    assert estimate_batch_norm(model, BATCHES) == 1
    norm = model.get_layer("norm")
    np.testing.assert_allclose(norm.moving_mean.numpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(norm.moving_variance.numpy(), variance, rtol=1e-5)


def test_a_map_of_one_place_counts_its_batch() -> None:
    """m is 4 there, and m / (m - 1) a third more: the fully connected layers of DeconvNet at 7x7."""
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(5, 8, name="fc6")(image)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(name="fc6_norm")(x))
    model = keras.Model(image, keras.layers.BatchNormalization(name="second")(keras.layers.Conv2D(2, 1)(x)))
    fc6 = keras.Model(image, model.get_layer("fc6").output)
    mean, variance = by_hand([fc6(batch).numpy() for batch in BATCHES])
    assert estimate_batch_norm(spoilt(model), BATCHES) == 2
    np.testing.assert_allclose(model.get_layer("fc6_norm").moving_mean.numpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(model.get_layer("fc6_norm").moving_variance.numpy(), variance, rtol=1e-5)
    plain = np.mean([fc6(batch).numpy().reshape(4, 5).var(0) for batch in BATCHES], 0)
    np.testing.assert_allclose(variance, plain * 4 / 3, rtol=1e-5)


def test_later_layers_see_what_training_shows_them() -> None:
    """Earlier layers normalize by the statistics of the batch, not by those that are being replaced."""
    model = spoilt(toy.several())
    model = keras.Model(model.input, model.output["aux_side"])
    inner = keras.Model(model.input, model.get_layer("side").output)
    mean, variance = by_hand([inner(batch, training=True).numpy() for batch in BATCHES])
    spoilt(model)
    estimate_batch_norm(model, BATCHES)
    np.testing.assert_allclose(model.get_layer("side_norm").moving_mean.numpy(), mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.get_layer("side_norm").moving_variance.numpy(), variance, rtol=1e-4)


def test_layers_that_do_not_learn_keep_theirs() -> None:
    model = spoilt(toy.network())
    model.get_layer("norm").trainable = False
    assert estimate_batch_norm(model, BATCHES) == 0
    assert set(model.get_layer("norm").moving_mean.numpy()) == {7.0}


def test_a_layer_that_is_used_twice_and_one_inside_another() -> None:
    norm = keras.layers.BatchNormalization(name="norm")
    image = keras.Input((None, None, 3), name="image")
    part = keras.Sequential([keras.Input((None, None, 3)), norm], name="part")
    model = keras.Model(image, keras.layers.Concatenate()([part(image), part(keras.layers.Rescaling(2.0)(image))]))
    images = [batch.astype(np.float32) for batch in BATCHES]
    mean, variance = by_hand([value for batch in images for value in (batch, 2 * batch)])
    assert estimate_batch_norm(spoilt(model), images) == 1
    np.testing.assert_allclose(norm.moving_mean.numpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(norm.moving_variance.numpy(), variance, rtol=1e-5)


def test_the_network_is_as_before_otherwise() -> None:
    """It can be called in a graph and saved, and after an error its statistics are the old ones."""
    model = spoilt(toy.network())

    def failing():
        yield BATCHES[0]
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        estimate_batch_norm(model, failing())
    assert set(model.get_layer("norm").moving_mean.numpy()) == {7.0}
    assert "call" not in vars(model.get_layer("norm"))
    assert tf.function(model)(IMAGES).shape == (12, 8, 8, 3)


def test_without_any_batch() -> None:
    with pytest.raises(RunError) as caught:
        estimate_batch_norm(toy.network(), ())
    assert str(caught.value) == (
        "the statistics of norm cannot be measured without any batch. Expected at least one batch of images"
    )


def test_refused_where_statistics_are_frozen() -> None:
    words = (
        "batch_norm_batches: averages the statistics of batch normalization anew, which batch_norm: frozen keeps as "
        "they are. Received: batch_norm_batches=5, batch_norm=frozen. Leave out one of the two"
    )
    with pytest.raises(SpecError, match=re.escape(words)):
        Training(batch_norm="frozen", batch_norm_batches=5)
