"""One exhaustive check for each kind of thing; what to check stands in `cases.py`.

A case is data: a thing, tiny arguments, tiny inputs. Checks that need another process, whose start is dear, share one
(`tests/processes.py`).
"""

import dataclasses
import inspect
import json
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from pydantic import ValidationError

from tfseg.spec.show import dump
from tfseg.spec.source import read
from tfseg.spec.validate import validate

HALVES = {"mixed_float16": 2e-3, "mixed_bfloat16": 2e-2}
"""Policies, and how far from float32 a tiny layer may end up, as a share of its largest value."""


def arrays(shapes: tuple[tuple[int, ...], ...], dtypes: tuple[str, ...], seed: int = 7) -> list[np.ndarray]:
    """Normal floats, or small integers, of these shapes and types: one type for all, or one for each."""
    random = np.random.default_rng(seed)
    kinds = dtypes * len(shapes) if len(dtypes) == 1 else dtypes
    return [
        random.normal(size=shape).astype(kind) if "float" in kind else random.integers(0, 200, shape).astype(kind)
        for shape, kind in zip(shapes, kinds, strict=True)
    ]


@dataclass(frozen=True)
class LayerCase:
    """A layer with tiny arguments, none of them a default where that can be, and the shapes it is called on."""

    layer: type[keras.layers.Layer]
    arguments: dict[str, Any]
    shapes: tuple[tuple[int, ...], ...]
    """Of one tensor, or of a list of them, batch included."""
    dtypes: tuple[str, ...] = ("float32",)
    learned: int = 0
    """How many learned weights it has."""
    fixed: int = 0
    """How many weights it has that are not learned."""
    outputs: int = 1
    whole_since: str = "2.20"
    """The TensorFlow from which on its convolutions stay whole in a TFLite file; depthwise ones were taken apart."""
    unlike: dict[str, str] = field(default_factory=dict)
    """What it cannot do, and why: `gradient`, `half`, `dynamic`, `tflite`, `xla`, `neutral`. The check then is that it
    says so or fails, so that a reason that has passed comes to light."""

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
        """The layer alone in a functional model, by default of any batch and size."""
        tensors = [
            keras.Input((None, None, shape[3]) if dynamic else shape[1:], batch, array.dtype.name, name=f"x{index}")
            for index, (shape, array) in enumerate(zip(self.shapes, self.inputs(), strict=True))
        ]
        return keras.Model(one_or_all(tensors), self.make(**kwargs)(one_or_all(tensors)))


def fresh(argument: Any) -> Any:
    """`argument`, or a copy without weights of a layer that is to be wrapped."""
    if isinstance(argument, keras.layers.Layer):
        return type(argument).from_config(argument.get_config())
    return argument


