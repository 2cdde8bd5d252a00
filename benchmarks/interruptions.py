"""Kills, damaged files and a full disk during a training: is anything lost?

    python benchmarks/interruptions.py [--kills 30] [--only kills damage disk] [--seed 0] --output DIR

A small training with all that has a state (moving averages of weights, accumulated gradients, loss scale, dropout,
averaged checkpoints) is stopped in each way and resumed. It must equal the training that was never stopped, in weights,
history and metrics, bit for bit, or be refused with a message and without any change of its files. Prints the number of
tries and of losses of each kind.

* kills: SIGKILL at a random moment of a step, before or after a file is replaced, and in the middle of a state file.
* damage: twelve kinds, of each file of a run.
* disk: no space left at each replacement of a file.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


PIPELINE = """\
name: interrupted
labels: {names: [ground, disc, square]}
data:
  source: {type: shapes, size: 32, train: 22, val: 3}
  batch_size: 4
  augment: [flip, color_jitter]
model:
  backbone: {type: small_cnn, filters: 4}
  decoder: {type: fcn, strides: [16, 8, 4]}
training:
  epochs: 3
  gradient_accumulation_steps: 2
  precision: mixed_float16
  checkpoint: {steps: 1}
  ema: 0.9
  average_checkpoints: 2
"""
FIT = """\
import os, signal, sys
import numpy as np

how, number = sys.argv[3], int(sys.argv[4])
calls = 0

