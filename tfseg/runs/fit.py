"""A training from its pipeline to the best of its networks, measured: the whole story of `tfseg fit`."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfseg.atomic import write_text
from tfseg.inference import check_partner
from tfseg.labels import LABELS, labels_text
from tfseg.pipeline import Pipeline
from tfseg.runs.directory import PIPELINE, Run
from tfseg.runs.evaluate import evaluate
from tfseg.runs.lock import claim
from tfseg.runs.predictors import partner
from tfseg.runs.wording import in_words
from tfseg.spec.show import dump
from tfseg.training import State, estimate_batch_norm, restore, save_model
from tfseg.training.files import BEST, LAST, states
from tfseg.training.progress import Progress, verbosity
from tfseg.training.strategy import Scope

SAMPLES = 4
"""Validation images that TensorBoard shows with the network's masks."""
UNFOLDING = 4
"""Batches of training images from which the statistics of folded BatchNorm are measured."""


def fit(
    pipeline: Pipeline,
    run_dir: str | os.PathLike[str],
    *,
    resume: bool = False,
    overwrite: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: bool = True,
) -> Run:
    """Trains a pipeline's network and measures the best of its epochs on the validation split.

    Args:
        pipeline: what `tfseg.load` returned.
        run_dir: the folder to write; see `tfseg.Run` for what it will hold.
        resume: go on with an unfinished run, from the end of its last epoch.
        overwrite: delete what an earlier run left in `run_dir`.
        callbacks: further Keras callbacks. They come after those that save, so that what they see is on disk already.
        verbose: show progress.

    Raises:
        TfsegError: data, weights or `run_dir` cannot be used, or the training had to stop; the text says what to do.
    """
    folder, data, labels = Path(run_dir), pipeline.data, pipeline.labels
    with claim(folder, pipeline, resume=resume, overwrite=overwrite) as claimed, in_words():
        steps, _ = data.steps_per_epoch(labels), data.count(data.validation_split)  # missing files show here
        _check_use(pipeline)
        with pipeline.training.scope(pipeline.seed) as scope:
            model = pipeline.training.network(pipeline.build(training=True))
            if not (resume and states(folder)):  # a training may be resumed before its first epoch has ended
                load_weights(pipeline, model, verbose)
            compile_for(pipeline, model, steps)
            state = restore(model, folder) if resume else State()
            batches = training_and_validation(pipeline, state, scope)
            claimed.begin()
            write_text(folder / PIPELINE, dump(pipeline))
            write_text(folder / LABELS, labels_text(labels))
            saving = watchers(pipeline, folder, state, batches[1], steps)
            train(pipeline, model, batches, [*saving, *callbacks], state.epoch, verbose)
        run = Run(folder, allow_plugins=bool(pipeline.plugins))
        measure_batch_norm(pipeline, run, verbose)
        evaluate(run, data.validation_split, allow_plugins=bool(pipeline.plugins), verbose=verbose)
        claimed.finish()
    return run


def _check_use(pipeline: Pipeline) -> None:
    """What evaluation will need beside the network is looked for before the network is trained, which may take days."""
    data, use = pipeline.data, pipeline.inference
    if use.proposals is not None:
        use.proposals.check(data.evaluation_names(data.validation_split))
    if use.ensemble is not None:
        other = partner(use.ensemble, bool(pipeline.plugins))
        check_partner(other, pipeline.labels.count, data.channels, pipeline.labels)


def load_weights(pipeline: Pipeline, model: keras.Model, verbose: bool = False) -> None:
    """Fills the network as its spec says, and reports. Folded BatchNorm is measured on the pictures of the training."""

    def pictures() -> Iterator[np.ndarray]:
        data = replace(pipeline.data, cache=False)  # a few batches are not worth reading all pictures
        for image, _ in (
            data.training(pipeline.labels, seed=pipeline.seed, epochs=1).take(UNFOLDING).as_numpy_iterator()
        ):
            yield image

    report = pipeline.model.load_weights(model, pictures())
    if verbose and report is not None:
        print(report, flush=True)


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


def watchers(
    pipeline: Pipeline, folder: Path, state: State, validation: Any, steps: int
) -> list[keras.callbacks.Callback]:
    """What writes the run directory while the network is trained, and ends the training where it must."""
    data, labels, seed = pipeline.data, pipeline.labels, pipeline.seed
    return pipeline.training.callbacks(
        folder,
        labels,
        steps_per_epoch=steps,
        state=state,
        batch_names=lambda epoch, step: data.batch_names(labels, epoch, step, seed=seed),
        batch=lambda epoch, step: data.training_batch(labels, epoch, step, seed=seed),
        samples=[(image[0], mask[0]) for image, mask in validation.take(SAMPLES).as_numpy_iterator()],
    )


def train(
    pipeline: Pipeline,
    model: keras.Model,
    batches: tuple[Any, Any],
    callbacks: Sequence[keras.callbacks.Callback],
    epoch: int,
    verbose: bool,
) -> None:
    """Fits the compiled network, from the end of an `epoch` to that of the training."""
    recipe, (training, validation) = pipeline.training, batches
    length = recipe.length(pipeline.data.steps_per_epoch(pipeline.labels))
    model.fit(
        recipe.targets(training, model),
        steps_per_epoch=length.batches_per_epoch,
        initial_epoch=epoch,
        epochs=length.epochs,
        validation_data=recipe.targets(validation, model),
        validation_freq=list(recipe.validated_epochs(length.batches_per_epoch)),
        callbacks=[*callbacks, *([Progress(length)] if verbose else [])],
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
