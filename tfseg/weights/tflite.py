"""Reads the weights of TFLite files: kernels and biases of the convolutions in the graph."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfseg.weights.flatbuffer import Graph, Operation
from tfseg.weights.pixels import PIXELS, Pixels, file_preprocessing
from tfseg.weights.scopes import assigned, candidates

KERNEL_AND_BIAS = {
    "CONV_2D": (1, 2),
    "DEPTHWISE_CONV_2D": (1, 2),
    "FULLY_CONNECTED": (1, 2),
    "TRANSPOSE_CONV": (1, 3),
}
"""Operations with weights, and the input indices of kernel and bias."""
BETWEEN = ("BATCH_TO_SPACE_ND", "DEQUANTIZE", "QUANTIZE")
"""Operations between a convolution and a separate addition of its bias."""


@dataclass(frozen=True)
class Weighted:
    """An operation with weights, and the indices of their tensors."""

    operation: Operation
    kernel: int
    bias: int | None


def read_tflite(path: Path) -> dict[str, np.ndarray]:
    """Reads the weights of a file; see `arrays_in`."""
    return arrays_in(Graph.of(path.read_bytes()))


def arrays_in(graph: Graph) -> dict[str, np.ndarray]:
    """Returns the kernels and biases of the convolutions in Keras's layout, as `scope/kernel` and `scope/bias`.

    Scopes are derived from the tensor names that the converter wrote; see `candidates`. Float16 and quantized constants
    become float32. If the file subtracts a mean from pixels, `scope/pixels` of the first convolution is the offset. All
    other nonzero floating-point constants are returned by their own names, so that they are reported as unused.
    """
    found = list(_weighted(graph))
    scopes = assigned({each.kernel: candidates(*_names(graph, each)) for each in found})
    pixels = file_preprocessing(graph, [each.operation for each in found])
    arrays: dict[str, np.ndarray] = {}
    read: set[int] = set()
    for each in found:
        if (scope := scopes.get(each.kernel)) is None:
            continue
        preprocessing = pixels.get(each.operation.outputs[0])
        arrays |= {f"{scope}/{name}": array for name, array in _arrays(graph, each, preprocessing).items()}
        read |= {each.kernel, *(() if each.bias is None else (each.bias,))}
        read |= set(preprocessing.constants) if preprocessing else set()
    return arrays | _unread(graph, read)


def _weighted(graph: Graph) -> Iterator[Weighted]:
    for operation in graph.operations:
        if operation.kind in KERNEL_AND_BIAS:
            kernel, bias = KERNEL_AND_BIAS[operation.kind]
            if operation.inputs[kernel] in graph.constants:
                yield Weighted(operation, operation.inputs[kernel], _bias(graph, operation, bias))


def _bias(graph: Graph, operation: Operation, index: int) -> int | None:
    """Returns the bias of a convolution: its own, or that of an addition after `BATCH_TO_SPACE_ND`.

    In the second case, converters give the convolution a bias of zeros.
    """
    own = operation.inputs[index] if len(operation.inputs) > index else -1
    if own in graph.constants and np.any(graph.constants[own]):
        return own
    added = _added_later(graph, operation)
    return added if added is not None or own not in graph.constants else own


def _added_later(graph: Graph, operation: Operation) -> int | None:
    tensor, kernel = operation.outputs[0], graph.constants[operation.inputs[1]]
    filters = kernel.shape[-1 if operation.kind == "DEPTHWISE_CONV_2D" else 0]
    while len(readers := [each for each in graph.operations if tensor in each.inputs]) == 1:
        if readers[0].kind == "ADD":
            constants = [each for each in readers[0].inputs if each in graph.constants]
            return next((each for each in constants if graph.constants[each].size == filters), None)
        if readers[0].kind not in BETWEEN:
            return None
        tensor = readers[0].outputs[0]
    return None


def _names(graph: Graph, each: Weighted) -> tuple[str, ...]:
    """Returns the tensor names that identify the layer of an operation, the most reliable first."""
    numbers = (graph.copies.get(each.kernel, each.kernel), each.operation.outputs[0], each.bias)
    return tuple(graph.names[number] for number in numbers if number is not None)


def _arrays(graph: Graph, each: Weighted, pixels: Pixels | None) -> dict[str, np.ndarray]:
    arrays = {"kernel": _keras_layout(graph.constants[each.kernel], each.operation)}
    if pixels is not None:
        arrays["kernel"] = arrays["kernel"] * pixels.scale[:, None]
    if pixels is not None and pixels.subtracts_mean:
        arrays[PIXELS] = pixels.offset
    if each.bias is not None:
        arrays["bias"] = graph.constants[each.bias].reshape(-1)
    return arrays


def _keras_layout(kernel: np.ndarray, operation: Operation) -> np.ndarray:
    """Converts a kernel of TFLite to Keras's layout.

    TFLite has `[filters, height, width, channels]`, or `[1, height, width, channels * multiplier]` if depthwise.
    """
    if operation.kind == "FULLY_CONNECTED":
        return kernel.T
    if operation.kind == "DEPTHWISE_CONV_2D":
        return kernel.reshape(*kernel.shape[1:3], -1, operation.multiplier)
    return kernel.transpose((1, 2, 0, 3) if operation.kind == "TRANSPOSE_CONV" else (1, 2, 3, 0))


def _unread(graph: Graph, read: set[int]) -> dict[str, np.ndarray]:
    """Returns the nonzero constants that are not in `read`, except sources of dequantized constants in `read`."""
    known = read | {graph.copies[number] for number in read if number in graph.copies} | graph.copies.keys()
    rest = {number: array for number, array in graph.constants.items() if number not in known and np.any(array)}
    return {graph.names[number].partition(";")[0] or f"constant {number}": array for number, array in rest.items()}
