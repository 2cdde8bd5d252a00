"""FixedScale: a constant, non-trainable weight per channel."""

import keras
import numpy as np

from tfseg.layers import FixedScale


def test_factor_is_a_non_trainable_weight_per_channel() -> None:
    image = keras.Input((None, None, 512))
    model = keras.Model(image, FixedScale(0.01)(image))
    assert model.count_params() == 512
    model.trainable = False
    model.trainable = True
    assert not model.trainable_weights
    np.testing.assert_allclose(model(np.ones((1, 1, 1, 512))), 0.01)


def test_factors_are_saved_with_the_weights() -> None:
    layer = FixedScale(1.0)
    layer.build((None, None, None, 2))
    layer.set_weights([np.array([2.0, 3.0])])
    np.testing.assert_array_equal(layer(np.ones((1, 1, 1, 2))), [[[[2.0, 3.0]]]])
