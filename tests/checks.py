"""Checks of all layers, losses, metrics and specs, for the cases in `cases.py`.

A case has a class, small arguments and small inputs. Checks in another process share one, as each start takes seconds
(`tests/processes.py`).
"""

import dataclasses
import functools
import inspect
import json
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tfseg.pipeline import Pipeline
from tfseg.spec.problems import SpecError
from tfseg.spec.show import dump
from tfseg.spec.slots import slots
from tfseg.spec.source import read
from tfseg.spec.validate import validate

HALVES = {"mixed_float16": 2e-3, "mixed_bfloat16": 2e-2}
"""Tolerances of mixed precision policies against float32, relative to the largest value."""


def arrays(shapes: tuple[tuple[int, ...], ...], dtypes: tuple[str, ...], seed: int = 7) -> list[np.ndarray]:
    """Draws arrays of normal floats or integers from 0 to 199; one dtype for all, or one per shape."""
    random = np.random.default_rng(seed)
    kinds = dtypes * len(shapes) if len(dtypes) == 1 else dtypes
    return [
        random.normal(size=shape).astype(kind) if "float" in kind else random.integers(0, 200, shape).astype(kind)
        for shape, kind in zip(shapes, kinds, strict=True)
    ]


@dataclass(frozen=True)
class LayerCase:
    """A layer with small arguments, not defaults where possible, and the shapes of its inputs."""

    layer: type[keras.layers.Layer]
    arguments: dict[str, Any]
    shapes: tuple[tuple[int, ...], ...]
    """Shapes of one input, or of a list of inputs, batch included."""
    dtypes: tuple[str, ...] = ("float32",)
    learned: int = 0
    """Number of trainable weights."""
    fixed: int = 0
    """Number of non-trainable weights."""
    outputs: int = 1
    """Number of outputs."""
    whole_since: str = "2.20"
    """First TensorFlow version that does not decompose its dilated convolutions in TFLite (depthwise ones were)."""
    float32_inside: str = ""
    """Part of the layer that computes in float32 when its dtype is float64. The tolerance of the gradients is larger
    then, and the check fails if the small tolerance would do."""
    unlike: dict[str, str] = field(default_factory=dict)
    """Unsupported features and their reasons: `gradient`, `half`, `dynamic`, `tflite`, `xla`, `neutral`. The check then
    requires that the layer declares this or fails, so that outdated entries are found."""

    @property
    def name(self) -> str:
        shown = ",".join(f"{name}={value}" for name, value in self.arguments.items())
        return f"{self.layer.__name__}({shown})"

    def make(self, **kwargs: Any) -> keras.layers.Layer:
        keras.utils.set_random_seed(3)
        return self.layer(**{name: fresh(value) for name, value in self.arguments.items()}, **kwargs)

    def inputs(self) -> list[np.ndarray]:
        return arrays(self.shapes, self.dtypes)

    def model(self, batch: int | None = None, dynamic: bool = True, **kwargs: Any) -> keras.Model:
        """Builds a Functional model of the layer, by default for any batch size, height and width."""
        tensors = [
            keras.Input((None, None, shape[3]) if dynamic else shape[1:], batch, array.dtype.name, name=f"x{index}")
            for index, (shape, array) in enumerate(zip(self.shapes, self.inputs(), strict=True))
        ]
        return keras.Model(one_or_all(tensors), self.make(**kwargs)(one_or_all(tensors)))

    @property
    def composite(self) -> bool:
        """Boolean, whether the layer has sublayers."""
        return bool(self.make()._flatten_layers(include_self=False))  # Keras has no public access to sublayers


def fresh(argument: Any) -> Any:
    """Returns `argument`, or an unbuilt copy of it if it is a layer to be wrapped."""
    if isinstance(argument, keras.layers.Layer):
        return type(argument).from_config(argument.get_config())
    return argument


