"""The `training` section of a pipeline: from a built network to a compiled one, and what watches over `fit`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import keras
import numpy as np
from keras import ops
from pydantic import Field, model_validator

from tfseg.errors import RunError
from tfseg.labels import Labels
from tfseg.metrics import SegmentationMetrics
from tfseg.spec.declare import BY_TYPE, spec
from tfseg.training.checkpoints import Checkpoints
from tfseg.training.history import History
from tfseg.training.layers import BatchNorm, flat_layers, prepare
from tfseg.training.objectives import CrossEntropy
from tfseg.training.optimizers import AdamW, Expression, Sgd
from tfseg.training.partwise import found
from tfseg.training.schedules import Constant, Poly, Step
from tfseg.training.state import Snapshots, State
from tfseg.training.strategy import Precision, Scope, Strategy, scope
from tfseg.training.tensorboard import TensorBoardEvents
from tfseg.training.watch import Watch

Problem = tuple[tuple[str, ...], str]


@spec
class Training:
    """Optimiser, schedule, loss, precision and devices."""

    epochs: Annotated[int, Field(ge=1)] = 30
    """How often each training image is seen."""
    validate_every: Annotated[int, Field(ge=1)] = 1
    """Epochs between two validations; the last epoch is always validated."""
    optimizer: Annotated[Sgd | AdamW, BY_TYPE] = AdamW()
    """What turns gradients into changes of the weights."""
    schedule: Annotated[Constant | Poly | Step, BY_TYPE] = Poly()
    """How the learning rate goes from the first step to the last."""
    loss: Annotated[CrossEntropy, BY_TYPE] = CrossEntropy()
    """What is made small."""
    precision: Precision = "float32"
    """What layers compute in; weights, logits, losses and metrics stay float32."""
    strategy: Strategy = "none"
    """`mirrored` divides each batch on all GPUs of the machine (or all logical CPU devices)."""
    jit_compile: bool = False
    """Compile the training step with XLA."""
    batch_norm: BatchNorm = "train"
    """`frozen`: batch normalisation keeps its moving statistics, scales and shifts, and uses them in training too."""
    freeze: tuple[Expression, ...] = ()
    """Layers that learn nothing: those in whose name one of these regular expressions is found."""

    @model_validator(mode="after")
    def _possible(self) -> "Training":
        if self.jit_compile and self.strategy == "mirrored":
            raise ValueError(
                "jit_compile does not work under strategy: mirrored, because XLA cannot reach the variables of another "
                "device. Received: jit_compile=true, strategy=mirrored. Leave out one of the two"
            )
        return self

    @property
    def needs_class_counts(self) -> bool:
        """Whether `compile` must be told how often the classes occur in the training split."""
        return self.loss.counts

    def problems(self, labels: Labels) -> Iterator[Problem]:
        """What does not fit the labels, each as (path, message)."""
        for path, message in self.loss.problems(labels):
            yield ("loss", *path), message

    def model_problems(self, model: keras.Model) -> Iterator[Problem]:
        """Expressions that are found nowhere in the network, each as (path, message)."""
        layers = [layer.name for layer in flat_layers(model)]
        weights = [weight.path for weight in model.weights]
        searched: list[tuple[tuple[str, ...], str, str, list[str]]] = [
            (("freeze",), pattern, "layer names", layers) for pattern in self.freeze
        ]
        searched += [
            (("optimizer", "multipliers", pattern), pattern, "weight paths", weights)
            for pattern in self.optimizer.multipliers
        ]
        for path, pattern, kind, names in searched:
            if not any(found((pattern,), name) for name in names):
                shown = ", ".join([*names[:3], "…", *names[-3:]] if len(names) > 6 else names)
                yield path, f"found in none of the {len(names)} {kind} of the network ({shown}). Received: {pattern}"

    def validated_epochs(self) -> tuple[int, ...]:
        """After which epochs, counted from 1, the network is validated: what Keras calls `validation_freq`."""
        return (*range(self.validate_every, self.epochs, self.validate_every), self.epochs)

    def scope(self, seed: int = 0) -> AbstractContextManager[Scope]:
        """Inside, networks are built and compiled for the devices and the precision of this training, from `seed`."""
        return scope(self.strategy, self.precision, seed)

    def compile(
        self,
        model: keras.Model,
        labels: Labels,
        *,
        steps_per_epoch: int,
        class_pixels: np.ndarray | None = None,
        image_pixels: np.ndarray | None = None,
    ) -> None:
        """Freezes what shall not learn and compiles `model`, built in the same `scope`, for `model.fit`.

        Args:
            model: image to logits.
            labels: the classes.
            steps_per_epoch: the schedule ends after `epochs` times as many steps.
            class_pixels: the pixels of each class in the training split; where `needs_class_counts`.
            image_pixels: the pixels of the images in which each class occurs; likewise.

        Raises:
            RunError: an expression of `freeze` or `multipliers` is found nowhere.
        """
        problems = [*self.problems(labels), *self.model_problems(model)]
        if problems:
            raise RunError("\n".join(f"training.{'.'.join(path)}: {message}" for path, message in problems))
        prepare(model, batch_norm=self.batch_norm, freeze=self.freeze, synchronized=self.strategy == "mirrored")
        rate = self.schedule(self.optimizer.learning_rate, steps_per_epoch=steps_per_epoch, epochs=self.epochs)
        optimizer = self.optimizer(rate, scaled=self.precision == "mixed_float16")
        model.compile(
            optimizer=optimizer,
            loss=self.loss(labels, class_pixels, image_pixels),
            metrics=[SegmentationMetrics(labels.count, labels.ignore)],
            jit_compile=self.jit_compile,
            auto_scale_loss=False,
        )
        optimizer.build(model.trainable_variables)
        _build_compiled(model, labels)

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
        saved: keras.Model | None = None,
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
            saved: the network to write, where it is not the one that is trained.
        """
        state = state or State()
        validated = self.validated_epochs()
        checkpoints = Checkpoints(folder, best=state.best, saved=saved, validated=validated)
        history = History(folder, state.rows)
        return [
            Watch(steps_per_epoch, batch_names, batch),
            checkpoints,
            history,
            TensorBoardEvents(folder, labels, samples),
            Snapshots(folder, checkpoints, history),
        ]


def _build_compiled(model: keras.Model, labels: Labels) -> None:
    """Builds loss and metrics on one pixel: under a strategy Keras would do it on a mean of masks, which is no mask."""
    mask, scores = ops.zeros((1, 1, 1), "int32"), ops.zeros((1, 1, 1, labels.count))
    with keras.StatelessScope():  # nothing is counted
        model.compute_loss(None, mask, scores)
        model.compute_metrics(None, mask, scores)
