"""Components and shipped pipelines, printed without importing TensorFlow."""

import json
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import click

from tfseg.shipped import headline, shipped

CATALOGUE = Path(__file__).with_name("catalogue.json")
"""File that `.ci/write_catalogue` writes from the specs; a test compares the two."""


def catalogue() -> dict[str, dict[str, str]]:
    """Returns the components of every slot with a sentence about each, and the shipped pipelines."""
    components: dict[str, dict[str, str]] = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    return {**components, "pipelines": {file.stem: headline(file) for file in shipped()}}


def components_of(slots: Sequence[str]) -> dict[str, dict[str, str]]:
    """Returns the entries of the given slots, or all entries if `slots` is empty.

    Raises:
        UsageError: If a slot does not exist.
    """
    known = catalogue()
    for slot in slots:
        if slot not in known:
            near = get_close_matches(slot, known, n=1)
            hint = f' Did you mean "{near[0]}"?' if near else ""
            raise click.UsageError(f'Expected one of {", ".join(known)}. Received: "{slot}".{hint}')
    return {slot: known[slot] for slot in slots} if slots else known
