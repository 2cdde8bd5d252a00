"""Optimizer steps against NumPy and Keras: clipping of gradients, and moving averages of weights."""

import re

import keras
import numpy as np
import pytest

from tests.training import toy
from tests.training.test_optimizers import after, gradients, variables
from tfseg.errors import RunError
from tfseg.spec.declare import spec
from tfseg.spec.problems import SpecError
from tfseg.training import Training, lr_multipliers
from tfseg.training.contracts import OptimizerSpec
from tfseg.training.keras_optimizer import KerasOptimizer
from tfseg.training.optimizers import AdamW, Sgd
from tfseg.training.step import has_averages, swap_averages

LIMIT = 0.7


def clipped(step: list[np.ndarray], how: str) -> list[np.ndarray]:
    """Clips the gradients of a step in float64."""
    exact = [gradient.astype(np.float64) for gradient in step]
    if how == "clipvalue":
        return [np.clip(gradient, -LIMIT, LIMIT) for gradient in exact]
    norms = [np.linalg.norm(gradient) for gradient in exact]
    norms = norms if how == "clipnorm" else [np.linalg.norm(norms)] * len(norms)
    return [gradient * min(1.0, LIMIT / norm) for gradient, norm in zip(exact, norms, strict=True)]


@pytest.mark.parametrize("how", ["clipnorm", "clipvalue", "global_clipnorm"])
@pytest.mark.parametrize("kind", [Sgd, AdamW, "RMSprop"])
def test_clipping_equals_clipped_gradients(how: str, kind: type | str) -> None:
    def optimizer(**clipping: float) -> keras.optimizers.Optimizer:
        if isinstance(kind, str):
            return KerasOptimizer(class_=kind, learning_rate=0.1, arguments=clipping)(0.1, scaled=False)
        return kind(**clipping)(0.1, scaled=False)

    steps = gradients(3)
    assert any(np.abs(gradient).max() > LIMIT for gradient in steps[0])
    expected = after(optimizer(), [[each.astype("float32") for each in clipped(step, how)] for step in steps])
    for path, value in after(optimizer(**{how: LIMIT}), steps).items():
        np.testing.assert_allclose(value, expected[path], rtol=1e-5, atol=1e-6, err_msg=path)
    for path, value in after(optimizer(**{how: 1e9}), steps).items():
        np.testing.assert_allclose(value, after(optimizer(), steps)[path], rtol=1e-6, err_msg=path)


@pytest.mark.parametrize("how", ["clipnorm", "clipvalue", "global_clipnorm"])
def test_clipping_equals_keras(how: str) -> None:
    steps = gradients(3)
    mine, theirs = (after(kind(0.1, **{how: LIMIT}), steps) for kind in (lr_multipliers.SGD, keras.optimizers.SGD))
    for path, value in theirs.items():
        np.testing.assert_allclose(mine[path], value, rtol=1e-5, atol=1e-6, err_msg=path)


