"""The command line: verbs that parse, call `tfseg.run` and print. Nothing is decided here.

A verb imports its work when it is called: TensorFlow takes seconds to load, and `tfseg --help` must not.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import indent
from typing import Any

import click
import yaml

from tfseg import __version__
from tfseg.errors import TfsegError
from tfseg.shell import Manner, flags, run, verb

MEANS = ("miou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou")
OVERRIDE = re.compile(r"[A-Za-z_]\w*(\.\w+)*=")


def main(arguments: Sequence[str] | None = None) -> int:
    """The entry point `tfseg`."""
    return run(tfseg, arguments)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tfseg", message="%(prog)s %(version)s")
@flags
def tfseg() -> None:
    """Semantic segmentation from one YAML file: train, evaluate, predict, export.

    FILE is a pipeline file or the bare name of a shipped one (`tfseg list` names them). KEY=VALUE changes a field of
    the file, for example model.backbone.output_stride=8.
    """


files_and_overrides = click.argument("words", metavar="FILE... [KEY=VALUE]...", nargs=-1, required=True)
file_and_overrides = click.argument("words", metavar="FILE [KEY=VALUE]...", nargs=-1, required=True)
allow_plugins = click.option("--allow-plugins", is_flag=True, help="Import the modules that FILE names as plugins.")


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Files and overrides, which may stand in any order; an existing file is one, whatever its name."""
    overrides = [word for word in words if OVERRIDE.match(word) and not Path(word).exists()]
    return [word for word in words if word not in overrides], overrides


def _one(words: Sequence[str]) -> tuple[str, list[str]]:
    files, overrides = _split(words)
    if len(files) != 1:
        raise click.UsageError(f"Expected one FILE. Received: {' '.join(files) or 'none'}")
    return files[0], overrides


def _measured(report: Mapping[str, Any]) -> str:
    means = {name: f"{report[name]:.4f}" for name in MEANS} | _at_boundaries(report["boundary"])
    classes = {name: "absent" if iou is None else f"{iou:.4f}" for name, iou in report["per_class"].items()}
    return "\n".join([f"{report['split']}: {report['images']} images", *_table(means), "IoU", *_table(classes)])


def _at_boundaries(figures: Mapping[str, Any]) -> dict[str, str]:
    (near, low), *_, (far, high) = figures["trimap_miou"].items()
    return {
        "boundary_iou": f"{figures['iou']:.4f}",
        "trimap_miou": f"{low:.4f} within {near} pixel, {high:.4f} within {far}",
    }


def _table(lines: Mapping[str, str]) -> list[str]:
    width = max(map(len, lines), default=0)
    return [f"  {name:<{width}}  {text}".rstrip() for name, text in lines.items()]


@verb(tfseg, "check")
@files_and_overrides
@allow_plugins
def check(manner: Manner, words: Sequence[str], allow_plugins: bool) -> int:
    """Validate files and build their networks symbolically."""
    from tfseg.pipeline import load

    files, overrides = _split(words)
    if not files:
        raise click.UsageError(f"Expected at least one FILE. Received: {' '.join(words)}")
    worst = 0
    for file in files:
        try:
            description = load(file, overrides, allow_plugins=allow_plugins).describe()
        except TfsegError as error:
            if manner.debug:
                raise
            click.echo(str(error), err=True)
            worst = max(worst, error.exit_code)
        else:
            manner.say(f"{file}: good\n{indent(str(description), '  ')}")
    return worst


@verb(tfseg, "show")
@file_and_overrides
@allow_plugins
def show(_: Manner, words: Sequence[str], allow_plugins: bool) -> None:
    """Print the resolved file, defaults included; feeding it back gives the same pipeline."""
    from tfseg.pipeline import load
    from tfseg.spec.show import dump

    file, overrides = _one(words)
    click.echo(dump(load(file, overrides, allow_plugins=allow_plugins)), nl=False)


@verb(tfseg, "schema")
def schema(_: Manner) -> None:
    """Print the JSON Schema of a pipeline file, for editors."""
    from tfseg.pipeline import Pipeline
    from tfseg.spec.schema import json_schema

    click.echo(json.dumps(json_schema(Pipeline), indent=2, ensure_ascii=False))


@verb(tfseg, "list")
def list_(_: Manner) -> None:
    """List the components of every slot and the shipped pipelines, one line each."""
    from tfseg.catalogue import components, headline
    from tfseg.pipeline import shipped

    pipelines = {file.stem: headline(file) for file in shipped()}
    for title, lines in {**components(), "pipelines": pipelines}.items():
        click.echo("\n".join([title, *_table(lines)]))


@verb(tfseg, "fit")
@file_and_overrides
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where the run is written. Default: runs/<name>.")
@click.option("--resume", is_flag=True, help="Continue an unfinished run.")
@click.option("--overwrite", is_flag=True, help="Delete what an earlier run left there.")
@allow_plugins
def fit(
    manner: Manner, words: Sequence[str], run_dir: Path | None, resume: bool, overwrite: bool, allow_plugins: bool
) -> None:
    """Train a network and evaluate the best of its epochs."""
    from tfseg.pipeline import load
    from tfseg.run import fit

    file, overrides = _one(words)
    pipeline = load(file, overrides, allow_plugins=allow_plugins)
    folder = run_dir or Path("runs") / pipeline.name
    done = fit(pipeline, folder, resume=resume, overwrite=overwrite, verbose=not manner.quiet)
    manner.say(f"{_measured(done.metrics[pipeline.data.validation_split])}\nThe run lies in {done.folder}")


