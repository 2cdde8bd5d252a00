"""The SavedModel: a network that TensorFlow runs without tfseg and without Keras."""

from pathlib import Path

import keras
import tensorflow as tf

from tfseg.exporting.signatures import Endpoints, Signatures


def write_saved_model(model: keras.Model, folder: Path, size: tuple[int, int] | None = None) -> None:
    """Writes `model` with every signature of `Signatures` into `folder`; the network sees images at `size`."""
    write_endpoints(folder, Signatures(model, (None, None, None), size).endpoints())


def write_endpoints(folder: Path, endpoints: Endpoints) -> None:
    """A SavedModel of the named functions, each of one input, and of the variables that they use.

    Nothing else of the model goes in: its tree of layers would make the file larger and writing it three times slower.
    """
    functions = {
        name: tf.function(function, [specification], autograph=False).get_concrete_function()
        for name, (function, specification) in endpoints.items()
    }
    module = tf.Module()
    module.weights = list(
        {id(variable): variable for used in functions.values() for variable in used.variables}.values()
    )
    tf.saved_model.save(module, str(folder), signatures=functions)
