"""Worker process that runs the artifacts of all exports of a test session.

`tfseg.export` runs the artifacts in a separate process per export, and each start of TensorFlow takes seconds. This
worker runs the same functions, also without access to tfseg and Keras. `tests/exporting/test_verify.py` and
`tests/test_networks.py` test the separate processes.
"""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np

from tfseg.exporting.verify import ISOLATED_WORKER, Arrays

SERVE = f"""
import importlib.util, os, pickle, sys
for name in ("tfseg", "keras", "tf_keras"):
    sys.modules[name] = None
spec = importlib.util.spec_from_file_location("isolated_worker", {str(ISOLATED_WORKER)!r})
isolated_worker = importlib.util.module_from_spec(spec)
spec.loader.exec_module(isolated_worker)
out = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)
while True:
    try:
        saved_model, tflite, asked = pickle.load(sys.stdin.buffer)
    except EOFError:
        break
    answers = isolated_worker.run_saved_model(saved_model, asked)
    if tflite:
        answers |= isolated_worker.run_tflite(tflite, asked)
    pickle.dump(answers, out)
    out.flush()
"""


class Answers:
    """Replacement for `tfseg.exporting.verify.run_artifacts`. Its process starts at the first call."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self, saved_model: Path, tflite: Path | None, asked: Arrays) -> dict[str, np.ndarray]:
        if self.process is None:
            command = [sys.executable, "-P", "-c", SERVE]
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdin and self.process.stdout
        try:
            pickle.dump((str(saved_model), tflite and str(tflite), dict(asked)), self.process.stdin)
            self.process.stdin.flush()
            return pickle.load(self.process.stdout)
        except (EOFError, BrokenPipeError) as error:
            ended, self.process = self.process, None
            ended.communicate()
            raise RuntimeError(f"the worker process ended with status {ended.returncode}") from error

    def close(self) -> None:
        if self.process is not None:
            self.process.communicate()
