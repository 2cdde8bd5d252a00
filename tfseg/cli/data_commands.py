"""Commands of `tfseg data`; like those of `tfseg.cli.commands` they parse, call and print."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
import yaml

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
@click.argument("words", metavar="FILE [KEY=VALUE]...", nargs=-1)
@click.option("--to", "target", type=click.Choice(["tfrecord"]), help="Format to write.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@click.option("--shards", type=click.IntRange(1, 99999), help="Files per split. Default: one per 1000 images.")
@click.option("--split", "splits", metavar="NAME", multiple=True, help="Split to convert; may be repeated.")
@click.option("--resume", is_flag=True, help="Continue an interrupted conversion of the same data.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier conversion.")
@allow_plugins
def convert_data(
    console: Console,
    words: Sequence[str],
    target: str | None,
    output: Path,
    shards: int | None,
    splits: Sequence[str],
    resume: bool,
    overwrite: bool,
    allow_plugins: bool,
) -> None:
    """Convert the dataset of FILE to TFRecord files.

    Writes all splits, and pipeline.yaml, which reads them, to the output folder.
    """
    from tfseg.pipeline import load
    from tfseg.runs.convert import convert

    if target is None:
        raise click.UsageError("Expected the format to write: --to tfrecord.")
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
