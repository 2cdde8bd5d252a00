"""Export of a model: artifacts are written to a temporary folder, compared with the model, and moved into place."""

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
from tfseg.exporting.verify import Comparison, compare, comparison_inputs, expected_outputs, run_artifacts
from tfseg.exporting.versions import new_version
from tfseg.images import EIGHT_BITS, ImageValues
from tfseg.images.values import values_fields
from tfseg.labels import LABELS, Labels, labels_text
from tfseg.layers.deterministic import deterministic
from tfseg.spec.problems import formatted, prefixed


@dataclass(frozen=True)
class Report:
    """Result of an export."""

    folder: Path
    """Path of the SavedModel, `<folder>/<name>/<version>`."""
    tflite: Path | None
    """Path of the TFLite file in `folder`, or None."""
    comparisons: tuple[Comparison, ...]
    """Comparison of each artifact with the Keras model."""
    omitted: tuple[str, ...] = ()
    """Keys of inference settings that are not part of the export."""
    synthetic: bool = False
    """True if synthetic images were compared, because the dataset is not available."""

    def __str__(self) -> str:
        files = [str(path) for path in (self.folder, self.tflite) if path]
        omitted = (
            [f"  without {', '.join(self.omitted)}: these inference settings are not exported"] if self.omitted else []
        )
        synthetic = (
            ["  compared on synthetic images: the dataset is not available; use --image to compare on your own"]
            if self.synthetic
            else []
        )
        return "\n".join([*files, *(f"  {comparison}" for comparison in self.comparisons), *synthetic, *omitted])


def export(
    model: keras.Model,
    labels: Labels,
    folder: Path,
    name: str,
    *,
    spec: Export,
    images: Sequence[np.ndarray],
    inference_size: tuple[int, int] | None = None,
    metadata: Mapping[str, Any] | None = None,
    values: ImageValues = EIGHT_BITS,
) -> Report:
    """Writes `folder/name/<next version>/`: a SavedModel, a TFLite file, the labels and a record of the comparison.

    Args:
        model: Keras model with one input, `image`, and one output of logits. It is exported in float32 and without MC
            dropout, so that artifacts are deterministic.
        labels: Labels, the classes of the logits.
        folder: Path of the folder that contains the models, as for TF Serving.
        name: Name of the model.
        spec: `Export`, the artifacts to write and the tolerance of the comparison.
        images: List of arrays `[height, width, channels]` of the dtype of `values`, of any sizes. The first
            `spec.examples` are compared.
        inference_size: Height and width to which the SavedModel resizes every image, and default size of the TFLite
            file. Defaults to native resolution.
        metadata: Dict of JSON values to add to the record.
        values: ImageValues, dtype and range of the images. The artifacts map them to 0..255.

    Returns:
        A `Report` with the paths of the artifacts and the comparisons.

    Raises:
        ExportError: If the model cannot be exported, the outputs of an artifact differ from those of the model, or the
            folder cannot be written. Nothing is written then, and earlier versions are left unchanged.
    """
    images = images[: spec.examples]
    if problems := formatted(prefixed("export", spec.network_problems(model))):
        raise ExportError(problems)
    _check(model, labels, images, values)
    model = deterministic(in_float32(model))
    size = (spec.tflite.size or inference_size or images[0].shape[:2]) if spec.tflite else None
    inputs = comparison_inputs(images, model.inputs[0].shape[-1], size)
    expected = expected_outputs(model, inputs, inference_size, values)
    with new_version(Path(folder) / name) as (staged, final):
        write_saved_model(model, staged, inference_size, values)
        write_text(staged / LABELS, labels_text(labels, values_fields(values)))
        tflite = staged / f"{name}_float32_{size[0]}x{size[1]}.tflite" if size else None
        if tflite and size:
            write_tflite(model, tflite, size, values)
            append_labels(tflite, labels, values)
        comparisons = _verify(staged, tflite, final, inputs, expected, spec.tolerance)
        write_text(staged / RECORD, record_text(comparisons, metadata or {}))
    return Report(final, tflite and final / tflite.name, comparisons)


def _check(model: keras.Model, labels: Labels, images: Sequence[np.ndarray], values: ImageValues) -> None:
    """Checks that model, labels and images are compatible."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(
            "Expected `model` to have one input, `image`, and one output, `logits`. Received: "
            f"{len(model.inputs)} inputs and {len(model.outputs)} outputs ({', '.join(model.output_names)})"
        )
    channels, classes = model.inputs[0].shape[-1], model.outputs[0].shape[-1]
    if classes != labels.count:
        raise ExportError(
            f"the model predicts {classes} classes, and there are {labels.count} labels: {', '.join(labels.names)}. "
            "Export it with the labels it was trained with."
        )
    fits = [image.dtype == values.dtype and image.ndim == 3 and image.shape[-1] == channels for image in images]
    if not images or not all(fits):
        raise ValueError(
            f"Expected `images` to be one or more {values.dtype} arrays [height, width, {channels}]. "
            f"Received: images={[f'{image.dtype} {image.shape}' for image in images]}"
        )


def _verify(
    staged: Path,
    tflite: Path | None,
    final: Path,
    inputs: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    tolerance: float,
) -> tuple[Comparison, ...]:
    """Compares the artifacts with the model and raises ExportError if one of them differs."""
    outputs = run_artifacts(staged, tflite, inputs)
    comparisons = [compare("SavedModel", ("saved/", "encoded/"), expected, outputs, tolerance)]
    if tflite:
        comparisons.append(compare("TFLite file", ("tflite/",), expected, outputs, tolerance))
    for one in comparisons:
        if not one.passes(tolerance):
            raise ExportError(_mismatch(final, one, tolerance))
    return tuple(comparisons)


def _mismatch(final: Path, one: Comparison, tolerance: float) -> str:
    return (
        f"{final}: the outputs of the {one.artifact} differ from those of the model; nothing was exported. Masks agree "
        f"on {one.mask_agreement:.4%} of {one.pixels:,} pixels; {one.wrong:,} pixels have another class although the "
        f"model's two highest probabilities differ by more than {2 * tolerance:g} there (expected 0); the largest "
        f"difference of a probability is {one.largest_difference:.2g} (expected at most {tolerance:g}). The usual "
        "cause is a layer that behaves differently in a graph. Change that layer; raise export.tolerance only for a "
        "difference that you can explain."
    )
