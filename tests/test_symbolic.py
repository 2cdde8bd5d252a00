"""Tests of networks without weight values."""

import keras
import pytest

from tfseg.symbolic import symbolically


def test_weights_are_never_initialized() -> None:
    shapes = []

    def initializer(shape: tuple[int, ...], dtype: str | None = None) -> object:
        shapes.append(shape)
        return keras.ops.zeros(shape, dtype)

    def build() -> keras.Model:
        image = keras.Input((4,))
        return keras.Model(image, keras.layers.Dense(2, kernel_initializer=initializer)(image))

    model = symbolically(build)
    assert [tuple(weight.shape) for weight in model.weights] == [(4, 2), (2,)]
    with keras.StatelessScope():  # at its end, Keras initializes variables without values
        keras.layers.Dense(3).build((None, 2))
    assert shapes == []


def test_exceptions_are_propagated() -> None:
    with pytest.raises(ValueError, match=r"^no$"):
        symbolically(lambda: (_ for _ in ()).throw(ValueError("no")))
