"""Reads TFLite files: the operations in order of execution, and the constants as float32.

The flatbuffer schema is a stable format and part of `ai-edge-litert`. The interpreter is not used, because it rejects
files with unknown operations and has no public API for the operations.
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
    """An operation: its name in the schema, and the indices of its input and output tensors."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    multiplier: int = 1
    """Depth multiplier of a depthwise convolution."""


@dataclass
class Graph:
    """First subgraph of a file, which is the network.

    Args:
        names: Names of all tensors, by index.
        operations: Operations in order of execution.
        constants: Floating-point constants as float32, by tensor index. Quantized and float16 constants are included,
            also as outputs of their `DEQUANTIZE` operations.
    """

    names: list[str]
    operations: list[Operation] = field(default_factory=list)
    constants: dict[int, np.ndarray] = field(default_factory=dict)
    copies: dict[int, int] = field(default_factory=dict)
    """Indices of dequantized constants, mapped to those of their sources."""

    @classmethod
    def of(cls, contents: bytes) -> "Graph":
        """Returns the graph of a file with these contents."""
        model = schema.Model.GetRootAs(contents, 0)
        graph = model.Subgraphs(0)
        tensors = [graph.Tensors(index) for index in range(graph.TensorsLength())]
        result = cls([(tensor.Name() or b"").decode() for tensor in tensors])
        for index, tensor in enumerate(tensors):
            if (array := _float_constant(model.Buffers(tensor.Buffer()), tensor)) is not None:
                result.constants[index] = array
        for operation in _operations(model, graph):
            result.operations.append(operation)
            if operation.kind == "DEQUANTIZE" and operation.inputs[0] in result.constants:
                (source,), (target,) = operation.inputs, operation.outputs
                result.constants[target], result.copies[target] = result.constants[source], source
        return result


def kind_of(code: schema.OperatorCode) -> str:
    """Returns the name of a builtin operation. The code has two fields, because the older one ends at 127."""
    return KINDS.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "unknown")


def _operations(model: schema.Model, graph: schema.SubGraph) -> Iterator[Operation]:
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        kind = kind_of(model.OperatorCodes(operator.OpcodeIndex()))
        multiplier = _multiplier(operator) if kind == "DEPTHWISE_CONV_2D" else 1
        inputs = tuple(operator.Inputs(index) for index in range(operator.InputsLength()))
        outputs = tuple(operator.Outputs(index) for index in range(operator.OutputsLength()))
        yield Operation(kind, inputs, outputs, multiplier)


def _multiplier(operator: schema.Operator) -> int:
    options, table = schema.DepthwiseConv2DOptions(), operator.BuiltinOptions()
    options.Init(table.Bytes, table.Pos)
    return max(1, options.DepthMultiplier())


def _float_constant(buffer: schema.Buffer, tensor: schema.Tensor) -> np.ndarray | None:
    """Returns the floating-point or quantized constant of a tensor as float32, or None if it has none."""
    dtype = DTYPES.get(tensor.Type())
    if dtype is None or not buffer.DataLength():
        return None
    array = np.frombuffer(buffer.DataAsNumpy().tobytes(), dtype)
    array = array.reshape([tensor.Shape(axis) for axis in range(tensor.ShapeLength())])
    if np.issubdtype(dtype, np.floating):
        return array.astype(np.float32)
    quantization = tensor.Quantization()
    if quantization is None or not quantization.ScaleLength():
        return None  # sizes, axes, paddings
    scale, zero_point = quantization.ScaleAsNumpy(), quantization.ZeroPointAsNumpy()
    return dequantized(array, scale, zero_point, quantization.QuantizedDimension())


def dequantized(array: np.ndarray, scale: np.ndarray, zero_point: np.ndarray, axis: int) -> np.ndarray:
    """Returns `scale (array - zero_point)`, with one scale, or one per index of `axis`.

    >>> dequantized(np.array([[1, 3]], np.uint8), np.array([0.5, 2.0]), np.array([1, 1]), 1)
    array([[0., 4.]], dtype=float32)
    """
    shape = [-1 if index == axis and len(scale) > 1 else 1 for index in range(array.ndim)]
    points = np.zeros_like(scale) if np.ndim(zero_point) == 0 else zero_point  # the schema returns 0 if there are none
    return ((array.astype(np.float64) - points.reshape(shape)) * scale.reshape(shape)).astype(np.float32)
