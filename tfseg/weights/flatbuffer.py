"""What a TFLite file holds: its operations in the order in which they run, and its constants as numbers.

The schema of the flatbuffer is a format that stays readable, and comes with `ai-edge-litert`. The interpreter would
refuse files with operations that it does not know, and what it tells of operations is not public.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from ai_edge_litert import schema_py_generated as schema

KINDS = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
DTYPES = {
    schema.TensorType.FLOAT32: np.float32, schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.FLOAT64: np.float64, schema.TensorType.INT8: np.int8, schema.TensorType.UINT8: np.uint8,
    schema.TensorType.INT16: np.int16, schema.TensorType.INT32: np.int32, schema.TensorType.INT64: np.int64,
}  # fmt: skip


@dataclass(frozen=True)
class Operation:
    """One operation: its kind as the schema calls it, and the numbers of the tensors that it reads and gives."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    multiplier: int = 1
    """Filters for each channel, of a depthwise convolution."""


@dataclass
class Graph:
    """The first graph of a file, which is the network.

    Args:
        names: of all tensors, by number.
        constants: those that stand for real numbers, as float32, by the number of the tensor; those that were
            quantized or halved are read through the operation that makes floats of them too.
    """

    names: list[str]
    operations: list[Operation] = field(default_factory=list)
    constants: dict[int, np.ndarray] = field(default_factory=dict)
    copies: dict[int, int] = field(default_factory=dict)
    """Constants that are the floats of another one, and which."""

    @classmethod
    def of(cls, contents: bytes) -> "Graph":
        """That of a file's contents."""
        model = schema.Model.GetRootAs(contents, 0)
        graph = model.Subgraphs(0)
        tensors = [graph.Tensors(index) for index in range(graph.TensorsLength())]
        found = cls([(tensor.Name() or b"").decode() for tensor in tensors])
        for index, tensor in enumerate(tensors):
            if (array := _real(model.Buffers(tensor.Buffer()), tensor)) is not None:
                found.constants[index] = array
        for operation in _operations(model, graph):
            found.operations.append(operation)
            if operation.kind == "DEQUANTIZE" and operation.inputs[0] in found.constants:
                (source,), (target,) = operation.inputs, operation.outputs
                found.constants[target], found.copies[target] = found.constants[source], source
        return found


def kind_of(code: schema.OperatorCode) -> str:
    """What the schema calls a builtin operation: a number, in a wide field since there are more than 127 of them."""
    return KINDS.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "unknown")


def _operations(model: schema.Model, graph: schema.SubGraph) -> Iterator[Operation]:
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        kind = kind_of(model.OperatorCodes(operator.OpcodeIndex()))
        multiplier = _multiplier(operator) if kind == "DEPTHWISE_CONV_2D" else 1
        inputs = tuple(operator.Inputs(place) for place in range(operator.InputsLength()))
        outputs = tuple(operator.Outputs(place) for place in range(operator.OutputsLength()))
        yield Operation(kind, inputs, outputs, multiplier)


def _multiplier(operator: schema.Operator) -> int:
    options, table = schema.DepthwiseConv2DOptions(), operator.BuiltinOptions()
    options.Init(table.Bytes, table.Pos)
    return max(1, options.DepthMultiplier())


def _real(buffer: schema.Buffer, tensor: schema.Tensor) -> np.ndarray | None:
    """A tensor's constant as float32: one of floats, or of integers with a scale. None where it has none."""
    dtype = DTYPES.get(tensor.Type())
    if dtype is None or not buffer.DataLength():
        return None
    array = np.frombuffer(buffer.DataAsNumpy().tobytes(), dtype)
    array = array.reshape([tensor.Shape(axis) for axis in range(tensor.ShapeLength())])
    if np.issubdtype(dtype, np.floating):
        return array.astype(np.float32)
    how = tensor.Quantization()
    if how is None or not how.ScaleLength():
        return None  # sizes, axes, paddings
    return dequantized(array, how.ScaleAsNumpy(), how.ZeroPointAsNumpy(), how.QuantizedDimension())


def dequantized(array: np.ndarray, scale: np.ndarray, zero_point: np.ndarray, axis: int) -> np.ndarray:
    """`scale (array - zero point)`: one scale for all, or one for each index of an axis.

    >>> dequantized(np.array([[1, 3]], np.uint8), np.array([0.5, 2.0]), np.array([1, 1]), 1)
    array([[0., 4.]], dtype=float32)
    """
    shape = [-1 if place == axis and len(scale) > 1 else 1 for place in range(array.ndim)]
    points = np.zeros_like(scale) if np.ndim(zero_point) == 0 else zero_point  # the schema's 0 stands for none
    return ((array.astype(np.float64) - points.reshape(shape)) * scale.reshape(shape)).astype(np.float32)
