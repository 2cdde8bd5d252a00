"""Optimizers against NumPy: multipliers, weight decay, nonfinite gradients, loss scaling."""

import json
import re

import keras
import numpy as np
import pytest

from tfseg.spec.problems import SpecError
from tfseg.training import lr_multipliers
from tfseg.training.optimizers import AdamW, Sgd

MULTIPLIERS = {"score": 10.0, "bias": 2.0}
FACTORS = {"conv/kernel": 1.0, "conv/bias": 2.0, "score/kernel": 10.0, "score/bias": 20.0, "norm/gamma": 1.0}
DECAYED = {"conv/kernel", "score/kernel"}


def variables() -> list[keras.Variable]:
    rng = np.random.default_rng(0)
    created = []
    for path in FACTORS:
        with keras.name_scope(path.split("/")[0]):
            created.append(keras.Variable(rng.normal(size=(2, 2)).astype("float32"), name=path.split("/")[1]))
    assert [variable.path for variable in created] == list(FACTORS)
    return created


def gradients(steps: int) -> list[list[np.ndarray]]:
    rng = np.random.default_rng(1)
    return [[rng.normal(size=(2, 2)).astype("float32") for _ in FACTORS] for _ in range(steps)]


def after(optimizer: keras.optimizers.Optimizer, steps: list[list[np.ndarray]]) -> dict[str, np.ndarray]:
    weights = variables()
    for step in steps:
        optimizer.apply([keras.ops.convert_to_tensor(gradient) for gradient in step], weights)
    return {weight.path: weight.numpy() for weight in weights}


def sgd_by_hand(steps, rate, momentum, decay):
    """Computes SGD as in Caffe: the gradient of the penalty is added before momentum, the multiplier scales both."""
    weights = {variable.path: variable.numpy().astype(float) for variable in variables()}
    velocity = {path: np.zeros((2, 2)) for path in weights}
    for step in steps:
        for path, gradient in zip(weights, step, strict=True):
            total = gradient + (decay * weights[path] if path in DECAYED else 0)
            velocity[path] = momentum * velocity[path] - rate * FACTORS[path] * total
            weights[path] += velocity[path]
    return weights


