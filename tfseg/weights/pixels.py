"""What the first convolutions of a network read: pixels, less a mean and times a scale.

A converter multiplies the scale into the kernel behind it, so that a kernel in a file can be 1/127.5 of the network's.
Both are compared as kernels of pixels less the mean.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import keras
import numpy as np

from tfseg.keras_internals import calls
from tfseg.weights.flatbuffer import Graph, Operation
from tfseg.weights.lookup import OperationWeights

PIXELS = "pixels"
"""The variable beside a kernel that reads pixels: what is added to them, in the file."""
ARITHMETIC = ("ADD", "SUB", "MUL", "DIV")
PASSED = ("QUANTIZE", "DEQUANTIZE", "CAST", "PAD", "PADV2", "MIRROR_PAD", "SPACE_TO_BATCH_ND")
"""What may lie between pixels and their convolution."""
TOLERANCE = 1.0
"""Of the mean, in pixel values of 0 to 255: a quantized file rounds it."""
UNITS = (1.0, 255.0)
"""What a pixel of 255 may be divided by before it enters the file."""
SIZE = 65
"""Height and width of the images by which the network is asked."""


@dataclass(frozen=True)
class Pixels:
    """`scale (pixel + offset)`, for each channel, by these constants of a file."""

    scale: np.ndarray
    offset: np.ndarray
    constants: tuple[int, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether a mean is taken off. Else the file is given pixels less their mean, as many were published."""
        return bool(np.abs(self.offset).max() > 1e-3)


def reading_pixels(graph: Graph, convolutions: Iterable[Operation]) -> dict[int, Pixels]:
    """What is done to pixels before each convolution that no other one precedes, by the tensor that it gives."""
    given = {each.outputs[0] for each in convolutions}
    found, behind = dict[int, Pixels](), set[int]()
    for operation in graph.operations:
        first = operation.outputs[0] in given and not behind.intersection(operation.inputs)
        if first and (steps := _steps(graph, operation)):
            found[operation.outputs[0]] = _pixels(graph, steps)
        if first or behind.intersection(operation.inputs):
            behind.update(operation.outputs)
    return found


def _steps(graph: Graph, convolution: Operation) -> list[tuple[str, int]]:
    """The arithmetic with constants that a convolution reads the result of, in its order: operation and constant."""
    makers = {tensor: each for each in graph.operations for tensor in each.outputs}
    maker = makers.get(convolution.inputs[2 if convolution.kind == "TRANSPOSE_CONV" else 0])
    steps: list[tuple[str, int]] = []
    while maker is not None:
        constants = [number for number in maker.inputs if number in graph.constants]
        if maker.kind in ARITHMETIC and constants == [maker.inputs[1]]:
            steps.insert(0, (maker.kind, constants[0]))
        elif maker.kind not in PASSED:
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


def as_the_network_reads(
    model: keras.Model, found: Mapping[str, OperationWeights], arrays: Mapping[str, np.ndarray]
) -> None:
    """Makes kernels in `found` those of pixels as the network gives them, where the file says how it gives them."""
    for name, each in found.items():
        beside = each.origins.get("kernel", "").rpartition("/")[0] + f"/{PIXELS}"
        if beside in arrays:
            each.used.add(beside)
            _adapt(each, arrays[beside], *_arithmetic(model, name.partition("/")[0]))


def _adapt(found: OperationWeights, offset: np.ndarray, scale: np.ndarray, ours: np.ndarray) -> None:
    if found.values["kernel"].shape[-2] != len(scale):
        return  # of other channels, which is told by its shape
    units = [unit for unit in UNITS if np.abs(offset * unit - ours).max() < TOLERANCE]
    if units:
        found.values["kernel"] = (found.values["kernel"] / (units[0] * scale[:, None])).astype(np.float32)
    else:
        theirs, own = (", ".join(f"{-value:.1f}" for value in np.atleast_1d(each)) for each in (offset, ours))
        found.fault = f"the file takes {theirs} off its pixels, the network {own}"


def _arithmetic(model: keras.Model, layer: str) -> tuple[np.ndarray, np.ndarray]:
    """Of `scale (pixel + offset)`, which is what that layer reads, by channel: tried on a black and a white image."""
    entering = next(call.input_tensors[0] for call in calls(model) if call.operation.name == layer)
    probe = keras.Model(model.input, entering)
    images = np.stack([np.full((SIZE, SIZE, model.input.shape[-1]), value, np.float32) for value in (0, 255)])
    seen = keras.ops.convert_to_numpy(probe(images)).astype(np.float64)
    black, white = seen[:, seen.shape[1] // 2, seen.shape[2] // 2]
    scale = (white - black) / 255
    return scale, black / scale
