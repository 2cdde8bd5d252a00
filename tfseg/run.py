"""The story of a pipeline, top to bottom: fit, evaluate, predict, export."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfseg.atomic import write_text
from tfseg.claim import claim
from tfseg.data import explain as explain_data
from tfseg.errors import RunError
from tfseg.export.bundle import versions
from tfseg.exporting import export
from tfseg.fitting import compile_for, load_weights, measure_batch_norm, train, training_and_validation
from tfseg.inference import Ensemble, Inference, Predictor, check_partner, predict_files
from tfseg.inference.measuring import Measurement
from tfseg.labels import LABELS, labels_text, names_problem
from tfseg.pipeline import Pipeline
from tfseg.run_directory import METRICS, PIPELINE, Run, load_model, network, run_of
from tfseg.spec.show import dump
from tfseg.training import State, explain, restore
from tfseg.training.files import states
from tfseg.training.progress import verbosity

Source = str | os.PathLike[str] | Run

__all__ = ["Run", "evaluate", "export", "fit", "iter_predict", "load_model", "predict"]


def fit(
    pipeline: Pipeline,
    run_dir: str | os.PathLike[str],
    *,
    resume: bool = False,
    overwrite: bool = False,
    verbose: bool = True,
) -> Run:
    """Trains a pipeline's network and measures the best of its epochs on the validation split.

    Args:
        pipeline: what `tfseg.load` returned.
        run_dir: the folder to write; see `tfseg.Run` for what it will hold.
        resume: go on with an unfinished run, from the end of its last epoch.
        overwrite: delete what an earlier run left in `run_dir`.
        verbose: show progress.

    Raises:
        TfsegError: data, weights or `run_dir` cannot be used, or the training had to stop; the text says what to do.
    """
    folder, data, labels = Path(run_dir), pipeline.data, pipeline.labels
    with claim(folder, pipeline, resume=resume, overwrite=overwrite) as claimed, _in_words():
        steps, _ = data.steps_per_epoch(labels), data.count(data.validation_split)  # missing files show here
        _check_use(pipeline)
        with pipeline.training.scope(pipeline.seed) as scope:
            model = pipeline.training.network(pipeline.build(training=True))
            if not (resume and states(folder)):  # a training may be resumed before its first epoch has ended
                load_weights(pipeline, model)
            compile_for(pipeline, model, steps)
            state = restore(model, folder) if resume else State()
            batches = training_and_validation(pipeline, state, scope)
            claimed.begin()
            write_text(folder / PIPELINE, dump(pipeline))
            write_text(folder / LABELS, labels_text(labels))
            train(pipeline, model, folder, batches, state, steps, verbose)
        run = Run(folder, allow_plugins=bool(pipeline.plugins))
        measure_batch_norm(pipeline, run, verbose)
        evaluate(run, data.validation_split, verbose=verbose)
        claimed.finish()
    return run


def evaluate(
    source: Source,
    split: str | None = None,
    *,
    pipeline: Pipeline | None = None,
    inference: Inference | None = None,
    output: str | os.PathLike[str] | None = None,
    allow_plugins: bool = False,
    verbose: bool = False,
) -> dict[str, Any]:
    """Measures a network on a split, every image at its own size.

    Args:
        source: a run directory, a `.keras` file, a SavedModel or a `.tflite` file.
        split: by default the split that validated the training.
        pipeline: whose data to measure on; by default that of the run.
        inference: how the network is put to use, such as `tfseg.load("runs/x/crf.yaml").inference`; by default as the
            run's pipeline says, or else `pipeline`.
        output: a further file for the result. A run keeps what was measured on its own data, in its own way, as
            `metrics-<split>.json`.
        allow_plugins: import the plugins that the run's pipeline names.
        verbose: show progress.

    Returns:
        What `metrics-<split>.json` holds: `miou`, `pixel_accuracy`, `mean_accuracy`, `frequency_weighted_iou`,
        `per_class`, where a class that neither truth nor prediction has is None, and `boundary`: `iou` and `per_class`
        of `tfseg.metrics.BoundaryIoU`, and `trimap_miou` by radius.
    """
    run = source if isinstance(source, Run) else run_of(Path(source), allow_plugins=allow_plugins)
    measured = pipeline or _pipeline_of(run, source)
    split = split or measured.data.validation_split
    path = source.best if isinstance(source, Run) else network(Path(source))
    how = run.pipeline if run else measured  # how to use a network is its own affair
    predictor = predictor_of(path, inference or how.inference, how.seed)
    report = _measure(predictor, path, measured, split, verbose)
    own = run is not None and path == run.best and pipeline is None and inference is None
    files = [run.folder / METRICS.format(split=split)] if run and own else []
    for file in [*files, *([Path(output)] if output else [])]:
        write_text(file, json.dumps(report, indent=2) + "\n")
    return report


def predict(
    source: Source,
    images: Iterable[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    overlay: bool = False,
    legend: bool = False,
    inference: Inference | None = None,
    allow_plugins: bool = False,
) -> list[Path]:
    """Writes the mask of every image, at the image's own size, as an index PNG with palette.

    Args:
        source: a run directory, a `.keras` file, a SavedModel or a `.tflite` file.
        images: files to predict, folders of them, or patterns such as `photos/**/*.jpg`.
        output: the folder for the masks: `<stem>.png`.
        overlay: write each mask over its image as well: `<stem>-overlay.png`.
        legend: write the colours of the classes and their names as well: `legend.png`.
        inference: how the network is put to use; by default as the run's pipeline says.
        allow_plugins: import the plugins that the run's pipeline names.

    Returns:
        The files that were written.

    Raises:
        DataError: an image is missing, or some could not be read; the others are predicted then.
    """
    written = iter_predict(
        source,
        images,
        output,
        overlay=overlay,
        legend=legend,
        inference=inference,
        allow_plugins=allow_plugins,
    )
    return list(written)


def iter_predict(
    source: Source,
    images: Iterable[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    overlay: bool = False,
    legend: bool = False,
    inference: Inference | None = None,
    allow_plugins: bool = False,
) -> Iterator[Path]:
    """As `predict`, one file after another: yields each as soon as it is written."""
    run = source if isinstance(source, Run) else run_of(Path(source), allow_plugins=allow_plugins)
    pipeline = run.pipeline if run else None  # imports plugins, whose layers the network may have
    path = source.best if isinstance(source, Run) else network(Path(source))
    use = inference or (pipeline.inference if pipeline else Inference())
    predictor = predictor_of(path, use, pipeline.seed if pipeline else 0)
    yield from predict_files(predictor, images, Path(output), overlay=overlay, legend=legend, spec=use)


def predictor_of(path: Path, use: Inference, seed: int) -> Predictor:
    """The network at `path`, used as `use` says."""
    partner = None if use.ensemble is None else (use.ensemble, _partner(use.ensemble))
    return Predictor.open(
        path,
        use.sides,
        samples=use.samples,
        seed=seed,
        proposals=use.proposals,
        partner=partner,
        crf=use.crf,
    )


def _partner(ensemble: Ensemble) -> Predictor:
    """The second network of an ensemble, used as its own pipeline says, but alone and unrefined."""
    run = run_of(ensemble.network)
    use = replace(run.pipeline.inference, ensemble=None, crf=None) if run else Inference()
    return predictor_of(network(ensemble.network), use, run.pipeline.seed if run else 0)


def _check_use(pipeline: Pipeline) -> None:
    """What evaluation will need beside the network is looked for before the network is trained, which may take days."""
    data, use = pipeline.data, pipeline.inference
    if use.proposals is not None:
        use.proposals.check(data.evaluation_names(data.validation_split))
    if use.ensemble is not None:
        check_partner(_partner(use.ensemble), pipeline.labels.count, data.channels, pipeline.labels)


def _measure(predictor: Predictor, path: Path, pipeline: Pipeline, split: str, verbose: bool) -> dict[str, Any]:
    data, labels = pipeline.data, pipeline.labels
    received, expected = (predictor.classes, predictor.channels), (labels.count, data.channels)
    if received != expected:
        raise RunError(
            f"{path}: tells {received[0]} classes apart in images of {received[1]} channels. Received: a pipeline of "
            f"{expected[0]} classes and {expected[1]} channels. Measure it with the pipeline that it was trained with."
        )
    if (problem := names_problem(predictor.labels, labels)) is not None:
        raise RunError(
            f"{path}: {problem}, as in the pipeline whose data measure it. Give that pipeline the labels of the "
            "training, in their order."
        )
    measurement, images = Measurement(labels), data.count(split)
    progress = keras.utils.Progbar(images, verbose=verbosity(verbose), unit_name="image")

    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        batches = data.evaluation(split, labels).as_numpy_iterator()
        for name, (image, mask) in zip(data.evaluation_names(split), batches, strict=True):
            yield mask, predictor.masks(image, (name,))
            progress.add(1)

    with _in_words():
        measurement.count(pairs())
    return {
        "split": split,
        "images": images,
        **measurement.report(),
        "pipeline_sha256": sha256(dump(pipeline).encode()).hexdigest(),
        "versions": versions(),
    }


def _pipeline_of(run: Run | None, source: Source) -> Pipeline:
    if run is None:
        raise RunError(
            f"{source}: does not say which data to measure it on. Expected a run directory, or a pipeline as well "
            "(--pipeline FILE)."
        )
    return run.pipeline


@contextmanager
def _in_words() -> Iterator[None]:
    """Gives an error of TensorFlow that the user can mend the words for it."""
    try:
        yield
    except Exception as error:
        known = explain_data(error) or explain(error)
        if known is None:
            raise
        raise known from error