def adamw_by_hand(steps, rate, decay, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    weights = {variable.path: variable.numpy().astype(float) for variable in variables()}
    first, second = ({path: np.zeros((2, 2)) for path in weights} for _ in range(2))
    for number, step in enumerate(steps, start=1):
        for path, gradient in zip(weights, step, strict=True):
            local = rate * FACTORS[path]
            weights[path] *= 1 - (local * decay if path in DECAYED else 0)
            first[path] = beta_1 * first[path] + (1 - beta_1) * gradient
            second[path] = beta_2 * second[path] + (1 - beta_2) * gradient**2
            corrected = local * np.sqrt(1 - beta_2**number) / (1 - beta_1**number)
            weights[path] -= corrected * first[path] / (np.sqrt(second[path]) + epsilon)
    return weights


def test_sgd_equals_caffe():
    steps = gradients(4)
    optimizer = lr_multipliers.SGD(0.1, momentum=0.9, weight_decay=0.05, lr_multipliers=MULTIPLIERS)
    weights, expected = after(optimizer, steps), sgd_by_hand(steps, 0.1, 0.9, 0.05)
    for path, value in expected.items():
        np.testing.assert_allclose(weights[path], value, rtol=1e-5, atol=1e-6, err_msg=path)


def test_sgd_weight_decay_is_an_l2_penalty():
    """Weight decay of Caffe is `keras.regularizers.L2(weight_decay / 2)`, not the decoupled one of Keras."""
    decay, rate = 0.2, 0.1
    layer = keras.layers.Dense(3, kernel_regularizer=keras.regularizers.L2(decay / 2))
    model = keras.Sequential([keras.Input((4,)), layer])
    x, y = np.ones((2, 4), "float32"), np.zeros((2, 3), "float32")
    start = [weight.copy() for weight in model.get_weights()]
    model.compile(keras.optimizers.SGD(rate, momentum=0.9), "mse")
    model.fit(x, y, epochs=3, verbose=0)
    penalized = model.get_weights()
    plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    plain.set_weights(start)
    plain.compile(lr_multipliers.SGD(rate, momentum=0.9, weight_decay=decay), "mse", auto_scale_loss=False)
    plain.fit(x, y, epochs=3, verbose=0)
    for mine, theirs in zip(plain.get_weights(), penalized, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)


def test_adamw_equals_the_paper():
    steps = gradients(4)
    optimizer = lr_multipliers.AdamW(0.01, weight_decay=0.5, lr_multipliers=MULTIPLIERS)
    weights, expected = after(optimizer, steps), adamw_by_hand(steps, 0.01, 0.5)
    for path, value in expected.items():
        np.testing.assert_allclose(weights[path], value, rtol=1e-5, atol=1e-6, err_msg=path)


@pytest.mark.parametrize("mine, keras_own", [("SGD", keras.optimizers.SGD), ("AdamW", keras.optimizers.AdamW)])
def test_without_multipliers_they_equal_keras(mine, keras_own):
    steps = gradients(3)
    arguments = {"weight_decay": 0.0} if mine == "AdamW" else {"momentum": 0.9, "nesterov": True}
    weights, expected = (
        after(getattr(lr_multipliers, mine)(0.01, **arguments), steps),
        after(keras_own(0.01, **arguments), steps),
    )
    for path, value in expected.items():
        np.testing.assert_allclose(weights[path], value, rtol=1e-6, err_msg=path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nonfinite_gradient_halts_the_optimizer(bad):
    """No variable changes in that step, not even those with a finite gradient, nor in later steps."""
    steps = gradients(4)
    steps[2][3][0, 1] = bad
    optimizer = lr_multipliers.SGD(0.1, momentum=0.9)
    halted = after(optimizer, steps)
    assert optimizer.halted == 2
    assert int(optimizer.iterations) == 4
    before = after(lr_multipliers.SGD(0.1, momentum=0.9), steps[:2])
    for path, value in before.items():
        np.testing.assert_array_equal(halted[path], value)


def test_loss_scale_is_halved_and_doubled():
    """An overflow skips the step, and `growth_steps` finite steps double the scale, as in `LossScaleOptimizer`."""
    steps = gradients(6)
    weights = variables()
    optimizer = lr_multipliers.SGD(0.1, initial_scale=8.0, growth_steps=3)
    reference = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(0.1), initial_scale=8.0, dynamic_growth_steps=3
    )
    other = variables()
    scales = []
    for number, step in enumerate(steps):
        for candidate, chosen in ((optimizer, weights), (reference, other)):
            scale = float(candidate.scale_loss(keras.ops.ones(())))
            scaled = [gradient * (np.inf if number == 1 else scale) for gradient in step]
            candidate.apply([keras.ops.convert_to_tensor(gradient) for gradient in scaled], chosen)
        scales.append((float(optimizer.loss_scale.numpy()), float(reference.dynamic_scale.numpy())))
    assert scales == [(8, 8), (4, 4), (4, 4), (4, 4), (8, 8), (8, 8)]
    assert optimizer.halted is None
    for mine, theirs in zip(weights, other, strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-6)


def test_loss_scaling_halts_below_a_scale_of_one():
    steps = gradients(8)
    for step in steps[2:]:
        step[0][0, 0] = np.nan
    optimizer = lr_multipliers.SGD(0.1, initial_scale=4.0)
    weights = variables()
    halted = []
    for step in steps:
        optimizer.apply([keras.ops.convert_to_tensor(gradient) for gradient in step], weights)
        halted.append(optimizer.halted)
    assert halted == [None, None, None, None, 2, 2, 2, 2]  # the scale is 4, 2, 1, 0.5
    assert float(optimizer.loss_scale.numpy()) == 0.5


@pytest.mark.parametrize("kind", [lr_multipliers.SGD, lr_multipliers.AdamW])
def test_config_round_trip(kind):
    optimizer = kind(
        keras.optimizers.schedules.PolynomialDecay(0.1, 10),
        weight_decay=0.3,
        lr_multipliers=MULTIPLIERS,
        no_weight_decay=["x"],
        initial_scale=2.0,
        growth_steps=5,
    )
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(optimizer)))
    assert config["registered_name"] == f"tfseg>{kind.__name__}"
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is kind
    assert again.get_config() == optimizer.get_config()
    assert {"lr_multipliers", "no_weight_decay", "initial_scale", "growth_steps", "weight_decay"} <= set(
        again.get_config()
    )


@pytest.mark.parametrize("kind", [Sgd, AdamW])
@pytest.mark.parametrize("field", ["no_weight_decay", "lr_multipliers"])
def test_expressions_are_validated(kind, field):
    value = {"a(": 1.0} if field == "lr_multipliers" else ("a(",)
    message = "not a regular expression (missing ), unterminated subpattern at position 1). Received: a("
    with pytest.raises(SpecError, match=re.escape(message)):
        kind(**{field: value})
