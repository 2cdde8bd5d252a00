"""Readers of weight files, each returning arrays by name."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfseg.errors import WeightsError, one_line
from tfseg.weights.tflite import read_tflite

Arrays = dict[str, np.ndarray]

TRAINING_STATE = (
    "_CHECKPOINTABLE_OBJECT_GRAPH", "global_step", "save_counter", "optimizer/", "iterations/", ".OPTIMIZER_SLOT",
    "/Momentum", "/Adam", "/RMSProp", "/ExponentialMovingAverage",
)  # fmt: skip
"""Parts of the names of variables in checkpoints that do not belong to the network."""
EXPECTED = (
    "Expected an .npz of named arrays, a .tflite file, a .keras model, or a TensorFlow checkpoint: its prefix, as in "
    "run/model.ckpt-30000, its .index file, or its directory."
)

UNREADABLE, AGAIN = "cannot be read as weights: ", "Download or create it again."


def read_arrays(path: Path) -> Arrays:
    """Reads the arrays of an `.npz`, `.tflite` or `.keras` file, or the variables of a TensorFlow checkpoint.

    A `.keras` file is loaded as a model; if it has layers of tfseg, `tfseg.layers` must be imported before.

    Args:
        path: Path of the file; for a checkpoint its prefix, its `.index` file, or its directory.

    Returns:
        A dictionary of arrays by name.

    Raises:
        WeightsError: If the file is missing, damaged or of an unsupported kind.
    """
    path = Path(path)
    reader, found = _reader(path)
    try:
        return reader(found)
    except Exception as error:  # a damaged file can fail in any part of NumPy, zlib, h5py, Keras or TensorFlow
        raise WeightsError(f"{path}: {UNREADABLE}{one_line(error)}. {AGAIN}") from error


def check_readable(path: Path) -> None:
    """Checks a weight file without building networks: its kind and, for `.npz` and `.keras`, its checksums.

    Raises:
        WeightsError: If the file is missing, damaged or of an unsupported kind.
    """
    reader, found = _reader(Path(path))
    try:
        if found.suffix not in (".npz", ".keras"):
            reader(found)
        else:
            with zipfile.ZipFile(found) as archive:
                damaged = archive.testzip()
            if damaged is not None:
                raise zipfile.BadZipFile(f"{damaged} is damaged")
    except Exception as error:  # as in `read_arrays`
        raise WeightsError(f"{path}: {UNREADABLE}{one_line(error)}. {AGAIN}") from error


def exists(path: Path) -> bool:
    """Returns whether `path` is a file, a directory, or the prefix of a checkpoint."""
    return path.exists() or _checkpoint(path) is not None


def is_checkpoint(path: Path) -> bool:
    """Returns whether `path` is the prefix, the `.index` file or the directory of a checkpoint."""
    return _checkpoint(path) is not None


def arrays_of(model: keras.Model) -> Arrays:
    """Returns the values of the variables of a model by path, such as `aspp/pointwise/kernel`."""
    return {variable.path: keras.ops.convert_to_numpy(variable) for variable in model.weights}


def _reader(path: Path) -> tuple[Callable[[Path], Arrays], Path]:
    readers = {".npz": _read_npz, ".tflite": read_tflite, ".keras": _read_keras}
    if path.suffix in readers and path.is_file():
        return readers[path.suffix], path
    prefix = _checkpoint(path)
    if prefix is not None:
        return _read_checkpoint, prefix
    what = "unsupported kind of weight file" if path.exists() else "no such weight file"
    raise WeightsError(f"{path}: {what}. {EXPECTED}")


def _checkpoint(path: Path) -> Path | None:
    """Returns the prefix of the checkpoint at `path`, or None."""
    if path.suffix == ".index" and path.is_file():
        return path.with_suffix("")
    if path.is_dir():
        latest = tf.train.latest_checkpoint(str(path))
        alone = list(path.glob("*.index"))
        return Path(latest) if latest else alone[0].with_suffix("") if len(alone) == 1 else None
    return path if path.with_name(f"{path.name}.index").is_file() else None


def _read_npz(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _read_keras(path: Path) -> Arrays:
    return arrays_of(keras.models.load_model(path, compile=False))


def _read_checkpoint(prefix: Path) -> Arrays:
    reader = tf.train.load_checkpoint(str(prefix))
    names = sorted(reader.get_variable_to_shape_map())
    return {name: reader.get_tensor(name) for name in names if not any(part in name for part in TRAINING_STATE)}
