"""Networks with dropout that stays on, and their twins without."""

import keras
import numpy as np

from tfseg.layers import McDropout
from tfseg.layers.deterministic import deterministic

X = np.random.default_rng(0).normal(size=(2, 5, 6, 3)).astype(np.float32)


def test_a_network_without_dropout_is_its_own_twin() -> None:
    image = keras.Input((None, None, 3))
    for layer in (keras.layers.Conv2D(2, 1), keras.layers.Dropout(0.5), McDropout(0.5, always_on=False)):
        model = keras.Model(image, layer(image))
        assert deterministic(model) is model


def test_the_twin_has_the_weights_and_no_dropout() -> None:
    image = keras.Input((None, None, 3))
    inner = keras.Sequential([keras.Input((None, None, 4)), McDropout(0.9, name="deep"), keras.layers.ReLU()])
    conv, score = keras.layers.Conv2D(4, 3, name="conv"), keras.layers.Conv2D(2, 1, name="score")
    model = keras.Model(image, score(inner(McDropout(0.9, name="drop")(conv(image)))))
    twin = deterministic(model)
    assert [layer.name for layer in twin.layers] == [layer.name for layer in model.layers]
    expected = score(keras.ops.relu(conv(X)))
    np.testing.assert_allclose(twin(X), expected, atol=1e-6)
    assert np.any(np.asarray(model(X)) != np.asarray(expected))  # the network itself is as it was
    assert twin.get_layer("drop").rate == 0.9
    assert np.any(np.asarray(twin(X, training=True)) != np.asarray(expected))
