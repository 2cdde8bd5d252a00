"""A training from its pipeline to the best of its networks, measured: the whole story of `tfseg fit`."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfseg.atomic import write_text
from tfseg.data import Dataset
from tfseg.errors import RunError
from tfseg.inference import check_partner
from tfseg.labels import LABELS, labels_text
from tfseg.pipeline import Pipeline
from tfseg.runs.directory import PIPELINE, Run
from tfseg.runs.evaluate import evaluate
from tfseg.runs.lock import claim
from tfseg.runs.predictors import partner
from tfseg.runs.user_errors import user_errors
from tfseg.spec.problems import formatted
from tfseg.spec.show import dump
from tfseg.training import State, estimate_batch_norm, restore, save_model
from tfseg.training.files import BEST, LAST, states
from tfseg.training.progress import Progress, verbosity

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
    folder, recipe, labels, callbacks = Path(run_dir), pipeline.training, pipeline.labels, _checked(callbacks)
    with claim(folder, pipeline, resume=resume, overwrite=overwrite) as claimed, user_errors():
        data = pipeline.data.open(labels, pipeline.seed)
        steps, _ = data.steps_per_epoch, data.count(pipeline.data.validation_split)  # missing files show here
        length = recipe.length(steps)
        _check_use(pipeline, data)
        with recipe.scope(pipeline.seed) as scope:
            model = recipe.network(pipeline.build(training=True))
            if faults := formatted(pipeline.network_problems(model)):
                raise RunError(faults)
            if not (resume and states(folder)):  # a training may be resumed before its first epoch has ended
                report = pipeline.model.load_weights(model, training_images(data))
                if verbose and report is not None:
                    print(report, flush=True)
            positions = pipeline.model.positions
            recipe.compile(model, labels, steps_per_epoch=steps, counts=data.class_counts, positions=positions)
            state = restore(model, folder) if resume else State()
            training = data.training(epochs=length.epochs, initial_epoch=state.epoch, batch_multiple=scope.replicas)
            validation = data.evaluation(pipeline.data.validation_split, replicas=scope.replicas)
            claimed.begin()
            write_text(folder / PIPELINE, dump(pipeline))
            write_text(folder / LABELS, labels_text(labels))
            saving = run_callbacks(pipeline, data, folder, state, samples=validation.take(SAMPLES))
            model.fit(
                recipe.targets(training, model),
                steps_per_epoch=steps,
                initial_epoch=state.epoch,
                epochs=length.epochs,
                validation_data=recipe.targets(validation, model),
                validation_freq=list(recipe.validated_epochs(steps)),
                callbacks=[*saving, *callbacks, *([Progress(length)] if verbose else [])],
                verbose=verbosity(verbose),
                shuffle=False,  # the dataset is in its own random order already
            )
        run = Run(folder, allow_plugins=bool(pipeline.plugins))
        measure_batch_norm(pipeline, data, run, verbose)
        evaluate(run, pipeline.data.validation_split, allow_plugins=bool(pipeline.plugins), verbose=verbose)
        claimed.finish()
    return run


def _checked(callbacks: Sequence[keras.callbacks.Callback]) -> tuple[keras.callbacks.Callback, ...]:
    """The callbacks, if they are such: before an earlier run is overwritten."""
    found = tuple(callbacks) if isinstance(callbacks, Iterable) and not isinstance(callbacks, str) else (callbacks,)
    for each in found:
        if not isinstance(each, keras.callbacks.Callback):
            raise TypeError(f"Expected `callbacks` to be a list of keras.callbacks.Callback. Received: {each!r}")
    return found


def _check_use(pipeline: Pipeline, data: Dataset) -> None:
    """What evaluation will need beside the network is looked for before the network is trained, which may take days."""
    use = pipeline.inference
    if use.proposals is not None:
        use.proposals.open().check(data.names(pipeline.data.validation_split))
    if use.ensemble is not None:
        other = partner(use.ensemble, bool(pipeline.plugins))
        check_partner(other, pipeline.labels.count, pipeline.data.channels, pipeline.labels)


def training_images(data: Dataset) -> Iterator[np.ndarray]:
    """The first batches that training will see, for what is measured on pictures: folded BatchNorm."""
    for image, _ in data.training(epochs=1).take(UNFOLDING).as_numpy_iterator():
        yield image


def run_callbacks(
    pipeline: Pipeline, data: Dataset, folder: Path, state: State, samples: Any
) -> list[keras.callbacks.Callback]:
    """What writes the run directory while the network is trained, and ends the training where it must."""
    return pipeline.training.callbacks(
        folder,
        pipeline.labels,
        steps_per_epoch=data.steps_per_epoch,
        state=state,
        batch_names=data.batch_names,
        batch=data.training_batch,
        samples=[(image[0], mask[0]) for image, mask in samples.as_numpy_iterator()],
    )


def measure_batch_norm(pipeline: Pipeline, data: Dataset, run: Run, verbose: bool) -> None:
    """Gives both saved networks the statistics of further training batches, where the pipeline asks for it."""
    count, steps = pipeline.training.batch_norm_batches, data.steps_per_epoch
    ended = pipeline.training.length(steps).epochs
    epochs = ended + -(-count // steps)
    progress = keras.utils.Progbar(2 * count, verbose=verbosity(verbose), unit_name="batch")
    for name in (BEST, LAST) if count else ():
        training = data.training(epochs=epochs, initial_epoch=ended)
        model = run.model(name)
        estimate_batch_norm(model, _counted(training.take(count).as_numpy_iterator(), progress))
        save_model(model, run.folder / name)


def _counted(batches: Iterable[tuple[np.ndarray, np.ndarray]], progress: Any) -> Iterator[np.ndarray]:
    for image, _ in batches:
        yield image
        progress.add(1)
