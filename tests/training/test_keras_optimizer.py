"""Optimizers of Keras by class name, with the arguments of their constructors."""

from pathlib import Path

import keras
import numpy as np
import pytest

from tests.training import toy
from tests.training.test_callbacks import Kill, train
from tfseg.pipeline import load
from tfseg.spec.problems import SpecError
from tfseg.spec.show import dump
from tfseg.training import Training
from tfseg.training.keras_optimizer import KerasOptimizer, arguments, optimizers

LION = ["beta_1", "beta_2", "weight_decay", "clipnorm", "clipvalue", "global_clipnorm", "use_ema", "ema_momentum"]


def loaded(text: str, *more: str):
    return load("shapes", (f"training.optimizer={text}", *more))


def problems(text: str, *more: str) -> list[str]:
    with pytest.raises(SpecError) as error:
        loaded(text, *more)
    return [f"{each.path}: {each.message}" for each in error.value.problems]


def test_optimizer_has_the_arguments_of_the_file() -> None:
    spec = loaded("{type: keras, class: Lion, learning_rate: 3e-4, beta_1: 0.8, weight_decay: 0.01}").training.optimizer
    assert spec == KerasOptimizer(class_="Lion", learning_rate=3e-4, arguments={"beta_1": 0.8, "weight_decay": 0.01})
    optimizer = spec(3e-4, scaled=False)
    assert isinstance(optimizer, keras.optimizers.Lion)
    assert (optimizer.beta_1, optimizer.weight_decay) == (0.8, 0.01)
    np.testing.assert_allclose(optimizer.learning_rate, 3e-4)
    assert spec(3e-4, scaled=False, accumulate=4).gradient_accumulation_steps == 4


def test_yaml_round_trip(tmp_path: Path) -> None:
    pipeline = loaded("{type: keras, class: Lion, arguments: {beta_1: 0.8}}")
    (tmp_path / "again.yaml").write_text(dump(pipeline))
    assert "    class: Lion\n" in dump(pipeline) and "class_:" not in dump(pipeline)
    assert load(tmp_path / "again.yaml") == pipeline == loaded("{type: keras, class: Lion, beta_1: 0.8}")


@pytest.mark.parametrize("name", sorted(optimizers()))
def test_every_keras_optimizer_can_be_created(name: str) -> None:
    spec = KerasOptimizer(class_=name)
    assert type(spec(0.1, scaled=False)).__name__ == name
    assert "learning_rate" not in arguments(optimizers()[name])


@pytest.mark.first_cases(2)
@pytest.mark.parametrize("name", sorted(optimizers(), key=lambda name: (name not in ("Lion", "Nadam"), name)))
def test_every_keras_optimizer_trains_and_resumes(name: str, tmp_path: Path) -> None:
    """A training of two epochs equals one that is resumed after the first, also with clipping and averages."""
    optimizer = KerasOptimizer(class_=name, learning_rate=0.01, arguments={"global_clipnorm": 1.0})
    training = Training(epochs=2, optimizer=optimizer, ema=0.9)
    whole, start = train(tmp_path / "whole", training), toy.network()
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "parts", training, more=[Kill(epoch=1)])
    resumed = train(tmp_path / "parts", training, resume=True)
    assert int(resumed.optimizer.averaged_steps.numpy()) == 4
    variables = [[*model.variables, *model.optimizer.variables] for model in (resumed, whole)]
    for mine, theirs in zip(*variables, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy(), err_msg=mine.path)
    assert all(np.isfinite(weight.numpy()).all() for weight in whole.weights)
    changes = zip(whole.trainable_weights, start.trainable_weights, strict=True)
    assert all(np.abs(one.numpy() - other.numpy()).max() > 0 for one, other in changes)


def test_invalid_arguments() -> None:
    (problem,) = problems("{type: keras, class: Lin}")
    assert problem.startswith("training.optimizer.class: expected an optimizer of Keras (Adadelta, ")
    assert problem.endswith('); received "Lin"; did you mean "Lion"?')
    beta, multipliers = problems("{type: keras, class: Lion, beta1: 0.8, lr_multipliers: 3}")
    assert beta.startswith(
        'training.optimizer.beta1: not an argument of Lion; did you mean "beta_1"? Its arguments: beta_1, beta_2, '
    )
    assert multipliers == (
        "training.optimizer.lr_multipliers: only sgd and adamw support learning rate multipliers. Received: 3. "
        "Remove it"
    )
    (problem,) = problems("{type: keras, class: Lion, beta_1: 7}")
    assert problem.startswith("training.optimizer: Lion rejects these arguments: ")
    assert problems("{type: keras, class: Lion, name: x, loss_scale_factor: 2.0}") == [
        'training.optimizer.name: optimizers have no name in a pipeline. Received: "x". Remove it',
        "training.optimizer.loss_scale_factor: only sgd and adamw support loss scaling. Received: 2.0. Remove it",
    ]
    assert problems("{type: keras, class: Lion, gradient_accumulation_steps: 2}") == [
        "training.optimizer.gradient_accumulation_steps: training.gradient_accumulation_steps sets it. "
        "Received: 2. Remove it"
    ]
    assert problems("{type: keras, class: Lion, kwargs: 2}") == [
        "training.optimizer.kwargs: not an argument. Received: 2. Remove it"
    ]
    assert problems("{type: keras}") == ["training.optimizer.class: missing; expected a string"]


def test_float16_requires_an_optimizer_with_loss_scaling() -> None:
    message = (
        "precision: requires an optimizer with loss scaling, which keras does not support. Received: mixed_float16. "
        "Use mixed_bfloat16, or the optimizer sgd or adamw"
    )
    with pytest.raises(SpecError) as error:
        Training(optimizer=KerasOptimizer(class_="Lion"), precision="mixed_float16")
    assert [str(each).partition(": ")[2] for each in error.value.problems] == [message]


def test_values_of_the_wrong_type() -> None:
    assert problems("{type: keras, class: Adam, beta_1: high}") == [
        'training.optimizer.beta_1: expected a number; received "high"'
    ]
    assert problems("{type: keras, class: Adam, amsgrad: 3}") == [
        "training.optimizer.amsgrad: expected true or false; received 3"
    ]
    assert problems("{type: keras, class: Adam, clipvalue: [1]}")[0].startswith(
        "training.optimizer.clipvalue: expected a number; received "
    )
    assert problems("{type: keras, class: Adam, use_ema: true}") == [
        "training.optimizer.use_ema: training.ema sets it. Received: true. Remove it"
    ]
    assert problems("{type: keras, class: Lion, beta_1: 0.8, arguments: {beta_1: 0.9}}") == [
        "training.optimizer.beta_1: is given twice: next to class and under arguments. Remove one of the two"
    ]
    [problem] = problems("{type: keras, class: Lion, beta_1: 1.5}")
    assert problem.startswith("training.optimizer: Lion rejects these arguments: ")
