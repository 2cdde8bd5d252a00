"""Training of a pipeline's network and evaluation of its best epoch."""

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
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
from tfseg.runs.average import Rows, average_checkpoints
from tfseg.runs.directory import PIPELINE, Run
from tfseg.runs.evaluate import evaluate
from tfseg.runs.initial_weights import check_source, initialized
from tfseg.runs.lock import RunLock, lock_run
from tfseg.runs.passed import opened, progress
from tfseg.runs.predictors import partner
from tfseg.runs.repair import checked_networks
from tfseg.runs.skipped import Skipped, record_skipped, skipped_of
from tfseg.runs.user_errors import user_errors
from tfseg.spec.problems import formatted
from tfseg.spec.show import dump
from tfseg.training import Signals, State, Training, estimate_batch_norm, restore, save_model
from tfseg.training.continuing import Callbacks, end_epoch
from tfseg.training.duration import Duration
from tfseg.training.files import BEST, LAST, states
from tfseg.training.history import History
from tfseg.training.progress import Progress, image_bar, verbosity
from tfseg.training.status_line import StatusLine

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
        resume: Boolean, whether to resume an unfinished run at its last saved state, or to extend a finished one, with
            more `training.epochs` or `training.steps`.
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
        with recipe.scope(pipeline.seed) as scope, StatusLine() as line:
            model = recipe.network(pipeline.build(training=True))
            if problems := formatted(pipeline.network_problems(model)):
                raise RunError(problems)
            if not restored:
                _load_weights(pipeline, model, data, verbose)
            _compile(pipeline, model, data)
            state = _restored(lock, pipeline, model, length, verbose) if resume else State()
            epoch, step = length.resumed(state.epoch, state.batch)
            position = {"initial_epoch": epoch, "initial_step": step}
            batches = data.training(epochs=length.epochs, **position, batch_multiple=scope.replicas)
            validated = data.evaluation(pipeline.data.validation_split, replicas=scope.replicas)
            lock.begin()
            _write_settings(folder, pipeline, data, None if passed else skipped, verbose)
            with Signals(verbose) as signals:
                own = run_callbacks(pipeline, data, folder, state, validated.take(SAMPLES), signals)
                added = [*own, *callbacks, *([_progress(pipeline, steps, line, state)] if verbose else [])]
                params = {"epochs": length.epochs, "steps": steps}
                rows = _train(model, recipe, Callbacks(added, state, model, **params), batches, validated)
        run = Run(folder, allow_plugins=(plugins := bool(pipeline.plugins)))
        finish_training(pipeline, data, run, rows, verbose)
        evaluate(run, pipeline.data.validation_split, data=data, allow_plugins=plugins, verbose=verbose)
        lock.finish()
    return run


def _restored(lock: RunLock, pipeline: Pipeline, model: keras.Model, length: Duration, verbose: bool) -> State:
    """Restores network and optimizer of a resumed run, and returns its state."""
    run = Run(lock.folder, allow_plugins=bool(pipeline.plugins))
    state = checked_networks(run, model, restore(model, lock.folder))
    if lock.extended and verbose:
        print(_extension(pipeline.training, state, model, length), flush=True)
    return state


def _extension(recipe: Training, state: State, model: keras.Model, length: Duration) -> str:
    """Returns a message about the learning rate of an extended training, whose schedule is that of its new duration."""
    now = float(model.optimizer.learning_rate)
    before = f", before {state.rows[-1]['learning_rate']:.3g}" if state.rows else ""
    return (
        f"Extended to {length.epochs} epochs, {length.total_steps} steps: schedule {recipe.schedule.type} spans all of "
        f"them. The learning rate is now {now:.3g}{before}"
    )


def _train(model: keras.Model, recipe: Training, callbacks: Callbacks, batches: Any, validated: Any) -> Rows:
    """Calls `fit`, for a resumed training after the end of an epoch whose batches were all trained before.

    Returns:
        The rows of the history.
    """
    history = next(each for each in callbacks.callbacks if isinstance(each, History))
    state, steps = callbacks.state, callbacks.params["steps"]
    length, epochs, validation = recipe.length(steps), recipe.validated_epochs(steps), recipe.targets(validated, model)
    epoch, _ = length.resumed(state.epoch, state.batch)
    if epoch > state.epoch:
        end_epoch(model, callbacks, state.epoch, validation if epoch in epochs else None)
    model.fit(
        recipe.targets(batches, model),
        steps_per_epoch=steps,
        initial_epoch=epoch,
        epochs=epoch if recipe.stopped(history.rows) else length.epochs,
        validation_data=validation,
        validation_freq=list(epochs),
        callbacks=callbacks,
        shuffle=False,  # the dataset is already shuffled
    )
    return history.rows


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
        stages=pipeline.model.stage_layers,
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
    pipeline: Pipeline, data: AnyDataset, folder: Path, state: State, samples: Any, signals: Signals
) -> list[keras.callbacks.Callback]:
    """Returns the callbacks that write the run directory during training and stop the training if necessary."""
    return pipeline.training.callbacks(
        folder,
        pipeline.labels,
        steps_per_epoch=data.steps_per_epoch,
        name=pipeline.name,
        state=state,
        batch_names=data.batch_names,
        batch=data.training_batch,
        samples=[(image[0], mask[0]) for image, mask in samples.as_numpy_iterator()],
        signals=signals,
    )


def _progress(pipeline: Pipeline, steps_per_epoch: int, line: StatusLine, state: State) -> Progress:
    """Returns the callback that shows the progress of the training."""
    training = pipeline.training
    return Progress(
        training.length(steps_per_epoch),
        line,
        batch_size=pipeline.data.batch_size,
        validated=training.validated_epochs(steps_per_epoch),
        best=state.best,
    )


def finish_training(pipeline: Pipeline, data: AnyDataset, run: Run, rows: Rows, verbose: bool) -> None:
    """Re-estimates the BatchNorm statistics of the saved networks, averages the last ones, and reports the result."""
    reports = [pipeline.training.stopped(rows)]
    for name in (BEST, LAST) if pipeline.training.batch_norm_batches else ():
        model = run.model(name)
        measure_batch_norm(pipeline, data, model, verbose)
        save_model(model, run.folder / name)
    if pipeline.training.average_checkpoints:
        measure = partial(measure_batch_norm, pipeline, data, verbose=verbose)
        reports.append(average_checkpoints(pipeline, data, run, rows, measure))
    for report in reports:
        if verbose and report is not None:
            print(report, flush=True)


def measure_batch_norm(pipeline: Pipeline, data: AnyDataset, model: keras.Model, verbose: bool) -> None:
    """Estimates the BatchNorm statistics of a network on `training.batch_norm_batches` further batches."""
    count, steps = pipeline.training.batch_norm_batches, data.steps_per_epoch
    if not count:
        return
    completed = pipeline.training.length(steps).epochs
    training = data.training(epochs=completed + -(-count // steps), initial_epoch=completed)
    progress = keras.utils.Progbar(count, verbose=verbosity(verbose), unit_name="batch")
    estimate_batch_norm(model, _counted(training.take(count).as_numpy_iterator(), progress))


def _counted(batches: Iterable[tuple[np.ndarray, np.ndarray]], progress: Any) -> Iterator[np.ndarray]:
    for image, _ in batches:
        yield image
        progress.add(1)
