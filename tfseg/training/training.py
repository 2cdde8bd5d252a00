"""Section `training` of a pipeline: compiles networks and creates the callbacks of `fit`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
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
from tfseg.losses.annotated import Annotated as Classes
from tfseg.losses.class_weights import Counts
from tfseg.metrics import SegmentationMetrics
from tfseg.spec.declare import ByType, Location, spec
from tfseg.spec.problems import FieldProblem, InvalidFields, component_problems, formatted, prefixed
from tfseg.training.checkpoints import Checkpoints
from tfseg.training.contracts import RATES, MetricSpec, Objective, OptimizerSpec, ScheduleSpec, construct
from tfseg.training.duration import Duration, End
from tfseg.training.freezing import BatchNorm, prepare
from tfseg.training.history import History
from tfseg.training.initial import source_problem
from tfseg.training.keras_optimizer import KerasOptimizer
from tfseg.training.metric_specs import Metrics
from tfseg.training.mixed_metrics import WithoutSources
from tfseg.training.nan_guard import NanGuard
from tfseg.training.objectives import INNER, AuxiliaryLosses, CrossEntropy, Losses
from tfseg.training.optimizers import AdamW, Expression, Sgd
from tfseg.training.outputs import LOGITS, auxiliary, for_each, main, pruned, with_targets
from tfseg.training.problems import conflicts, network_conflicts
from tfseg.training.schedules import Constant, Poly, Step
from tfseg.training.state import Snapshots, State
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
    schedule: Annotated[Constant | Poly | Step, ByType("poly", ScheduleSpec)] = Poly()
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
    init_from: Location | None = None
    """Run directory, whose best network is read, or weight file, such as a `.keras` file, with initial weights for all
    layers that they fit. Weights of classes are matched by name. Replaces `model.backbone.weights`."""
    batch_norm: BatchNorm = "train"
    """`frozen`: batch normalization is not trainable and uses its moving statistics in training."""
    batch_norm_batches: Annotated[int, Field(ge=0)] = 0
    """Number of training batches over which batch normalization statistics are re-estimated after training. 0 keeps the
    moving averages."""
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
        """Returns the duration of the training, for `steps_per_epoch` batches per epoch."""
        return Duration(steps_per_epoch, self.gradient_accumulation_steps, self.epochs, self.steps)

    def validated_epochs(self, steps_per_epoch: int) -> tuple[int, ...]:
        """Returns the epochs, counted from 1, that end with a validation, for `validation_freq` of `model.fit`."""
        last = self.length(steps_per_epoch).epochs
        return (*range(self.validation_freq, last, self.validation_freq), last)

    def scope(self, seed: int = 0) -> AbstractContextManager[Scope]:
        """Returns the context in which to build and compile networks, with strategy, dtype policy and `seed`."""
        return scope(self.strategy, self.precision, seed)

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

        Raises:
            RunError: If an expression of `freeze` or `lr_multipliers` has no match, or an option does not fit the
                network.
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
        metrics = self._metrics(labels, mixed=annotated is not None)
        given = {} if annotated is None else {"annotated": annotated}  # custom losses may not accept it
        model.compile(
            optimizer=optimizer,
            **self._objective(model, labels, counts and cache(counts), positions, given),
            metrics={LOGITS: metrics} if isinstance(model.output, dict) else metrics,
            jit_compile=self.jit_compile,
            auto_scale_loss=False,
        )
        optimizer.build(model.trainable_variables)
        _build_compiled(model)

    def _metrics(self, labels: Labels, *, mixed: bool) -> list[keras.metrics.Metric]:
        """Creates the metrics of a network, for masks that contain the source of each pixel if `mixed`."""
        own = [construct("metrics", keras.metrics.Metric, metric, labels) for metric in self.metrics]
        metrics = [SegmentationMetrics(labels.count, labels.ignore), *own]
        return [WithoutSources(metric) for metric in metrics] if mixed else metrics

    def _objective(
        self,
        model: keras.Model,
        labels: Labels,
        counts: Counts | None,
        positions: Positions | None,
        given: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Returns the losses and loss weights of the outputs."""
        loss = partial(construct, "loss", keras.losses.Loss, self.loss, labels, counts, **given)
        if not isinstance(model.output, dict):
            return {"loss": loss()}
        slot, side = ("loss", self.loss) if self.auxiliary_loss is None else ("auxiliary_loss", self.auxiliary_loss)
        auxiliary_loss = partial(construct, slot, keras.losses.Loss, side, labels, counts, **given)
        chosen = self.loss.resolution
        principal = loss(resolution="scores" if chosen == "scores" else None, positions=positions)
        others = {name: auxiliary_loss(resolution=side.resolution, positions=positions) for name in auxiliary(model)}
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
        """Returns the callbacks that check the loss, write the run directory and end the training. Their order matters.

        Args:
            folder: Run directory.
            labels: Class names, colors and ignore label.
            steps_per_epoch: Number of batches per epoch.
            state: Result of `restore`, for a resumed training.
            batch_names: Function from `(epoch, step)` to the file names of that training batch.
            batch: Function from `(epoch, step)` to the images and masks of that training batch.
            samples: Pairs of a validation image and its mask, shown with the prediction in TensorBoard.
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


def _build_compiled(model: keras.Model) -> None:
    """Builds loss and metrics on one pixel. Under a strategy Keras would build them on averaged, invalid masks."""
    mask = for_each(model, ops.zeros((1, 1, 1), "int32"))
    scores = keras.tree.map_structure(lambda output: ops.zeros((1, 1, 1, output.shape[-1])), model.output)
    with keras.StatelessScope():  # no pixels are counted
        model.compute_loss(None, mask, scores)
        model.compute_metrics(None, mask, scores)
