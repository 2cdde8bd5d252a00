"""Options of `tfseg data convert FILE --to tfrecord`, which writes a dataset as TFRecord files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from tfseg.cli.arguments import allow_plugins, one
from tfseg.cli.console import Console

RECORD_OPTIONS = ("shards", "splits", "resume", "allow_plugins")
"""Names of the options that `record_options` adds."""


def record_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of the conversion to TFRecord files to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS = (
    click.option("--shards", type=click.IntRange(1, 99999), help="Files per split. Default: one per 1000 images."),
    click.option("--split", "splits", metavar="NAME", multiple=True, help="Split to convert; may be repeated."),
    click.option("--resume", is_flag=True, help="Continue an interrupted conversion of the same data."),
    allow_plugins,
)


def convert_dataset(
    console: Console,
    words: Sequence[str],
    *,
    output: Path,
    overwrite: bool,
    shards: int | None,
    splits: Sequence[str],
    resume: bool,
    allow_plugins: bool,
) -> None:
    """Converts the dataset of a pipeline file, with overrides, and prints the path of the new pipeline file."""
    from tfseg.pipeline import load
    from tfseg.runs.convert import convert

    file, overrides = one(words)
    written = convert(
        load(file, overrides, allow_plugins=allow_plugins),
        output,
        splits=splits,
        shards=shards,
        overwrite=overwrite,
        resume=resume,
        verbose=not console.quiet,
    )
    console.echo(f"Pipeline saved to {written}")