def one_or_all(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


def listed(outputs: Any) -> list[np.ndarray]:
    """Outputs as a list of arrays, whatever their number."""
    return [np.asarray(keras.ops.cast(output, "float32")) for output in keras.tree.flatten(outputs)]


def shape_and_type(x: Any) -> tuple[tuple[int, ...], str]:
    return tuple(x.shape), keras.backend.standardize_dtype(x.dtype)


def close(found: Any, expected: Any, tolerance: float = 1e-5) -> None:
    """Every output has the expected shape, and is as near as `tolerance` says, as a share of the largest value."""
    found, expected = listed(found), listed(expected)
    assert [array.shape for array in found] == [array.shape for array in expected]
    for array, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(array, other, rtol=0, atol=tolerance * max(1.0, float(np.abs(other).max())))


# Layers


def check_layer_config(case: LayerCase) -> None:
    """The constructor is the config: every argument is in it, plain, and makes the same layer again."""
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
    assert again.get_config() == config
    assert keras.saving.get_registered_name(case.layer) == f"tfseg>{case.layer.__name__}"


def check_layer_numbers(case: LayerCase) -> None:
    """Eager, in a graph and through XLA: one result, of the shape and type that were announced."""
    layer, inputs = case.make(), one_or_all(case.inputs())
    eager = layer(inputs)
    announced = case.model(case.shapes[0][0], dynamic=False).outputs
    assert [shape_and_type(y) for y in keras.tree.flatten(eager)] == [shape_and_type(y) for y in announced]
    assert len(announced) == case.outputs
    assert [len(layer.trainable_weights), len(layer.non_trainable_weights)] == [case.learned, case.fixed]
    close(tf.function(layer)(inputs), eager)
    if layer.supports_jit:
        close(tf.function(layer, jit_compile=True)(inputs), eager)
    assert layer.supports_jit != ("xla" in case.unlike)


def check_layer_dynamic(case: LayerCase) -> None:
    """One model takes every size."""
    model = case.model()
    layer = model.layers[-1]
    for larger in (0, 3):
        inputs = arrays(
            tuple((shape[0], *(n + larger for n in shape[1:3]), shape[3]) for shape in case.shapes), case.dtypes
        )
        close(model.predict(one_or_all(inputs), verbose=0), layer(one_or_all(inputs)))


def check_layer_gradient(case: LayerCase) -> None:
    """Every learned weight and every float input that matters gets a finite gradient that is not zero."""
    layer, inputs = case.make(), [tf.constant(array) for array in case.inputs()]
    floats = [inputs[0]] if inputs[0].dtype.is_floating else []
    with tf.GradientTape() as tape:
        tape.watch(floats)
        outputs = keras.tree.flatten(layer(one_or_all(inputs)))
        total = tf.add_n([tf.reduce_sum(tf.cast(y, "float32") ** 2) for y in outputs[:1]])
    sources = [*floats, *(weight.value for weight in layer.trainable_weights)]
    gradients = tape.gradient(total, sources)
    if "gradient" in case.unlike:
        assert all(gradient is None for gradient in gradients)
        return
    for gradient in gradients:
        assert np.all(np.isfinite(gradient)) and np.any(np.asarray(gradient) != 0)


def check_layer_half(case: LayerCase) -> None:
    """Under mixed precision weights stay float32, results are of the compute type and near those of float32."""
    exact = case.make()(one_or_all(case.inputs()))
    for policy, tolerance in HALVES.items():
        layer = case.make(dtype=policy)
        outputs = layer(one_or_all(case.inputs()))
        first, *_ = keras.tree.flatten(outputs)
        assert keras.backend.standardize_dtype(first.dtype) == layer.compute_dtype == policy.removeprefix("mixed_")
        assert {keras.backend.standardize_dtype(weight.dtype) for weight in layer.weights} <= {"float32"}
        close(keras.tree.flatten(outputs)[0], keras.tree.flatten(exact)[0], tolerance)


def check_layer_tflite(case: LayerCase) -> None:
    """With static sizes it is a TFLite file of built-in operations only, which computes the same."""
    model, inputs = case.model(batch=case.shapes[0][0], dynamic=False), case.inputs()
    if "tflite" in case.unlike:
        with pytest.raises(Exception, match=r"(?i)flex|custom|builtin|Select TF"):
            tflite(model)
        return
    outputs, names = run_tflite(tflite(model), inputs)
    close(outputs, model(one_or_all(inputs)))
    apart = [name for name in names if name.endswith("_TO_SPACE_ND") or name.endswith("_TO_BATCH_ND")]
    assert not apart or tf.__version__ < case.whole_since


def tflite(model: keras.Model) -> bytes:
    """`model` as a TFLite file, built-in operations only."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    return bytes(converter.convert())


def run_tflite(content: bytes, inputs: list[np.ndarray]) -> tuple[list[np.ndarray], list[str]]:
    """The outputs of a TFLite file, and the names of its operations, in their order."""
    # The default delegate would hide the operations that it takes over.
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
    """The names of a TFLite file's operations."""
    return [each["op_name"] for each in interpreter._get_ops_details()]


# Losses and metrics


@dataclass(frozen=True)
class LossCase:
    """A loss with tiny arguments, none of them a default where that can be."""

    loss: type[keras.losses.Loss]
    arguments: dict[str, Any]
    classes: int = 3
    ignore: int = 255

    @property
    def name(self) -> str:
        return f"{self.loss.__name__}({','.join(f'{name}={value}' for name, value in self.arguments.items())})"

    def make(self) -> keras.losses.Loss:
        return self.loss(**self.arguments)

    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """Labels, a third of them ignored, and logits."""
        random = np.random.default_rng(5)
        labels = random.integers(0, self.classes, (2, 4, 5)).astype("int32")
        labels[random.random(labels.shape) < 1 / 3] = self.ignore
        return labels, random.normal(size=(2, 4, 5, self.classes)).astype("float32")


def check_loss_config(case: LossCase) -> None:
    """The constructor is the config, and JSON makes the same loss again."""
    check_config(case.make(), case.loss, case.arguments)


def check_config(thing: Any, kind: type, arguments: dict[str, Any]) -> None:
    config = thing.get_config()
    parameters = inspect.signature(kind.__init__).parameters.values()
    missing = {each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD} - {"self"} - set(config)
    assert not missing, f"not in get_config(): {missing}"
    for name, value in arguments.items():
        assert json.dumps(config[name]) == json.dumps(value)
    again = keras.saving.deserialize_keras_object(json.loads(json.dumps(keras.saving.serialize_keras_object(thing))))
    assert type(again) is kind
    assert again.get_config() == config
    assert keras.saving.get_registered_name(kind) == f"tfseg>{kind.__name__}"


def check_loss_numbers(case: LossCase) -> None:
    """A float32 number, the same eager, in a graph and for labels with a channel axis; half logits change little."""
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
    """What the logits say at ignored pixels changes nothing, and gets no gradient; all ignored is a finite 0."""
    (labels, logits), loss = case.batch(), case.make()
    ignored = labels == case.ignore
    close(loss(labels, np.where(ignored[..., None], 50.0, logits).astype("float32")), loss(labels, logits), 1e-6)
    x = tf.constant(logits)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        value, nothing = loss(labels, x), loss(np.full_like(labels, case.ignore), x)
    gradient = np.asarray(tape.gradient(value, x))
    assert np.all(np.isfinite(gradient)) and np.all(gradient[ignored] == 0) and np.any(gradient[~ignored] != 0)
    assert float(nothing) == 0 and np.all(np.asarray(tape.gradient(nothing, x)) == 0)


@dataclass(frozen=True)
class MetricCase:
    """A metric with tiny arguments, none of them a default where that can be."""

    metric: type[keras.metrics.Metric]
    arguments: dict[str, Any]
    classes: int = 3
    ignore: int = 255

    @property
    def name(self) -> str:
        return f"{self.metric.__name__}({','.join(f'{name}={value}' for name, value in self.arguments.items())})"

    def make(self) -> keras.metrics.Metric:
        return self.metric(**self.arguments)

    batch = LossCase.batch


def check_metric_config(case: MetricCase) -> None:
    """The constructor is the config, and JSON makes the same metric again."""
    check_config(case.make(), case.metric, case.arguments)


def check_metric_numbers(case: MetricCase) -> None:
    """Logits or ids, eager or in a graph, one batch or two: one result. Reset forgets; ignored pixels do not count."""
    labels, logits = case.batch()
    expected = figures(case, (labels, logits))
    ignored = labels == case.ignore
    assert figures(case, (labels, logits.argmax(-1))) == expected
    assert figures(case, (labels[..., None], logits)) == expected
    assert figures(case, (labels[:1], logits[:1]), (labels[1:], logits[1:])) == expected
    assert figures(case, (labels, np.where(ignored, 0, logits.argmax(-1)))) == expected
    metric = case.make()
    tf.function(metric.update_state)(tf.constant(labels), tf.constant(logits))
    assert values(metric) == expected
    metric.reset_state()
    metric.update_state(labels[:1], logits[:1])
    assert values(metric) == figures(case, (labels[:1], logits[:1])) != expected


def figures(case: MetricCase, *batches: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
    metric = case.make()
    for labels, predictions in batches:
        metric.update_state(labels, predictions)
    return values(metric)


def values(metric: keras.metrics.Metric) -> dict[str, float]:
    return {name: float(value) for name, value in metric.result().items()}


# Specs


@dataclass(frozen=True)
class SpecCase:
    """A spec's value, what it makes, and for each field another value that makes something else."""

    value: Any
    makes: Callable[[Any], Any]
    """What can be seen of the thing that the spec builds or does: plain values and arrays."""
    changes: dict[str, Any]
    """Another value for each field, or what is `Given` where it depends on others."""
    elsewhere: dict[str, str] = field(default_factory=dict)
    """Fields whose effect takes too long to see here, and the name of the test that shows it."""

    @property
    def name(self) -> str:
        return type(self.value).__name__


@dataclass(frozen=True)
class Given:
    """A change that shows only where other fields are changed as well, before and after."""

    value: Any
    where: dict[str, Any]


def own_fields(value: Any) -> list[str]:
    return [each.name for each in dataclasses.fields(value) if each.name != "type"]


def check_spec_value(case: SpecCase) -> None:
    """Frozen, refuses unknown fields, equal when made again, every field described."""
    kind, first = type(case.value), own_fields(case.value)[:1]
    for name in first:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(case.value, name, None)
    with pytest.raises(ValidationError, match="no_such_field"):
        kind(**{**shallow(case.value), "no_such_field": 1})
    assert kind(**shallow(case.value)) == case.value
    described = {name for name, each in kind.__pydantic_fields__.items() if each.description}
    assert set(own_fields(case.value)) <= described, "a field has no docstring"


def check_spec_file(case: SpecCase, folder: Any) -> None:
    """What `show` prints reads back to an equal value."""
    file = folder / "value.yaml"
    file.write_text(dump(case.value), encoding="utf-8")
    assert validate(type(case.value), read(file)) == case.value


def check_spec_fields(case: SpecCase) -> None:
    """Every field makes a difference."""
    assert set(case.changes) | set(case.elsewhere) == set(own_fields(case.value))
    known: list[tuple[Any, Any]] = []
    for name, change in case.changes.items():
        change = change if isinstance(change, Given) else Given(change, {})
        before = dataclasses.replace(case.value, **change.where)
        after = dataclasses.replace(before, **{name: change.value})
        assert before != after
        if before not in [value for value, _ in known]:
            known.append((before, case.makes(before)))
            assert same(known[-1][1], case.makes(before)), "what is compared must not depend on chance"
        made = next(made for value, made in known if value == before)
        assert not same(made, case.makes(after)), f"{name}={change.value!r} changes nothing"


def same(one: Any, other: Any) -> bool:
    """Equality of nested plain values and arrays."""
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return isinstance(other, list | tuple) and len(one) == len(other) and all(map(same, one, other))
    return bool(np.array_equal(one, other))


def shallow(value: Any) -> dict[str, Any]:
    return {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}


def slot_members(kind: type) -> set[type]:
    """Every spec in a slot of `kind`, and in theirs."""
    found: set[type] = set()
    for each in kind.__pydantic_fields__.values():  # type: ignore[attr-defined]
        for member in _specs(each.annotation):
            if member not in found:
                found |= {member} | slot_members(member)
    return found


def _specs(hint: Any) -> list[type]:
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return [hint]
    return [each for part in typing.get_args(hint) for each in _specs(part)]
