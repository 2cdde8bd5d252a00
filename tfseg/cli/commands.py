"""The command line: verbs that parse, call `tfseg.runs` and print. Nothing is decided here.

A verb imports its work when it is called: TensorFlow takes seconds to load, and `tfseg --help` must not.
"""

import gc
import json
from collections.abc import Sequence
from pathlib import Path
from textwrap import indent

import click

from tfseg.cli.arguments import (
    RANGE,
    Verbs,
    allow_plugins,
    file_and_overrides,
    files_and_overrides,
    how_used,
    one,
    range_of,
    split,
)
from tfseg.cli.console import Console, flags, run, verb
from tfseg.cli.data_commands import data
from tfseg.cli.formatting import compared, measured, table
from tfseg.errors import TfsegError


def main(arguments: Sequence[str] | None = None) -> int:
    """The entry point `tfseg`."""
    code = run(tfseg, arguments)
    if arguments is None:
        gc.freeze()  # the process ends: cycles need not be searched for once more
    return code


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tfseg", prog_name="tfseg", message="%(prog)s %(version)s")
@flags
def tfseg() -> None:
    """Semantic segmentation from one YAML file: train, evaluate, predict, export.

    FILE is a pipeline file or the bare name of a shipped one (`tfseg list` names them). KEY=VALUE changes a field of
    the file, for example model.backbone.output_stride=8.
    """


@verb(tfseg, "check")
@files_and_overrides
@allow_plugins
def check_(console: Console, words: Sequence[str], allow_plugins: bool) -> int:
    """Validate files and build their networks symbolically."""
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
            console.say(f"{file}: good\n{indent(str(description), '  ')}")
    return worst


@verb(tfseg, "show")
@file_and_overrides
@allow_plugins
def show(_: Console, words: Sequence[str], allow_plugins: bool) -> None:
    """Print the resolved file, defaults included; feeding it back gives the same pipeline."""
    from tfseg.pipeline import load
    from tfseg.spec.show import dump

    file, overrides = one(words)
    click.echo(dump(load(file, overrides, allow_plugins=allow_plugins)), nl=False)


@verb(tfseg, "schema")
def schema(_: Console) -> None:
    """Print the JSON Schema of a pipeline file, for editors."""
    from tfseg.pipeline import Pipeline
    from tfseg.spec.schema import json_schema

    click.echo(json.dumps(json_schema(Pipeline), indent=2, ensure_ascii=False))


@verb(tfseg, "list", frameworks=False)
@click.argument("slots", nargs=-1, metavar="[SLOT]...")
def list_(_: Console, slots: Sequence[str]) -> None:
    """List the components of every SLOT, or of those given, and the shipped pipelines.

    A slot is a key of a pipeline file that takes one of several components, such as backbone, decoder or loss.
    `pipelines` lists the shipped pipelines alone.
    """
    from tfseg.cli.listing import components_of

    for title, lines in components_of(slots).items():
        click.echo("\n".join([title, *table(lines)]))


@verb(tfseg, "fit")
@file_and_overrides
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where the run is written. Default: runs/<name>.")
@click.option("--resume", is_flag=True, help="Continue an unfinished run.")
@click.option("--overwrite", is_flag=True, help="Delete what an earlier run left there.")
@allow_plugins
def fit(
    console: Console, words: Sequence[str], run_dir: Path | None, resume: bool, overwrite: bool, allow_plugins: bool
) -> None:
    """Train a network and evaluate the best of its epochs.

    To go on with a run that was stopped, its folder may stand for FILE: tfseg fit runs/streets --resume
    """
    from tfseg.pipeline import check
    from tfseg.runs.directory import pipeline_of
    from tfseg.runs.fit import fit
    from tfseg.training.files import states

    file, overrides = one(words)
    own, path = pipeline_of(Path(file)) if resume else (None, Path(file))
    pipeline, _ = check(path, overrides, allow_plugins=allow_plugins)
    folder = run_dir or own or Path("runs") / pipeline.name
    try:
        done = fit(pipeline, folder, resume=resume, overwrite=overwrite, verbose=not console.quiet)
    except KeyboardInterrupt as stopped:
        if states(folder):
            stopped.add_note(f"Go on with: tfseg fit {folder} --resume")
        raise
    console.say(f"{measured(done.metrics[pipeline.data.validation_split])}\nThe run lies in {done.folder}")


@verb(tfseg, "import")
@click.argument("words", metavar="FILE WEIGHTS [KEY=VALUE]...", nargs=-1, required=True)
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where the run is written. Default: runs/<name>.")
@click.option("--overwrite", is_flag=True, help="Delete what an earlier run left there.")
@allow_plugins
def import_(console: Console, words: Sequence[str], run_dir: Path | None, overwrite: bool, allow_plugins: bool) -> None:
    """Make a run of FILE's network from WEIGHTS that were trained elsewhere.

    WEIGHTS is an .npz of named arrays, a .tflite or .keras file, or a TensorFlow checkpoint; names may be those of
    TF-slim, of Model Garden, of keras.applications or of the network itself.
    """
    from tfseg.pipeline import load
    from tfseg.runs.import_weights import import_weights

    files, overrides = split(words)
    if len(files) != 2:
        raise click.UsageError(f"Expected FILE and WEIGHTS. Received: {' '.join(files) or 'none'}")
    pipeline = load(files[0], overrides, allow_plugins=allow_plugins, look=False)
    folder = run_dir or Path("runs") / pipeline.name
    report = import_weights(pipeline, files[1], folder, overwrite=overwrite)
    console.say(f"{report}\nThe run lies in {folder}")


