"""The specs of the training section, each with a change of every field."""

from typing import Any

import numpy as np

from tests.checks import SpecCase
from tests.training import toy
from tfseg.training import Training
from tfseg.training.objectives import CrossEntropy, TopKCrossEntropy
from tfseg.training.optimizers import AdamW, Sgd
from tfseg.training.schedules import Constant, Poly, Step

PIXELS = (np.array([900, 90, 10]), np.array([1000, 600, 500]))
COUNTS = dict(zip(("class_pixels", "image_pixels"), PIXELS, strict=True))


def rates(schedule: Any) -> list[float]:
    rate = schedule(0.1, steps=12, steps_per_epoch=4.0)
    return [float(rate(step)) if callable(rate) else float(rate) for step in range(12)]


def optimiser(spec: Any) -> dict[str, Any]:
    return spec(spec.learning_rate, scaled=False).get_config()


def loss(spec: CrossEntropy | TopKCrossEntropy) -> dict[str, Any]:
    """Alone, and of the outputs of a network."""
    model = toy.several()
    training = Training(loss=spec)
    training.compile(training.network(model), toy.LABELS, steps_per_epoch=2, **COUNTS)
    return {"alone": spec(toy.LABELS, *PIXELS).get_config(), "outputs": sorted(training.network(model).output)}


def compiled(training: Training) -> dict[str, Any]:
    with training.scope(seed=0):
        model = training.network(toy.network() if training.jit_compile else toy.several())
        training.compile(model, toy.LABELS, steps_per_epoch=2)
    losses = model.loss if isinstance(model.loss, dict) else {"logits": model.loss}
    return {
        "optimizer": model.optimizer.get_config(),
        "loss": {name: loss.get_config() for name, loss in losses.items()},
        "weights": model._compile_loss._user_loss_weights,
        "computes": model.get_layer("conv").compute_dtype,
        "strategy": type(model.distribute_strategy).__name__,
        "jit_compile": model.jit_compile,
        "validated": training.validated_epochs(2),
        "learns": [weight.path for weight in model.trainable_weights],
    }


CASES = [
    SpecCase(Constant(), rates, {"warmup": 3}),
    SpecCase(Poly(), rates, {"power": 0.5, "warmup": 3}),
    SpecCase(Step(every=1.0), rates, {"every": 0.5, "unit": "steps", "factor": 0.2, "warmup": 3}),
    SpecCase(CrossEntropy(), loss, {"class_weights": "median_frequency", "reduction": "sum", "resolution": "scores"}),
    SpecCase(TopKCrossEntropy(), loss, {"pixels": 7, "resolution": "scores"}),
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
            "steps": 5,
            "validate_every": 4,
            "optimizer": Sgd(),
            "schedule": Constant(),
            "loss": CrossEntropy(reduction="sum"),
            "auxiliary_weight": 0.4,
            "accumulate": 2,
            "precision": "mixed_bfloat16",
            "strategy": "mirrored",
            "jit_compile": True,
            "batch_norm": "frozen",
            "freeze": ("^conv$",),
        },
        elsewhere={"batch_norm_batches": "test_statistics_are_measured_after_the_training"},
    ),
]
