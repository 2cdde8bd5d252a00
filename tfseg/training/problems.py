"""Validation of the training section, alone and with the network to train."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import keras

from tfseg.layers import CrfRnn, CropLike
from tfseg.spec.problems import FieldProblem
from tfseg.training.freezing import flat_layers
from tfseg.training.lr_multipliers import matches_any
from tfseg.training.outputs import LOGITS, SCORES, auxiliary

if TYPE_CHECKING:
    from tfseg.training.training import Training


def conflicts(training: "Training") -> Iterator[FieldProblem]:
    """Yields problems with options that exclude each other, as pairs `(path, message)`."""
    if training.jit_compile and training.strategy == "mirrored":
        yield (
            ("jit_compile",),
            "not supported with strategy: mirrored, because XLA cannot access variables of other devices. "
            "Received: jit_compile=true, strategy=mirrored. Remove one of the two",
        )
    if training.gradient_accumulation_steps > 1 and training.strategy == "mirrored":
        yield (
            ("gradient_accumulation_steps",),
            "not supported with strategy: mirrored. "
            f"Received: gradient_accumulation_steps={training.gradient_accumulation_steps}, strategy=mirrored. "
            "Remove one of the two; with mirrored, a larger data.batch_size is equivalent",
        )
    if training.precision == "mixed_float16" and not training.optimizer.scales:
        yield (
            ("precision",),
            f"requires an optimizer with loss scaling, which {training.optimizer.type} does not support. "
            "Received: mixed_float16. Use mixed_bfloat16, or the optimizer sgd or adamw",
        )
    if training.average_checkpoints == 1:
        yield (
            ("average_checkpoints",),
            "expected 0, or at least 2 networks to average. Received: 1. Set it to 0, or to a larger number",
        )
    kinds = [metric.type for metric in training.metrics]
    for index, kind in enumerate(kinds):
        if kind in kinds[:index]:
            yield ("metrics", index), f"expected each metric once; received {kind} twice. Remove one of the two"
    if training.batch_norm_batches and training.batch_norm == "frozen":
        yield (
            ("batch_norm_batches",),
            "re-estimates batch normalization statistics, but training.batch_norm=frozen keeps them unchanged. "
            f"Received: batch_norm_batches={training.batch_norm_batches}, batch_norm=frozen. Remove one of the two",
        )


def network_conflicts(training: "Training", model: keras.Model) -> Iterator[FieldProblem]:
    """Yields problems with options that do not fit the network, as pairs `(path, message)`."""
    yield from _without_match(training, model)
    yield from _batch_norm(training, model)
    if training.loss.resolution == "scores":
        yield from _scores(model)
    yield from _auxiliary_loss(training, model)
    if training.jit_compile:
        yield from _without_xla(training, model)


def _auxiliary_loss(training: "Training", model: keras.Model) -> Iterator[FieldProblem]:
    """Yields problems with the loss of auxiliary outputs: without such outputs, or with another number of channels."""
    outputs, side = auxiliary(model) if training.auxiliary_weight else (), training.auxiliary_loss
    if side is not None and not outputs:
        why = "auxiliary_weight is 0" if auxiliary(model) else "the network has no auxiliary outputs"
        yield ("auxiliary_loss",), f"{why}. Received: {side.type}. Set it to null"
    loss, slot = (training.loss, "loss") if side is None else (side, "auxiliary_loss")
    for name in outputs:
        classes, channels = model.output[LOGITS].shape[-1], model.output[name].shape[-1]
        if channels != (loss.channels or classes):
            yield (
                (slot,),
                f"{loss.type} does not fit the output {name}, which has {channels} channels: boundary_cross_entropy "
                f"takes one channel, all other losses one per class, {classes}. Set auxiliary_loss, or set "
                "auxiliary_weight to 0",
            )


def _without_match(training: "Training", model: keras.Model) -> Iterator[FieldProblem]:
    """Yields problems with regular expressions without a match in the network."""
    layers = [layer.name for layer in flat_layers(model)]
    weights = [weight.path for weight in model.weights]
    searched: list[tuple[tuple[str, ...], str, str, list[str]]] = [
        (("freeze",), pattern, "layer names", layers) for pattern in training.freeze
    ]
    searched += [
        (("optimizer", "lr_multipliers", pattern), pattern, "variable paths", weights)
        for pattern in training.optimizer.lr_multipliers
    ]
    for path, pattern, kind, names in searched:
        if not any(matches_any((pattern,), name) for name in names):
            yield path, f"matches none of the {len(names)} {kind} of the network ({_some(names)}). Received: {pattern}"


def _batch_norm(training: "Training", model: keras.Model) -> Iterator[FieldProblem]:
    """Yields problems with options for batch normalization if the network has no such layers."""
    layers = list(flat_layers(model))
    if any(isinstance(layer, keras.layers.BatchNormalization) for layer in layers):
        return
    grouped = [layer.name for layer in layers if isinstance(layer, keras.layers.GroupNormalization)]
    why = "the network has no batch normalization"
    if grouped:
        why += f" but group normalization ({_some(grouped)}), which has no moving statistics"
    if training.batch_norm == "frozen":
        yield ("batch_norm",), f"{why}. Received: frozen. Set batch_norm to train"
    if training.batch_norm_batches:
        yield ("batch_norm_batches",), f"{why}. Received: {training.batch_norm_batches}. Set batch_norm_batches to 0"


def _scores(model: keras.Model) -> Iterator[FieldProblem]:
    """Yields a problem if the loss cannot be computed at the resolution of the scores."""
    path = ("loss", "resolution")
    if not isinstance(model.output, dict) or SCORES not in model.output:
        yield path, "the network has no output `scores`; build it with training=True. Received: scores"
        return
    if refining := [layer.name for layer in model.layers if isinstance(layer, CrfRnn)]:
        yield (
            path,
            f"scores are the input of {refining[0]}, which would not be trained. Received: scores. "
            "Set resolution to image",
        )
    scores = model.get_layer(SCORES).input
    crops = [layer for layer in model.layers if isinstance(layer, CropLike)]
    if any(scores is source for layer in crops for source in keras.tree.flatten(layer.input)):
        yield (
            path,
            "the scores of this network extend beyond the image and are cropped, so that labels cannot be subsampled "
            "at their positions. Received: scores. Set resolution to image",
        )


def _without_xla(training: "Training", model: keras.Model) -> Iterator[FieldProblem]:
    """Yields problems with layers that XLA cannot compile (lattices) or compiles wrongly (see tfseg/ops/resize.py)."""
    layers = [layer for layer in flat_layers(model) if not layer.supports_jit or _interpolates(layer)]
    if crfs := [layer.name for layer in layers if isinstance(layer, CrfRnn)]:
        message = f"XLA cannot compile the lattice of {_some(crfs)}. Received: true. Set jit_compile to false"
        yield ("jit_compile",), f"{message}, or the layer's kernel to convolutional"
    names = [layer.name for layer in layers if layer.name not in crfs]
    if (training.auxiliary_loss or training.loss).resolution == "image":
        names += auxiliary(model)
    if names:
        yield (
            ("jit_compile",),
            f"resizing gives wrong values under XLA ({_some(names)}). Received: true. Set jit_compile to false",
        )


def _interpolates(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, keras.layers.UpSampling2D) and layer.interpolation == "bilinear"


def _some(names: Sequence[str]) -> str:
    return ", ".join([*names[:3], "…", *names[-3:]] if len(names) > 6 else names)