@verb(tfseg, "evaluate")
@click.argument("words", metavar="MODEL [KEY=VALUE]...", nargs=-1, required=True)
@click.option("--split", help="The split to measure on. Default: the one that validated the training.")
@click.option("--pipeline", metavar="FILE", help="Whose data to measure on. Default: the run's own pipeline.")
@how_used
@click.option("--output", type=click.Path(path_type=Path), help="Write the metrics to this file as well, as JSON.")
@allow_plugins
def evaluate(
    console: Console,
    words: Sequence[str],
    split: str | None,
    pipeline: str | None,
    inference: str | None,
    output: Path | None,
    allow_plugins: bool,
) -> None:
    """Measure MODEL at the images' own size.

    MODEL is a run, a .keras file, a SavedModel or a .tflite file; what lies in no run needs --pipeline. KEY=VALUE
    changes a field of the pipeline that says on which data to measure, and how the network is used.
    """
    from tfseg.pipeline import load
    from tfseg.runs.directory import PIPELINE
    from tfseg.runs.evaluate import evaluate

    model, overrides = one(words, "MODEL")
    file = pipeline or (Path(model) / PIPELINE if overrides else None)
    data = load(file, overrides, allow_plugins=allow_plugins) if file else None
    how = load(inference, allow_plugins=allow_plugins) if inference else data if overrides else None
    use = how.inference if how else None
    report = evaluate(
        model,
        split,
        pipeline=data,
        inference=use,
        output=output,
        allow_plugins=allow_plugins,
        verbose=not console.quiet,
    )
    console.say(measured(report))


@verb(tfseg, "predict")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="IMAGE...")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="The folder for the masks.")
@click.option("--overlay", is_flag=True, help="Write each mask over its image as well.")
@click.option("--legend", is_flag=True, help="Write the colors and names of the classes to legend.png as well.")
@how_used
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
    """Write the mask of each IMAGE as an index PNG with palette.

    IMAGE is a file, a folder of images, or a pattern such as "photos/**/*.jpg".

    MODEL is a run, a .keras file, a SavedModel or a .tflite file.
    """
    from tfseg.pipeline import load
    from tfseg.runs.predict import iter_predict

    use = load(inference, allow_plugins=allow_plugins).inference if inference else None
    written = iter_predict(
        model, images, output, overlay=overlay, legend=legend, inference=use, allow_plugins=allow_plugins
    )
    for path in written:
        console.say(str(path))


@verb(tfseg, "tune-crf")
@click.argument("run_dir", type=click.Path(path_type=Path), metavar="RUN")
@click.option("--split", help="The split to search on. Default: the one that validated the training.")
@click.option("--images", type=click.IntRange(1), default=100, show_default=True, help="How many of its images.")
@click.option("--range", "ranges", metavar=RANGE, multiple=True, help="Another range than DeepLab's for a parameter.")
@click.option("--output", type=click.Path(path_type=Path), help="The pipeline file to write. Default: RUN/crf.yaml.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier search's files.")
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
    """Search a CRF that refines what RUN's network predicts.

    It is written to a pipeline file as inference.crf. Apply it with: tfseg evaluate RUN --inference RUN/crf.yaml
    """
    from tfseg.pipeline import TUNED
    from tfseg.runs.tune_crf import tune_crf

    report = tune_crf(
        run_dir,
        split,
        images=images,
        ranges=dict(map(range_of, ranges)),
        output=output,
        overwrite=overwrite,
        allow_plugins=allow_plugins,
        tell=console.say,
    )
    console.say(compared(report))
    console.say(f"Written to {output or run_dir / TUNED}")


@verb(tfseg, "export")
@click.argument("words", metavar="RUN [KEY=VALUE]...", nargs=-1, required=True)
@click.option("--output", type=click.Path(path_type=Path), default=Path("saved_models"), show_default=True)
@click.option("--image", "images", multiple=True, help="Compare on this image. Default: some of the validation split.")
@allow_plugins
def export(console: Console, words: Sequence[str], output: Path, images: Sequence[str], allow_plugins: bool) -> None:
    """Write a SavedModel and a TFLite file, each checked against the Keras model before it is left in place.

    Without --image and without the data of the training, they are compared on drawn scenes.
    """
    from tfseg.runs.export import export

    folder, overrides = one(words)
    console.say(str(export(folder, output, overrides, images=images, allow_plugins=allow_plugins)))


tfseg.add_command(data)
