"""What a training writes into its run directory, by name."""

import re
from pathlib import Path

BEST, LAST = "model.keras", "last.keras"
"""The networks a training leaves: the one that was best in validation, and the last one."""
HISTORY = "history.csv"
LOGS, STATE = "logs", "state"
STATE_FILE = re.compile(r"(\d+)-([0-9a-f]{16})\.npz")
"""The optimizer's step, and the first digits of the file's SHA-256."""


def states(folder: Path) -> list[Path]:
    """The state files of a run directory, newest first."""
    found = [(STATE_FILE.fullmatch(path.name), path) for path in (Path(folder) / STATE).glob("*.npz")]
    steps = [(int(match[1]), path.lstat().st_mtime_ns, path) for match, path in found if match]
    return [path for *_, path in sorted(steps, reverse=True)]
