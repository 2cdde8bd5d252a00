"""Specs of the training section, each with a change of every field."""

from typing import Any

import numpy as np
import tensorflow as tf

from tests.checks import Given, SpecCase
from tests.training import toy
from tfseg.training import Training
from tfseg.training.keras_optimizer import KerasOptimizer
from tfseg.training.objectives import CrossEntropy, TopKCrossEntropy
from tfseg.training.optimizers import AdamW, Sgd
from tfseg.training.schedules import Constant, Poly, Step

PIXELS = (np.array([900, 90, 10]), np.array([1000, 600, 500]))
MASK = np.arange(32).reshape(2, 4, 4) % 7 % 3
SCORES = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype("float32")


def rates(schedule: Any) -> list[float]:
    rate = schedule(0.1, steps=12, steps_per_epoch=4.0)
    return [float(rate(step)) if callable(rate) else float(rate) for step in range(12)]


def updated(optimizer: Sgd | AdamW) -> list[np.ndarray]:
    """Returns the weights of a network after three steps with gradients of one."""
    training = Training(optimizer=optimizer)
    with training.scope(seed=0):
        model = training.network(toy.network())
        training.compile(model, toy.LABELS, steps_per_epoch=2)
    for _ in range(3):
        model.optimizer.apply([tf.ones_like(weight) for weight in model.trainable_weights])
    return model.get_weights()


def loss(spec: CrossEntropy | TopKCrossEntropy) -> list[Any]:
    """Returns the value of the loss, and the outputs of a network in training with it."""
    training = Training(loss=spec)
    model = training.network(toy.network_with_outputs())
    training.compile(model, toy.LABELS, steps_per_epoch=2, counts=lambda: PIXELS)
    return [float(spec(toy.LABELS, lambda: PIXELS)(MASK, SCORES)), sorted(model.output)]


CASES = [
    SpecCase(Constant(), rates, {"type": Poly(), "warmup": 3}),
    SpecCase(Poly(), rates, {"type": Constant(), "power": 0.5, "warmup": 3}),
    SpecCase(Step(every=1.0), rates, {"type": Poly(), "every": 0.5, "unit": "steps", "factor": 0.2, "warmup": 3}),
    SpecCase(
        CrossEntropy(),
        loss,
        {
            "type": TopKCrossEntropy(pixels=7),
            "class_weights": "median_frequency",
            "reduction": "sum",
            "resolution": "scores",
        },
    ),
    SpecCase(TopKCrossEntropy(pixels=7), loss, {"type": CrossEntropy(), "pixels": 3, "resolution": "scores"}),
    SpecCase(
        Sgd(),
        updated,
        {
            "type": AdamW(),
            "learning_rate": 0.5,
            "momentum": 0.5,
            "weight_decay": 0.1,
            "no_weight_decay": ("conv",),
            "lr_multipliers": {"score": 10.0},
        },
    ),
    SpecCase(
        AdamW(),
        updated,
        {
            "type": Sgd(),
            "learning_rate": 0.5,
            "weight_decay": 0.1,
            "no_weight_decay": Given(("conv",), {"weight_decay": 0.1}),
            "lr_multipliers": {"score": 10.0},
        },
    ),
    SpecCase(
        KerasOptimizer(class_="Lion"),
        updated,
        {"type": Sgd(), "class_": "Nadam", "learning_rate": 0.5, "arguments": {"weight_decay": 0.1}},
    ),
    SpecCase(
        Training(),
        None,
        {
            "epochs": 7,
            "steps": 5,
            "validation_freq": 4,
            "optimizer": Sgd(),
            "schedule": Constant(),
            "loss": CrossEntropy(class_weights="median_frequency"),
            "auxiliary_weight": 0.4,
            "gradient_accumulation_steps": 2,
            "precision": "mixed_bfloat16",
            "strategy": "mirrored",
            "jit_compile": True,
            "batch_norm": "frozen",
            "freeze": ("^conv$",),
        },
        elsewhere={"batch_norm_batches": "test_batch_norm_statistics_are_estimated_after_training"},
    ),
]
