"""Tests of the private attributes of Keras that tfseg uses."""

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
    moving_averages,
    producer,
    readers,
    rerun,
)

PACKAGE = Path(__file__).resolve().parents[1] / "tfseg"
PRIVATE = (
    "_nodes_by_depth", "_keras_history", "_inbound_nodes", "_outbound_nodes", "_run_through_graph", "_flatten_layers",
    "_trainable_variables", "_non_trainable_variables", "_distributed_tf_update_step",
    "_clip_gradients", "_update_model_variables_moving_average", "_model_variables_moving_average",
)  # fmt: skip


def test_no_other_module_uses_them() -> None:
    word = re.compile(rf"\.({'|'.join(PRIVATE)})\b")
    files = [file for file in PACKAGE.rglob("*.py") if file.name != "keras_internals.py"]
    assert [file.name for file in files if word.search(file.read_text())] == []


@pytest.fixture
def model() -> keras.Model:
    """Model in which `shared` is called on the image and on the output of `first`, and `sum` adds both."""
    shared = keras.layers.Conv2D(2, 1, name="shared", kernel_initializer="ones")
    image = keras.Input((None, None, 2), name="image")
    first = keras.layers.ReLU(name="first")(image)
    return keras.Model(image, keras.layers.Add(name="sum")([shared(image), shared(first)]))


def test_calls(model: keras.Model) -> None:
    found = list(calls(model))
    names = [call.operation.name for call in found]
    assert sorted(names) == ["first", "image", "shared", "shared", "sum"]
    assert (names[0], names[-1]) == ("sum", "image"), "from the outputs to the inputs"
    assert found[0].output_tensors[0] is model.output
    shared = model.get_layer("shared")
    assert len(calls_of(shared)) == 2
    assert {producer(call.input_tensors[0])[0].name for call in calls_of(shared)} == {"image", "first"}


def test_producer_and_readers(model: keras.Model) -> None:
    layer, call = producer(model.output)
    assert layer.name == "sum"
    assert [producer(each)[0].name for each in call.input_tensors] == ["shared", "shared"]
    assert [layer.name for layer in readers(model.get_layer("first"))] == ["shared"]
    assert [layer.name for layer in readers(model.get_layer("shared"))] == ["sum", "sum"]


def test_rerun(model: keras.Model) -> None:
    other = keras.Input((None, None, 2), name="other")
    again = keras.Model(other, rerun(model, [other]))
    assert again.get_layer("shared") is model.get_layer("shared")
    x = np.random.default_rng(0).normal(size=(1, 3, 4, 2)).astype(np.float32)
    np.testing.assert_array_equal(again(x), model(x))


@keras.saving.register_keras_serializable(package="tests")
class Pair(keras.layers.Layer):
    """Layer with a list of two layers, one of which is nested, and with weights of its own."""

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.parts = [keras.layers.Dense(1, name="a"), keras.Sequential([keras.layers.Dense(1, name="c")], name="b")]
        self.scale = self.add_weight(name="scale")
        self.count = self.add_weight(name="count", trainable=False)


def test_layers_within() -> None:
    pair = Pair()
    assert [layer.name for layer in layers_within(pair, deep=False)] == ["a", "b"]
    assert {layer.name for layer in layers_within(pair)} >= {"a", "b", "c"}
    for part in pair.parts:
        part.build((None, 2))
    assert len(pair.variables) > 2


class PositiveOnly(BetweenSumAndUpdate, keras.optimizers.SGD):
    """Optimizer that applies only positive gradients."""

    seen: list[np.ndarray]

    def around(self, gradients, update) -> None:
        self.seen = [np.asarray(each) for each in gradients]
        if float(self.seen[0]) > 0:
            update()


def test_between_sum_and_update() -> None:
    optimizer, weight = PositiveOnly(1.0), keras.Variable(0.0)
    for gradient, expected in ((2.0, -2.0), (-3.0, -2.0)):
        optimizer.apply([tf.constant(gradient)], [weight])
        assert float(optimizer.seen[0]) == gradient
        assert float(weight.numpy()) == expected


class Counted(BetweenSumAndUpdate, keras.optimizers.SGD):
    """Optimizer that halves gradients, and whose averages are negative weights."""

    steps = 0

    def clipping(self, gradients):
        return [lambda gradient: gradient / 2 for _ in gradients]

    def average(self, average, variable) -> None:
        average.assign(-variable)

    def applied(self) -> None:
        self.steps += 1


def test_clipping_and_averages() -> None:
    """The methods of Keras for both are replaced, even with its arguments."""
    optimizer, weights = Counted(1.0, clipnorm=0.1, use_ema=True), [keras.Variable(0.0), keras.Variable(1.0)]
    assert moving_averages(keras.optimizers.SGD(1.0)) == []
    for _ in range(2):
        optimizer.apply([tf.constant(2.0), tf.constant(4.0)], weights)
    assert [float(weight.numpy()) for weight in weights] == [-2.0, -3.0]
    pairs = moving_averages(optimizer)
    assert [variable is weight for (variable, _), weight in zip(pairs, weights, strict=True)] == [True, True]
    assert [float(average.numpy()) for _, average in pairs] == [2.0, 3.0]
    assert optimizer.steps == 2


@pytest.mark.parametrize("name", ["_clip_gradients", "_update_model_variables_moving_average"])
def test_replaced_methods_exist(name: str) -> None:
    assert name in vars(BetweenSumAndUpdate)
    assert callable(getattr(keras.optimizers.SGD, name))
