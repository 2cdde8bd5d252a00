"""The SavedModel: a network that TensorFlow runs without tfseg and without Keras."""

from pathlib import Path

import keras

from tfseg.export.signatures import Endpoints, Signatures


def write_saved_model(model: keras.Model, folder: Path) -> None:
    """Writes `model` with every signature of `Signatures` into `folder`."""
    write_endpoints(model, folder, Signatures(model).endpoints())


def write_endpoints(model: keras.Model, folder: Path, endpoints: Endpoints) -> None:
    """A SavedModel of `model`'s variables and the named functions, each of one input."""
    archive = keras.export.ExportArchive()
    archive.track(model)
    for name, (function, specification) in endpoints.items():
        archive.add_endpoint(name, function, input_signature=[specification])
    archive.write_out(str(folder), verbose=False)
