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
from tfseg.weights.found import Found

PIXELS = "pixels"
"""The variable beside a kernel that reads pixels: what is added to them, in the file."""
PASSED = ("QUANTIZE", "DEQUANTIZE", "CAST", "PAD", "PADV2", "MIRROR_PAD", "SPACE_TO_BATCH_ND")
"""What may lie between pixels and their convolution."""
TOLERANCE = 0.5
"""Of the mean, in pixel values of 0 to 255: a quantised file rounds it."""

SIZE = 65


@dataclass(frozen=True)
class Pixels:
    """`scale (pixel + offset)`, for each channel, by these constants of a file; None where it has no arithmetic."""

    scale: np.ndarray | None = None
    offset: np.ndarray | None = None
    constants: tuple[int, ...] = ()


def reading_pixels(graph: Graph, convolutions: Iterable[Operation]) -> dict[int, Pixels]:
    """What is done to pixels before each convolution that no other one precedes, by the tensor that it gives."""
    makers = {tensor: each for each in graph.operations for tensor in each.outputs}
    first, later = [], set[int]()
    kinds = {each.outputs[0] for each in convolutions}
    for each in graph.operations:
        if later.intersection(each.inputs):
            later.update(each.outputs)
        elif each.outputs[0] in kinds:
            later.update(each.outputs)
            first.append(each)
    return {each.outputs[0]: found for each in first if (found := _before(each, makers, graph)).scale is not None}


def _before(convolution: Operation, makers: dict[int, Operation], graph: Graph) -> Pixels:
    tensor = convolution.inputs[2 if convolution.kind == "TRANSPOSE_CONV" else 0]
    steps: list[tuple[str, int]] = []
    while (maker := makers.get(tensor)) is not None:
        constants = [number for number in maker.inputs if number in graph.constants]
        if maker.kind in ("ADD", "SUB", "MUL", "DIV") and constants == [maker.inputs[1]]:
            steps.append((maker.kind, constants[0]))
        elif maker.kind not in PASSED:
            break
        tensor = maker.inputs[0]
    scale, offset = np.ones(1), np.zeros(1)
    for kind, number in reversed(steps):
        constant = graph.constants[number].astype(np.float64).reshape(-1)
        scale = scale * constant if kind == "MUL" else scale / constant if kind == "DIV" else scale
        offset = offset + (constant if kind == "ADD" else -constant) / scale if kind in ("ADD", "SUB") else offset
    numbers = tuple(number for _, number in steps)
    return Pixels(*np.broadcast_arrays(scale, offset), numbers) if steps else Pixels()


def of_the_network(
    model: keras.Model, found: Mapping[str, Found], arrays: Mapping[str, np.ndarray]
) -> Mapping[str, Found]:
    """`found` with kernels as the network reads pixels, where the file says how it reads them."""
    for name, each in found.items():
        beside = each.origins.get("kernel", "").rpartition("/")[0] + f"/{PIXELS}"
        if beside in arrays:
            each.used.add(beside)
            _adapt(each, arrays[beside], *_arithmetic(model, name.partition("/")[0]))
    return found


def _adapt(found: Found, offset: np.ndarray, scale: np.ndarray, ours: np.ndarray) -> None:
    found.values["kernel"] = (found.values["kernel"] / scale[:, None]).astype(np.float32)
    if np.abs(offset - ours).max() > TOLERANCE:
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