@pytest.mark.parametrize("how", ["clipnorm", "clipvalue", "global_clipnorm"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nonfinite_gradients_are_not_clipped(how: str, bad: float) -> None:
    """Clipping would make an infinite entry finite; the optimizer halts instead."""
    steps = gradients(3)
    steps[1][2][0, 1] = bad
    optimizer = lr_multipliers.SGD(0.1, **{how: LIMIT})
    weights = after(optimizer, steps)
    assert optimizer.halted == 1
    for path, value in after(lr_multipliers.SGD(0.1, **{how: LIMIT}), steps[:1]).items():
        np.testing.assert_array_equal(weights[path], value)
    of_keras = KerasOptimizer(class_="SGD", arguments={how: LIMIT})(0.1, scaled=False)
    assert not all(np.isfinite(value).all() for value in after(of_keras, steps).values())


@pytest.mark.parametrize("how", ["clipnorm", "global_clipnorm"])
@pytest.mark.parametrize("size", [1e30, 1e-30, 0.0])
def test_norms_do_not_overflow(how: str, size: float) -> None:
    """The squares of these entries are not float32 numbers."""
    step = [np.full((2, 2), size, "float32") for _ in variables()]
    weights = after(lr_multipliers.SGD(1.0, **{how: LIMIT}), [step])
    change = clipped(step, how) if size > 1 else step
    for (path, value), before, expected in zip(weights.items(), variables(), change, strict=True):
        np.testing.assert_allclose(value, before.numpy() - expected, rtol=1e-5, atol=1e-6, err_msg=path)


def test_clipping_acts_on_the_unscaled_mean_of_accumulated_gradients() -> None:
    weight = keras.Variable(np.zeros(2, "float32"), name="kernel")
    optimizer = lr_multipliers.SGD(
        1.0, weight_decay=0.0, clipvalue=0.5, initial_scale=8.0, gradient_accumulation_steps=2
    )
    for gradient in (1.0, -0.5, 3.0, 1.0):  # the means are 0.25, which is not clipped, and 2
        optimizer.apply([keras.ops.full((2,), 8 * gradient)], [weight])
    np.testing.assert_allclose(weight.numpy(), -0.75, rtol=1e-6)


@pytest.mark.parametrize("kind", [Sgd, AdamW])
def test_only_one_way_of_clipping(kind: type) -> None:
    message = (
        "global_clipnorm: expected at most one of clipnorm, clipvalue, global_clipnorm. "
        "Received: clipvalue=2.0, global_clipnorm=1.0. Remove all but one"
    )
    with pytest.raises(SpecError, match=re.escape(message)):
        kind(clipvalue=2.0, global_clipnorm=1.0)


MOMENTUM = 0.75


def averaging(momentum: float = MOMENTUM, **options: object) -> keras.optimizers.Optimizer:
    return lr_multipliers.SGD(0.1, weight_decay=0.0, use_ema=True, ema_momentum=momentum, **options)


def averages(optimizer: keras.optimizers.Optimizer, weights: list[keras.Variable]) -> list[np.ndarray]:
    """Returns the averages; the weights remain those of the training."""
    swap_averages(optimizer)
    found = [weight.numpy() for weight in weights]
    swap_averages(optimizer)
    return found


def test_average_equals_the_formula() -> None:
    optimizer, weights, expected = averaging(), variables(), None
    for step in gradients(4):
        optimizer.apply([keras.ops.convert_to_tensor(each) for each in step], weights)
        now = [weight.numpy().astype(np.float64) for weight in weights]
        pairs = zip(expected or now, now, strict=True)
        expected = [MOMENTUM * average + (1 - MOMENTUM) * weight for average, weight in pairs]
        for mine, theirs in zip(averages(optimizer, weights), expected, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)
    assert int(optimizer.averaged_steps.numpy()) == 4


def test_average_equals_keras() -> None:
    steps, theirs = gradients(4), keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=MOMENTUM)
    weights = variables()
    for step in steps:
        theirs.apply([keras.ops.convert_to_tensor(each) for each in step], weights)
    theirs.finalize_variable_values(weights)
    mine, own = averaging(), variables()
    for step in steps:
        mine.apply([keras.ops.convert_to_tensor(each) for each in step], own)
    mine.finalize_variable_values(own)
    for one, other in zip(own, weights, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("class_", [None, "SGD"])
def test_average_counts_optimizer_steps(class_: str | None) -> None:
    """Batches that only accumulate gradients do not change the average, unlike in Keras."""
    weight = keras.Variable(np.zeros(1, "float32"), name="kernel")
    optimizer = averaging(gradient_accumulation_steps=2)
    if class_ is not None:
        optimizer = KerasOptimizer(class_=class_)(0.1, scaled=False, accumulate=2)
        optimizer.use_ema, optimizer.ema_momentum = True, MOMENTUM
    found = []
    for _ in range(6):
        optimizer.apply([keras.ops.full((1,), -10.0)], [weight])
        found.append(float(averages(optimizer, [weight])[0][0]) if has_averages(optimizer) else None)
    np.testing.assert_allclose(weight.numpy(), 3.0, rtol=1e-6)  # after steps of 1
    assert found[0] is None
    np.testing.assert_allclose(found[1:], [1, 1, 1.25, 1.25, 0.75 * 1.25 + 0.25 * 3], rtol=1e-6)


def test_skipped_steps_are_not_averaged() -> None:
    """With loss scaling the first steps often overflow, before there is an average."""
    weight = keras.Variable(np.ones(1, "float32"), name="kernel")
    optimizer = averaging(initial_scale=8.0)
    for gradient in (np.inf, 1.0, np.nan):
        optimizer.apply([optimizer.scale_loss(keras.ops.full((1,), gradient))], [weight])
        assert int(optimizer.averaged_steps.numpy()) == (0 if gradient == np.inf else 1)
    np.testing.assert_allclose(averages(optimizer, [weight])[0], 0.9, rtol=1e-6)


def test_weights_without_average_are_kept() -> None:
    """The end of `fit` does not replace them by zeros if no step was applied."""
    weight = keras.Variable(np.ones(1, "float32"), name="kernel")
    optimizer = averaging(gradient_accumulation_steps=2)
    optimizer.apply([keras.ops.ones((1,))], [weight])
    optimizer.finalize_variable_values([weight])
    assert not has_averages(optimizer)
    assert weight.numpy().tolist() == [1.0]


def test_swapping_exchanges_weights_and_averages_exactly() -> None:
    """Values of very different size would be lost in sums."""
    weight = keras.Variable(np.array([1e-8, 1e8, 0.1], "float32"), name="kernel")
    optimizer = averaging(momentum=0.999)
    optimizer.apply([keras.ops.array([-1e9, 1e-9, 0.3])], [weight])
    optimizer.apply([keras.ops.array([1e9, 1e-9, 0.3])], [weight])
    before = weight.numpy()
    swap_averages(optimizer)
    assert np.abs(weight.numpy() - before).max() > 1
    swap_averages(optimizer)
    np.testing.assert_array_equal(weight.numpy(), before)


@spec
class Wrapped(OptimizerSpec):
    """Optimizer without moving averages."""

    type: str = "wrapped"
    learning_rate: float = 0.1

    def __call__(self, schedule: object, *, scaled: bool, accumulate: int = 1) -> keras.optimizers.Optimizer:
        return keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(schedule))


def test_optimizer_without_averages_is_rejected() -> None:
    training = Training(ema=0.9)
    object.__setattr__(training, "optimizer", Wrapped())
    message = (
        "training.ema: wrapped returns LossScaleOptimizer, which does not average weights per optimizer step. Use sgd, "
        "adamw or keras, or set ema to null"
    )
    with pytest.raises(RunError, match=re.escape(message)):
        training.compile(toy.network(), toy.LABELS, steps_per_epoch=1)
