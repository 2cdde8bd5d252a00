"""What there is to choose from, without the seconds that it takes to import it."""

import json
from pathlib import Path

from tfseg.shipped import headline, shipped

CATALOGUE = Path(__file__).with_name("catalogue.json")
"""Written by `.ci/write_catalogue` from the specs; a test holds it against them."""


def catalogue() -> dict[str, dict[str, str]]:
    """Every slot of a pipeline file, with the types that may stand there and a line about each; then the shipped
    pipelines."""
    components: dict[str, dict[str, str]] = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    return {**components, "pipelines": {file.stem: headline(file) for file in shipped()}}
