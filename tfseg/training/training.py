"""Section `training` of a pipeline: compiles networks and creates the callbacks of `fit`."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import keras
from pydantic import Field, model_validator

from tfseg.context import Context
from tfseg.errors import RunError
from tfseg.labels import Labels
from tfseg.losses import Positions
from tfseg.losses.annotated import Annotated as Classes
from tfseg.losses.class_weights import Counts
from tfseg.metrics import SegmentationMetrics
from tfseg.spec.declare import ByType, Location, spec
from tfseg.spec.problems import FieldProblem, InvalidFields, component_problems, formatted, prefixed
from tfseg.training.averaging import LastCheckpoints
from tfseg.training.checkpoint import EVERY_TEN_MINUTES, Checkpoint
from tfseg.training.checkpoints import Checkpoints
from tfseg.training.compiling import build_compiled, objective_of, optimizer_of
from tfseg.training.contracts import MetricSpec, Objective, OptimizerSpec, ScheduleSpec, construct
from tfseg.training.curves import Curves
from tfseg.training.duration import Duration, End
from tfseg.training.early_stopping import EarlyStopping, StopEarly
from tfseg.training.ema import Averages, EmaOrMomentum
from tfseg.training.freezing import BatchNorm, prepare
from tfseg.training.history import History
from tfseg.training.initial import source_problem
from tfseg.training.keras_optimizer import KerasOptimizer
from tfseg.training.layer_decay import Stages
from tfseg.training.metric_specs import Metrics
from tfseg.training.mixed_metrics import WithoutSources
from tfseg.training.nan_guard import NanGuard
from tfseg.training.objectives import INNER, AuxiliaryLosses, CrossEntropy, Losses
from tfseg.training.one_cycle import OneCycle
from tfseg.training.optimizers import AdamW, Expression, Sgd
from tfseg.training.outputs import LOGITS, pruned, with_targets
from tfseg.training.problems import conflicts, network_conflicts
from tfseg.training.schedules import Constant, Cosine, Poly, Step
from tfseg.training.signals import Signals
from tfseg.training.snapshots import Snapshots
from tfseg.training.state import State
from tfseg.training.strategy import Precision, Scope, Strategy, scope
from tfseg.training.tensorboard import TensorBoardEvents

DEFAULT_EPOCHS = 30
"""Number of epochs if neither `epochs` nor `steps` is given."""


@spec
class Training:
    """Optimizer, schedule, loss, precision and devices."""

    epochs: Annotated[int, Field(ge=1)] | None = None
    """Number of epochs. Defaults to 30 if `steps` is not given."""
    steps: Annotated[int, Field(ge=1)] | None = None
    """Number of optimizer steps (iterations) after which the training ends, possibly within an epoch."""
    validation_freq: Annotated[int, Field(ge=1)] = 1
    """Number of epochs between validations. The last epoch is always validated."""
    optimizer: Annotated[Sgd | AdamW | KerasOptimizer, ByType("adamw", OptimizerSpec)] = AdamW()
    """Optimizer."""
    schedule: Annotated[Constant | Cosine | OneCycle | Poly | Step, ByType("poly", ScheduleSpec)] = Poly()
    """Learning rate schedule."""
    loss: Annotated[Losses, ByType("cross_entropy", Objective, INNER)] = CrossEntropy()
    """Training loss."""
    auxiliary_loss: Annotated[AuxiliaryLosses, ByType("cross_entropy", Objective)] | None = None
    """Loss of auxiliary outputs. null: `loss`."""
    metrics: tuple[Annotated[Metrics, ByType(contract=MetricSpec)], ...] = ()
    """Additional metrics of training and validation batches. IoU and accuracies of the pixels are always computed."""
    auxiliary_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of each auxiliary loss. 0 disables auxiliary losses."""
    gradient_accumulation_steps: Annotated[int, Field(ge=1)] = 1
    """Number of batches whose gradients are averaged for one optimizer step, `iter_size` in Caffe."""
    precision: Precision = "float32"
    """Dtype policy of the layers. Weights, logits, losses and metrics are float32."""
    strategy: Strategy = "none"
    """Distribution strategy. `mirrored`: all GPUs of the machine (or all logical CPU devices) share each batch."""
    jit_compile: bool = False
    """Boolean, whether to compile the training step with XLA."""
    steps_per_execution: Annotated[int, Field(ge=1)] = 1
    """Number of batches per call of the compiled training function. Must divide the number of batches per epoch."""
    deterministic: bool = False
    """Boolean, whether to use deterministic operations only, also on GPUs: the same seed gives the same weights."""
    init_from: Location | None = None
    """Run directory, whose best network is read, or weight file, such as a `.keras` file, with initial weights for all
    layers that they fit. Weights of classes are matched by name. Replaces `model.backbone.weights`."""
    batch_norm: BatchNorm = "train"
    """`frozen`: batch normalization is not trainable and uses its moving statistics in training."""
    batch_norm_batches: Annotated[int, Field(ge=0)] = 0
    """Number of training batches over which batch normalization statistics are re-estimated after training. 0 keeps the
    moving averages."""
    checkpoint: Checkpoint | None = EVERY_TEN_MINUTES
    """Interval between two saved states within an epoch, as `minutes`, `steps` or both. null: at the ends of epochs
    only."""
    ema: EmaOrMomentum = None
    """Exponential moving average of the weights, for validation and saved networks; a number is its momentum. null:
    none."""
    average_checkpoints: Annotated[int, Field(ge=0)] = 0
    """Number of last epochs whose networks are averaged after training. The average becomes `model.keras` if its
    validation mIoU is higher. 0: no average."""
    early_stopping: EarlyStopping | None = None
    """Early stopping by the validation mIoU. null: the training has its full duration."""
    freeze: tuple[Expression, ...] = ()
    """Regular expressions. Layers with a match in their name are not trainable."""

    @model_validator(mode="after")
    def _check(self) -> "Training":
        if self.epochs is None and self.steps is None:
            object.__setattr__(self, "epochs", DEFAULT_EPOCHS)
        if problems := list(conflicts(self)):
            raise InvalidFields(*problems)
        return self

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """Yields problems with settings that do not fit the classes, as pairs `(path, message)`."""
        yield from prefixed("loss", component_problems(self.loss, context))
        if self.auxiliary_loss is not None:
            yield from prefixed("auxiliary_loss", component_problems(self.auxiliary_loss, context))

    def network_problems(self, model: keras.Model) -> Iterator[FieldProblem]:
        """Yields problems with options that do not fit the network, as pairs `(path, message)`."""
        yield from network_conflicts(self, model)

    def source_problems(self) -> Iterator[FieldProblem]:
        """Yields a problem if the initial weights cannot be read, as a pair `(path, message)`."""
        if self.init_from is not None and (problem := source_problem(self.init_from)) is not None:
            yield ("init_from",), problem

    def length(self, steps_per_epoch: int) -> Duration:
        """Returns the duration of the training, for `steps_per_epoch` batches per epoch.

        Raises:
            RunError: If `steps_per_execution` does not divide the number of batches of each epoch.
        """
        length = Duration(steps_per_epoch, self.gradient_accumulation_steps, self.epochs, self.steps)
        common = math.gcd(steps_per_epoch, length.batches)  # the last epoch may be incomplete
        if common % self.steps_per_execution:
            divisors = ", ".join(str(number) for number in range(1, common + 1) if common % number == 0)
            raise RunError(
                f"training.steps_per_execution: expected a divisor of {common}, since epochs have {steps_per_epoch} "
                f"batches and the training {length.batches}. Received: {self.steps_per_execution}. "
                f"Use one of {divisors}"
            )
        return length

    def validated_epochs(self, steps_per_epoch: int) -> tuple[int, ...]:
        """Returns the epochs, counted from 1, that end with a validation, for `validation_freq` of `model.fit`."""
        last = self.length(steps_per_epoch).epochs
        return (*range(self.validation_freq, last, self.validation_freq), last)

    def scope(self, seed: int = 0) -> AbstractContextManager[Scope]:
        """Returns the context in which to build and compile networks, with strategy, dtype policy and `seed`."""
        return scope(self.strategy, self.precision, seed, deterministic=self.deterministic)

    def network(self, model: keras.Model) -> keras.Model:
        """Returns the network to compile and fit: `model` without outputs that have neither a loss nor a metric.

        Args:
            model: Network with the output `logits`, or with outputs `{"logits", "scores", "aux_…"}`. All layers are
                shared.
        """
        return pruned(model, self.loss.resolution, self.auxiliary_weight)

    def targets(self, batches: Any, model: keras.Model) -> Any:
        """Returns a dataset for `model.fit`, with a mask per output, from a dataset of pairs `(image, mask)`."""
        return with_targets(batches, model)

    def compile(
        self,
        model: keras.Model,
        labels: Labels,
        *,
        steps_per_epoch: int,
        counts: Counts | None = None,
        positions: Positions | None = None,
        annotated: Classes | None = None,
        stages: Stages = (),
    ) -> None:
        """Freezes layers and compiles `model`. Must be called in the `scope` in which `model` was built.

        Args:
            model: Network returned by `network`.
            labels: Class names and ignore label.
            steps_per_epoch: Number of batches per epoch.
            counts: Function that counts the pixels per class in the training split. Called once, and only if the loss
                computes class weights from class frequencies.
            positions: Positions of the scores in the image. None: corner-aligned.
            annotated: Boolean per source and class, if training masks contain the source of each pixel.
            stages: Names of the layers of each stage of the backbone, from shallow to deep, for `layer_decay`.

        Raises:
            RunError: If an expression of `freeze` or `lr_multipliers` has no match, or an option does not fit the
                network.
        """
        context = Context(labels, model.input.shape[-1])
        if problems := formatted(prefixed("training", (*self.problems(context), *self.network_problems(model)))):
            raise RunError(problems)
        prepare(model, batch_norm=self.batch_norm, freeze=self.freeze, synchronized=self.strategy == "mirrored")
        optimizer = optimizer_of(self, model, steps_per_epoch, stages)
        metrics = self._metrics(labels, mixed=annotated is not None)
        given = {} if annotated is None else {"annotated": annotated}  # custom losses may not accept it
        model.compile(
            optimizer=optimizer,
            **objective_of(self, model, labels, counts and cache(counts), positions, given),
            metrics={LOGITS: metrics} if isinstance(model.output, dict) else metrics,
            jit_compile=self.jit_compile,
            steps_per_execution=self.steps_per_execution,
            auto_scale_loss=False,
        )
        optimizer.build(model.trainable_variables)
        build_compiled(model)

    def validation_metric(self, labels: Labels, *, mixed: bool) -> keras.metrics.Metric:
        """Returns the metric with `miou`, for masks that contain the source of each pixel if `mixed`."""
        return self._metrics(labels, mixed=mixed)[0]

    def stopped(self, rows: Sequence[Mapping[str, float]]) -> str | None:
        """Returns the message of an early stop, if the training ends early after the epochs of a history."""
        progress = None if self.early_stopping is None else self.early_stopping.progress(rows)
        return None if progress is None or progress.stopped is None else str(progress)

    def _metrics(self, labels: Labels, *, mixed: bool) -> list[keras.metrics.Metric]:
        """Creates the metrics of a network, for masks that contain the source of each pixel if `mixed`."""
        own = [construct("metrics", keras.metrics.Metric, metric, labels) for metric in self.metrics]
        metrics = [SegmentationMetrics(labels.count, labels.ignore), *own]
        return [WithoutSources(metric) for metric in metrics] if mixed else metrics

    def callbacks(
        self,
        folder: Path,
        labels: Labels,
        *,
        steps_per_epoch: int,
        name: str = "training",
        state: State | None = None,
        batch_names: Callable[[int, int], tuple[str, ...]] | None = None,
        batch: Callable[[int, int], tuple[Any, Any]] | None = None,
        samples: Sequence[tuple[Any, Any]] = (),
        signals: Signals | None = None,
    ) -> list[keras.callbacks.Callback]:
        """Returns the callbacks that check the loss, write the run directory and end the training. Their order matters.

        Args:
            folder: Run directory.
            labels: Class names, colors and ignore label.
            steps_per_epoch: Number of batches per epoch.
            name: Name of the training, the title of its curves.
            state: Result of `restore`, for a resumed training.
            batch_names: Function from `(epoch, step)` to the file names of that training batch.
            batch: Function from `(epoch, step)` to the images and masks of that training batch.
            samples: Pairs of a validation image and its mask, shown with the prediction in TensorBoard.
            signals: Signals that wait until the state is saved.
        """
        state, length = state or State(), self.length(steps_per_epoch)
        checkpoints = Checkpoints(folder, best=state.best, validated=self.validated_epochs(steps_per_epoch))
        history = History(folder, state.rows, state.seconds)
        averages = None if self.ema is None else Averages()
        return [
            NanGuard(steps_per_epoch, batch_names, batch, accumulate=self.gradient_accumulation_steps),
            *([] if averages is None else [averages]),
            checkpoints,
            history,
            TensorBoardEvents(folder, labels, samples),
            Curves(folder, history, name),
            *([LastCheckpoints(folder, self.average_checkpoints)] if self.average_checkpoints else []),
            *([] if averages is None else [averages.raw]),
            *([] if self.early_stopping is None else [StopEarly(self.early_stopping, history)]),
            Snapshots(folder, checkpoints, history, length, state=state, interval=self.checkpoint, signals=signals),
            End(length),
        ]
