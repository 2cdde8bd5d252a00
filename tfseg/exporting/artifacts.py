"""The story of an export: write aside, load in an isolated process, compare, and only then move into place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfseg.atomic import write_text
from tfseg.errors import ExportError
from tfseg.exporting.bundle import RECORD, append_labels, record_text
from tfseg.exporting.precision import in_float32
from tfseg.exporting.saved_model import write_saved_model
from tfseg.exporting.spec import Export
from tfseg.exporting.tflite import write_tflite
from tfseg.exporting.verify import Comparison, ask, compare, expectations, questions
from tfseg.exporting.versions import new_version
from tfseg.labels import LABELS, Labels, labels_text
from tfseg.layers.deterministic import deterministic
from tfseg.spec.problems import formatted, prefixed


@dataclass(frozen=True)
class Report:
    """What an export left, and how it compared."""

    folder: Path
    """The SavedModel, `<folder>/<name>/<version>`."""
    tflite: Path | None
    """The TFLite file in it, if one was asked for."""
    comparisons: tuple[Comparison, ...]
    left_out: tuple[str, ...] = ()
    """Keys of the pipeline for what tfseg does around a network and no artifact does."""
    drawn: bool = False
    """Whether scenes were drawn to compare on, because the data of the training are not there."""

    def __str__(self) -> str:
        files = [str(path) for path in (self.folder, self.tflite) if path]
        left_out = (
            [f"  without {', '.join(self.left_out)}: what tfseg does around a network is not in an export"]
            if self.left_out
            else []
        )
        scenes = (
            ["  compared on drawn scenes: the data of the training are not there; --image compares on yours"]
            if self.drawn
            else []
        )
        return "\n".join([*files, *(f"  {comparison}" for comparison in self.comparisons), *scenes, *left_out])


def export(
    model: keras.Model,
    labels: Labels,
    folder: Path,
    name: str,
    *,
    spec: Export,
    images: Sequence[np.ndarray],
    seen: tuple[int, int] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Report:
    """Writes `folder/name/<next version>/`: a SavedModel, a TFLite file, the labels and a record of the comparison.

    Args:
        model: one input `image`, one output of logits. One that computes in half precision is exported in float32, and
            one with dropout that stays on without it: an artifact gives one answer to one image.
        labels: the classes of the logits.
        folder: what TF Serving calls the model base path of several models.
        name: the name of the model in there.
        spec: which artifacts, and how exactly they must agree with `model`.
        images: uint8 `[height, width, channels]`, of any sizes; the first `spec.examples` are compared on.
        seen: height and width at which the SavedModel shows the network every image, and by default the size of the
            TFLite file; None: each image at its own size.
        metadata: JSON values about the model's origin, for the record.

    Returns:
        Where the files lie and how they compared.

    Raises:
        ExportError: the model cannot be exported, an artifact does not compute what the model computes, or the folder
            cannot be written. Nothing is left behind then, and earlier versions are as they were.
    """
    images = images[: spec.examples]
    if faults := formatted(prefixed("export", spec.network_problems(model))):
        raise ExportError(faults)
    _check(model, labels, images)
    model = deterministic(in_float32(model))
    size = (spec.tflite.size or seen or images[0].shape[:2]) if spec.tflite else None
    asked = questions(images, model.inputs[0].shape[-1], size)
    expected = expectations(model, asked, seen)
    with new_version(Path(folder) / name) as (staged, final):
        write_saved_model(model, staged, seen)
        write_text(staged / LABELS, labels_text(labels))
        tflite = staged / f"{name}_float32_{size[0]}x{size[1]}.tflite" if size else None
        if tflite and size:
            write_tflite(model, tflite, size)
            append_labels(tflite, labels)
        comparisons = _gate(staged, tflite, final, asked, expected, spec.tolerance)
        write_text(staged / RECORD, record_text(comparisons, metadata or {}))
    return Report(final, tflite and final / tflite.name, comparisons)


def _check(model: keras.Model, labels: Labels, images: Sequence[np.ndarray]) -> None:
    """Raises unless model, labels and images belong together."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            "Expected `model` to have one input, `image`, and one output, `logits`. Received: "
            f"{len(model.inputs)} inputs and {len(model.outputs)} outputs ({', '.join(model.output_names)})"
        )
    channels, classes = model.inputs[0].shape[-1], model.outputs[0].shape[-1]
    if classes != labels.count:
        raise ExportError(
            f"the model tells {classes} classes apart, and the labels name {labels.count}: {', '.join(labels.names)}. "
            "Export it with the labels that it was trained with."
        )
    fits = [image.dtype == np.uint8 and image.ndim == 3 and image.shape[-1] == channels for image in images]
    if not images or not all(fits):
        raise ValueError(
            f"Expected `images` to be one or more uint8 arrays [height, width, {channels}]. "
            f"Received: images={[f'{image.dtype} {image.shape}' for image in images]}"
        )


def _gate(
    staged: Path,
    tflite: Path | None,
    final: Path,
    asked: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    tolerance: float,
) -> tuple[Comparison, ...]:
    """Lets only artifacts through that answer as the model does."""
    answers = ask(staged, tflite, asked)
    comparisons = [compare("SavedModel", ("saved/", "encoded/"), expected, answers, tolerance)]
    if tflite:
        comparisons.append(compare("TFLite file", ("tflite/",), expected, answers, tolerance))
    for one in comparisons:
        if not one.passes(tolerance):
            raise ExportError(_refusal(final, one, tolerance))
    return tuple(comparisons)


def _refusal(final: Path, one: Comparison, tolerance: float) -> str:
    return (
        f"{final}: the {one.artifact} does not compute what the model computes, and was not left in place. Masks agree "
        f"on {one.mask_agreement:.4%} of {one.pixels:,} pixels; {one.wrong:,} pixels have another class though the "
        f"model's two best are more than {2 * tolerance:g} apart there (expected 0); the largest difference of a "
        f"probability is {one.largest_difference:.2g} (expected at most {tolerance:g}). A layer that behaves otherwise "
        "in a graph than in Keras does this. Change that layer; raise export.tolerance only for a difference that you "
        "can explain."
    )
