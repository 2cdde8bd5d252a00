"""Re-estimated batch normalization statistics, against NumPy."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.training import toy
from tfseg.errors import RunError
from tfseg.spec.problems import SpecError
from tfseg.training import Training, estimate_batch_norm

IMAGES = toy.examples(12)[0]
BATCHES = (IMAGES[:4], IMAGES[4:8], IMAGES[8:])


def with_wrong_statistics(model: keras.Model) -> keras.Model:
    """Sets all moving statistics to arbitrary values, and returns the model."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(np.full(layer.moving_mean.shape, 7.0))
            layer.moving_variance.assign(np.full(layer.moving_variance.shape, 9.0))
    return model


def by_hand(values: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the means, and E[x^2] - E[x]^2 times m / (m - 1), averaged over batches."""
    flat = [batch.reshape(-1, batch.shape[-1]).astype(np.float64) for batch in values]
    means = [batch.mean(0) for batch in flat]
    variances = [((batch**2).mean(0) - batch.mean(0) ** 2) * len(batch) / (len(batch) - 1) for batch in flat]
    return np.mean(means, 0), np.mean(variances, 0)


def test_statistics_are_averages_over_batches() -> None:
    model = with_wrong_statistics(toy.network())
    before = keras.Model(model.input, model.get_layer("conv").output)
    mean, variance = by_hand([before(batch).numpy() for batch in BATCHES])
    assert estimate_batch_norm(model, BATCHES) == 1
    norm = model.get_layer("norm")
    np.testing.assert_allclose(norm.moving_mean.numpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(norm.moving_variance.numpy(), variance, rtol=1e-5)


def test_feature_map_of_one_position() -> None:
    """Then m is the batch size 4, and m / (m - 1) is 4 / 3, as in the fully connected layers of DeconvNet."""
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(5, 8, name="fc6")(image)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(name="fc6_norm")(x))
    model = keras.Model(image, keras.layers.BatchNormalization(name="second")(keras.layers.Conv2D(2, 1)(x)))
    fc6 = keras.Model(image, model.get_layer("fc6").output)
    mean, variance = by_hand([fc6(batch).numpy() for batch in BATCHES])
    assert estimate_batch_norm(with_wrong_statistics(model), BATCHES) == 2
    np.testing.assert_allclose(model.get_layer("fc6_norm").moving_mean.numpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(model.get_layer("fc6_norm").moving_variance.numpy(), variance, rtol=1e-5)
    plain = np.mean([fc6(batch).numpy().reshape(4, 5).var(0) for batch in BATCHES], 0)
    np.testing.assert_allclose(variance, plain * 4 / 3, rtol=1e-5)


def test_later_layers_receive_training_activations() -> None:
    """Earlier layers normalize by batch statistics, not by moving statistics."""
    model = with_wrong_statistics(toy.network_with_outputs())
    model = keras.Model(model.input, model.output["aux_side"])
    inner = keras.Model(model.input, model.get_layer("side").output)
    mean, variance = by_hand([inner(batch, training=True).numpy() for batch in BATCHES])
    with_wrong_statistics(model)
    estimate_batch_norm(model, BATCHES)
    np.testing.assert_allclose(model.get_layer("side_norm").moving_mean.numpy(), mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.get_layer("side_norm").moving_variance.numpy(), variance, rtol=1e-4)


def test_frozen_layers_keep_their_statistics() -> None:
    model = with_wrong_statistics(toy.network())
    model.get_layer("norm").trainable = False
    assert estimate_batch_norm(model, BATCHES) == 0
    assert set(model.get_layer("norm").moving_mean.numpy()) == {7.0}


def test_shared_and_nested_layers() -> None:
    norm = keras.layers.BatchNormalization(name="norm")
    image = keras.Input((None, None, 3), name="image")
    part = keras.Sequential([keras.Input((None, None, 3)), norm], name="part")
    model = keras.Model(image, keras.layers.Concatenate()([part(image), part(keras.layers.Rescaling(2.0)(image))]))
    images = [batch.astype(np.float32) for batch in BATCHES]
    mean, variance = by_hand([value for batch in images for value in (batch, 2 * batch)])
    assert estimate_batch_norm(with_wrong_statistics(model), images) == 1
    np.testing.assert_allclose(norm.moving_mean.numpy(), mean, rtol=1e-5)
    np.testing.assert_allclose(norm.moving_variance.numpy(), variance, rtol=1e-5)


def test_network_is_otherwise_unchanged() -> None:
    """It can be called in a graph, and an error restores the statistics."""
    model = with_wrong_statistics(toy.network())

    def failing():
        yield BATCHES[0]
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        estimate_batch_norm(model, failing())
    assert set(model.get_layer("norm").moving_mean.numpy()) == {7.0}
    assert "call" not in vars(model.get_layer("norm"))
    assert tf.function(model)(IMAGES).shape == (12, 8, 8, 3)


def test_without_batches() -> None:
    with pytest.raises(RunError) as caught:
        estimate_batch_norm(toy.network(), ())
    assert str(caught.value) == (
        "the statistics of norm cannot be estimated without batches. Expected at least one batch of images"
    )


def test_frozen_batch_norm_is_rejected() -> None:
    message = (
        "batch_norm_batches: re-estimates batch normalization statistics, but training.batch_norm=frozen keeps them "
        "unchanged. Received: batch_norm_batches=5, batch_norm=frozen. Remove one of the two"
    )
    with pytest.raises(SpecError, match=re.escape(message)):
        Training(batch_norm="frozen", batch_norm_batches=5)
