"""Conversion of networks to TFLite files, and their outputs."""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from flatbuffers import Builder

KINDS = ("float32", "float16", "dynamic", "int8", "uint8")
"""Kinds of files: float32; float16 constants; int8 constants; full int8 with int8 or uint8 inputs and outputs."""


def converted(
    network: keras.Model | Callable[[tf.Tensor], tf.Tensor], kind: str, images: Sequence[np.ndarray]
) -> bytes:
    """Returns the contents of a file of that kind for the network at the size of the images."""
    if isinstance(network, keras.Model):
        image = keras.Input(images[0].shape[1:], batch_size=1)
        converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(image, network(image)))
    else:
        function = tf.function(network, [tf.TensorSpec(images[0].shape)], autograph=False)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    if kind != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind in ("int8", "uint8"):
        converter.representative_dataset = lambda: ([image] for image in images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = getattr(tf, kind)
    return converter.convert()


def computed(content: bytes, image: np.ndarray) -> np.ndarray:
    """Returns the dequantized output of the file for an image."""
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(source["index"], _quantized(image, source))
    interpreter.invoke()
    output = interpreter.get_tensor(target["index"])
    scale, zero = target["quantization"]
    return (output.astype(np.float32) - zero) * scale if scale else output


def _quantized(image: np.ndarray, details: dict) -> np.ndarray:
    scale, zero = details["quantization"]
    if not scale:
        return image
    limits = np.iinfo(details["dtype"])
    return np.clip(np.round(image / scale + zero), limits.min, limits.max).astype(details["dtype"])


def renamed(content: bytes, name: Callable[[str, bool], str]) -> bytes:
    """Returns the file with every tensor renamed to `name(old, constant)`."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for tensor in model.subgraphs[0].tensors:
        constant = model.buffers[tensor.buffer].data is not None
        tensor.name = name(tensor.name.decode(), constant).encode()
    return packed(model)


def packed(model: schema.ModelT) -> bytes:
    """Returns the contents of a file with this model."""
    builder = Builder(0)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())
