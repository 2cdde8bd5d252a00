"""Names of the files that a training writes to its run directory."""

import re
from pathlib import Path

BEST, LAST = "model.keras", "last.keras"
"""Checkpoints: the best network in validation, and the last one."""
HISTORY, CURVES = "history.csv", "history.png"
AVERAGE, AVERAGE_REPORT = "average.keras", "average.json"
"""Average of the last networks, and its metrics."""
LOGS, STATE, CHECKPOINTS = "logs", "state", "checkpoints"
STATE_FILE = re.compile(r"(\d+)-([0-9a-f]{16})\.npz")
"""Name of a state file: the optimizer step and the first digits of the file's SHA-256."""


def states(folder: Path) -> list[Path]:
    """Returns the state files of a run directory, newest first."""
    matches = [(STATE_FILE.fullmatch(path.name), path) for path in (Path(folder) / STATE).glob("*.npz")]
    steps = [(int(match[1]), path.lstat().st_mtime_ns, path) for match, path in matches if match]
    return [path for *_, path in sorted(steps, reverse=True)]


def checkpoints(folder: Path) -> dict[int, Path]:
    """Returns the networks in `checkpoints/` of a run directory by epoch, in ascending order."""
    names = [path for path in (Path(folder) / CHECKPOINTS).glob("*.keras") if path.stem.isdecimal()]
    return dict(sorted((int(path.stem), path) for path in names))
