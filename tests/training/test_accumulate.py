"""Gradient accumulation, `iter_size` of Caffe: k batches of 1 equal one batch of k."""

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.tiers import rotating
from tests.training import toy
from tests.training.test_callbacks import Kill
from tfseg.errors import RunError
from tfseg.spec.problems import SpecError
from tfseg.training import State, Training, lr_multipliers, restore
from tfseg.training.objectives import CrossEntropy
from tfseg.training.optimizers import AdamW, Sgd
from tfseg.training.schedules import Poly

IMAGES, _ = toy.examples(16)
FULL = IMAGES.argmax(-1).astype(np.int32)
UNEVEN = toy.examples(16)[1]


def trained(accumulate: int, masks: np.ndarray = FULL, epochs: int = 2, **options: Any) -> keras.Model:
    """Trains a network without batch normalization, with 16 images per epoch and 4 per optimizer step."""
    size = 4 // accumulate
    training = Training(epochs=epochs, gradient_accumulation_steps=accumulate, **options)
    with training.scope(seed=1):
        model = toy.network(norm=False)
        training.compile(model, toy.LABELS, steps_per_epoch=16 // size)
    model.fit(
        toy.batches(IMAGES, masks, size, epochs), steps_per_epoch=16 // size, epochs=epochs, shuffle=False, verbose=0
    )
    return model


CASES: dict[str, tuple[dict[str, Any], np.ndarray]] = {
    "momentum and decay": ({"optimizer": Sgd(learning_rate=0.05, weight_decay=0.01)}, FULL),
    "lr_multipliers": ({"optimizer": Sgd(lr_multipliers={"/bias$": 2.0, "^score/": 10.0})}, FULL),
    "adamw": ({"optimizer": AdamW(learning_rate=0.01, weight_decay=0.1)}, FULL),
    "sum": ({"optimizer": Sgd(learning_rate=1e-3), "loss": CrossEntropy(reduction="sum")}, UNEVEN),
    "xla": ({"optimizer": Sgd(learning_rate=0.05), "jit_compile": True}, FULL),
}


@pytest.mark.first_cases(3)
@pytest.mark.parametrize("case", rotating(CASES, CASES.keys() - {"xla"}))
def test_four_batches_of_one_equal_one_batch_of_four(case: str) -> None:
    """Learning rates decay with every step. Summed losses may have different numbers of labels."""
    options, masks = CASES[case]
    together, apart = trained(1, masks, **options), trained(4, masks, **options)
    assert int(together.optimizer.iterations) == int(apart.optimizer.iterations) == 8
    start = toy.network(norm=False)
    for mine, theirs, first in zip(apart.weights, together.weights, start.weights, strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), atol=1e-5, err_msg=mine.path)
        assert mine.path == first.path and np.abs(mine.numpy() - first.numpy()).max() > 1e-4


def test_loss_scaling_with_accumulation() -> None:
    options = {"optimizer": Sgd(learning_rate=0.05), "precision": "mixed_float16"}
    together, apart = trained(1, **options), trained(4, **options)
    assert float(apart.optimizer.loss_scale.numpy()) == 2.0**15
    for mine, theirs in zip(apart.weights, together.weights, strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), atol=1e-3)


def test_weights_only_change_with_optimizer_steps() -> None:
    weight = keras.Variable(np.zeros(2, "float32"), name="kernel")
    optimizer = Sgd(learning_rate=0.1, momentum=0.0, weight_decay=0.0)(0.1, scaled=False, accumulate=3)
    values = []
    for gradient in (1.0, 2.0, 6.0, 3.0, 3.0, 3.0):
        optimizer.apply([keras.ops.full((2,), gradient)], [weight])
        values.append(weight.numpy()[0])
    np.testing.assert_allclose(values, [0, 0, -0.3, -0.3, -0.3, -0.6], rtol=1e-6)


def test_nonfinite_gradient_skips_one_step_with_loss_scaling() -> None:
    """The step is skipped, the scale halved, and accumulation starts again from zero."""
    weight = keras.Variable(np.zeros(2, "float32"), name="kernel")
    optimizer = lr_multipliers.SGD(0.1, weight_decay=0.0, initial_scale=8.0, gradient_accumulation_steps=2)
    values, scales = [], []
    for gradient in (1.0, 1.0, np.inf, 1.0, 1.0, 1.0):
        scale = float(optimizer.scale_loss(keras.ops.ones(())))
        optimizer.apply([keras.ops.full((2,), gradient * scale)], [weight])
        values.append(weight.numpy()[0])
        scales.append(scale)
    np.testing.assert_allclose(values, [0, -0.1, -0.1, -0.1, -0.1, -0.2], rtol=1e-6)
    assert scales == [8, 8, 8, 8, 4, 4]
    assert optimizer.halted is None


