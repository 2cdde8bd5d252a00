"""Commands of `tfseg data`; like those of `tfseg.cli.commands` they parse, call and print."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml
from click.core import ParameterSource

from tfseg.cli.annotation_options import annotation_options, convert_annotations
from tfseg.cli.arguments import allow_plugins, file_and_overrides, one
from tfseg.cli.console import Console, verb
from tfseg.cli.formatting import table
from tfseg.cli.record_options import RECORD_OPTIONS, convert_dataset, record_options
from tfseg.errors import printable

if TYPE_CHECKING:
    from tfseg.data import Dataset
    from tfseg.pipeline import Pipeline


@click.group()
def data() -> None:
    """Inspect the dataset of FILE before training."""


def _loaded(words: Sequence[str], allow_plugins: bool) -> "Pipeline":
    from tfseg.pipeline import load

    file, overrides = one(words)
    return load(file, overrides, allow_plugins=allow_plugins)


def _opened(pipeline: "Pipeline") -> "Dataset":
    """Opens the dataset as training does, without the examples that `data.on_error: skip` leaves out."""
    from tfseg.runs.skipped import find_skipped

    skipped = {} if pipeline.data.on_error == "raise" else find_skipped(pipeline, lambda count: lambda: None)
    return pipeline.data.open(pipeline.labels, pipeline.seed, skipped)


@verb(data, "check")
@file_and_overrides
@click.option("--json", "json_", type=click.Path(path_type=Path), help="Also write findings and statistics as JSON.")
@click.option("--sheet", type=click.Path(path_type=Path), help="Also write a PNG with the examples of the findings.")
@allow_plugins
def check_data(
    console: Console, words: Sequence[str], json_: Path | None, sheet: Path | None, allow_plugins: bool
) -> int:
    """Check every example of the training and validation splits.

    Exits with code 1 if there are problems; warnings alone exit with 0. Proposed settings are printed as YAML, to be
    merged into FILE.
    """
    from tfseg.data.doctor import as_yaml
    from tfseg.runs.check_data import check_data

    report = check_data(_loaded(words, allow_plugins), json_=json_, sheet=sheet, verbose=not console.quiet)
    for each in report.findings:
        prefix = "warning: " if each.level == "warning" else ""
        if not prefix or not console.quiet:
            click.echo(printable(prefix + each.message), err=True)
    errors, warned = len(report.errors), len(report.warnings)
    more = f", {warned} warning" + "s" * (warned > 1) if warned else ""
    console.echo(f"{one(words)[0]}: {errors or 'no'} problem{'' if errors == 1 else 's'}{more}")
    if report.proposals:
        console.echo(f"proposed settings, as YAML:\n{as_yaml(report.proposals)}")
    return 1 if errors else 0


@verb(data, "stats")
@file_and_overrides
@allow_plugins
def data_statistics(_: Console, words: Sequence[str], allow_plugins: bool) -> None:
    """Print class, size and channel statistics as YAML.

    Covers the training and the validation split.
    """
    from tfseg.data.statistics import statistics

    values = statistics(_opened(_loaded(words, allow_plugins)))
    click.echo(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), nl=False)


@verb(data, "bench")
@file_and_overrides
@allow_plugins
def bench_data(_: Console, words: Sequence[str], allow_plugins: bool) -> None:
    """Measure the throughput of the training input pipeline.

    Prints the images per second after each transformation: read, decode, augment, batch.
    """
    from tfseg.data.benchmark import bench

    rates = bench(_opened(_loaded(words, allow_plugins)))
    click.echo("\n".join(["images per second", *table({stage: f"{rate:.0f}" for stage, rate in rates.items()})]))


@verb(data, "convert")
@click.argument("words", metavar="FILE|ANNOTATIONS [KEY=VALUE]...", nargs=-1)
@click.option("--to", "target", type=click.Choice(["tfrecord"]), help="Format to convert the dataset of FILE to.")
@record_options
@annotation_options
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier conversion in the output folder.")
@click.pass_context
def convert_data(
    context: click.Context,
    console: Console,
    words: Sequence[str],
    target: str | None,
    kind: str | None,
    output: Path,
    overwrite: bool,
    **options: Any,
) -> None:
    """Convert the dataset of FILE to TFRecord files, or ANNOTATIONS to masks.

    With --to tfrecord, writes all splits of the dataset, and pipeline.yaml, which reads them, to the output folder.

    With --from FORMAT, ANNOTATIONS is a file or a folder of the format; for tfds and huggingface it is the name or the
    folder of a dataset. Writes the palette (indexed) PNG of every image to OUTPUT/masks, and OUTPUT/pipeline.yaml.
    """
    if (target is None) == (kind is None):
        raise click.UsageError("Expected either --to tfrecord, for a dataset, or --from FORMAT, for annotations.")
    given = {name for name in options if context.get_parameter_source(name) is not ParameterSource.DEFAULT}
    records = {name: options.pop(name) for name in RECORD_OPTIONS}
    unused = sorted(given & (options.keys() if target else records.keys()))
    if unused:
        option, needed = unused[0].replace("_", "-"), "--from FORMAT" if target else "--to tfrecord"
        raise click.UsageError(f"--{'split' if option == 'splits' else option} applies to {needed} only. Remove it.")
    if kind is None:
        convert_dataset(console, words, output=output, overwrite=overwrite, **records)
    else:
        convert_annotations(console, kind, one(words)[0], output=output, overwrite=overwrite, **options)


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
@click.option(
    "--epoch", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Training epoch, from 0."
)
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

    pipeline = _loaded(words, allow_plugins)
    check_output(output, overwrite=overwrite)
    opacity = pipeline.inference.opacity
    opened = _opened(pipeline)
    sheet = contact_sheet(opened, count=count, epoch=epoch, columns=columns, split=split, opacity=opacity)
    write_image(output, sheet)
    console.echo(f"Contact sheet saved to {output}")
