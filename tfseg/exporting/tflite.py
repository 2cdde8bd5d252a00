"""The TFLite file: one size, batch 1, float32, builtin operations only."""

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
from tfseg.redirection import redirected
from tfseg.weights.flatbuffer import kind_of

SIGNATURE = "probabilities"


def write_tflite(model: keras.Model, path: Path, size: tuple[int, int]) -> None:
    """Converts `model` at one image size (height, width): `image` float32 0..255 to `probabilities`.

    A SavedModel of that size stands between, because only from there does the converter fold the variables into the
    operations and keep the signature's names.
    """
    signatures = Signatures(model, shape=(1, *size))
    image = tf.TensorSpec((1, *size, signatures.channels), tf.float32, name="image")  # of the size the network sees
    with TemporaryDirectory(prefix=".static-", dir=path.parent) as folder, redirected():
        write_endpoints(Path(folder), {SIGNATURE: (signatures.probabilities, image)})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        try:
            contents = converter.convert()
        except ConverterError as error:
            graph = tf.function(signatures.probabilities, [image], autograph=False).get_concrete_function().graph
            raise ExportError(_refused(error, graph, [layer.name for layer in model.layers])) from error
    if foreign := [name for name in operations(contents) if not hasattr(schema.BuiltinOperator, name)]:
        raise ExportError(_not_builtin(foreign))
    path.write_bytes(contents)


def operations(contents: bytes) -> tuple[str, ...]:
    """The operations of a TFLite file in the order in which they run; a custom one by its own name."""
    model = schema.Model.GetRootAs(contents, 0)
    words = [_word(model.OperatorCodes(index)) for index in range(model.OperatorCodesLength())]
    graphs = [model.Subgraphs(index) for index in range(model.SubgraphsLength())]
    return tuple(words[graph.Operators(i).OpcodeIndex()] for graph in graphs for i in range(graph.OperatorsLength()))


def _word(code: schema.OperatorCode) -> str:
    """A custom operation has a name of its own."""
    custom = code.CustomCode()
    return custom.decode() if custom else kind_of(code)


def _refused(error: ConverterError, graph: tf.Graph, layers: Iterable[str]) -> str:
    """What the converter's error means: which operation, of which layers, is not TFLite's."""
    found = sorted({fault.operator.name.removeprefix("tf.") for fault in error.errors} - {""})
    if not found:
        return f"the TFLite converter failed: {first_line(error)}"
    places = _places(graph, set(layers))
    return _not_builtin(f"{name} (layers {', '.join(sorted(places[name]))})" for name in found)


def _places(graph: tf.Graph, layers: set[str]) -> Mapping[str, set[str]]:
    """Operation to the layers that use it. The converter itself names the first place only."""
    definition = graph.as_graph_def()
    places = defaultdict(set)
    for part in (definition.node, *(function.node_def for function in definition.library.function)):
        for node in part:
            places[node.op].add(_layer(node.name, layers))
    return places


def _not_builtin(found: Iterable[str]) -> str:
    return (
        f"no TFLite file can be written: it may hold builtin operations only, and the model needs {', '.join(found)}. "
        "Build the network without these, or set export.tflite=null to export the SavedModel alone."
    )


def _layer(scope: str, layers: set[str]) -> str:
    """The layer in a name such as `functional_1/pool1_1/MaxPool`; TensorFlow counts repeated scopes with a suffix."""
    for part in scope.split("/"):
        for name in (re.sub(r"_\d+$", "", part), part):
            if name in layers:
                return name
    return scope
