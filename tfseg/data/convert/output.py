"""Output folder of a conversion: an earlier conversion in it is continued or replaced; other files are kept."""

import json
from pathlib import Path
from typing import Any

from tfseg.atomic import check_writable, remove, sweep, write_text
from tfseg.errors import RunError

CONVERSION = "conversion.json"
"""Name of the file that identifies a conversion: its files and a hash of its input."""
FILES = "files"
"""Key of its list of files."""


def prepare(folder: Path, conversion: dict[str, Any], *, overwrite: bool, resume: bool) -> None:
    """Makes a folder ready for the files of a conversion, and writes `conversion.json`.

    Args:
        folder: Path of the folder; created if it does not exist.
        conversion: Values that are equal if and only if a conversion writes the same files, as plain values; among them
            `files`, the names of its files.
        overwrite: Boolean, whether to delete the files of an earlier conversion.
        resume: Boolean, whether to keep the files of an earlier conversion, which must be equal.

    Raises:
        RunError: If the folder cannot be written, contains other files, or contains an earlier conversion and neither
            `overwrite` nor `resume` applies.
    """
    check_writable(folder / CONVERSION)
    earlier = _earlier(folder)
    if earlier is None:
        if others := sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")):
            raise RunError(
                f"{folder}: is not empty and not a conversion: it contains {others[0]}. Choose another --output."
            )
    elif overwrite:
        for name in earlier[FILES]:
            remove(folder / Path(name).name)
    elif not resume:
        raise RunError(
            f"{folder}: contains an earlier conversion. Continue it with --resume, replace it with --overwrite, or "
            "choose another --output."
        )
    elif earlier != conversion:
        raise RunError(
            f"{folder}: contains a conversion of other data, or with other options. Replace it with --overwrite, or "
            "choose another --output."
        )
    sweep(folder, (CONVERSION, *conversion[FILES]))
    write_text(folder / CONVERSION, json.dumps(conversion, indent=2, ensure_ascii=True) + "\n")


def _earlier(folder: Path) -> dict[str, Any] | None:
    """Returns the values of the earlier conversion in a folder, if there is one."""
    try:
        found = json.loads((folder / CONVERSION).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    names = found.get(FILES) if isinstance(found, dict) else None
    return found if isinstance(names, list) and all(isinstance(name, str) for name in names) else None
