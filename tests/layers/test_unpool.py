"""Max pooling with argmax indices and max unpooling, against arrays computed with TensorFlow Addons 0.23."""

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg.layers import MaxPoolingWithArgmax2D, MaxUnpooling2D

X = np.random.default_rng(0).normal(size=(2, 7, 9, 3)).astype("float32")


@pytest.fixture
def golden(shared: Path) -> list[dict[str, Any]]:
    files = sorted((shared / "golden" / "tfa_unpooling").glob("*.npz"))
    assert len(files) == 11
    return [dict(np.load(file)) for file in files]


def arguments(arrays: dict[str, Any]) -> dict[str, Any]:
    return {
        "pool_size": arrays["pool"].tolist(),
        "strides": arrays["strides"].tolist(),
        "padding": str(arrays["padding"]),
    }


@pytest.mark.parametrize("implementation", ["builtin", "native"])
def test_pooling_matches_tfa(golden: list[dict[str, Any]], implementation: str) -> None:
    for arrays in golden:
        layer = MaxPoolingWithArgmax2D(**arguments(arrays), implementation=implementation)
        values, indices = layer(arrays["image"])
        assert indices.dtype == "int32"
        np.testing.assert_array_equal(values, arrays["pooled"])
        np.testing.assert_array_equal(indices, arrays["argmax"])


def test_unpooling_is_identical_to_tfa(golden: list[dict[str, Any]]) -> None:
    """Including its wrong results at sizes that the stride does not divide."""
    for arrays in golden:
        layer = MaxUnpooling2D(**arguments(arrays))
        np.testing.assert_array_equal(layer(arrays["pooled"], arrays["argmax"]), arrays["unpooled"])
        np.testing.assert_array_equal(layer(arrays["updates"], arrays["argmax"]), arrays["unpooled_updates"])


def test_output_size_returns_values_to_their_positions(golden: list[dict[str, Any]]) -> None:
    for arrays in golden:
        image = arrays["image"]
        actual = np.asarray(MaxUnpooling2D(**arguments(arrays))(arrays["pooled"], arrays["argmax"], image))
        rows, columns = np.divmod(arrays["argmax"] // image.shape[3], image.shape[2])
        expected = np.zeros_like(image)
        for (n, i, j, c), value in np.ndenumerate(arrays["pooled"]):
            expected[n, rows[n, i, j, c], columns[n, i, j, c], c] += value
        np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_tfa_is_wrong_at_sizes_that_the_stride_does_not_divide(golden: list[dict[str, Any]]) -> None:
    """Behavior described in the docstring of the class."""
    wrong = []
    for arrays in golden:
        actual = MaxUnpooling2D(**arguments(arrays))(arrays["pooled"], arrays["argmax"], arrays["image"])
        if actual.shape != arrays["unpooled"].shape or np.any(actual != arrays["unpooled"]):
            wrong.append(arrays["image"].shape)
    assert sorted(wrong) == [(1, 7, 9, 4), (1, 13, 11, 2), (2, 6, 10, 3)]


def test_all_call_forms_are_equivalent() -> None:
    values, indices = MaxPoolingWithArgmax2D(2, padding="SAME")(X)
    up = MaxUnpooling2D(2, padding="Same")
    results = [
        up(values, indices, output_size=(7, 9)),
        up(values, indices, output_size=X),
        up(values, indices, output_size=tf.constant([7, 9])),
        up(values, mask=indices, output_size=tf.shape(X)[1:3]),
        up([values, indices], output_size=X),
        up([values, indices, X]),
        up((values, indices, X)),
    ]
    for result in results:
        np.testing.assert_array_equal(result, results[0])
    np.testing.assert_array_equal(up([values, indices]), up(values, indices))


def test_model_with_dynamic_sizes() -> None:
    image = keras.Input((None, None, 3))
    values, indices = MaxPoolingWithArgmax2D(2, padding="same")(image)
    assert (values.shape, indices.shape, indices.dtype) == ((None, None, None, 3), (None, None, None, 3), "int32")
    back = MaxUnpooling2D(2, padding="same")(values, indices, output_size=image)
    assert back.shape == (None, None, None, 3)
    model = keras.Model(image, back)
    again = keras.Model.from_config(model.get_config())
    for size in ((7, 9), (8, 6)):
        x = X[:, : size[0], : size[1]] if size == (7, 9) else np.random.default_rng(1).normal(size=(2, *size, 3))
        actual = again.predict(x.astype("float32"), verbose=0)
        kept = actual != 0
        np.testing.assert_array_equal(actual[kept], x.astype("float32")[kept])


@pytest.mark.filterwarnings("error")
def test_argmax_indices_are_not_a_keras_mask() -> None:
    """Keras treats an argument named `mask` specially: no warning is issued, and no mask is propagated."""
    values, indices = MaxPoolingWithArgmax2D(2)(X)
    actual = MaxUnpooling2D(2)(values, mask=indices, output_size=X)
    assert getattr(actual, "_keras_mask", None) is None


def test_static_output_shapes() -> None:
    values, indices = keras.Input((4, None, 3)), keras.Input((4, None, 3), dtype="int32")
    assert MaxUnpooling2D(3, 2, "same")(values, indices).shape == (None, 8, None, 3)
    assert MaxUnpooling2D(3, 2, "valid")(values, indices).shape == (None, 9, None, 3)
    assert MaxUnpooling2D(3, 2)(values, indices, output_size=(9, 10)).shape == (None, 9, 10, 3)
    assert MaxUnpooling2D(3, 2).compute_output_shape((None, 4, None, 3)) == (None, 8, None, 3)


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        ({}, (8, 8)),
        ({"strides": (2, 1)}, (8, 4)),
        ({"pool_size": 3}, (8, 8)),
        ({"pool_size": (2, 3), "padding": "VALID"}, (8, 9)),
        ({"strides": (2, 3)}, (8, 12)),
        ({"strides": 4}, (16, 16)),
        ({"pool_size": 3, "strides": None, "padding": "valid"}, (12, 12)),
    ],
)
def test_defaults_are_those_of_tensorflow_addons(arguments: dict[str, object], size: tuple[int, int]) -> None:
    """`same` gives `rows * strides`, `valid` gives `(rows - 1) * strides + pool_size`, for any omitted argument."""
    values = np.ones((1, 4, 4, 1), np.float32)
    actual = MaxUnpooling2D(**arguments)(values, np.zeros((1, 4, 4, 1), np.int32))
    assert actual.shape == (1, *size, 1)
    assert float(np.sum(actual)) == 16.0


