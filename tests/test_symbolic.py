"""Networks without values."""

import keras
import pytest

from tfseg.symbolic import symbolically


def test_no_value_is_made_then_or_later() -> None:
    made = []

    def initializer(shape: tuple[int, ...], dtype: str | None = None) -> object:
        made.append(shape)
        return keras.ops.zeros(shape, dtype)

    def build() -> keras.Model:
        image = keras.Input((4,))
        return keras.Model(image, keras.layers.Dense(2, kernel_initializer=initializer)(image))

    model = symbolically(build)
    assert [tuple(weight.shape) for weight in model.weights] == [(4, 2), (2,)]
    with keras.StatelessScope():  # at whose end Keras fills what has no values
        keras.layers.Dense(3).build((None, 2))
    assert made == []


def test_what_goes_wrong_inside_comes_out() -> None:
    with pytest.raises(ValueError, match=r"^no$"):
        symbolically(lambda: (_ for _ in ()).throw(ValueError("no")))
