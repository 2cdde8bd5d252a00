"""The weights of a TFLite file, read off its operations: kernels and biases of convolutions, whatever their names."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfseg.weights.flatbuffer import Graph, Operation
from tfseg.weights.pixels import PIXELS, Pixels, reading_pixels
from tfseg.weights.scopes import candidates, settled

KERNEL_AND_BIAS = {
    "CONV_2D": (1, 2),
    "DEPTHWISE_CONV_2D": (1, 2),
    "FULLY_CONNECTED": (1, 2),
    "TRANSPOSE_CONV": (1, 3),
}
"""The operations that have weights, and where among their inputs these stand."""
BEHIND = ("BATCH_TO_SPACE_ND", "DEQUANTIZE", "QUANTIZE")
"""What may lie between a convolution and the sum that adds its bias."""


@dataclass(frozen=True)
class Weighted:
    """An operation with weights, and the tensors that hold them."""

    operation: Operation
    kernel: int
    bias: int | None


def read_tflite(path: Path) -> dict[str, np.ndarray]:
    """The weights in the file, see `arrays_in`."""
    return arrays_in(Graph.of(path.read_bytes()))


def arrays_in(graph: Graph) -> dict[str, np.ndarray]:
    """The kernels and biases of the graph's convolutions, as Keras lays them out, `scope/kernel` and `scope/bias`.

    Scopes are those of the names that the converter left, see `candidates`. Float16 and quantized constants become
    float32. Where the first convolution reads what the file makes of pixels, `scope/pixels` says what that is. All
    other constants that stand for real numbers come under their own names: whoever reports sees that they were not
    read.
    """
    found = list(_weighted(graph))
    scopes = settled({each.kernel: candidates(*_names(graph, each)) for each in found})
    pixels = reading_pixels(graph, [each.operation for each in found])
    arrays: dict[str, np.ndarray] = {}
    read: set[int] = set()
    for each in found:
        if (scope := scopes.get(each.kernel)) is None:
            continue
        seen = pixels.get(each.operation.outputs[0])
        arrays |= {f"{scope}/{name}": array for name, array in _arrays(graph, each, seen).items()}
        read |= {each.kernel, *(seen.constants if seen else ()), *(() if each.bias is None else (each.bias,))}
    return arrays | _unread(graph, read)


def _weighted(graph: Graph) -> Iterator[Weighted]:
    for operation in graph.operations:
        if operation.kind in KERNEL_AND_BIAS:
            kernel, bias = KERNEL_AND_BIAS[operation.kind]
            if operation.inputs[kernel] in graph.constants:
                yield Weighted(operation, operation.inputs[kernel], _bias(graph, operation, bias))


def _bias(graph: Graph, operation: Operation, place: int) -> int | None:
    """The constant that is added to what a convolution gives: by itself, or by a sum behind batches made space.

    In the second case converters give it zeros of its own.
    """
    own = operation.inputs[place] if len(operation.inputs) > place else -1
    if own in graph.constants and np.any(graph.constants[own]):
        return own
    added = _added_behind(graph, operation)
    return added if added is not None or own not in graph.constants else own


def _added_behind(graph: Graph, operation: Operation) -> int | None:
    tensor, kernel = operation.outputs[0], graph.constants[operation.inputs[1]]
    filters = kernel.shape[-1 if operation.kind == "DEPTHWISE_CONV_2D" else 0]
    while len(behind := [each for each in graph.operations if tensor in each.inputs]) == 1:
        if behind[0].kind == "ADD":
            constants = [each for each in behind[0].inputs if each in graph.constants]
            return next((each for each in constants if graph.constants[each].size == filters), None)
        if behind[0].kind not in BEHIND:
            return None
        tensor = behind[0].outputs[0]
    return None


def _names(graph: Graph, each: Weighted) -> tuple[str, ...]:
    """What may tell the layer of an operation, what tells it best first."""
    numbers = (graph.copies.get(each.kernel, each.kernel), each.operation.outputs[0], each.bias)
    return tuple(graph.names[number] for number in numbers if number is not None)


def _arrays(graph: Graph, each: Weighted, pixels: Pixels | None) -> dict[str, np.ndarray]:
    arrays = {"kernel": _keras_layout(graph.constants[each.kernel], each.operation)}
    if pixels is not None:
        arrays["kernel"] = arrays["kernel"] * pixels.scale[:, None]
    if pixels is not None and pixels.whole:
        arrays[PIXELS] = pixels.offset
    if each.bias is not None:
        arrays["bias"] = graph.constants[each.bias].reshape(-1)
    return arrays


def _keras_layout(kernel: np.ndarray, operation: Operation) -> np.ndarray:
    """From `[filters, height, width, channels]`, of a depthwise kernel `[1, height, width, channels * multiplier]`."""
    if operation.kind == "FULLY_CONNECTED":
        return kernel.T
    if operation.kind == "DEPTHWISE_CONV_2D":
        return kernel.reshape(*kernel.shape[1:3], -1, operation.multiplier)
    return kernel.transpose((1, 2, 0, 3) if operation.kind == "TRANSPOSE_CONV" else (1, 2, 3, 0))


def _unread(graph: Graph, read: set[int]) -> dict[str, np.ndarray]:
    """The constants of real numbers that are neither in `read` nor the source of one of these. Zeros say nothing."""
    known = read | {graph.copies[number] for number in read if number in graph.copies} | graph.copies.keys()
    rest = {number: array for number, array in graph.constants.items() if number not in known and np.any(array)}
    return {graph.names[number].partition(";")[0] or f"constant {number}": array for number, array in rest.items()}
