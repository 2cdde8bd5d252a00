"""What Keras does not offer publicly: whether it still does what tfseg takes it for."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfseg.keras_internals import (
    BetweenSumAndUpdate,
    calls,
    calls_of,
    layers_within,
    producer,
    readers,
    rerun,
)

PACKAGE = Path(__file__).resolve().parents[1] / "tfseg"
PRIVATE = (
    "_nodes_by_depth", "_keras_history", "_inbound_nodes", "_outbound_nodes", "_run_through_graph", "_flatten_layers",
    "_trainable_variables", "_non_trainable_variables", "_distributed_tf_update_step",
)  # fmt: skip


def test_nobody_else_asks_for_them() -> None:
    word = re.compile(rf"\.({'|'.join(PRIVATE)})\b")
    files = [file for file in PACKAGE.rglob("*.py") if file.name != "keras_internals.py"]
    assert [file.name for file in files if word.search(file.read_text())] == []


@pytest.fixture
def model() -> keras.Model:
    """`shared` is called for the image and for what `first` gives; `sum` reads both."""
    shared = keras.layers.Conv2D(2, 1, name="shared", kernel_initializer="ones")
    image = keras.Input((None, None, 2), name="image")
    first = keras.layers.ReLU(name="first")(image)
    return keras.Model(image, keras.layers.Add(name="sum")([shared(image), shared(first)]))


def test_the_calls_of_a_model(model: keras.Model) -> None:
    found = list(calls(model))
    names = [call.operation.name for call in found]
    assert sorted(names) == ["first", "image", "shared", "shared", "sum"]
    assert (names[0], names[-1]) == ("sum", "image"), "the deepest first"
    assert found[0].output_tensors[0] is model.output
    shared = model.get_layer("shared")
    assert len(calls_of(shared)) == 2
    assert {producer(call.input_tensors[0])[0].name for call in calls_of(shared)} == {"image", "first"}


def test_what_gave_a_tensor_and_what_reads_it(model: keras.Model) -> None:
    layer, call = producer(model.output)
    assert layer.name == "sum"
    assert [producer(each)[0].name for each in call.input_tensors] == ["shared", "shared"]
    assert [layer.name for layer in readers(model.get_layer("first"))] == ["shared"]
    assert [layer.name for layer in readers(model.get_layer("shared"))] == ["sum", "sum"]


def test_a_model_run_again_for_another_input(model: keras.Model) -> None:
    other = keras.Input((None, None, 2), name="other")
    again = keras.Model(other, rerun(model, [other]))
    assert again.get_layer("shared") is model.get_layer("shared")
    x = np.random.default_rng(0).normal(size=(1, 3, 4, 2)).astype(np.float32)
    np.testing.assert_array_equal(again(x), model(x))


@keras.saving.register_keras_serializable(package="tests")
class Pair(keras.layers.Layer):
    """Two layers in a list, one of them made of a further one, and a weight of its own."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.parts = [keras.layers.Dense(1, name="a"), keras.Sequential([keras.layers.Dense(1, name="c")], name="b")]
        self.scale = self.add_weight(name="scale")
        self.count = self.add_weight(name="count", trainable=False)


def test_layers_within_layers() -> None:
    pair = Pair()
    assert [layer.name for layer in layers_within(pair, deep=False)] == ["a", "b"]
    assert {layer.name for layer in layers_within(pair)} >= {"a", "b", "c"}
    for part in pair.parts:
        part.build((None, 2))
    assert len(pair.variables) > 2


class Held(BetweenSumAndUpdate, keras.optimizers.SGD):
    """Makes an update only of gradients whose sum is positive."""

    seen: list[np.ndarray]

    def around(self, gradients, update) -> None:
        self.seen = [np.asarray(each) for each in gradients]
        if float(self.seen[0]) > 0:
            update()


def test_between_the_sum_of_the_gradients_and_the_update() -> None:
    optimizer, weight = Held(1.0), keras.Variable(0.0)
    for gradient, expected in ((2.0, -2.0), (-3.0, -2.0)):
        optimizer.apply([tf.constant(gradient)], [weight])
        assert float(optimizer.seen[0]) == gradient
        assert float(weight.numpy()) == expected
