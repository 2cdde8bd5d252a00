"""The specs of the training section, each with a change of every field."""

from typing import Any

import numpy as np

from tests.checks import SpecCase
from tests.training import toy
from tfseg.training import Training
from tfseg.training.objectives import CrossEntropy
from tfseg.training.optimizers import AdamW, Sgd
from tfseg.training.schedules import Constant, Poly, Step

PIXELS = (np.array([900, 90, 10]), np.array([1000, 600, 500]))


def rates(schedule: Any) -> list[float]:
    rate = schedule(0.1, steps_per_epoch=4, epochs=3)
    return [float(rate(step)) if callable(rate) else float(rate) for step in range(12)]


def optimiser(spec: Any) -> dict[str, Any]:
    return spec(spec.learning_rate, scaled=False).get_config()


def loss(spec: CrossEntropy) -> dict[str, Any]:
    return spec(toy.LABELS, *PIXELS).get_config()


def compiled(training: Training) -> dict[str, Any]:
    with training.scope(seed=0):
        model = toy.network()
        training.compile(model, toy.LABELS, steps_per_epoch=2)
    return {
        "optimizer": model.optimizer.get_config(),
        "loss": model.loss.get_config(),
        "computes": model.get_layer("conv").compute_dtype,
        "strategy": type(model.distribute_strategy).__name__,
        "jit_compile": model.jit_compile,
        "validated": training.validated_epochs(),
        "learns": [weight.path for weight in model.trainable_weights],
    }


CASES = [
    SpecCase(Constant(), rates, {"warmup": 3}),
    SpecCase(Poly(), rates, {"power": 0.5, "warmup": 3}),
    SpecCase(Step(every=1.0), rates, {"every": 0.5, "factor": 0.2, "warmup": 3}),
    SpecCase(CrossEntropy(), loss, {"class_weights": "median_frequency", "reduction": "sum"}),
    SpecCase(
        Sgd(),
        optimiser,
        {
            "learning_rate": 0.5,
            "momentum": 0.5,
            "weight_decay": 0.1,
            "undecayed": ("norm",),
            "multipliers": {"score": 10.0},
        },
    ),
    SpecCase(
        AdamW(),
        optimiser,
        {"learning_rate": 0.5, "weight_decay": 0.1, "undecayed": ("norm",), "multipliers": {"score": 10.0}},
    ),
    SpecCase(
        Training(),
        compiled,
        {
            "epochs": 7,
            "validate_every": 4,
            "optimizer": Sgd(),
            "schedule": Constant(),
            "loss": CrossEntropy(reduction="sum"),
            "precision": "mixed_bfloat16",
            "strategy": "mirrored",
            "jit_compile": True,
            "batch_norm": "frozen",
            "freeze": ("^conv$",),
        },
    ),
]
