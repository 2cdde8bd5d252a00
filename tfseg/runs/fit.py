"""Training of a pipeline's network and evaluation of its best epoch."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfseg.atomic import write_text
from tfseg.data import AnyDataset, Passed
from tfseg.errors import RunError
from tfseg.images.values import values_fields
from tfseg.inference import check_partner
from tfseg.labels import LABELS, labels_text
from tfseg.pipeline import Pipeline
from tfseg.runs.directory import PIPELINE, Run
from tfseg.runs.evaluate import evaluate
from tfseg.runs.initial_weights import check_source, initialized
from tfseg.runs.lock import lock_run
from tfseg.runs.passed import opened, progress
from tfseg.runs.predictors import partner
from tfseg.runs.skipped import Skipped, record_skipped, skipped_of
from tfseg.runs.user_errors import user_errors
from tfseg.spec.problems import formatted
from tfseg.spec.show import dump
from tfseg.training import State, estimate_batch_norm, restore, save_model
from tfseg.training.files import BEST, LAST, states
from tfseg.training.progress import Progress, image_bar, verbosity

SAMPLES = 4
"""Number of validation images shown in TensorBoard with their predicted masks."""
UNFOLDING = 4
"""Number of training batches used to estimate the statistics of folded BatchNorm."""


def fit(
    pipeline: Pipeline,
    run_dir: str | os.PathLike[str],
    *,
    training: Passed | None = None,
    validation: Passed | None = None,
    resume: bool = False,
    overwrite: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: bool = True,
) -> Run:
    """Trains a pipeline's network and evaluates its best epoch on the validation split.

    Args:
        pipeline: Pipeline, as returned by `tfseg.load`.
        run_dir: Path of the run directory to write.
        training: Training data, instead of those of the pipeline: a `tf.data.Dataset` of pairs `(image, mask)`, single
            (`[height, width, channels]` and `[height, width]`) or in batches, or a pair of arrays
            `(images, masks)` (`[count, height, width, channels]` and `[count, height, width]`). Images have values from
            0 to 255, masks class ids or the ignore label. `docs/data.md` has the details.
        validation: Validation data of the same kinds. Required with `training`.
        resume: Boolean, whether to resume an unfinished run after its last completed epoch.
        overwrite: Boolean, whether to delete an earlier run in `run_dir`.
        callbacks: List of additional `keras.callbacks.Callback` instances. They are called after those that save
            checkpoints.
        verbose: Boolean, whether to show progress.

    Returns:
        The `Run`.

    Raises:
        TfsegError: If the dataset, the weights or `run_dir` cannot be used, or the training had to stop.
    """
    folder, recipe, labels, callbacks = Path(run_dir), pipeline.training, pipeline.labels, _check_callbacks(callbacks)
    pipeline, passed = opened(pipeline, training, validation, progress(verbose))
    with lock_run(folder, pipeline, resume=resume, overwrite=overwrite) as lock, user_errors():
        restored = resume and bool(states(folder))  # a run may be resumed before its first epoch was completed
        check_source(pipeline, folder, restored=restored)
        skipped = {} if passed else skipped_of(folder, pipeline, resumed=resume, progress=image_bar(verbose))
        data = passed or pipeline.data.open(labels, pipeline.seed, skipped)
        steps, _ = data.steps_per_epoch, data.count(pipeline.data.validation_split)  # raises for missing files
        length = recipe.length(steps)
        _check_inference(pipeline, data)
        with recipe.scope(pipeline.seed) as scope:
            model = recipe.network(pipeline.build(training=True))
            if problems := formatted(pipeline.network_problems(model)):
                raise RunError(problems)
            if not restored:
                _load_weights(pipeline, model, data, verbose)
            _compile(pipeline, model, data)
            state = restore(model, folder) if resume else State()
            batches = data.training(epochs=length.epochs, initial_epoch=state.epoch, batch_multiple=scope.replicas)
            validated = data.evaluation(pipeline.data.validation_split, replicas=scope.replicas)
            lock.begin()
            _write_settings(folder, pipeline, data, None if passed else skipped, verbose)
            saving = run_callbacks(pipeline, data, folder, state, samples=validated.take(SAMPLES))
            model.fit(
                recipe.targets(batches, model),
                steps_per_epoch=steps,
                initial_epoch=state.epoch,
                epochs=length.epochs,
                validation_data=recipe.targets(validated, model),
                validation_freq=list(recipe.validated_epochs(steps)),
                callbacks=[*saving, *callbacks, *([Progress(length)] if verbose else [])],
                verbose=verbosity(verbose),
                shuffle=False,  # the dataset is already shuffled
            )
        run = Run(folder, allow_plugins=(plugins := bool(pipeline.plugins)))
        measure_batch_norm(pipeline, data, run, verbose)
        evaluate(run, pipeline.data.validation_split, data=data, allow_plugins=plugins, verbose=verbose)
        lock.finish()
    return run


def _check_callbacks(callbacks: Sequence[keras.callbacks.Callback]) -> tuple[keras.callbacks.Callback, ...]:
    """Checks the types of the callbacks before an earlier run is overwritten."""
    checked = tuple(callbacks) if isinstance(callbacks, Iterable) and not isinstance(callbacks, str) else (callbacks,)
    for each in checked:
        if not isinstance(each, keras.callbacks.Callback):
            raise TypeError(f"Expected `callbacks` to be a list of keras.callbacks.Callback. Received: {each!r}")
    return checked


def _load_weights(pipeline: Pipeline, model: keras.Model, data: AnyDataset, verbose: bool) -> None:
    """Loads the initial weights, if the pipeline has any, and reports them."""
    images = training_images(data)
    if pipeline.training.init_from is None:
        report = pipeline.model.load_weights(model, images)
    else:
        report = initialized(pipeline, model, data.values, images)
    if verbose and report is not None:
        print(report, flush=True)


def _compile(pipeline: Pipeline, model: keras.Model, data: AnyDataset) -> None:
    """Compiles the network with what its losses need to know of the data."""
    pipeline.training.compile(
        model,
        pipeline.labels,
        steps_per_epoch=data.steps_per_epoch,
        counts=data.class_counts,
        positions=pipeline.model.positions,
        annotated=data.annotated,
    )


def _write_settings(folder: Path, pipeline: Pipeline, data: AnyDataset, skipped: Skipped | None, verbose: bool) -> None:
    """Writes the pipeline file, the labels and, for data of files, the skipped examples."""
    if skipped is not None:
        record_skipped(folder, pipeline, skipped, verbose)
    write_text(folder / PIPELINE, dump(pipeline))
    write_text(folder / LABELS, labels_text(pipeline.labels, values_fields(data.values)))


def _check_inference(pipeline: Pipeline, data: AnyDataset) -> None:
    """Checks the files that the final evaluation needs, before a training that may take days."""
    settings = pipeline.inference
    if settings.proposals is not None:
        settings.proposals.open().check(data.names(pipeline.data.validation_split))
    if settings.ensemble is not None:
        other = partner(settings.ensemble, bool(pipeline.plugins))
        check_partner(other, pipeline.labels.count, pipeline.data.channels, pipeline.labels, data.values)


def training_images(data: AnyDataset) -> Iterator[np.ndarray]:
    """Yields the images of the first training batches, for the statistics of folded BatchNorm."""
    for image, _ in data.training(epochs=1).take(UNFOLDING).as_numpy_iterator():
        yield image


def run_callbacks(
    pipeline: Pipeline, data: AnyDataset, folder: Path, state: State, samples: Any
) -> list[keras.callbacks.Callback]:
    """Returns the callbacks that write the run directory during training and stop the training if necessary."""
    return pipeline.training.callbacks(
        folder,
        pipeline.labels,
        steps_per_epoch=data.steps_per_epoch,
        state=state,
        batch_names=data.batch_names,
        batch=data.training_batch,
        samples=[(image[0], mask[0]) for image, mask in samples.as_numpy_iterator()],
    )


def measure_batch_norm(pipeline: Pipeline, data: AnyDataset, run: Run, verbose: bool) -> None:
    """Estimates the BatchNorm statistics of both saved networks on `training.batch_norm_batches` further batches."""
    count, steps = pipeline.training.batch_norm_batches, data.steps_per_epoch
    completed = pipeline.training.length(steps).epochs
    epochs = completed + -(-count // steps)
    progress = keras.utils.Progbar(2 * count, verbose=verbosity(verbose), unit_name="batch")
    for name in (BEST, LAST) if count else ():
        training = data.training(epochs=epochs, initial_epoch=completed)
        model = run.model(name)
        estimate_batch_norm(model, _counted(training.take(count).as_numpy_iterator(), progress))
        save_model(model, run.folder / name)


def _counted(batches: Iterable[tuple[np.ndarray, np.ndarray]], progress: Any) -> Iterator[np.ndarray]:
    for image, _ in batches:
        yield image
        progress.add(1)
