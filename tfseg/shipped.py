"""Pipeline files that are shipped with tfseg."""

import difflib
import os
from itertools import takewhile
from pathlib import Path

from tfseg.spec.docstrings import first_sentence
from tfseg.spec.problems import Problem, SpecError

_FOLDERS = (Path(__file__).parent / "pipelines", Path(__file__).parent.parent / "pipelines")
SHIPPED = next((folder for folder in _FOLDERS if folder.is_dir()), _FOLDERS[0])
"""Folder of the shipped pipelines: inside an installed package, or next to the sources of a checkout."""


def find(path: str | os.PathLike[str]) -> Path:
    """Returns the shipped pipeline of the bare name `path` if no such file exists, otherwise `path`."""
    path = Path(path)
    shipped = SHIPPED / f"{path}.yaml"
    return shipped if not path.exists() and path.name == str(path) and shipped.is_file() else path


def check_named(path: str | os.PathLike[str]) -> None:
    """Raises SpecError, with similar names, if a bare name is neither a file nor a shipped pipeline."""
    path = Path(path)
    if find(path).exists() or path.name != str(path) or path.suffix or os.path.lexists(path):
        return
    names = [file.stem for file in shipped()]
    near = difflib.get_close_matches(path.name, names, n=1) or [each for each in names if path.name in each][:3]
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    message = f"neither a file nor a shipped pipeline; `tfseg list` lists them.{hint}"
    raise SpecError([Problem(str(path), "", message)])


def shipped() -> tuple[Path, ...]:
    """Returns the paths of the shipped pipelines, sorted by name."""
    return tuple(sorted(SHIPPED.glob("*.yaml")))


def headline(file: Path) -> str:
    """Returns the first sentence of a pipeline file's header."""
    lines = file.read_text(encoding="utf-8").splitlines()
    header = takewhile(lambda line: line.startswith("#"), lines)
    return first_sentence("\n".join(line.lstrip("# ") for line in header))
