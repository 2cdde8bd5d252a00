"""Arguments and output shapes of Caffe's pooling layers; `tests/ops` checks their values."""

import re

import keras
import numpy as np
import pytest

from tfseg.layers import CaffeAveragePooling2D, CaffeMaxPooling2D

KINDS = [CaffeMaxPooling2D, CaffeAveragePooling2D]


@pytest.mark.parametrize("kind", KINDS)
def test_strides_default_to_the_pool_size(kind: type[keras.layers.Layer]) -> None:
    assert kind(3).strides == (3, 3)
    assert tuple(kind(3)(np.zeros((1, 10, 9, 2))).shape) == (1, 4, 3, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_windows_may_be_rectangular(kind: type[keras.layers.Layer]) -> None:
    layer = kind(pool_size=(3, 2), strides=(2, 1), padding=(1, 0))
    assert layer.compute_output_shape((None, 9, None, 4)) == (None, 5, None, 4)
    assert tuple(layer(np.zeros((1, 9, 8, 4))).shape) == (1, 5, 7, 4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pool_size": 0}, "`pool_size` must be an integer of at least 1, or a pair of such integers (height, width). "
                           "Received: pool_size=0"),
        ({"strides": (1, 2, 3)}, "`strides` must be an integer of at least 1, or a pair of such integers "
                                 "(height, width). Received: strides=(1, 2, 3)"),
        ({"padding": -1}, "`padding` must be an integer of at least 0, or a pair of such integers (height, width). "
                          "Received: padding=-1"),
        ({"pool_size": 2, "strides": 3}, "`strides` must be at most `pool_size` and `padding` less than `pool_size`, "
                                         "so that every window overlaps the input. "
                                         "Received: pool_size=(2, 2), strides=(3, 3), padding=(0, 0)"),
        ({"pool_size": 2, "padding": 2}, "`strides` must be at most `pool_size` and `padding` less than `pool_size`, "
                                         "so that every window overlaps the input. "
                                         "Received: pool_size=(2, 2), strides=(2, 2), padding=(2, 2)"),
    ],
)  # fmt: skip
def test_invalid_arguments(kind: type[keras.layers.Layer], arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        kind(**arguments)
