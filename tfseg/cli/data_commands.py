"""Commands of `tfseg data`; like those of `tfseg.cli.commands` they parse, call and print."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml

from tfseg.cli.annotation_options import annotation_options, convert_annotations
from tfseg.cli.arguments import allow_plugins, file_and_overrides, one
from tfseg.cli.console import Console, verb
from tfseg.cli.formatting import table

if TYPE_CHECKING:
    from tfseg.data import Dataset


@click.group()
def data() -> None:
    """Inspect the dataset of FILE before training."""


def _opened(words: Sequence[str], allow_plugins: bool) -> "Dataset":
    from tfseg.pipeline import load

    file, overrides = one(words)
    pipeline = load(file, overrides, allow_plugins=allow_plugins)
    return pipeline.data.open(pipeline.labels, pipeline.seed)


@verb(data, "check")
@file_and_overrides
@allow_plugins
def check_data(console: Console, words: Sequence[str], allow_plugins: bool) -> int:
    """Check every example of the training and validation splits.

    Exits with code 1 if there are problems; warnings alone exit with 0.
    """
    from tfseg.data.check import check, errors_in

    found = check(_opened(words, allow_plugins))
    for each in found:
        click.echo(each, err=True)
    count = len(errors_in(found))
    warned = f", {len(found) - count} warning" + "s" * (len(found) - count > 1) if len(found) > count else ""
    console.echo(f"{one(words)[0]}: {count or 'no'} problem{'' if count == 1 else 's'}{warned}")
    return 1 if count else 0


@verb(data, "stats")
@file_and_overrides
@allow_plugins
def data_statistics(_: Console, words: Sequence[str], allow_plugins: bool) -> None:
    """Print class, size and channel statistics as YAML.

    Covers the training and the validation split.
    """
    from tfseg.data.statistics import statistics

    values = statistics(_opened(words, allow_plugins))
    click.echo(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), nl=False)


@verb(data, "bench")
@file_and_overrides
@allow_plugins
def bench_data(_: Console, words: Sequence[str], allow_plugins: bool) -> None:
    """Measure the throughput of the training input pipeline.

    Prints the images per second after each transformation: read, decode, augment, batch.
    """
    from tfseg.data.benchmark import bench

    rates = bench(_opened(words, allow_plugins))
    click.echo("\n".join(["images per second", *table({stage: f"{rate:.0f}" for stage, rate in rates.items()})]))


@verb(data, "convert")
@click.argument("annotations")
@annotation_options
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier conversion in the output folder.")
def convert_data(
    console: Console, annotations: str, kind: str | None, output: Path, overwrite: bool, **options: Any
) -> None:
    """Convert ANNOTATIONS to masks and a pipeline file.

    ANNOTATIONS is a file or a folder of the format; for tfds and huggingface it is the name or the folder of a dataset.
    Writes the palette (indexed) PNG of every image to OUTPUT/masks, and OUTPUT/pipeline.yaml.
    """
    if kind is None:
        raise click.UsageError("Expected the format of the annotations: --from FORMAT")
    convert_annotations(console, kind, annotations, output=output, overwrite=overwrite, **options)