def once(function, *given, **options):
    global calls
    calls += 1
    if calls != number:
        return function(*given, **options)
    if how == "half":
        function(*given, **options)
        os.truncate(given[0], os.path.getsize(given[0]) // 2)
    elif how == "after":
        function(*given, **options)
    elif how == "full":
        raise OSError(28, "No space left on device")
    os.kill(os.getpid(), signal.SIGKILL)

if how == "half":
    savez = np.savez
    np.savez = lambda *given, **options: once(savez, *given, **options)
elif how != "never":
    replace = os.replace
    os.replace = lambda *given, **options: once(replace, *given, **options)

from tfseg.cli.commands import main
code = main(["fit", sys.argv[1], "--run-dir", sys.argv[2], *sys.argv[5:]])
print("replaced", calls)
sys.exit(code)
"""
DAMAGES: dict[str, Callable[[Path, random.Random], Any]] = {
    "one bit": lambda path, draw: _changed(path, draw.randrange(max(path.stat().st_size, 1)), 1),
    "a byte of the header": lambda path, draw: _changed(path, draw.randrange(16), 255),
    "half of it": lambda path, draw: os.truncate(path, path.stat().st_size // 2),
    "one byte less": lambda path, draw: os.truncate(path, max(path.stat().st_size - 1, 0)),
    "empty": lambda path, draw: os.truncate(path, 0),
    "zeros": lambda path, draw: path.write_bytes(bytes(path.stat().st_size)),
    "noise": lambda path, draw: path.write_bytes(draw.randbytes(path.stat().st_size)),
    "more bytes": lambda path, draw: path.write_bytes(path.read_bytes() + draw.randbytes(64)),
    "deleted": lambda path, draw: path.unlink(),
    "a folder": lambda path, draw: (path.unlink(), path.mkdir()),
    "a broken link": lambda path, draw: (path.unlink(), path.symlink_to("nothing")),
    "another format": lambda path, draw: path.write_text("not the right format: [\n"),
}


def _changed(path: Path, position: int, mask: int) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[position % len(content)] ^= mask
    path.write_bytes(content)


class Trainings:
    """Trainings of the pipeline in processes of their own.

    Args:
        folder: Folder for the runs.
        seed: Integer, seed of moments and damages.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.draw = random.Random(seed)
        folder.mkdir(parents=True, exist_ok=True)
        self.file, self.script = folder / "pipeline.yaml", folder / "script.py"
        self.file.write_text(PIPELINE)
        self.script.write_text(FIT)
        self.whole = self.run("whole")
        begun = time.monotonic()
        outcome = self.ended(self.start(self.whole, "before", 10**9))
        self.seconds = time.monotonic() - begun
        if outcome[0] != 0:
            raise SystemExit(f"the training failed: {outcome}")
        self.replaced = int(outcome[1].split()[-1])

    def run(self, name: str) -> Path:
        """Returns a new run directory."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        return self.folder / name

    def start(self, run: Path, how: str = "never", number: int = 0, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(self.script), str(self.file), str(run), how, str(number), *words]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def ended(self, process: subprocess.Popen[str]) -> tuple[int, str, str]:
        out, err = process.communicate()
        return process.returncode, out, err

    def outcome(self, run: Path) -> str:
        """Resumes a run, and returns `equal`, `refused` or how it differs from the training that was never stopped."""
        before = contents(run)
        code, _, err = self.ended(self.start(run, "never", 0, "--resume"))
        if code == 0:
            return "equal" if result(run) == result(self.whole) else "DIFFERENT"
        if "Traceback" in err or not err.strip():
            return f"TRACEBACK {err[-300:]}"
        if contents(run) != before:
            return "REFUSED AND CHANGED"
        again = self.ended(self.start(run, "never", 0, "--overwrite"))[0]
        return "refused" if again == 0 else f"STUCK {err[-300:]}"


def step(name: str) -> int:
    """Returns the optimizer step of a state file."""
    return int(name.split("-")[0])


def contents(run: Path) -> dict[str, bytes]:
    """Returns the content of the files of a run, but for those that each process renews."""
    paths = [path for path in run.rglob("*") if path.is_file() and "logs" not in path.parts]
    return {str(path): path.read_bytes() for path in paths if path.name != ".lock" and "-" not in path.name}


def result(run: Path) -> Any:
    """Returns what must be equal: the weights of all networks, the history and the metrics."""
    import tfseg

    done = tfseg.Run(run)
    names = ("model.keras", "last.keras", "average.keras")
    weights = [weight.tobytes() for name in names for weight in done.model(name).get_weights()]
    average = json.loads((run / "average.json").read_text())
    return weights, [{**row, "seconds": 0} for row in done.history], done.metrics, average


def kills(trainings: Trainings, count: int) -> Iterator[tuple[str, str]]:
    """Yields the kind and the outcome of each try."""
    kinds = ["in a step", "before a file is replaced", "after a file is replaced", "in a state file", "in the first"]
    for number in range(count):
        kind, run = kinds[number % len(kinds)], trainings.run("killed")
        if kind == "in a step":
            process = trainings.start(run)
            while process.poll() is None and not any((run / "state").glob("*.npz")):
                time.sleep(0.01)
            time.sleep(trainings.draw.uniform(0, 0.3 * trainings.seconds))
            process.send_signal(signal.SIGKILL)
        elif kind in ("in a state file", "in the first"):
            process = trainings.start(run, "half", 1 if kind == "in the first" else trainings.draw.randint(2, 9))
        else:
            how = kind.split()[0]
            process = trainings.start(run, how, trainings.draw.randint(1, trainings.replaced))
        trainings.ended(process)
        yield f"SIGKILL {kind}", trainings.outcome(run)


def damage(trainings: Trainings) -> Iterator[tuple[str, str]]:
    """Yields the file and the outcome of each kind of damage to it, in a run that was killed in its last epoch."""
    unfinished = trainings.run("unfinished")
    trainings.ended(trainings.start(unfinished, "half", 11))
    states = sorted(
        (path.name for path in (unfinished / "state").glob("[0-9]*.npz")), key=lambda n: int(n.split("-")[0])
    )
    files = {f"state/{name}": f"state, {kind}" for name, kind in zip(states, ("older", "newest"), strict=True)}
    for name in ("pipeline.yaml", "labels.json", "history.csv", "history.png", "last.keras", "model.keras"):
        files[name] = name
    for name in (path.name for path in (unfinished / "checkpoints").glob("*.keras")):
        files[f"checkpoints/{name}"] = "checkpoints/*.keras"
    for name, kind in files.items():
        for change in DAMAGES.values():
            run = trainings.run("damaged")
            shutil.copytree(unfinished, run)
            change(run / name, trainings.draw)
            yield f"damage to {kind}", trainings.outcome(run)


def disk(trainings: Trainings) -> Iterator[tuple[str, str]]:
    """Yields the outcome of a full disk at each replacement of a file."""
    for number in range(1, trainings.replaced + 1):
        run = trainings.run("full")
        code, _, err = trainings.ended(trainings.start(run, "full", number))
        stopped = code == 1 and "No space left on device" in err and "Traceback" not in err
        yield "full disk", trainings.outcome(run) if stopped else f"NOT IN WORDS {code} {err[-300:]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--only", nargs="+", choices=("kills", "damage", "disk"), default=("kills", "damage", "disk"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    trainings = Trainings(options.output, options.seed)
    tries = {
        "kills": lambda: kills(trainings, options.kills),
        "damage": lambda: damage(trainings),
        "disk": lambda: disk(trainings),
    }
    counts: dict[str, Counter[str]] = {}
    for name in options.only:
        for kind, outcome in tries[name]():
            counts.setdefault(kind, Counter())[outcome] += 1
            if outcome not in ("equal", "refused"):
                print(f"{kind}: {outcome}", flush=True)
    print("| what | tries | equal | refused with a message | losses |\n|---|---|---|---|---|")
    for kind, found in counts.items():
        total, equal, refused = found.total(), found["equal"], found["refused"]
        print(f"| {kind} | {total} | {equal} | {refused} | {total - equal - refused} |")


if __name__ == "__main__":
    main()
