"""Learning rate schedules against their formulas."""

import json

import keras
import numpy as np
import pytest

from tests.training import toy
from tfseg.spec.problems import SpecError
from tfseg.training import Training
from tfseg.training.one_cycle import OneCycle, OneCycleSchedule
from tfseg.training.schedules import Constant, Cosine, Poly, Step
from tfseg.training.warm_up import WarmUp, WarmUpSchedule

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


@pytest.mark.parametrize("alpha", [0.0, 0.25])
def test_cosine(alpha):
    expected = RATE * (alpha + (1 - alpha) * (1 + np.cos(np.pi * STEP_NUMBERS / 20)) / 2)
    np.testing.assert_allclose(rates(Cosine(alpha=alpha)), expected, atol=1e-7)


def one_cycle_by_hand(step, increase, shape):
    """Computes the learning rate in two phases of 20 steps, from 0.1 / 4 to 0.1 and then to 0.1 / 40."""
    turn, start, end = 20 * increase, RATE / 4, RATE / 40
    first, last, done = (start, RATE, step / turn) if step < turn else (RATE, end, (step - turn) / (20 - turn))
    done = done if shape == "linear" else (1 - np.cos(np.pi * done)) / 2
    return first + (last - first) * done


@pytest.mark.parametrize("shape", ["linear", "cosine"])
@pytest.mark.parametrize("increase", [0.3, 0.5, 0.01, 0.99])
def test_one_cycle(increase, shape):
    spec = OneCycle(increase=increase, shape=shape, div_factor=4.0, final_div_factor=10.0)
    expected = [one_cycle_by_hand(step, increase, shape) for step in STEP_NUMBERS]
    np.testing.assert_allclose(rates(spec), expected, rtol=1e-5)


def test_one_cycle_begins_low_and_ends_near_zero():
    values = rates(OneCycle())
    np.testing.assert_allclose([values[0], values[6], values[-1]], [RATE / 25, RATE, RATE / 25e4], rtol=1e-4)
    assert values.argmax() == 6


@pytest.mark.parametrize("spec", [Constant, Cosine, Poly, Step])
def test_warm_up_only_affects_its_steps(spec):
    needed = {"every": 2.0} if spec is Step else {}
    plain, warm = rates(spec(**needed)), rates(spec(**needed, warmup=4))
    np.testing.assert_allclose(warm[:4], plain[:4] * np.array([0.25, 0.5, 0.75, 1.0]), rtol=1e-6)
    np.testing.assert_allclose(warm[4:], plain[4:], rtol=1e-6)


def factor_by_hand(step, steps, start, shape):
    done = (step + 1) / steps
    if done > 1:
        return 1.0
    rising = {"linear": done, "cosine": (1 - np.cos(np.pi * done)) / 2, "constant": 0.0}[shape]
    return start + (1 - start) * rising


@pytest.mark.parametrize("shape", ["linear", "cosine", "constant"])
@pytest.mark.parametrize(("length", "unit", "steps"), [(1.2, "epochs", 6), (7, "steps", 7), (0.01, "epochs", 1)])
def test_warm_up_in_epochs_or_steps(shape, length, unit, steps):
    warm = rates(Constant(warmup=WarmUp(length=length, unit=unit, start=0.1, shape=shape)))
    expected = [RATE * factor_by_hand(step, steps, 0.1, shape) for step in STEP_NUMBERS]
    np.testing.assert_allclose(warm, expected, rtol=1e-5)


def test_warm_up_of_length_zero_is_none():
    assert rates(Cosine(warmup=WarmUp(length=0.0))).tolist() == rates(Cosine()).tolist()
    assert rates(Poly(warmup=WarmUp(length=4, unit="steps"))).tolist() == rates(Poly(warmup=4)).tolist()


def test_constant_warm_up_needs_a_factor():
    message = "start: expected a number greater than 0 with shape: constant; received 0"
    with pytest.raises(SpecError, match=message):
        WarmUp(length=1.0, shape="constant")


@pytest.mark.parametrize("accumulate", [1, 2])
def test_warm_up_counts_optimizer_steps(accumulate):
    """Two epochs of 4 batches are 8 / accumulate optimizer steps, and the learning rate changes only with them."""
    schedule = Constant(warmup=WarmUp(length=2.0))
    training = Training(
        epochs=3,
        gradient_accumulation_steps=accumulate,
        schedule=schedule,
        optimizer={"type": "sgd", "learning_rate": RATE},
    )
    model = toy.network(norm=False)
    training.compile(model, toy.LABELS, steps_per_epoch=4)
    seen = []
    for _ in range(12):
        seen.append(float(model.optimizer.learning_rate))
        model.optimizer.apply([keras.ops.zeros(weight.shape) for weight in model.trainable_weights])
    expected = [RATE * min((batch // accumulate + 1) / (8 // accumulate), 1.0) for batch in range(12)]
    np.testing.assert_allclose(seen, expected, rtol=1e-6)


@pytest.mark.parametrize("inner", [0.3, keras.optimizers.schedules.PolynomialDecay(0.3, 10)])
def test_config_round_trip(inner):
    schedule = WarmUpSchedule(inner, steps=3, start=0.2, shape="cosine")
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(schedule)))
    again = keras.saving.deserialize_keras_object(config)
    assert config["registered_name"] == "tfseg>WarmUpSchedule"
    assert [float(again(n)) for n in range(6)] == [float(schedule(n)) for n in range(6)]


def test_one_cycle_config_round_trip():
    schedule = OneCycle(shape="linear")(RATE, steps=20, steps_per_epoch=5.0)
    again = keras.saving.deserialize_keras_object(json.loads(json.dumps(keras.saving.serialize_keras_object(schedule))))
    assert type(again) is OneCycleSchedule and again.get_config() == schedule.get_config()


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
