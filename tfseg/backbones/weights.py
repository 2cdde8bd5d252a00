"""Weights from a file into the layers of a model, by layer name."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from tfseg.errors import WeightsError
from tfseg.keras_internals import layers_within, own_variables
from tfseg.spec.problems import Fault

Arrays = dict[str, dict[str, np.ndarray]]
"""The variables of layers: `{layer: {variable: array}}`."""


@dataclass(frozen=True)
class WeightsReport:
    """What became of a weight file.

    Args:
        source: the file, or what was loaded.
        loaded: the layers that it filled.
        unused: its layers that the model has not, or has in another shape.
        folded: whether BatchNorm was folded into its biases; see `unfold_batch_norm`.
    """

    source: str
    loaded: tuple[str, ...]
    unused: tuple[str, ...] = ()
    folded: bool = False

    def __str__(self) -> str:
        unused = f"; not used: {', '.join(self.unused)}" if self.unused else ""
        return f"{self.source}: filled {len(self.loaded)} layers{unused}"


def read_layers(path: Path) -> Arrays:
    """The variables in an `.npz` of arrays named `layer/variable`, or in a `.keras` model.

    Raises:
        WeightsError: the file is missing, damaged or of another kind.
    """
    readers = {".npz": _read_npz, ".keras": _read_keras}
    check_exists(path)
    if path.suffix not in readers:
        raise WeightsError(
            f"{path}: weights cannot be read from a {path.suffix or 'suffixless'} file. "
            "Expected an .npz of arrays named layer/variable, or a .keras model."
        )
    try:
        return readers[path.suffix](path)
    except Exception as error:  # a damaged file can fail in any part of NumPy, zlib, h5py or Keras
        raise WeightsError(f"{path}: this weight file cannot be read: {error}. Fetch or write it again.") from error


def check_exists(path: Path) -> None:
    """Raises WeightsError where there is no file at `path`."""
    if not path.is_file():
        raise WeightsError(
            f"{path}: no such weight file. "
            "Set model.backbone.weights to a file that exists, or to null to start from random weights."
        )


def imagenet_problems(weights: str | Path | None, channels: int) -> Iterator[Fault]:
    """What keeps ImageNet weights from reading images of that many channels, as (path, message)."""
    if weights == "imagenet" and channels != 3:
        message = f"ImageNet weights read 3 channels, the images have {channels}; set backbone.weights to null"
        yield ("weights",), message


def _read_npz(path: Path) -> Arrays:
    layers: Arrays = {}
    with np.load(path, allow_pickle=False) as arrays:
        for name in arrays.files:
            layer, slash, variable = name.rpartition("/")
            if not slash:
                raise ValueError(f"its array {name!r} is not named layer/variable")
            layers.setdefault(layer, {})[variable] = arrays[name]
    return layers


def _read_keras(path: Path) -> Arrays:
    return layer_arrays(keras.models.load_model(path, compile=False))


def layer_arrays(model: keras.Model) -> Arrays:
    """The values of `variables`."""
    return {
        layer: {name: keras.ops.convert_to_numpy(variable) for name, variable in held.items()}
        for layer, held in variables(model).items()
    }


def variables(model: keras.Model) -> dict[str, dict[str, keras.Variable]]:
    """The variables of the layers that hold any, by the names of both: also within nested models and composite layers.

    Of two layers of one name, the one that lies less deep is meant.
    """
    found: dict[str, dict[str, keras.Variable]] = {}
    layers = list(model.layers)
    for layer in layers:
        held = own_variables(layer)
        if held and layer.name not in found:
            found[layer.name] = {variable.name: variable for variable in held}
        layers.extend(layers_within(layer, deep=False))
    return found


def fill(model: keras.Model, layers: Arrays, required: Iterable[str], source: str) -> WeightsReport:
    """Puts `layers` into the layers of `model` that have their names.

    A layer outside `required` whose shapes differ, as a score layer for another number of classes, is left alone, and
    so is one of `required` that the model has not: a decoder need not use a backbone's deepest stages.

    Raises:
        WeightsError: a required layer is missing in `layers`, or its shapes differ. Then nothing was changed.
    """
    required = tuple(required)
    _check_complete(layers, required, source)
    targets = variables(model)
    required = tuple(name for name in required if name in targets)
    fitting = {name: not _misfit(arrays, targets.get(name, {})) for name, arrays in layers.items()}
    for name in required:
        if not fitting[name]:
            misfit = _misfit(layers[name], targets.get(name, {}))
            raise WeightsError(f"{source}: layer {name!r}: {misfit}. Give weights of this very net.")
    loaded = tuple(name for name, fits in fitting.items() if fits)
    for name in loaded:
        for variable, array in layers[name].items():
            targets[name][variable].assign(array)
    return WeightsReport(source, loaded, tuple(name for name, fits in fitting.items() if not fits))


def _check_complete(layers: Arrays, required: tuple[str, ...], source: str) -> None:
    missing = [name for name in required if name not in layers]
    if missing:
        shown = ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")
        raise WeightsError(
            f"{source}: no weights for {len(missing)} of the backbone's {len(required)} layers with weights ({shown}). "
            "Expected all of them, under these names."
        )


def _misfit(arrays: Mapping[str, np.ndarray], variables: Mapping[str, keras.Variable]) -> str | None:
    """What keeps `arrays` from filling `variables` exactly, in words."""
    if set(arrays) != set(variables):
        return f"the file has {sorted(arrays)}, the model has {sorted(variables)}"
    for name, variable in variables.items():
        if tuple(arrays[name].shape) != tuple(variable.shape):
            return f"{name} is {tuple(arrays[name].shape)} in the file and {tuple(variable.shape)} in the model"
    return None