@verb(tfseg, "import")
@click.argument("words", metavar="FILE WEIGHTS [KEY=VALUE]...", nargs=-1, required=True)
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where the run is written. Default: runs/<name>.")
@click.option("--overwrite", is_flag=True, help="Delete what an earlier run left there.")
@allow_plugins
def import_(manner: Manner, words: Sequence[str], run_dir: Path | None, overwrite: bool, allow_plugins: bool) -> None:
    """Make a run of FILE's network from WEIGHTS that were trained elsewhere.

    WEIGHTS is an .npz of named arrays, a .tflite or .keras file, or a TensorFlow checkpoint; names may be those of
    TF-slim, of Model Garden, of keras.applications or of the network itself.
    """
    from tfseg.importing import import_weights
    from tfseg.pipeline import load

    files, overrides = _split(words)
    if len(files) != 2:
        raise click.UsageError(f"Expected FILE and WEIGHTS. Received: {' '.join(files) or 'none'}")
    pipeline = load(files[0], overrides, allow_plugins=allow_plugins)
    folder = run_dir or Path("runs") / pipeline.name
    report = import_weights(pipeline, files[1], folder, overwrite=overwrite)
    manner.say(f"{report}\nThe run lies in {folder}")


@verb(tfseg, "evaluate")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--split", help="The split to measure on. Default: the one that validated the training.")
@click.option("--pipeline", metavar="FILE", help="Whose data to measure on. Default: the run's own pipeline.")
@click.option("--output", type=click.Path(path_type=Path), help="Write the metrics to this file as well, as JSON.")
@allow_plugins
def evaluate(
    manner: Manner, model: Path, split: str | None, pipeline: str | None, output: Path | None, allow_plugins: bool
) -> None:
    """Measure MODEL at the images' own size.

    MODEL is a run, a .keras file, a SavedModel or a .tflite file; all but a run need --pipeline.
    """
    from tfseg.pipeline import load
    from tfseg.run import evaluate

    data = load(pipeline, allow_plugins=allow_plugins) if pipeline else None
    report = evaluate(model, split, pipeline=data, output=output, allow_plugins=allow_plugins, verbose=not manner.quiet)
    manner.say(_measured(report))


@verb(tfseg, "predict")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="IMAGE...")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The folder for the masks.")
@click.option("--overlay", is_flag=True, help="Write each mask over its image as well.")
@allow_plugins
def predict(
    manner: Manner, model: Path, images: Sequence[Path], output: Path, overlay: bool, allow_plugins: bool
) -> None:
    """Write the mask of each IMAGE as an index PNG with palette.

    MODEL is a run, a .keras file, a SavedModel or a .tflite file.
    """
    from tfseg.run import predict

    for path in predict(model, images, output, overlay=overlay, allow_plugins=allow_plugins):
        manner.say(str(path))


@verb(tfseg, "export")
@click.argument("words", metavar="RUN [KEY=VALUE]...", nargs=-1, required=True)
@click.option("--output", type=click.Path(path_type=Path), default=Path("saved_models"), show_default=True)
@allow_plugins
def export(manner: Manner, words: Sequence[str], output: Path, allow_plugins: bool) -> None:
    """Write a SavedModel and a TFLite file, each checked against the Keras model before it is left in place."""
    from tfseg.run import export

    folder, overrides = _one(words)
    manner.say(str(export(folder, output, overrides, allow_plugins=allow_plugins)))


@tfseg.group()
def data() -> None:
    """Look at the data of FILE before training on them."""


@verb(data, "check")
@file_and_overrides
@allow_plugins
def check_data(manner: Manner, words: Sequence[str], allow_plugins: bool) -> int:
    """Read every example of the training and the validation split and report what is wrong."""
    from tfseg.data.inspect import check
    from tfseg.pipeline import load

    file, overrides = _one(words)
    pipeline = load(file, overrides, allow_plugins=allow_plugins)
    faults = check(pipeline.data, pipeline.labels)
    for fault in faults:
        click.echo(fault, err=True)
    manner.say(f"{file}: {len(faults) or 'no'} fault{'' if len(faults) == 1 else 's'}")
    return 1 if faults else 0


@verb(data, "stats")
@file_and_overrides
@allow_plugins
def data_statistics(_: Manner, words: Sequence[str], allow_plugins: bool) -> None:
    """Print classes, sizes and channel statistics of the training and the validation split, as YAML."""
    from tfseg.data.inspect import statistics
    from tfseg.pipeline import load

    file, overrides = _one(words)
    pipeline = load(file, overrides, allow_plugins=allow_plugins)
    click.echo(
        yaml.safe_dump(statistics(pipeline.data, pipeline.labels), sort_keys=False, allow_unicode=True), nl=False
    )


@verb(data, "bench")
@file_and_overrides
@allow_plugins
def bench_data(_: Manner, words: Sequence[str], allow_plugins: bool) -> None:
    """Measure the images per second of the training input up to each of its stages."""
    from tfseg.data.inspect import bench
    from tfseg.pipeline import load

    file, overrides = _one(words)
    pipeline = load(file, overrides, allow_plugins=allow_plugins)
    rates = bench(pipeline.data, pipeline.labels)
    click.echo("\n".join(["images per second", *_table({stage: f"{rate:.0f}" for stage, rate in rates.items()})]))
