"""Specs of the training section, each with a change of every field."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tests.checks import Given, SpecCase
from tests.training import toy
from tfseg.backbones import SmallCnn
from tfseg.models.decoders import Fcn
from tfseg.models.segmenter import Segmenter
from tfseg.training import Training
from tfseg.training.checkpoint import Checkpoint
from tfseg.training.checkpoints import Checkpoints
from tfseg.training.contracts import MetricSpec
from tfseg.training.duration import Duration
from tfseg.training.early_stopping import EarlyStopping
from tfseg.training.ema import Ema
from tfseg.training.history import History
from tfseg.training.keras_optimizer import KerasOptimizer
from tfseg.training.metric_specs import (
    BoundaryIoU,
    CalibrationError,
    DiceCoefficient,
    ImageMeanIoU,
    Precision,
    Recall,
    TrimapMeanIoU,
)
from tfseg.training.objectives import (
    Boundary,
    BoundaryCrossEntropy,
    CrossEntropy,
    Dice,
    Focal,
    LovaszSoftmax,
    OhemCrossEntropy,
    PixelObjective,
    Sum,
    Term,
    TopKCrossEntropy,
    Tversky,
)
from tfseg.training.one_cycle import OneCycle
from tfseg.training.optimizers import AdamW, Sgd
from tfseg.training.schedules import Constant, Cosine, Poly, Step
from tfseg.training.snapshots import Snapshots
from tfseg.training.warm_up import WarmUp

PIXELS = (np.array([900, 90, 10]), np.array([1000, 600, 500]))
MASK = np.arange(32).reshape(2, 4, 4) % 7 % 3
BLOCKS = np.repeat(np.repeat(np.arange(8).reshape(2, 2, 2) % 3, 8, 1), 8, 2)
"""Squares of 8 pixels."""
NOISE = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype("float32")
SCORES = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype("float32")


def rates(schedule: Any) -> list[float]:
    rate = schedule(0.1, steps=12, steps_per_epoch=4.0)
    return [float(rate(step)) if callable(rate) else float(rate) for step in range(12)]


def updated(optimizer: Sgd | AdamW, **options: Any) -> list[np.ndarray]:
    """Returns the weights of a network after three steps with gradients of one."""
    training = Training(optimizer=optimizer, **options)
    with training.scope(seed=0):
        model = training.network(toy.network())
        training.compile(model, toy.LABELS, steps_per_epoch=2, stages=(("conv",), ("norm",)))
    for _ in range(3):
        model.optimizer.apply([tf.ones_like(weight) for weight in model.trainable_weights])
    model.optimizer.finalize_variable_values(model.trainable_weights)
    return model.get_weights()


def waited(early_stopping: EarlyStopping) -> int | None:
    """Returns the epoch after which a training ends early."""
    values = (0.5, 0.4, 0.51, 0.52, 0.53, 0.5, 0.5, 0.5)
    return early_stopping.progress([{"epoch": n, "val_miou": value} for n, value in enumerate(values, 1)]).stopped


def loss(spec: PixelObjective | Sum) -> list[Any]:
    """Returns the value of the loss, and the outputs of a network in training with it."""
    training = Training(loss=spec)
    model = training.network(toy.network_with_outputs())
    training.compile(model, toy.LABELS, steps_per_epoch=2, counts=lambda: PIXELS)
    return [float(spec(toy.LABELS, lambda: PIXELS)(MASK, SCORES)), sorted(model.output)]


def edges(spec: Any) -> list[Any]:
    """Returns the value of a loss of boundaries, or the type of another loss, and its resolution."""
    if not isinstance(spec, BoundaryCrossEntropy):
        return [spec.type]
    return [float(spec(toy.LABELS)(BLOCKS, NOISE[..., :1])), spec.resolution]


def due(spec: Checkpoint) -> list[bool]:
    """Returns whether a state is due before each batch, 90 seconds after the last one."""
    folder = Path()
    snapshots = Snapshots(folder, Checkpoints(folder), History(folder), Duration(5), interval=spec)
    snapshots.on_train_begin()
    snapshots._saved_at -= 90
    return [snapshots._is_due(batch) for batch in range(1, 5)]


def measured(spec: MetricSpec) -> dict[str, float]:
    metric = spec(toy.LABELS)
    metric.update_state(BLOCKS, NOISE)
    return {name: float(value) for name, value in metric.result().items()}


SEGMENTER = Segmenter(backbone=SmallCnn(filters=4), decoder=Fcn(strides=(16, 8)))
"""Network with a backbone, which `layer_decay` requires."""
SHARED = {"class_weights": "median_frequency", "resolution": "scores"}
CASES = [
    SpecCase(Constant(), rates, {"type": Poly(), "warmup": 3}),
    SpecCase(Cosine(), rates, {"type": Poly(), "alpha": 0.5, "warmup": 3}),
    SpecCase(
        OneCycle(),
        rates,
        {
            "type": Poly(),
            "increase": 0.5,
            "shape": "linear",
            "div_factor": 5.0,
            "final_div_factor": 2.0,
        },
    ),
    SpecCase(
        WarmUp(length=1.0, start=0.1),
        lambda warmup: rates(Constant(warmup=warmup)),
        {"length": 2.0, "unit": Given("steps", {"length": 2.0}), "start": 0.2, "shape": "cosine"},
    ),
    SpecCase(Ema(momentum=0.5), lambda ema: updated(Sgd(), ema=ema), {"momentum": 0.9}),
    SpecCase(EarlyStopping(patience=2), waited, {"patience": 3, "min_delta": 0.02}),
    SpecCase(Poly(), rates, {"type": Constant(), "power": 0.5, "warmup": 3}),
    SpecCase(Step(every=1.0), rates, {"type": Poly(), "every": 0.5, "unit": "steps", "factor": 0.2, "warmup": 3}),
    SpecCase(
        CrossEntropy(),
        loss,
        {
            "type": TopKCrossEntropy(pixels=7),
            "class_weights": "median_frequency",
            "reduction": "sum",
            "label_smoothing": 0.1,
            "resolution": "scores",
        },
    ),
    SpecCase(TopKCrossEntropy(pixels=7), loss, {"type": CrossEntropy(), "pixels": 3, **SHARED}),
    SpecCase(
        OhemCrossEntropy(threshold=0.2, min_kept=0.3),
        loss,
        {"type": CrossEntropy(), "threshold": 0.4, "min_kept": 0.9, **SHARED},
    ),
    SpecCase(Focal(), loss, {"type": CrossEntropy(), "gamma": 1.0, **SHARED}),
    SpecCase(Dice(), loss, {"type": CrossEntropy(), "over": "batch", **SHARED}),
    SpecCase(Tversky(), loss, {"type": Dice(), "alpha": 0.5, "beta": 0.4, "over": "batch", **SHARED}),
    SpecCase(LovaszSoftmax(), loss, {"type": Dice(), **SHARED}),
    SpecCase(Boundary(), loss, {"type": Dice(), "max_distance": 2, **SHARED}),
    SpecCase(BoundaryCrossEntropy(), edges, {"type": Dice(), "radius": 1, "resolution": "scores"}),
    SpecCase(
        Sum(terms=(Term(loss=CrossEntropy()),)),
        loss,
        {"type": Dice(), "terms": (Term(loss=Dice()), Term(loss=Focal()))},
    ),
    SpecCase(Term(loss=Dice()), lambda term: loss(Sum(terms=(term,))), {"loss": Focal(), "weight": 2.0}),
    *(SpecCase(each, measured, {"type": Recall()}) for each in (DiceCoefficient(), Precision())),
    SpecCase(Recall(), measured, {"type": Precision()}),
    SpecCase(ImageMeanIoU(), measured, {"type": Recall(), "percentiles": (30.0,)}),
    SpecCase(CalibrationError(), measured, {"type": Recall(), "bins": 3}),
    SpecCase(BoundaryIoU(), measured, {"type": Recall(), "dilation_ratio": 0.4}),
    SpecCase(TrimapMeanIoU(), measured, {"type": Recall(), "radii": (2,)}),
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
            "layer_decay": 0.5,
            "clipnorm": 0.1,
            "clipvalue": 0.1,
            "global_clipnorm": 0.1,
        },
        beside={"model": SEGMENTER},
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
            "layer_decay": 0.5,
            "clipnorm": 0.1,
            "clipvalue": 0.1,
            "global_clipnorm": 0.1,
        },
        beside={"model": SEGMENTER},
    ),
    SpecCase(
        KerasOptimizer(class_="Lion"),
        updated,
        {"type": Sgd(), "class_": "Nadam", "learning_rate": 0.5, "arguments": {"weight_decay": 0.1}},
    ),
    SpecCase(Checkpoint(minutes=2), due, {"minutes": 1.0, "steps": 3}),
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
            "auxiliary_loss": Dice(),
            "metrics": (Recall(),),
            "auxiliary_weight": 0.4,
            "gradient_accumulation_steps": 2,
            "precision": "mixed_bfloat16",
            "strategy": "mirrored",
            "jit_compile": True,
            "batch_norm": "frozen",
            "ema": Ema(momentum=0.5),
            "freeze": ("^conv$",),
            "checkpoint": Checkpoint(steps=5),
            "steps_per_execution": 3,
        },
        elsewhere={
            "batch_norm_batches": "test_batch_norm_statistics_are_estimated_after_training",
            "deterministic": "test_deterministic_operations",
            "average_checkpoints": "test_average_of_the_last_networks",
            "early_stopping": "test_early_stopping_ends_the_training",
            "init_from": "test_a_training_starts_with_the_metrics_of_the_other_run",
        },
    ),
]
