"""The parts of `fit`: a network gets its weights, objective and batches, is trained, and its statistics are measured.

They stand here in the order in which `tfseg.run.fit` calls them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfseg.pipeline import Pipeline
from tfseg.run_directory import Run
from tfseg.training import State, estimate_batch_norm, save_model
from tfseg.training.files import BEST, LAST
from tfseg.training.progress import Progress, verbosity
from tfseg.training.strategy import Scope

SAMPLES = 4
"""Validation images that TensorBoard shows with the network's masks."""
UNFOLDING = 4
"""Batches of training images from which the statistics of folded BatchNorm are measured."""


def load_weights(pipeline: Pipeline, model: keras.Model) -> None:
    """Fills the network as its spec says. Folded BatchNorm is measured on the pictures that training will see."""

    def pictures() -> Iterator[np.ndarray]:
        data = replace(pipeline.data, cache=False)  # a few batches are not worth reading all pictures
        for image, _ in (
            data.training(pipeline.labels, seed=pipeline.seed, epochs=1).take(UNFOLDING).as_numpy_iterator()
        ):
            yield image

    pipeline.model.load_weights(model, pictures())


def compile_for(pipeline: Pipeline, model: keras.Model, steps: int) -> None:
    """Compiles the network for the pipeline's training, of `steps` batches an epoch; counts classes where it must."""
    counts = {}
    if pipeline.training.needs_class_counts:
        counted = pipeline.data.pixel_counts(pipeline.data.train_split, pipeline.labels)
        counts = {"class_pixels": counted.classes, "image_pixels": counted.pictures}
    positions = pipeline.model.positions
    pipeline.training.compile(model, pipeline.labels, steps_per_epoch=steps, positions=positions, **counts)


def training_and_validation(pipeline: Pipeline, state: State, scope: Scope) -> tuple[Any, Any]:
    """The pictures to train on from the epoch where the training stands, and those to validate on."""
    data, labels = pipeline.data, pipeline.labels
    training = data.training(
        labels,
        seed=pipeline.seed,
        epochs=pipeline.training.length(data.steps_per_epoch(labels)).epochs,
        initial_epoch=state.epoch,
        batch_multiple=scope.replicas,
    )
    return training, data.evaluation(data.validation_split, labels, replicas=scope.replicas)


def train(
    pipeline: Pipeline,
    model: keras.Model,
    folder: Path,
    batches: tuple[Any, Any],
    state: State,
    steps: int,
    verbose: bool,
) -> None:
    """Fits the compiled network, from where the training stands to its end, and writes the run directory meanwhile."""
    data, labels, seed, recipe = pipeline.data, pipeline.labels, pipeline.seed, pipeline.training
    training, validation = batches
    callbacks = recipe.callbacks(
        folder,
        labels,
        steps_per_epoch=steps,
        state=state,
        batch_names=lambda epoch, step: data.batch_names(labels, epoch, step, seed=seed),
        batch=lambda epoch, step: data.training_batch(labels, epoch, step, seed=seed),
        samples=[(image[0], mask[0]) for image, mask in validation.take(SAMPLES).as_numpy_iterator()],
    )
    if verbose:
        callbacks.append(Progress(recipe.length(steps)))
    model.fit(
        recipe.targets(training, model),
        steps_per_epoch=steps,
        initial_epoch=state.epoch,
        epochs=recipe.length(steps).epochs,
        validation_data=recipe.targets(validation, model),
        validation_freq=list(recipe.validated_epochs(steps)),
        callbacks=callbacks,
        verbose=verbosity(verbose),
        shuffle=False,  # the dataset is in its own random order already
    )


def measure_batch_norm(pipeline: Pipeline, run: Run, verbose: bool) -> None:
    """Gives both saved networks the statistics of further training batches, where the pipeline asks for it."""
    count, data = pipeline.training.batch_norm_batches, pipeline.data
    steps = data.steps_per_epoch(pipeline.labels)
    ended = pipeline.training.length(steps).epochs
    epochs = ended + -(-count // steps)
    progress = keras.utils.Progbar(2 * count, verbose=verbosity(verbose), unit_name="batch")
    for name in (BEST, LAST) if count else ():
        training = data.training(pipeline.labels, seed=pipeline.seed, epochs=epochs, initial_epoch=ended)
        model = run.model(name)
        estimate_batch_norm(model, _counted(training.take(count).as_numpy_iterator(), progress))
        save_model(model, run.folder / name)


def _counted(batches: Iterable[tuple[np.ndarray, np.ndarray]], progress: Any) -> Iterator[np.ndarray]:
    for image, _ in batches:
        yield image
        progress.add(1)
