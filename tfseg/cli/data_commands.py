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


@verb(data, "show")
@file_and_overrides
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("sheet.png"),
    show_default=True,
    help="PNG or JPEG file to write.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@click.option("--count", type=click.IntRange(1, 500), default=12, show_default=True, help="Maximum number of examples.")
@click.option("--epoch", type=click.IntRange(0), default=0, show_default=True, help="Training epoch, from 0.")
@click.option("--columns", type=click.IntRange(1, 50), default=3, show_default=True, help="Examples per row.")
@click.option(
    "--split", help="Show whole images of this split, as in evaluation. Default: augmented training examples."
)
@allow_plugins
def show_data(
    console: Console,
    words: Sequence[str],
    output: Path,
    overwrite: bool,
    count: int,
    epoch: int,
    columns: int,
    split: str | None,
    allow_plugins: bool,
) -> None:
    """Write a contact sheet of training examples with their masks.

    Shows what training gets: crops, boxes, augmentation and mixed examples. Each example is the image, and the mask
    over the image with the colors of the legend. Ignored pixels are hatched.
    """
    from tfseg.data.show import check_output, contact_sheet
    from tfseg.images.overlay import write_image
    from tfseg.pipeline import load

    file, overrides = one(words)
    pipeline = load(file, overrides, allow_plugins=allow_plugins)
    check_output(output, overwrite=overwrite)
    opened = pipeline.data.open(pipeline.labels, pipeline.seed)
    opacity = pipeline.inference.opacity
    sheet = contact_sheet(opened, count=count, epoch=epoch, columns=columns, split=split, opacity=opacity)
    write_image(output, sheet)
    console.echo(f"Contact sheet saved to {output}")
