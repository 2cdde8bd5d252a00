"""The pipeline files that come with tfseg."""

import os
from pathlib import Path

_PLACES = (Path(__file__).parent / "pipelines", Path(__file__).parent.parent / "pipelines")
SHIPPED = next((place for place in _PLACES if place.is_dir()), _PLACES[0])
"""Where they lie: inside an installed package, beside the sources of a checkout."""


def find(path: str | os.PathLike[str]) -> Path:
    """The file itself, or the shipped pipeline of that bare name."""
    path = Path(path)
    shipped = SHIPPED / f"{path}.yaml"
    return shipped if not path.exists() and path.name == str(path) and shipped.is_file() else path


def shipped() -> tuple[Path, ...]:
    """The pipeline files that come with tfseg, by name."""
    return tuple(sorted(SHIPPED.glob("*.yaml")))


def headline(file: Path) -> str:
    """What the first comment of a pipeline file says about it."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return next((line.lstrip("# ") for line in lines if line.startswith("#")), "")