def test_nonfinite_gradient_halts_without_loss_scaling() -> None:
    weight = keras.Variable(np.zeros(2, "float32"), name="kernel")
    optimizer = lr_multipliers.SGD(0.1, gradient_accumulation_steps=2)
    for gradient in (1.0, 1.0, np.nan, 1.0, 1.0, 1.0):
        optimizer.apply([keras.ops.full((2,), gradient)], [weight])
    np.testing.assert_allclose(weight.numpy(), -0.1, rtol=1e-6)
    assert optimizer.halted == 3  # the last batch of the skipped step


def fit(folder: Path, training: Training, *, resume: bool = False, more: tuple = (), images: np.ndarray = IMAGES):
    with training.scope(seed=1):
        model = toy.network(norm=False)
        training.compile(model, toy.LABELS, steps_per_epoch=8)
    state = restore(model, folder) if resume else State()
    callbacks = training.callbacks(
        folder,
        toy.LABELS,
        steps_per_epoch=8,
        state=state,
        batch_names=lambda epoch, step: (f"{epoch}-{step}",),
        batch=lambda epoch, step: (images[2 * step : 2 * step + 2], FULL[2 * step : 2 * step + 2]),
    )
    model.fit(
        toy.batches(images, FULL, 2, training.epochs - state.epoch),
        steps_per_epoch=8,
        initial_epoch=state.epoch,
        epochs=training.epochs,
        shuffle=False,
        verbose=0,
        validation_data=toy.batches(images, FULL, 2),
        callbacks=[*callbacks, *more],
    )
    return model


@pytest.mark.slow
def test_resume_within_an_optimizer_step(tmp_path: Path) -> None:
    """An epoch has 8 batches, a step 3: accumulated gradients of the previous epoch are restored."""
    training = Training(epochs=3, gradient_accumulation_steps=3, optimizer=Sgd(learning_rate=0.1), schedule=Poly())
    whole = fit(tmp_path / "whole", training)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "parts", training, more=(Kill(epoch=1),))
    resumed = fit(tmp_path / "parts", training, resume=True)
    assert int(whole.optimizer.iterations) == 8
    for mine, theirs in zip(resumed.weights, whole.weights, strict=True):
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())


def test_files_of_a_nonfinite_step(tmp_path: Path) -> None:
    """All batches of the step are listed and diagnosed, since the optimizer only knows their mean gradient."""
    guard = Training(epochs=1, gradient_accumulation_steps=3).callbacks(
        tmp_path,
        toy.LABELS,
        steps_per_epoch=8,
        batch_names=lambda epoch, step: (f"{epoch}-{step}",),
        batch=lambda epoch, step: (IMAGES[:2] * (np.nan if step == 0 else 1.0), FULL[:2]),
    )[0]
    training = Training(epochs=1, gradient_accumulation_steps=3, optimizer=Sgd(), schedule="constant")
    model = toy.network(norm=False)
    training.compile(model, toy.LABELS, steps_per_epoch=8)
    for batch in range(9):
        bad = np.nan if batch == 7 else 0.0
        model.optimizer.apply([keras.ops.full(weight.shape, bad) for weight in model.trainable_weights])
    guard.set_model(model)
    with pytest.raises(RunError) as caught:
        guard.on_test_begin()
    assert str(caught.value).splitlines()[:3] == [
        "training stopped: the loss or its gradient is not finite at epoch 1, step 7 to epoch 2, step 1 of 8",
        "  files: 0-6, 0-7, 1-0",
        "  first nonfinite layer: none; the images are not finite",
    ]


def test_accumulation_is_rejected_with_mirrored() -> None:
    message = (
        "gradient_accumulation_steps: not supported with strategy: mirrored. Received: gradient_accumulation_steps=2, "
        "strategy=mirrored. Remove one of the two; with mirrored, a larger data.batch_size is equivalent"
    )
    with pytest.raises(SpecError, match=re.escape(message)):
        Training(gradient_accumulation_steps=2, strategy="mirrored")