@pytest.mark.parametrize("kind", [MaxPoolingWithArgmax2D, MaxUnpooling2D])
def test_invalid_padding(kind: type[keras.layers.Layer]) -> None:
    message = '`padding` must be "valid" or "same". Received: padding=\'full\''
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        kind(padding="full")


def test_missing_argmax_indices_raise() -> None:
    message = "Expected `updates` and `mask`, the values and argmax indices of a pooling layer. Received: mask=None"
    with pytest.raises(ValueError, match=re.escape(message)):
        MaxUnpooling2D()(X)


@pytest.mark.parametrize("output_size", [(7, 9, 3), (7,)])
def test_invalid_output_size(output_size: tuple[int, ...]) -> None:
    message = (
        "`output_size` must be a pair (height, width) or a tensor `[batch, height, width, channels]`. "
        f"Received: output_size={output_size}"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        MaxUnpooling2D()(X, np.zeros(X.shape, "int32"), output_size=output_size)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_both_implementations_are_equal(padding: str, dtype: str) -> None:
    """Values, indices and gradients; the first of equal values counts."""
    x = tf.constant(np.random.default_rng(0).integers(-4, 0, (2, 13, 11, 3)), dtype)
    results = []
    for implementation in ("builtin", "native"):
        layer = MaxPoolingWithArgmax2D(3, 2, padding, implementation, dtype=dtype)
        with tf.GradientTape() as tape:
            tape.watch(x)
            values, indices = layer(x)
            total = tf.reduce_sum(tf.cast(values, "float32") ** 2)
        results.append([values, indices, tape.gradient(total, x)])
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(np.asarray(one, "float32"), np.asarray(other, "float32"))


def test_invalid_implementation() -> None:
    message = '`implementation` must be "builtin" or "native". Received: implementation=\'fast\''
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        MaxPoolingWithArgmax2D(implementation="fast")


def test_native_implementation_requires_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    message = (
        '`implementation="native"` requires the TensorFlow backend. Set `implementation` to "builtin". '
        "Received: implementation='native' with the backend jax"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        MaxPoolingWithArgmax2D(implementation="native")
