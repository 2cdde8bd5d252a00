"""Source of initial weights: a run directory or a weight file."""

import os
from pathlib import Path

from tfseg.errors import WeightsError
from tfseg.training.files import BEST
from tfseg.weights.readers import check_readable, exists, is_checkpoint


def source_file(path: Path) -> Path:
    """Returns the weight file at `path`: the best network if it is a run directory, otherwise `path` itself.

    Symbolic links are resolved, because the classes of a network are in the folder of its file.
    """
    resolved = Path(os.path.realpath(path))
    return resolved / BEST if resolved.is_dir() and not is_checkpoint(resolved) else resolved


def source_problem(path: Path) -> str | None:
    """Returns the reason why no weights can be read from `path`, or None. Does not build networks."""
    if not exists(path):
        return f"{path}: no such file or run directory. Set it to one that exists, or to null"
    file = source_file(path)
    if path.is_dir() and not is_checkpoint(path) and not file.is_file():
        return (
            f"{path}: has no {BEST}. Expected the run directory of a training with a validated epoch, or a weight "
            "file. Wait for the first validation, or use another run"
        )
    try:
        check_readable(file)
    except WeightsError as error:
        return str(error)
    return None
