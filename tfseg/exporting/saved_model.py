"""Export as a SavedModel, which TensorFlow runs without tfseg and Keras."""

from pathlib import Path

import keras
import tensorflow as tf

from tfseg.exporting.signatures import Endpoints, Signatures
from tfseg.images import EIGHT_BITS, ImageValues


def write_saved_model(
    model: keras.Model, folder: Path, size: tuple[int, int] | None = None, values: ImageValues = EIGHT_BITS
) -> None:
    """Writes `model` with all signatures of `Signatures` to `folder`; images are resized to `size`, if given."""
    write_endpoints(folder, Signatures(model, (None, None, None), size, values).endpoints())


def write_endpoints(folder: Path, endpoints: Endpoints) -> None:
    """Writes a SavedModel of the given functions, with one input each, and of the variables that they use.

    The object graph of the model's layers is not saved: it would make the file larger and saving three times slower.
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
