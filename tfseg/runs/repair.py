"""Saved networks of a run that is resumed: damaged ones are replaced as far as possible."""

import logging
import math
import shutil
from dataclasses import replace
from pathlib import Path

import keras

from tfseg.atomic import atomic_file, remove
from tfseg.errors import RunError
from tfseg.runs.average import selected_average
from tfseg.runs.directory import Run
from tfseg.training import State, save_model
from tfseg.training.ema import averaged
from tfseg.training.files import BEST, LAST

LOG = logging.getLogger("tfseg")


def checked_networks(run: Run, model: keras.Model, state: State) -> State:
    """Checks `last.keras` and `model.keras` of a resumed run, and replaces them, with a warning, if they are damaged.

    Between two epochs, `last.keras` is the restored network; otherwise the next end of an epoch writes it. The best
    network of earlier epochs cannot be restored: it is replaced by `last.keras` until a later epoch is validated.

    Args:
        run: Run.
        model: Restored network with its optimizer.
        state: Restored state.

    Returns:
        The state with the metric of `model.keras` as best value.
    """
    if not state.rows:
        return state
    best, last = run.folder / BEST, run.folder / LAST
    restored = not state.batch
    if (problem := _problem(run, LAST)) and restored:
        LOG.warning("%s It is written again from the state of the training", problem)
        _clear(last)
        with averaged(model):
            save_model(model, last)
    if not (problem := _problem(run, BEST)):
        return replace(state, best=max(state.best, selected_average(run.folder)))
    LOG.warning("%s The best network of the epochs so far is lost; that of the remaining epochs is saved", problem)
    _clear(best)
    if restored or not _problem(run, LAST):
        with atomic_file(best) as partial:
            shutil.copyfile(last, partial)
    return replace(state, best=-math.inf)


def _problem(run: Run, name: str) -> str | None:
    """Returns why a network cannot be loaded, or None."""
    try:
        run.model(name)
    except RunError as error:
        return str(error)
    return None


def _clear(path: Path) -> None:
    """Deletes a folder that has the name of a file, which a file could not replace. Links are not followed."""
    if path.is_dir():
        remove(path)
