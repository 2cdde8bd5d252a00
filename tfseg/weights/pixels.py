"""Preprocessing before the first convolutions of a network: subtraction of a mean, and a scale.

The TFLite converter folds the scale into the first kernel: for a scale of 1/127.5, the kernel in the file is the kernel
of the network divided by 127.5. Kernels are therefore rescaled to the preprocessing of the network.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import keras
import numpy as np

from tfseg.keras_internals import calls
from tfseg.weights.flatbuffer import Graph, Operation
from tfseg.weights.lookup import OperationWeights

PIXELS = "pixels"
"""Name of the array with the offset that the file adds to pixels, in the scope of the first kernel."""
ARITHMETIC = ("ADD", "SUB", "MUL", "DIV")
PASS_THROUGH = ("QUANTIZE", "DEQUANTIZE", "CAST", "PAD", "PADV2", "MIRROR_PAD", "SPACE_TO_BATCH_ND")
"""Operations between pixels and the first convolution that do not change values."""
TOLERANCE = 1.0
"""Tolerance for the mean in pixel values 0..255, because quantized files round it."""
UNITS = (1.0, 255.0)
"""Possible divisors of pixel values 0..255 in the input of a file."""
SIZE = 65
"""Height and width of the images on which the preprocessing of the network is measured."""


@dataclass(frozen=True)
class Pixels:
    """Preprocessing `scale (pixel + offset)` per channel, and the indices of its constants in the file."""

    scale: np.ndarray
    offset: np.ndarray
    constants: tuple[int, ...] = ()

    @property
    def subtracts_mean(self) -> bool:
        """True if a mean is subtracted. Otherwise the input is already normalized, as in many published files."""
        return bool(np.abs(self.offset).max() > 1e-3)


def file_preprocessing(graph: Graph, convolutions: Iterable[Operation]) -> dict[int, Pixels]:
    """Returns the preprocessing before each first convolution, by the index of its output tensor."""
    given = {each.outputs[0] for each in convolutions}
    found, later = dict[int, Pixels](), set[int]()
    for operation in graph.operations:
        first = operation.outputs[0] in given and not later.intersection(operation.inputs)
        if first and (steps := _steps(graph, operation)):
            found[operation.outputs[0]] = _pixels(graph, steps)
        if first or later.intersection(operation.inputs):
            later.update(operation.outputs)
    return found


def _steps(graph: Graph, convolution: Operation) -> list[tuple[str, int]]:
    """Returns the arithmetic with constants before a convolution, in order, as pairs of operation and constant."""
    makers = {tensor: each for each in graph.operations for tensor in each.outputs}
    maker = makers.get(convolution.inputs[2 if convolution.kind == "TRANSPOSE_CONV" else 0])
    steps: list[tuple[str, int]] = []
    while maker is not None:
        constants = [number for number in maker.inputs if number in graph.constants]
        if maker.kind in ARITHMETIC and constants == [maker.inputs[1]]:
            steps.insert(0, (maker.kind, constants[0]))
        elif maker.kind not in PASS_THROUGH:
            break
        maker = makers.get(maker.inputs[0])
    return steps


def _pixels(graph: Graph, steps: Iterable[tuple[str, int]]) -> Pixels:
    scale, offset = np.ones(1), np.zeros(1)
    for kind, number in steps:
        constant = graph.constants[number].astype(np.float64).reshape(-1)
        if kind in ("MUL", "DIV"):
            scale = scale * constant if kind == "MUL" else scale / constant
        else:
            offset = offset + (constant if kind == "ADD" else -constant) / scale
    return Pixels(scale, offset, tuple(number for _, number in steps))


def match_preprocessing(
    model: keras.Model, found: Mapping[str, OperationWeights], arrays: Mapping[str, np.ndarray]
) -> None:
    """Rescales the first kernels in `found` to the preprocessing of the network, if the file includes its own."""
    for name, each in found.items():
        offset = each.origins.get("kernel", "").rpartition("/")[0] + f"/{PIXELS}"
        if offset in arrays:
            each.used.add(offset)
            _adapt(each, arrays[offset], *_network_preprocessing(model, name.partition("/")[0]))


def _adapt(found: OperationWeights, offset: np.ndarray, scale: np.ndarray, ours: np.ndarray) -> None:
    channels = found.values["kernel"].shape[-2]
    if len(scale) not in (1, channels):
        return  # another number of channels, reported as another shape
    if len(ours) != channels:  # the network normalizes all its channels alike; see `adapt_stem`
        offset, ours = offset.mean(keepdims=True), ours.mean(keepdims=True)
    units = [unit for unit in UNITS if np.abs(offset * unit - ours).max() < TOLERANCE]
    if units:
        found.values["kernel"] = (found.values["kernel"] / (units[0] * scale[:, None])).astype(np.float32)
    else:
        theirs, own = (", ".join(f"{-value:.1f}" for value in np.atleast_1d(each)) for each in (offset, ours))
        found.problem = f"the file subtracts the mean {theirs} from pixels, but the network subtracts {own}"


def _network_preprocessing(model: keras.Model, layer: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns scale and offset of the input `scale (pixel + offset)` of a layer, from a black and a white image."""
    tensor = next(call.input_tensors[0] for call in calls(model) if call.operation.name == layer)
    probe = keras.Model(model.input, tensor)
    images = np.stack([np.full((SIZE, SIZE, model.input.shape[-1]), value, np.float32) for value in (0, 255)])
    outputs = keras.ops.convert_to_numpy(probe(images)).astype(np.float64)
    black, white = outputs[:, outputs.shape[1] // 2, outputs.shape[2] // 2]
    scale = (white - black) / 255
    return scale, black / scale
