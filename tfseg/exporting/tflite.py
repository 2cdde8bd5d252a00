"""Export as a TFLite file: fixed size, batch 1, float32, builtin operations only."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from tensorflow.lite.python.convert_phase import ConverterError

from tfseg.errors import ExportError, first_line
from tfseg.exporting.saved_model import write_endpoints
from tfseg.exporting.signatures import Signatures
from tfseg.images import EIGHT_BITS, ImageValues
from tfseg.redirection import redirected
from tfseg.weights.flatbuffer import kind_of

SIGNATURE = "probabilities"


def write_tflite(model: keras.Model, path: Path, size: tuple[int, int], values: ImageValues = EIGHT_BITS) -> None:
    """Converts `model` for one image size (height, width), from `image`, float32 with `values`, to `probabilities`.

    The converter folds the variables into the operations and keeps the names of the signature only if it converts a
    SavedModel of that size.
    """
    signatures = Signatures(model, shape=(1, *size), values=values)
    image = tf.TensorSpec((1, *size, signatures.channels), tf.float32, name="image")
    with TemporaryDirectory(prefix=".static-", dir=path.parent) as folder, redirected():
        write_endpoints(Path(folder), {SIGNATURE: (signatures.probabilities, image)})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        try:
            contents = converter.convert()
        except ConverterError as error:
            graph = tf.function(signatures.probabilities, [image], autograph=False).get_concrete_function().graph
            raise ExportError(_conversion_problem(error, graph, [layer.name for layer in model.layers])) from error
    if custom := [name for name in operations(contents) if not hasattr(schema.BuiltinOperator, name)]:
        raise ExportError(_not_builtin(custom))
    path.write_bytes(contents)


def operations(contents: bytes) -> tuple[str, ...]:
    """Returns the names of a TFLite file's operations in execution order, custom operations included."""
    model = schema.Model.GetRootAs(contents, 0)
    names = [_operation_name(model.OperatorCodes(index)) for index in range(model.OperatorCodesLength())]
    graphs = [model.Subgraphs(index) for index in range(model.SubgraphsLength())]
    return tuple(names[graph.Operators(i).OpcodeIndex()] for graph in graphs for i in range(graph.OperatorsLength()))


def _operation_name(code: schema.OperatorCode) -> str:
    custom = code.CustomCode()
    return custom.decode() if custom else kind_of(code)


def _conversion_problem(error: ConverterError, graph: tf.Graph, layers: Iterable[str]) -> str:
    """Returns the message for a converter error: the unsupported operations and their layers."""
    unsupported = sorted({each.operator.name.removeprefix("tf.") for each in error.errors} - {""})
    if not unsupported:
        return f"the TFLite converter failed: {first_line(error)}"
    used_by = _layers_by_operation(graph, set(layers))
    return _not_builtin(f"{name} (layers {', '.join(sorted(used_by[name]))})" for name in unsupported)


def _layers_by_operation(graph: tf.Graph, layers: set[str]) -> Mapping[str, set[str]]:
    """Returns the layers that use each operation. The converter's error has only the first of them."""
    definition = graph.as_graph_def()
    used_by = defaultdict(set)
    for part in (definition.node, *(function.node_def for function in definition.library.function)):
        for node in part:
            used_by[node.op].add(_layer(node.name, layers))
    return used_by


def _not_builtin(operations: Iterable[str]) -> str:
    return (
        "the model cannot be converted to TFLite with builtin operations only: it needs "
        f"{', '.join(operations)}. Build the network without these, or set export.tflite=null to export the SavedModel "
        "only."
    )


def _layer(scope: str, layers: set[str]) -> str:
    """Returns the layer in a name such as `functional_1/pool1_1/MaxPool`. Repeated scopes have a numeric suffix."""
    for part in scope.split("/"):
        for name in (re.sub(r"_\d+$", "", part), part):
            if name in layers:
                return name
    return scope
