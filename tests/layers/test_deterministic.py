"""Networks with Monte Carlo dropout and their deterministic copies."""

import keras
import numpy as np

from tfseg.layers import McDropout
from tfseg.layers.deterministic import deterministic

X = np.random.default_rng(0).normal(size=(2, 5, 6, 3)).astype(np.float32)


def test_model_without_monte_carlo_dropout_is_returned_unchanged() -> None:
    image = keras.Input((None, None, 3))
    for layer in (keras.layers.Conv2D(2, 1), keras.layers.Dropout(0.5), McDropout(0.5, always_on=False)):
        model = keras.Model(image, layer(image))
        assert deterministic(model) is model


def test_copy_has_the_same_weights_and_no_dropout_at_inference() -> None:
    image = keras.Input((None, None, 3))
    inner = keras.Sequential([keras.Input((None, None, 4)), McDropout(0.9, name="deep"), keras.layers.ReLU()])
    conv, score = keras.layers.Conv2D(4, 3, name="conv"), keras.layers.Conv2D(2, 1, name="score")
    model = keras.Model(image, score(inner(McDropout(0.9, name="drop")(conv(image)))))
    copy = deterministic(model)
    assert [layer.name for layer in copy.layers] == [layer.name for layer in model.layers]
    expected = score(keras.ops.relu(conv(X)))
    np.testing.assert_allclose(copy(X), expected, atol=1e-6)
    assert np.any(np.asarray(model(X)) != np.asarray(expected))  # the original model is unchanged
    assert copy.get_layer("drop").rate == 0.9
    assert np.any(np.asarray(copy(X, training=True)) != np.asarray(expected))
