"""What keeps a training from working, found before it begins: alone, and with the network it is for."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import keras

from tfseg.layers import CrfRnn, CropLike
from tfseg.spec.problems import FieldProblem
from tfseg.training.freezing import flat_layers
from tfseg.training.lr_multipliers import found
from tfseg.training.outputs import SCORES, auxiliary

if TYPE_CHECKING:
    from tfseg.training.training import Training


def conflicts(training: "Training") -> Iterator[FieldProblem]:
    """Values that exclude each other, each as (path, message)."""
    if training.jit_compile and training.strategy == "mirrored":
        yield (
            ("jit_compile",),
            "does not work under strategy: mirrored, because XLA cannot reach the variables of another device. "
            "Received: jit_compile=true, strategy=mirrored. Leave out one of the two",
        )
    if training.gradient_accumulation_steps > 1 and training.strategy == "mirrored":
        yield (
            ("gradient_accumulation_steps",),
            "gradients cannot be accumulated under strategy: mirrored. "
            f"Received: gradient_accumulation_steps={training.gradient_accumulation_steps}, strategy=mirrored. "
            "Leave out one of the two; with mirrored a larger data.batch_size does the same",
        )
    if training.precision == "mixed_float16" and not training.optimizer.scales:
        yield (
            ("precision",),
            f"needs an optimizer that scales losses, and the type {training.optimizer.type} does not. "
            "Received: mixed_float16. Set it to mixed_bfloat16, or the optimizer to sgd or adamw",
        )
    if training.batch_norm_batches and training.batch_norm == "frozen":
        yield (
            ("batch_norm_batches",),
            "averages the statistics of batch normalization anew, which batch_norm: frozen keeps as they are. "
            f"Received: batch_norm_batches={training.batch_norm_batches}, batch_norm=frozen. Leave out one of the two",
        )


def network_conflicts(training: "Training", model: keras.Model) -> Iterator[FieldProblem]:
    """What does not fit the network to be trained, each as (path, message)."""
    yield from _found_nowhere(training, model)
    yield from _without_statistics(training, model)
    if training.loss.resolution == "scores":
        yield from _scores(model)
    if training.jit_compile:
        yield from _beyond_xla(training, model)


def _found_nowhere(training: "Training", model: keras.Model) -> Iterator[FieldProblem]:
    """Expressions that are found nowhere in the network."""
    layers = [layer.name for layer in flat_layers(model)]
    weights = [weight.path for weight in model.weights]
    searched: list[tuple[tuple[str, ...], str, str, list[str]]] = [
        (("freeze",), pattern, "layer names", layers) for pattern in training.freeze
    ]
    searched += [
        (("optimizer", "lr_multipliers", pattern), pattern, "weight paths", weights)
        for pattern in training.optimizer.lr_multipliers
    ]
    for path, pattern, kind, names in searched:
        if not any(found((pattern,), name) for name in names):
            yield path, f"found in none of the {len(names)} {kind} of the network ({_some(names)}). Received: {pattern}"


def _without_statistics(training: "Training", model: keras.Model) -> Iterator[FieldProblem]:
    """What keeps or measures statistics of batches, for a network that has none."""
    layers = list(flat_layers(model))
    if any(isinstance(layer, keras.layers.BatchNormalization) for layer in layers):
        return
    grouped = [layer.name for layer in layers if isinstance(layer, keras.layers.GroupNormalization)]
    why = "the network has no batch normalization"
    if grouped:
        why += f" but group normalization ({_some(grouped)}), which keeps no statistics of batches"
    if training.batch_norm == "frozen":
        yield ("batch_norm",), f"{why}. Received: frozen. Set it to train"
    if training.batch_norm_batches:
        yield ("batch_norm_batches",), f"{why}. Received: {training.batch_norm_batches}. Set it to 0"


def _scores(model: keras.Model) -> Iterator[FieldProblem]:
    """A network whose scores cannot meet labels at their own places."""
    path = ("loss", "resolution")
    if not isinstance(model.output, dict) or SCORES not in model.output:
        yield path, "the network has no output `scores`; build it with training=True. Received: scores"
        return
    if refining := [layer.name for layer in model.layers if isinstance(layer, CrfRnn)]:
        yield path, f"scores lie before {refining[0]}, which would learn nothing. Received: scores. Set it to image"
    scores = model.get_layer(SCORES).input
    crops = [layer for layer in model.layers if isinstance(layer, CropLike)]
    if any(scores is source for layer in crops for source in keras.tree.flatten(layer.input)):
        yield (
            path,
            "the scores of this network reach beyond the image and are cropped to it, so that labels cannot be taken "
            "at their places. Received: scores. Set it to image",
        )


def _beyond_xla(training: "Training", model: keras.Model) -> Iterator[FieldProblem]:
    """Interpolation that XLA compiles wrongly, see tfseg/ops/resize.py, and lattices, which it does not compile."""
    layers = [layer for layer in flat_layers(model) if not layer.supports_jit or _interpolates(layer)]
    if crfs := [layer.name for layer in layers if isinstance(layer, CrfRnn)]:
        message = f"XLA cannot compile the lattice of {_some(crfs)}. Received: true. Set it to false, or the layer's"
        yield ("jit_compile",), f"{message} kernel to convolutional"
    names = [layer.name for layer in layers if layer.name not in crfs]
    if training.loss.resolution == "image":
        names += auxiliary(model)
    if names:
        yield (
            ("jit_compile",),
            f"XLA computes other values for what interpolates here ({_some(names)}). Received: true. Set it to false",
        )


def _interpolates(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, keras.layers.UpSampling2D) and layer.interpolation == "bilinear"


def _some(names: Sequence[str]) -> str:
    return ", ".join([*names[:3], "…", *names[-3:]] if len(names) > 6 else names)
