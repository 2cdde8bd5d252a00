"""Script of test_callbacks.py: a training whose disk is full in the second epoch."""

import json
import resource
import sys
from pathlib import Path

from tests.training import toy
from tfseg.errors import RunError
from tfseg.training import Training

FOLDER = Path(sys.argv[1])
IMAGES, MASKS = toy.examples(8)


def files() -> dict[str, bytes]:
    """Returns the content of all files but event files, which may grow or be reopened."""
    return {str(path): path.read_bytes() for path in FOLDER.rglob("*") if path.is_file() and "logs" not in path.parts}


def fit(training: Training, model, callbacks, epochs: range) -> None:
    model.fit(
        toy.batches(IMAGES, MASKS, 4, len(epochs)),
        steps_per_epoch=2,
        initial_epoch=epochs.start,
        epochs=epochs.stop,
        shuffle=False,
        verbose=0,
        validation_data=toy.batches(IMAGES, MASKS, 4),
        callbacks=callbacks,
    )


def error_message(action) -> str:
    try:
        action()
    except RunError as error:
        return str(error)
    return "no error"


if __name__ == "__main__":
    training = Training(epochs=3)
    with training.scope(seed=1):
        model = toy.network()
        training.compile(model, toy.LABELS, steps_per_epoch=2)
    callbacks = training.callbacks(FOLDER, toy.LABELS, steps_per_epoch=2, samples=[(IMAGES[0], MASKS[0])])
    fit(training, model, callbacks, range(1))
    before = files()
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))
    logs = {"val_miou": 2.0, "loss": 1.0}
    errors = {
        type(each).__name__: error_message(lambda each=each: each.on_epoch_end(1, logs)) for each in callbacks[1:6]
    }
    stopped = error_message(lambda: fit(training, model, callbacks, range(1, 3)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    after = files()
    changed = sorted(path for path in {*before, *after} if before.get(path) != after.get(path))
    json.dump({"errors": errors, "fit": stopped, "changed": changed}, sys.stdout)