def one_or_all(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


def listed(outputs: Any) -> list[np.ndarray]:
    """Flattens outputs to a list of float32 arrays."""
    return [np.asarray(keras.ops.cast(output, "float32")) for output in keras.tree.flatten(outputs)]


def shape_and_type(x: Any) -> tuple[tuple[int, ...], str]:
    return tuple(x.shape), keras.backend.standardize_dtype(x.dtype)


def close(found: Any, expected: Any, tolerance: float = 1e-5) -> None:
    """Checks shapes and values of all outputs, with a tolerance relative to the largest value."""
    found, expected = listed(found), listed(expected)
    assert [array.shape for array in found] == [array.shape for array in expected]
    for array, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(array, other, rtol=0, atol=tolerance * max(1.0, float(np.abs(other).max())))


# Layers


def check_layer_config(case: LayerCase) -> None:
    """Checks that the config has all constructor arguments as plain values, and creates an equal layer."""
    layer = case.make(name="given")
    config = layer.get_config()
    parameters = inspect.signature(case.layer.__init__).parameters.values()
    missing = {each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD} - {"self"} - set(config)
    assert not missing, f"not in get_config(): {missing}"
    for name, value in case.arguments.items():
        if isinstance(value, keras.layers.Layer):
            value = json.loads(json.dumps(keras.saving.serialize_keras_object(fresh(value))))
        assert json.loads(json.dumps(config[name])) in (value, [value, value])
    again = keras.saving.deserialize_keras_object(json.loads(json.dumps(keras.saving.serialize_keras_object(layer))))
    assert type(again) is case.layer
    assert json.dumps(again.get_config()) == json.dumps(config)
    assert keras.saving.get_registered_name(case.layer) == f"tfseg>{case.layer.__name__}"


def check_layer_numbers(case: LayerCase) -> None:
    """Checks equal results in eager mode, in a graph and with XLA, of the shape and dtype of the symbolic call."""
    layer, inputs = case.make(), one_or_all(case.inputs())
    eager = layer(inputs)
    symbolic = case.model(case.shapes[0][0], dynamic=False).outputs
    assert [shape_and_type(y) for y in keras.tree.flatten(eager)] == [shape_and_type(y) for y in symbolic]
    assert len(symbolic) == case.outputs
    assert [len(layer.trainable_weights), len(layer.non_trainable_weights)] == [case.learned, case.fixed]
    close(tf.function(layer)(inputs), eager)
    if layer.supports_jit:
        close(tf.function(layer, jit_compile=True)(inputs), eager)
    assert layer.supports_jit != ("xla" in case.unlike)


def check_layer_dynamic(case: LayerCase) -> None:
    """Checks that one model accepts images of several sizes."""
    model = case.model()
    layer = model.layers[-1]
    for larger in (0, 3):
        inputs = arrays(
            tuple((shape[0], *(n + larger for n in shape[1:3]), shape[3]) for shape in case.shapes), case.dtypes
        )
        close(model.predict(one_or_all(inputs), verbose=0), layer(one_or_all(inputs)))


class Differences(NamedTuple):
    """Settings of the comparison of gradients with central differences."""

    step: float
    """Step to both sides."""
    share: float
    """Relative tolerance of a gradient; 1e-3 of the largest gradient is added to its size."""


FINE = Differences(1e-5, 1e-5)
"""For float64: truncation errors are 1e-10, rounding errors 1e-16 / 1e-5."""
COARSE = Differences(3e-3, 1e-2)
"""For layers with float32 inside: rounding errors of 1e-7 become about 1e-4 with this step. Errors are up to 4e-3 for
gradients that are small relative to the values, and for BatchNorm with statistics of two values."""


def check_layer_gradient(case: LayerCase) -> None:
    """Checks the gradients by all float inputs and trainable weights against central differences, with `training` True
    and False.

    Those of the first input and of the weights must not be zero.
    """
    precision = COARSE if case.float32_inside else FINE
    modes = (False, True) if "training" in inspect.signature(case.layer.call).parameters else (None,)
    for function in [Directional(case, training) for training in modes]:
        found, expected = function.gradients(precision.step)
        if "gradient" in case.unlike:
            assert not np.any(found)
            continue
        both = dict(zip(function.sources, zip(found.tolist(), expected.tolist(), strict=True), strict=True))
        assert np.all(np.any(found[function.needed] != 0, axis=1)), both
        assert not np.any(far(found, expected, precision.share)), both
    if case.float32_inside:
        assert np.any(far(*function.gradients(FINE.step), FINE.share)), "all is float64: remove float32_inside"


SUMS = 3


class Directional:
    """A layer as a function of one scalar per float input and trainable weight, in float64.

    The scalar moves the tensor along a random direction, and the results are three random weighted sums of all float
    outputs. A few differences thus cover every entry of every gradient: if an entry is wrong, the derivative by its
    scalar is wrong, unless errors cancel by chance.
    """

    def __init__(self, case: LayerCase, training: bool | None) -> None:
        random = np.random.default_rng(7)
        self.layer, self.options = case.make(dtype="float64"), {} if training is None else {"training": training}
        self.inputs = [tf.constant(evenly_spaced(array, random)) for array in case.inputs()]
        self.layer(one_or_all(self.inputs))
        refill(self.layer, random)
        floats = {f"input {index}": x for index, x in enumerate(self.inputs) if is_float(x)}
        weights = {weight.path: tf.convert_to_tensor(weight) for weight in self.layer.trainable_variables}
        self.sources = {**floats, **weights}
        # A layer may use only the size of its second and further inputs.
        self.needed = [index == 0 or index >= len(floats) for index in range(len(self.sources))]
        # With a mean other than zero, or layers that compute means would hardly change.
        self.directions = [random.normal(1, 1, x.shape) for x in floats.values()]
        self.directions += [random.normal(1, 1, x.shape) * evened(x.shape) for x in weights.values()]

    def __call__(self, steps: tf.Tensor) -> tf.Tensor:
        moves = zip(self.sources.values(), tf.unstack(steps), self.directions, strict=True)
        moved = [source + tf.cast(step * direction, source.dtype) for source, step, direction in moves]
        inputs = [moved.pop(0) if is_float(x) else x for x in self.inputs]
        with keras.StatelessScope(list(zip(self.layer.trainable_variables, moved, strict=True))):
            outputs = keras.tree.flatten(self.layer(one_or_all(inputs), **self.options))
        random = np.random.default_rng(5)  # the same factors in every call
        sums = [random.normal(size=(SUMS, *y.shape)) * tf.cast(y, "float64") for y in outputs if is_float(y)]
        zero = 0 * tf.reduce_sum(steps)  # gives a gradient of zero where there is none
        return tf.add_n([zero + tf.reduce_sum(tf.reshape(each, (SUMS, -1)), 1) for each in sums])

    def gradients(self, step: float) -> tuple[np.ndarray, np.ndarray]:
        """Returns the derivatives of the three sums by each scalar, by TensorFlow and by central differences."""
        start = tf.zeros(len(self.sources), "float64")
        (found,), (expected,) = tf.test.compute_gradient(self, [start], delta=step)
        return found.T, expected.T


def far(found: np.ndarray, expected: np.ndarray, share: float) -> np.ndarray:
    """Returns which gradients differ by more than the tolerance; NaN does."""
    sizes, errors = (np.linalg.norm(each, axis=1) for each in (expected, found - expected))
    return ~(errors <= share * (sizes + sizes.max(initial=0) / 1000))


def is_float(x: Any) -> bool:
    return "float" in keras.backend.standardize_dtype(x.dtype)


def evenly_spaced(array: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Returns floats from -2 to 2 in random order, so that no two values are close; integers unchanged."""
    if "float" not in array.dtype.name:
        return array
    return random.permutation(np.linspace(-2, 2, array.size)).reshape(array.shape)


def evened(shape: tuple[int, ...]) -> float:
    """Returns the factor for a kernel with which outputs are as large as inputs, `1 / sqrt(fan_in)`."""
    return float(np.prod(shape[:-1]) ** -0.5)


def refill(layer: keras.layers.Layer, random: np.random.Generator) -> None:
    """Assigns new random values to all weights and statistics.

    Biases are large with alternating signs, kernels and scales are small, so that few inputs of a ReLU are near zero,
    where differences are invalid.
    """
    for weight in layer.weights:
        values = random.uniform(0.5, 1.5, weight.shape)
        if weight.name in ("bias", "beta"):
            values *= np.resize((1, -1), weight.shape)
        elif weight.name != "moving_variance":
            small = 0.3 if "kernel" in weight.name else 0.15
            values *= random.choice((-small, small), weight.shape) * evened(weight.shape)
        weight.assign(values)


def check_layer_weights(case: LayerCase, folder: Path) -> None:
    """Checks that saving and loading keeps all weights and statistics of sublayers."""
    model = case.model()
    refill(model, np.random.default_rng(7))
    again = reloaded(model, folder)
    assert [weight.name for weight in again.weights] == [weight.name for weight in model.weights]
    unchanged(again, [weight.numpy() for weight in model.weights])


def check_layer_trainable(case: LayerCase, folder: Path) -> None:
    """Checks that saving and loading keeps `trainable` of the sublayers: every second one frozen, then the others."""
    for first in (0, 1):
        model = case.model()
        for child in inside(model)[1:][first::2]:
            child.trainable = False
        alike(reloaded(model, folder), model)


def check_layer_frozen(case: LayerCase, folder: Path) -> None:
    """Checks that training changes no weight of a layer with `trainable=False`, before and after loading."""
    by_argument, by_attribute = case.model(trainable=False), case.model()
    by_attribute.layers[-1].trainable = False
    for model in (by_argument, by_attribute):
        again = reloaded(model, folder)
        alike(again, model)
        for each in (model, again):
            before = [weight.numpy() for weight in each.weights]
            each(one_or_all(case.inputs()), training=True)
            unchanged(each, before)


def reloaded(model: keras.Model, folder: Path) -> keras.Model:
    model.save(folder / "model.keras")
    return keras.models.load_model(folder / "model.keras")


def inside(model: keras.Model) -> list[keras.layers.Layer]:
    """Returns all layers with weights, at any depth, outer ones first."""
    return [layer for layer in model._flatten_layers(include_self=False) if layer.weights]


def alike(again: keras.Model, model: keras.Model) -> None:
    """Checks that `trainable` of all layers is equal. Compares names, because Keras changes paths of wrapped layers."""
    found, expected = ([(layer.name, layer.trainable) for layer in inside(each)] for each in (again, model))
    differing = [pair for pair in zip(found, expected, strict=True) if pair[0] != pair[1]]
    assert not differing, f"received and expected: {differing}"


def unchanged(model: keras.Model, expected: list[np.ndarray]) -> None:
    for weight, value in zip(model.weights, expected, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value, err_msg=weight.path)


def check_layer_half(case: LayerCase) -> None:
    """Checks mixed precision: float32 weights, outputs of the compute dtype and close to those of float32."""
    exact = case.make()(one_or_all(case.inputs()))
    for policy, tolerance in HALVES.items():
        layer = case.make(dtype=policy)
        outputs = layer(one_or_all(case.inputs()))
        first, *_ = keras.tree.flatten(outputs)
        assert keras.backend.standardize_dtype(first.dtype) == layer.compute_dtype == policy.removeprefix("mixed_")
        assert {keras.backend.standardize_dtype(weight.dtype) for weight in layer.weights} <= {"float32"}
        close(keras.tree.flatten(outputs)[0], keras.tree.flatten(exact)[0], tolerance)


def check_layer_tflite(case: LayerCase) -> None:
    """Checks that a TFLite file of static sizes has only built-in operations and gives equal results."""
    model, inputs = case.model(batch=case.shapes[0][0], dynamic=False), case.inputs()
    if "tflite" in case.unlike:
        with pytest.raises(Exception, match=r"(?i)flex|custom|builtin|Select TF"):
            tflite(model)
        return
    outputs, names = run_tflite(tflite(model), inputs)
    close(outputs, model(one_or_all(inputs)))
    decomposed = [name for name in names if name.endswith("_TO_SPACE_ND") or name.endswith("_TO_BATCH_ND")]
    assert not decomposed or tf.__version__ < case.whole_since


def tflite(model: keras.Model) -> bytes:
    """Converts a model to a TFLite file with built-in operations only."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    return bytes(converter.convert())


def run_tflite(content: bytes, inputs: list[np.ndarray]) -> tuple[list[np.ndarray], list[str]]:
    """Returns the outputs of a TFLite file, and the names of its operations, in their order."""
    # The default delegate would hide the operations that it replaces.
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=plain)
    interpreter.allocate_tensors()
    for detail, array in zip(
        sorted(interpreter.get_input_details(), key=lambda each: each["name"]), inputs, strict=True
    ):
        interpreter.set_tensor(detail["index"], array)
    interpreter.invoke()
    outputs = sorted(interpreter.get_output_details(), key=lambda each: each["name"])
    return [interpreter.get_tensor(each["index"]) for each in outputs], operations(interpreter)


def operations(interpreter: Interpreter) -> list[str]:
    """Returns the names of the operations of a TFLite file."""
    return [each["op_name"] for each in interpreter._get_ops_details()]


# Losses and metrics


@dataclass(frozen=True)
class LossCase:
    """A loss with small arguments, not defaults where possible."""

    loss: type[keras.losses.Loss]
    arguments: dict[str, Any]
    classes: int = 3
    ignore: int = 255
    channels: int | None = None
    """Number of channels of the logits; None: one per class."""

    @property
    def name(self) -> str:
        return f"{self.loss.__name__}({','.join(f'{name}={named(value)}' for name, value in self.arguments.items())})"

    def make(self) -> keras.losses.Loss:
        return self.loss(**self.arguments)

    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns labels, of which a third have the ignore label, and logits."""
        random = np.random.default_rng(5)
        labels = random.integers(0, self.classes, (2, 4, 5)).astype("int32")
        labels[random.random(labels.shape) < 1 / 3] = self.ignore
        return labels, random.normal(size=(2, 4, 5, self.channels or self.classes)).astype("float32")


def check_loss_config(case: LossCase) -> None:
    """Checks that the config has all constructor arguments, and creates an equal loss from JSON."""
    check_config(case.make(), case.loss, case.arguments)


def check_config(thing: Any, kind: type, arguments: dict[str, Any]) -> None:
    config = thing.get_config()
    parameters = inspect.signature(kind.__init__).parameters.values()
    missing = {each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD} - {"self"} - set(config)
    assert not missing, f"not in get_config(): {missing}"
    for name, value in arguments.items():
        assert json.dumps(config[name]) == json.dumps(keras.tree.map_structure(plain, value))
    again = keras.saving.deserialize_keras_object(json.loads(json.dumps(keras.saving.serialize_keras_object(thing))))
    assert type(again) is kind
    assert again.get_config() == config
    assert keras.saving.get_registered_name(kind) == f"tfseg>{kind.__name__}"


def named(argument: Any) -> Any:
    """Returns `argument`, or the names of losses in a list, which are the same in every process."""
    losses = isinstance(argument, list) and any(isinstance(each, keras.losses.Loss) for each in argument)
    return [each.name for each in argument] if losses else argument


def plain(argument: Any) -> Any:
    """Returns `argument`, or its config if it is a loss."""
    return keras.saving.serialize_keras_object(argument) if isinstance(argument, keras.losses.Loss) else argument


def check_loss_numbers(case: LossCase) -> None:
    """Checks float32 values, equal in eager mode, in a graph, for labels with a channel axis and for half logits."""
    (labels, logits), loss = case.batch(), case.make()
    value = loss(labels, logits)
    assert value.shape == () and value.dtype == "float32" and np.isfinite(value)
    close(tf.function(loss)(labels, logits), value, 1e-6)
    close(loss(labels[..., None], logits), value, 1e-6)
    for half in ("float16", "bfloat16"):
        rounded = tf.cast(logits, half)
        assert loss(labels, rounded).dtype == "float32"
        close(loss(labels, rounded), loss(labels, tf.cast(rounded, "float32")), 1e-6)


def check_loss_ignores(case: LossCase) -> None:
    """Checks that logits of ignored pixels have no effect and no gradient. Without labeled pixels, the loss is 0."""
    (labels, logits), loss = case.batch(), case.make()
    ignored = labels == case.ignore
    close(loss(labels, np.where(ignored[..., None], 50.0, logits).astype("float32")), loss(labels, logits), 1e-6)
    x = tf.constant(logits)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        value, zero = loss(labels, x), loss(np.full_like(labels, case.ignore), x)
    gradient = np.asarray(tape.gradient(value, x))
    assert np.all(np.isfinite(gradient)) and np.all(gradient[ignored] == 0) and np.any(gradient[~ignored] != 0)
    assert float(zero) == 0 and np.all(np.asarray(tape.gradient(zero, x)) == 0)


@dataclass(frozen=True)
class MetricCase:
    """A metric with small arguments, not defaults where possible."""

    metric: type[keras.metrics.Metric]
    arguments: dict[str, Any]
    classes: int = 3
    ignore: int = 255
    channels: int | None = None
    ids: bool = True
    """Boolean, whether predictions may be class ids."""

    @property
    def name(self) -> str:
        return f"{self.metric.__name__}({','.join(f'{name}={value}' for name, value in self.arguments.items())})"

    def make(self) -> keras.metrics.Metric:
        return self.metric(**self.arguments)

    batch = LossCase.batch


def check_metric_config(case: MetricCase) -> None:
    """Checks that the config has all constructor arguments, and creates an equal metric from JSON."""
    check_config(case.make(), case.metric, case.arguments)


def check_metric_numbers(case: MetricCase) -> None:
    """Checks equal results for logits and ids, eager and in a graph, one batch and two; reset; and ignored pixels."""
    labels, logits = case.batch()
    expected = metric_values(case, (labels, logits))
    ignored = labels == case.ignore
    if case.ids:
        assert metric_values(case, (labels, logits.argmax(-1))) == expected
        assert metric_values(case, (labels, np.where(ignored, 0, logits.argmax(-1)))) == expected
    assert metric_values(case, (labels[..., None], logits)) == expected
    assert metric_values(case, (labels[:1], logits[:1]), (labels[1:], logits[1:])) == expected
    assert metric_values(case, (labels, np.where(ignored[..., None], 9.0, logits))) == expected
    metric = case.make()
    tf.function(metric.update_state)(tf.constant(labels), tf.constant(logits))
    assert values(metric) == expected
    metric.reset_state()
    metric.update_state(labels[:1], logits[:1])
    assert values(metric) == metric_values(case, (labels[:1], logits[:1])) != expected


def metric_values(case: MetricCase, *batches: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
    metric = case.make()
    for labels, predictions in batches:
        metric.update_state(labels, predictions)
    return values(metric)


def values(metric: keras.metrics.Metric) -> dict[str, float]:
    return {name: float(value) for name, value in metric.result().items()}


# Specs


@dataclass(frozen=True)
class SpecCase:
    """A spec, a function of its effect, and another value per field that changes the effect."""

    value: Any
    makes: Callable[[Any], Any] | None
    """Function that returns the effect of the spec as plain values and arrays. None if only commands use the spec:
    `tests/test_options.py` has a command per field then."""
    changes: dict[str, Any]
    """Another value per field, or `Given` if its effect depends on other fields; for `type`, a spec of that type."""
    elsewhere: dict[str, str] = field(default_factory=dict)
    """Fields whose effect takes too long to check here, with the name of the test that checks it."""
    beside: dict[str, Any] = field(default_factory=dict)
    """Further fields of the specs around it in a pipeline, if those of their cases are incompatible."""

    @property
    def name(self) -> str:
        return type(self.value).__name__


@dataclass(frozen=True)
class Given:
    """A change that has an effect only with other values of other fields, before and after it."""

    value: Any
    where: dict[str, Any]


def own_fields(value: Any) -> list[str]:
    return [each.name for each in dataclasses.fields(value) if each.name != "type"]


def changeable(value: Any) -> set[str]:
    """Returns the fields of a spec; `type` only if its slot accepts other specs or it has several values."""
    names = typing.get_args(typing.get_type_hints(type(value)).get("type"))
    return {*own_fields(value), *(["type"] if type(value) in chosen_by_type() or len(names) > 1 else [])}


@functools.cache
def chosen_by_type() -> frozenset[type]:
    """Returns the specs of all slots with more than one spec."""
    return frozenset(each for members in slots(Pipeline).values() for each in members if len(members) > 1)


def variants(case: SpecCase) -> Iterator[tuple[str, Any, Any]]:
    """Yields field name, spec before and spec after the change, which differ only in this field."""
    for name, change in case.changes.items():
        change = change if isinstance(change, Given) else Given(change, {})
        before = dataclasses.replace(case.value, **change.where)
        after = change.value if name == "type" else dataclasses.replace(before, **{name: change.value})
        assert before != after
        yield name, before, after


def layout(model: keras.Model) -> str:
    """Returns the layers of a network, their arguments and connections, as a string."""
    return str({key: value for key, value in model.get_config().items() if key != "name"})  # Keras numbers the models


def check_spec_value(case: SpecCase) -> None:
    """Checks that a spec is frozen, rejects unknown fields, equals a copy, and has a docstring per field."""
    kind, first = type(case.value), own_fields(case.value)[:1]
    for name in first:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(case.value, name, None)
    with pytest.raises(SpecError, match="no_such_field"):
        kind(**{**shallow(case.value), "no_such_field": 1})
    assert kind(**shallow(case.value)) == case.value
    described = {name for name, each in kind.__pydantic_fields__.items() if each.description}
    assert set(own_fields(case.value)) <= described, "a field has no docstring"


def check_spec_file(case: SpecCase, folder: Any) -> None:
    """Checks that the output of `dump` reads back to an equal value, for the spec and all changes."""
    file = folder / "value.yaml"
    for value in (case.value, *(after for _, _, after in variants(case))):
        file.write_text(dump(value), encoding="utf-8")
        assert validate(type(value), read(file)) == value


def check_spec_fields(case: SpecCase) -> None:
    """Checks that every field has an effect."""
    assert set(case.changes) | set(case.elsewhere) == changeable(case.value)
    assert not set(case.changes) & set(case.elsewhere)
    if case.makes is None:
        return
    known = [(case.value, case.makes(case.value))]
    if case.changes:
        assert same(known[0][1], case.makes(case.value)), "the effect must be deterministic"
    for name, before, after in variants(case):
        if before not in [value for value, _ in known]:
            known.append((before, case.makes(before)))
        made = next(made for value, made in known if value == before)
        assert not same(made, case.makes(after)), f"{name} has no effect: {after!r}"


def same(one: Any, other: Any) -> bool:
    """Returns whether nested plain values and arrays are equal."""
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return isinstance(other, list | tuple) and len(one) == len(other) and all(map(same, one, other))
    return bool(np.array_equal(one, other))


def shallow(value: Any) -> dict[str, Any]:
    return {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}


class Parent(NamedTuple):
    """Field of a parent spec that has a spec as its value."""

    holder: type
    field: str
    listed: bool
    """Boolean, whether the field is a list of specs."""


def parents(kind: type) -> dict[type, Parent]:
    """Returns all specs in slots of `kind`, at any depth, with their fields; the first one if there are several."""
    found: dict[type, Parent] = {}
    for name, each in kind.__pydantic_fields__.items():  # type: ignore[attr-defined]
        listed = typing.get_origin(each.annotation) is tuple
        for member in _specs(each.annotation):
            for inner, parent in {member: Parent(kind, name, listed), **parents(member)}.items():
                found.setdefault(inner, parent)
    return found


def slot_members(kind: type) -> set[type]:
    """Returns all specs in slots of `kind`, at any depth."""
    return set(parents(kind))


def _specs(hint: Any) -> list[type]:
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return [hint]
    return [each for part in typing.get_args(hint) for each in _specs(part)]
