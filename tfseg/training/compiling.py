"""Optimizer and losses with which a network is compiled."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from tfseg.errors import RunError
from tfseg.labels import Labels
from tfseg.losses import Positions
from tfseg.losses.class_weights import Counts
from tfseg.training.contracts import RATES, construct
from tfseg.training.layer_decay import Stages, with_layer_decay
from tfseg.training.outputs import auxiliary, for_each, main
from tfseg.training.step import OptimizerStep

if TYPE_CHECKING:
    from tfseg.training.training import Training


def optimizer_of(
    training: "Training", model: keras.Model, steps_per_epoch: int, stages: Stages
) -> keras.optimizers.Optimizer:
    """Creates the optimizer with its learning rate schedule."""
    length = training.length(steps_per_epoch)
    steps = {"steps": length.total_steps, "steps_per_epoch": length.steps_per_epoch}
    rate = construct("schedule", RATES, training.schedule, training.optimizer.learning_rate, **steps)
    scaling = {"scaled": training.precision == "mixed_float16", "accumulate": training.gradient_accumulation_steps}
    spec_ = with_layer_decay(training.optimizer, stages, model)
    optimizer = construct("optimizer", keras.optimizers.Optimizer, spec_, rate, **scaling)
    if training.ema is not None and not isinstance(optimizer, OptimizerStep):
        raise RunError(
            f"training.ema: {spec_.type} returns {type(optimizer).__name__}, which does not average weights per "
            "optimizer step. Use sgd, adamw or keras, or set ema to null"
        )
    if training.ema is not None:
        optimizer.use_ema, optimizer.ema_momentum = True, training.ema.momentum
    return optimizer


def objective_of(
    training: "Training",
    model: keras.Model,
    labels: Labels,
    counts: Counts | None,
    positions: Positions | None,
    given: Mapping[str, Any],
) -> dict[str, Any]:
    """Returns the losses and loss weights of the outputs."""
    loss = partial(construct, "loss", keras.losses.Loss, training.loss, labels, counts, **given)
    if not isinstance(model.output, dict):
        return {"loss": loss()}
    slot, side = (
        ("loss", training.loss) if training.auxiliary_loss is None else ("auxiliary_loss", training.auxiliary_loss)
    )
    auxiliary_loss = partial(construct, slot, keras.losses.Loss, side, labels, counts, **given)
    chosen = training.loss.resolution
    principal = loss(resolution="scores" if chosen == "scores" else None, positions=positions)
    others = {name: auxiliary_loss(resolution=side.resolution, positions=positions) for name in auxiliary(model)}
    return {
        "loss": {main(chosen): principal, **others},
        "loss_weights": {main(chosen): 1.0, **dict.fromkeys(others, training.auxiliary_weight)},
    }


def build_compiled(model: keras.Model) -> None:
    """Builds loss and metrics on one pixel. Under a strategy Keras would build them on averaged, invalid masks."""
    mask = for_each(model, ops.zeros((1, 1, 1), "int32"))
    scores = keras.tree.map_structure(lambda output: ops.zeros((1, 1, 1, output.shape[-1])), model.output)
    with keras.StatelessScope():  # no pixels are counted
        model.compute_loss(None, mask, scores)
        model.compute_metrics(None, mask, scores)
