"""What there is to choose from: the components of every slot, and the shipped pipelines."""

import inspect
from pathlib import Path

from tfseg.pipeline import Pipeline
from tfseg.spec.declare import type_name
from tfseg.spec.slots import slots


def components() -> dict[str, dict[str, str]]:
    """Every slot of a pipeline file, with the types that may stand there and a line about each."""
    return {
        slot: {type_name(choice): (inspect.getdoc(choice) or "").split("\n", 1)[0] for choice in choices}
        for slot, choices in slots(Pipeline).items()
    }


def headline(file: Path) -> str:
    """What the first comment of a pipeline file says about it."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return next((line.lstrip("# ") for line in lines if line.startswith("#")), "")
