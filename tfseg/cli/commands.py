"""Commands of `tfseg`: they parse arguments, call `tfseg.runs` and print the results.

Each command imports its implementation when called: TensorFlow takes seconds to load, and `tfseg --help` must not.
"""

import gc
import json
from collections.abc import Sequence
from pathlib import Path
from textwrap import indent
from typing import Any

import click

from tfseg.cli.arguments import (
    RANGE,
    Commands,
    allow_plugins,
    comparison_images,
    export_folder,
    file_and_overrides,
    files_and_overrides,
    inference_option,
    one,
    parse_range,
    split,
)
from tfseg.cli.console import Console, flags, run, verb
from tfseg.cli.data_commands import data
from tfseg.cli.formatting import format_metrics, format_tuning, table
from tfseg.errors import TfsegError


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the command line."""
    code = run(tfseg, arguments)
    if arguments is None:
        gc.freeze()  # skips the last garbage collection at exit
    return code


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tfseg", prog_name="tfseg", message="%(prog)s %(version)s")
@flags
def tfseg() -> None:
    """Semantic segmentation from one YAML file: train, evaluate, predict, export.

    FILE is a pipeline file or the name of a shipped pipeline (see `tfseg list`). KEY=VALUE overrides a key of the file,
    for example model.backbone.output_stride=8.
    """


@verb(tfseg, "check")
@files_and_overrides
@allow_plugins
def check_(console: Console, words: Sequence[str], allow_plugins: bool) -> int:
    """Validate pipeline files and build their networks symbolically.

    Prints parameter counts, output stride, receptive field and output shape.
    """
    from tfseg.pipeline import check

    files, overrides = split(words)
    if not files:
        raise click.UsageError(f"Expected at least one FILE. Received: {' '.join(words)}")
    worst = 0
    for file in files:
        try:
            _, description = check(file, overrides, allow_plugins=allow_plugins)
        except TfsegError as error:
            if console.debug:
                raise
            click.echo(str(error), err=True)
            worst = max(worst, error.exit_code)
        else:
            console.echo(f"{file}: OK\n{indent(str(description), '  ')}")
    return worst


@verb(tfseg, "show")
@file_and_overrides
@allow_plugins
def show(_: Console, words: Sequence[str], allow_plugins: bool) -> None:
    """Print the resolved pipeline as YAML, defaults included.

    The output is a pipeline file that resolves to the same pipeline.
    """
    from tfseg.pipeline import load
    from tfseg.spec.show import dump

    file, overrides = one(words)
    click.echo(dump(load(file, overrides, allow_plugins=allow_plugins)), nl=False)


@verb(tfseg, "schema")
def schema(_: Console) -> None:
    """Print the JSON Schema of pipeline files, for editors."""
    from tfseg.pipeline import Pipeline
    from tfseg.spec.schema import json_schema

    click.echo(json.dumps(json_schema(Pipeline), indent=2, ensure_ascii=False))


@verb(tfseg, "list", frameworks=False)
@click.argument("slots", nargs=-1, metavar="[SLOT]...")
def list_(_: Console, slots: Sequence[str]) -> None:
    """List the components of the given slots (backbone, decoder, loss, pipelines …), or of all slots."""
    from tfseg.cli.listing import components_of

    for title, lines in components_of(slots).items():
        click.echo("\n".join([title, *table(lines)]))


@verb(tfseg, "fit")
@file_and_overrides
@click.option("--run-dir", type=click.Path(path_type=Path), help="Run directory to write. Default: runs/<name>.")
@click.option("--resume", is_flag=True, help="Resume an unfinished run.")
@click.option("--overwrite", is_flag=True, help="Delete an earlier run in the run directory.")
@allow_plugins
def fit(
    console: Console, words: Sequence[str], run_dir: Path | None, resume: bool, overwrite: bool, allow_plugins: bool
) -> None:
    """Train a network and evaluate its best epoch.

    To resume an unfinished run, pass its directory as FILE: tfseg fit runs/streets --resume
    """
    from tfseg.pipeline import check
    from tfseg.runs.directory import pipeline_of
    from tfseg.runs.fit import fit
    from tfseg.training.files import states

    file, overrides = one(words)
    own, path = pipeline_of(Path(file)) if resume else (None, Path(file))
    pipeline, _ = check(path, overrides, allow_plugins=allow_plugins, resumed=resume)
    folder = run_dir or own or Path("runs") / pipeline.name
    try:
        done = fit(pipeline, folder, resume=resume, overwrite=overwrite, verbose=not console.quiet)
    except KeyboardInterrupt as stopped:
        if states(folder):
            stopped.add_note(f"Resume with: tfseg fit {folder} --resume")
        raise
    console.echo(f"{format_metrics(done.metrics[pipeline.data.validation_split])}\nRun saved to {done.folder}")


@verb(tfseg, "import")
@click.argument("words", metavar="FILE WEIGHTS [KEY=VALUE]...", nargs=-1, required=True)
@click.option("--run-dir", type=click.Path(path_type=Path), help="Run directory to write. Default: runs/<name>.")
@click.option("--overwrite", is_flag=True, help="Delete an earlier run in the run directory.")
@allow_plugins
def import_(console: Console, words: Sequence[str], run_dir: Path | None, overwrite: bool, allow_plugins: bool) -> None:
    """Create a run directory from FILE and pretrained WEIGHTS.

    WEIGHTS is an .npz of named arrays, a .tflite or .keras file, or a TensorFlow checkpoint. Names of weights are those
    of TF-slim, Model Garden, the Caffe ResNets, keras.applications or the network itself.
    """
    from tfseg.pipeline import load
    from tfseg.runs.import_weights import import_weights

    files, overrides = split(words)
    if len(files) != 2:
        raise click.UsageError(f"Expected FILE and WEIGHTS. Received: {' '.join(files) or 'none'}")
    pipeline = load(files[0], overrides, allow_plugins=allow_plugins, look=False)
    folder = run_dir or Path("runs") / pipeline.name
    report = import_weights(pipeline, files[1], folder, overwrite=overwrite)
    console.echo(f"{report}\nRun saved to {folder}")


@verb(tfseg, "evaluate")
@click.argument("words", metavar="MODEL [KEY=VALUE]...", nargs=-1, required=True)
@click.option("--split", help="Split to evaluate. Default: the validation split.")
@click.option("--pipeline", metavar="FILE", help="Pipeline file whose dataset is used. Default: that of the run.")
@inference_option
@click.option("--output", type=click.Path(path_type=Path), help="Also write the metrics to this file, as JSON.")
@click.option("--calibration", is_flag=True, help="Also measure calibration: how far confidences are from accuracies.")
@allow_plugins
def evaluate(
    console: Console,
    words: Sequence[str],
    pipeline: str | None,
    inference: str | None,
    allow_plugins: bool,
    **options: Any,
) -> None:
    """Evaluate MODEL at native resolution.

    MODEL is a run directory, a .keras file, a SavedModel or a .tflite file; outside of a run directory, --pipeline is
    required. KEY=VALUE overrides a data or inference key of the pipeline.
    """
    from tfseg.pipeline import load
    from tfseg.runs.directory import PIPELINE
    from tfseg.runs.evaluate import evaluate

    model, overrides = one(words, "MODEL")
    file = pipeline or (Path(model) / PIPELINE if overrides else None)
    data = load(file, overrides, allow_plugins=allow_plugins) if file else None
    source = load(inference, allow_plugins=allow_plugins) if inference else data if overrides else None
    report = evaluate(
        model,
        pipeline=data,
        inference=source.inference if source else None,
        allow_plugins=allow_plugins,
        verbose=not console.quiet,
        **options,
    )
    console.echo(format_metrics(report))


@verb(tfseg, "predict")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="IMAGE...")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Output folder for the masks.")
@click.option("--overlay", is_flag=True, help="Also write each mask blended over its image.")
@click.option("--legend", is_flag=True, help="Also write legend.png, with the color and name of each class.")
@inference_option
@allow_plugins
def predict(
    console: Console,
    model: Path,
    images: Sequence[Path],
    output: Path,
    overlay: bool,
    legend: bool,
    inference: str | None,
    allow_plugins: bool,
) -> None:
    """Predict the mask of each IMAGE, as a palette (indexed) PNG.

    MODEL is a run directory, a .keras file, a SavedModel or a .tflite file. IMAGE is a file, a folder of images, or a
    pattern such as "photos/**/*.jpg".
    """
    from tfseg.pipeline import load
    from tfseg.runs.predict import iter_predict

    settings = load(inference, allow_plugins=allow_plugins).inference if inference else None
    written = iter_predict(
        model, images, output, overlay=overlay, legend=legend, inference=settings, allow_plugins=allow_plugins
    )
    for path in written:
        console.echo(str(path))


@verb(tfseg, "tune-crf")
@click.argument("run_dir", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--split", help="Split to search on. Default: the validation split.")
@click.option("--images", type=click.IntRange(1), default=100, show_default=True, help="Number of images to use.")
@click.option("--range", "ranges", metavar=RANGE, multiple=True, help="Range of a parameter, instead of DeepLab's.")
@click.option("--output", type=click.Path(path_type=Path), help="Pipeline file to write. Default: RUN/crf.yaml.")
@click.option("--overwrite", is_flag=True, help="Replace the files of an earlier search.")
@allow_plugins
def tune_crf(
    console: Console,
    run_dir: Path,
    split: str | None,
    images: int,
    ranges: Sequence[str],
    output: Path | None,
    overwrite: bool,
    allow_plugins: bool,
) -> None:
    """Search for the CRF parameters with the highest mIoU for RUN.

    RUN is a run directory. The parameters are written to a pipeline file, as inference.crf. Apply them with: tfseg
    evaluate RUN --inference RUN/crf.yaml
    """
    from tfseg.pipeline import TUNED
    from tfseg.runs.tune_crf import tune_crf

    report = tune_crf(
        run_dir,
        split,
        images=images,
        ranges=dict(map(parse_range, ranges)),
        output=output,
        overwrite=overwrite,
        allow_plugins=allow_plugins,
        log=console.echo,
    )
    console.echo(format_tuning(report))
    console.echo(f"Pipeline saved to {output or run_dir / TUNED}")


@verb(tfseg, "export")
@click.argument("words", metavar="RUN [KEY=VALUE]...", nargs=-1, required=True)
@export_folder
@comparison_images
@allow_plugins
def export(console: Console, words: Sequence[str], output: Path, images: Sequence[str], allow_plugins: bool) -> None:
    """Export RUN as a SavedModel and a TFLite file.

    RUN is a run directory. The artifacts are written only if their outputs match those of the Keras model. They are
    compared on the given images, on validation images, or on synthetic images if the dataset is not available.
    """
    from tfseg.runs.export import export

    folder, overrides = one(words)
    console.echo(str(export(folder, output, overrides, images=images, allow_plugins=allow_plugins)))


tfseg.add_command(data)
