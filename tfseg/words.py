"""What is written after a verb: files, overrides and ranges."""

import re
from collections.abc import Sequence
from pathlib import Path

import click

RANGE = "NAME=FIRST:LAST:STEP"
QUOTED = r'"(?:[^"\\]|\\.)*"'
OVERRIDE = re.compile(rf"(?:[A-Za-z_]\w*|{QUOTED})(?:\.(?:\w+|{QUOTED}))*=")
"""Keys joined by dots; one with other signs in it stands in quotes."""

files_and_overrides = click.argument("words", metavar="FILE... [KEY=VALUE]...", nargs=-1, required=True)
file_and_overrides = click.argument("words", metavar="FILE [KEY=VALUE]...", nargs=-1, required=True)
how_used = click.option(
    "--inference", metavar="FILE", help="The pipeline file whose `inference` says how MODEL is used. Default: its own."
)
allow_plugins = click.option("--allow-plugins", is_flag=True, help="Import the modules that FILE names as plugins.")


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Files and overrides, which may stand in any order; an existing file is one, whatever its name."""
    overrides = [word for word in words if OVERRIDE.match(word) and not Path(word).exists()]
    return [word for word in words if word not in overrides], overrides


def one(words: Sequence[str], kind: str = "FILE") -> tuple[str, list[str]]:
    """One file, or one model that is trained already, and overrides."""
    files, overrides = split(words)
    if len(files) != 1:
        raise click.UsageError(f"Expected one {kind}. Received: {' '.join(files) or 'none'}")
    if kind == "MODEL" and (fixed := [each for each in overrides if each.startswith(("model", "training"))]):
        raise click.UsageError(f"MODEL is trained already; expected fields of data or inference. Received: {fixed[0]}")
    return files[0], overrides


def range_of(text: str) -> tuple[str, tuple[float, float, float]]:
    """`theta_alpha=30:100:10` or `theta_alpha=50` as a name, and first value, last value and step."""
    name, _, values = text.partition("=")
    try:
        first, *rest = map(float, values.split(":"))
        last, step = rest or (first, 0.0)
    except ValueError:
        raise click.BadParameter(f"Expected {RANGE} or NAME=VALUE. Received: {text}", param_hint="--range") from None
    return name, (first, last, step)
