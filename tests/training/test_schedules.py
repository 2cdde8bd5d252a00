"""Learning rate schedules against their formulas."""

import json

import keras
import numpy as np
import pytest

from tfseg.training.schedules import Constant, LinearWarmUp, Poly, Step

RATE, STEPS, EPOCHS = 0.1, 5, 4


def rates(spec):
    schedule = spec(RATE, steps=STEPS * EPOCHS, steps_per_epoch=STEPS)
    return np.array([float(schedule(n)) if callable(schedule) else schedule for n in range(STEPS * EPOCHS + 1)])


STEP_NUMBERS = np.arange(STEPS * EPOCHS + 1)


@pytest.mark.parametrize("power", [0.9, 1.0, 2.0])
def test_poly(power):
    np.testing.assert_allclose(rates(Poly(power=power)), RATE * (1 - STEP_NUMBERS / 20) ** power, atol=1e-7)
    assert rates(Poly(power=power))[-1] == 0


@pytest.mark.parametrize(("every", "factor", "length"), [(1.0, 0.1, 5), (1.5, 0.5, 8), (0.01, 0.9, 1)])
def test_step(every, factor, length):
    """The learning rate decays after each `every` epochs, rounded to steps."""
    np.testing.assert_allclose(
        rates(Step(every=every, factor=factor)), RATE * factor ** (STEP_NUMBERS // length), rtol=1e-5
    )


def test_constant():
    assert set(rates(Constant())) == {RATE}


@pytest.mark.parametrize("spec", [Constant, Poly, Step])
def test_warm_up_only_affects_its_steps(spec):
    needed = {"every": 2.0} if spec is Step else {}
    plain, warm = rates(spec(**needed)), rates(spec(**needed, warmup=4))
    np.testing.assert_allclose(warm[:4], plain[:4] * np.array([0.25, 0.5, 0.75, 1.0]), rtol=1e-6)
    np.testing.assert_allclose(warm[4:], plain[4:], rtol=1e-6)


@pytest.mark.parametrize("inner", [0.3, keras.optimizers.schedules.PolynomialDecay(0.3, 10)])
def test_config_round_trip(inner):
    schedule = LinearWarmUp(inner, steps=3)
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(schedule)))
    again = keras.saving.deserialize_keras_object(config)
    assert config["registered_name"] == "tfseg>LinearWarmUp"
    assert [float(again(n)) for n in range(6)] == [float(schedule(n)) for n in range(6)]


def test_optimizer_follows_the_schedule():
    """Keras calls the schedule with steps counted from 0."""
    spec = Poly(warmup=2)
    schedule = spec(RATE, steps=STEPS * EPOCHS, steps_per_epoch=STEPS)
    optimizer = keras.optimizers.SGD(schedule)
    weight = keras.Variable(np.zeros(1, "float32"))
    updates = []
    for _ in range(4):
        before = weight.numpy().copy()
        optimizer.apply([keras.ops.ones(1)], [weight])
        updates.append(float((before - weight.numpy())[0]))
    np.testing.assert_allclose(updates, rates(spec)[:4], rtol=1e-4)
