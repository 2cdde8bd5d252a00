"""The `training` section of a pipeline: from a built network to a compiled one, and what watches over `fit`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

import keras
from keras import ops
from pydantic import Field, model_validator

from tfseg.context import Context
from tfseg.errors import RunError
from tfseg.labels import Labels
from tfseg.losses import Positions
from tfseg.losses.class_weights import Counts
from tfseg.metrics import SegmentationMetrics
from tfseg.spec.declare import ByType, spec
from tfseg.spec.problems import FieldProblem, InvalidFields, component_problems, formatted, prefixed
from tfseg.training.checkpoints import Checkpoints
from tfseg.training.contracts import RATES, Objective, OptimizerSpec, ScheduleSpec, construct
from tfseg.training.duration import Duration, End
from tfseg.training.freezing import BatchNorm, prepare
from tfseg.training.history import History
from tfseg.training.keras_optimizer import KerasOptimizer
from tfseg.training.nan_guard import NanGuard
from tfseg.training.objectives import CrossEntropy, TopKCrossEntropy
from tfseg.training.optimizers import AdamW, Expression, Sgd
from tfseg.training.outputs import LOGITS, auxiliary, for_each, main, pruned, with_targets
from tfseg.training.problems import conflicts, network_conflicts
from tfseg.training.schedules import Constant, Poly, Step
from tfseg.training.state import Snapshots, State
from tfseg.training.strategy import Precision, Scope, Strategy, scope
from tfseg.training.tensorboard import TensorBoardEvents

EPOCHS = 30
"""How often each training image is seen where neither `epochs` nor `steps` say it."""


@spec
class Training:
    """Optimizer, schedule, loss, precision and devices."""

    epochs: Annotated[int, Field(ge=1)] | None = None
    """How often each training image is seen. By default 30 times, or as often as `steps` take."""
    steps: Annotated[int, Field(ge=1)] | None = None
    """Ends the training after so many updates of the weights, within an epoch if need be: the iterations of papers."""
    validation_freq: Annotated[int, Field(ge=1)] = 1
    """Epochs between two validations; the last epoch is always validated."""
    optimizer: Annotated[Sgd | AdamW | KerasOptimizer, ByType("adamw", OptimizerSpec)] = AdamW()
    """What turns gradients into changes of the weights."""
    schedule: Annotated[Constant | Poly | Step, ByType("poly", ScheduleSpec)] = Poly()
    """How the learning rate goes from the first step to the last."""
    loss: Annotated[CrossEntropy | TopKCrossEntropy, ByType("cross_entropy", Objective)] = CrossEntropy()
    """What is made small."""
    auxiliary_weight: Annotated[float, Field(ge=0)] = 1.0
    """How much the loss of every auxiliary output of the decoder counts, beside the 1 of its scores; 0: not at all."""
    gradient_accumulation_steps: Annotated[int, Field(ge=1)] = 1
    """The batches whose gradients are averaged for one update of the weights: `iter_size` in Caffe."""
    precision: Precision = "float32"
    """What layers compute in; weights, logits, losses and metrics stay float32."""
    strategy: Strategy = "none"
    """`mirrored` divides each batch on all GPUs of the machine (or all logical CPU devices)."""
    jit_compile: bool = False
    """Compile the training step with XLA."""
    batch_norm: BatchNorm = "train"
    """`frozen`: batch normalization keeps its moving statistics, scales and shifts, and uses them in training too."""
    batch_norm_batches: Annotated[int, Field(ge=0)] = 0
    """Training batches over which the statistics of batch normalization are averaged anew once the training has ended;
    0 keeps the moving averages."""
    freeze: tuple[Expression, ...] = ()
    """Layers that learn nothing: those in whose name one of these regular expressions is found."""

    @model_validator(mode="after")
    def _possible(self) -> "Training":
        if self.epochs is None and self.steps is None:
            object.__setattr__(self, "epochs", EPOCHS)
        if problems := list(conflicts(self)):
            raise InvalidFields(*problems)
        return self

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """What does not fit the classes, each as (path, message)."""
        yield from prefixed("loss", component_problems(self.loss, context))

    def network_problems(self, model: keras.Model) -> Iterator[FieldProblem]:
        """What does not fit the network to be trained, each as (path, message)."""
        yield from network_conflicts(self, model)

    def length(self, steps_per_epoch: int) -> Duration:
        """How long it is, where an epoch has `steps_per_epoch` batches."""
        return Duration(steps_per_epoch, self.gradient_accumulation_steps, self.epochs, self.steps)

    def validated_epochs(self, steps_per_epoch: int) -> tuple[int, ...]:
        """After which epochs, counted from 1, the network is validated: what Keras calls `validation_freq`."""
        last = self.length(steps_per_epoch).epochs
        return (*range(self.validation_freq, last, self.validation_freq), last)

    def scope(self, seed: int = 0) -> AbstractContextManager[Scope]:
        """Inside, networks are built and compiled for the devices and the precision of this training, from `seed`."""
        return scope(self.strategy, self.precision, seed)

    def network(self, model: keras.Model) -> keras.Model:
        """The network to compile and fit, from the form with all outputs: those without a loss are left out.

        Args:
            model: image to logits, or to `{"logits", "scores", "aux_…"}`; all layers are shared.
        """
        return pruned(model, self.loss.resolution, self.auxiliary_weight)

    def targets(self, batches: Any, model: keras.Model) -> Any:
        """A dataset of (image, mask) as `model.fit` takes it: with the mask for each output."""
        return with_targets(batches, model)

    def compile(
        self,
        model: keras.Model,
        labels: Labels,
        *,
        steps_per_epoch: int,
        counts: Counts | None = None,
        positions: Positions | None = None,
    ) -> None:
        """Freezes what shall not learn and compiles `model`, built in the same `scope`, for `model.fit`.

        Args:
            model: what `network` gave.
            labels: the classes.
            steps_per_epoch: the batches of an epoch; how long the schedule is follows from it.
            counts: counts the classes of the training split; called, once, where the loss weighs classes by that.
            positions: where the scores of its outputs lie in the image; None: from corner to corner.

        Raises:
            RunError: an expression of `freeze` or `lr_multipliers` is found nowhere, or the network does not fit.
        """
        context = Context(labels, model.input.shape[-1])
        if problems := formatted(prefixed("training", (*self.problems(context), *self.network_problems(model)))):
            raise RunError(problems)
        prepare(model, batch_norm=self.batch_norm, freeze=self.freeze, synchronized=self.strategy == "mirrored")
        length = self.length(steps_per_epoch)
        steps = {"steps": length.total_steps, "steps_per_epoch": length.steps_per_epoch}
        rate = construct("schedule", RATES, self.schedule, self.optimizer.learning_rate, **steps)
        scaling = {"scaled": self.precision == "mixed_float16", "accumulate": self.gradient_accumulation_steps}
        optimizer = construct("optimizer", keras.optimizers.Optimizer, self.optimizer, rate, **scaling)
        metrics = [SegmentationMetrics(labels.count, labels.ignore)]
        model.compile(
            optimizer=optimizer,
            **self._objective(
                model,
                partial(construct, "loss", keras.losses.Loss, self.loss, labels, counts and cache(counts)),
                positions,
            ),
            metrics={LOGITS: metrics} if isinstance(model.output, dict) else metrics,
            jit_compile=self.jit_compile,
            auto_scale_loss=False,
        )
        optimizer.build(model.trainable_variables)
        _build_compiled(model, labels)

    def _objective(
        self, model: keras.Model, loss: Callable[..., keras.losses.Loss], positions: Positions | None
    ) -> dict[str, Any]:
        """The losses of the outputs and their weights; `loss` makes one, of classes that are known."""
        if not isinstance(model.output, dict):
            return {"loss": loss()}
        chosen = self.loss.resolution
        principal = loss(resolution="scores" if chosen == "scores" else None, positions=positions)
        others = {name: loss(resolution=chosen, positions=positions) for name in auxiliary(model)}
        return {
            "loss": {main(chosen): principal, **others},
            "loss_weights": {main(chosen): 1.0, **dict.fromkeys(others, self.auxiliary_weight)},
        }

    def callbacks(
        self,
        folder: Path,
        labels: Labels,
        *,
        steps_per_epoch: int,
        state: State | None = None,
        batch_names: Callable[[int, int], tuple[str, ...]] | None = None,
        batch: Callable[[int, int], tuple[Any, Any]] | None = None,
        samples: Sequence[tuple[Any, Any]] = (),
    ) -> list[keras.callbacks.Callback]:
        """What `model.fit` needs to leave a run directory behind; their order matters.

        Args:
            folder: the run directory.
            labels: the classes.
            steps_per_epoch: as given to `compile`.
            state: what `restore` returned, for a training that goes on.
            batch_names: `(epoch, step)` to the files of that training batch.
            batch: `(epoch, step)` to the images and masks of that training batch.
            samples: validation images and masks that TensorBoard shows with the network's prediction.
        """
        state = state or State()
        checkpoints = Checkpoints(folder, best=state.best, validated=self.validated_epochs(steps_per_epoch))
        history = History(folder, state.rows)
        return [
            NanGuard(steps_per_epoch, batch_names, batch, accumulate=self.gradient_accumulation_steps),
            checkpoints,
            history,
            TensorBoardEvents(folder, labels, samples),
            Snapshots(folder, checkpoints, history),
            End(self.length(steps_per_epoch)),
        ]


def _build_compiled(model: keras.Model, labels: Labels) -> None:
    """Builds loss and metrics on one pixel: under a strategy Keras would do it on a mean of masks, which is no mask."""
    mask, scores = ops.zeros((1, 1, 1), "int32"), ops.zeros((1, 1, 1, labels.count))
    with keras.StatelessScope():  # nothing is counted
        model.compute_loss(None, for_each(model, mask), for_each(model, scores))
        model.compute_metrics(None, for_each(model, mask), for_each(model, scores))
