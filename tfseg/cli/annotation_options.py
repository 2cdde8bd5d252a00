"""Options of `tfseg data convert --from FORMAT`, which turns annotations into masks."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfseg.cli.console import Console

if TYPE_CHECKING:
    from tfseg.data.convert.annotation import Annotation

FORMATS = ("coco", "yolo", "labelme", "cvat", "label-studio", "sbd", "tfds", "huggingface")
"""The formats of `tfseg.data.convert`, which imports TensorFlow."""
WITH_IMAGES = FORMATS[:-2]
"""Formats of annotations of a folder of images."""
NEED_IMAGES = tuple(kind for kind in WITH_IMAGES if kind not in ("yolo", "labelme"))
"""Formats whose annotations do not name the folder of the images."""


def annotation_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of the conversion of annotations to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_OPTIONS = (
    click.option("--from", "kind", type=click.Choice(FORMATS), help="Format of the annotations to convert to masks."),
    click.option(
        "--images",
        type=click.Path(path_type=Path),
        help="Folder of the annotated images. Default for labelme: that of the JSON files; for yolo: from data.yaml.",
    ),
    click.option("--classes", help="Names of the classes to convert, in the order of their ids: road,car,person."),
    click.option("--no-background", is_flag=True, help="Ignore pixels outside all shapes; no class background."),
    click.option("--skip-empty", is_flag=True, help="Leave out images without shapes."),
    click.option(
        "--crowd",
        type=click.Choice(("ignore", "class", "skip")),
        help="Pixels of COCO's crowds: ignore label (default), class of the crowd, or not drawn.",
    ),
    click.option("--image-key", help="Feature with the image, for tfds and huggingface."),
    click.option("--mask-key", help="Feature with the mask, for tfds and huggingface."),
)


def convert_annotations(
    console: Console,
    kind: str,
    annotations: str,
    images: Path | None,
    output: Path,
    overwrite: bool,
    *,
    classes: str | None,
    no_background: bool,
    skip_empty: bool,
    crowd: str | None,
    image_key: str | None,
    mask_key: str | None,
) -> None:
    """Converts annotations and prints a report.

    Raises:
        UsageError: If an option is missing, or does not apply to the format.
    """
    from tfseg.data.convert import Keys, Options, convert

    if kind in NEED_IMAGES and images is None:
        raise click.UsageError(f"--from {kind} needs the folder of the annotated images: --images DIR")
    if kind not in WITH_IMAGES and images is not None:
        raise click.UsageError(f"--from {kind} reads the images of the dataset. Remove --images {images}")
    if crowd is not None and kind != "coco":
        raise click.UsageError(f"--crowd applies to COCO's crowds. Remove it for --from {kind}")
    if (image_key or mask_key) and kind in WITH_IMAGES:
        raise click.UsageError(
            f"--image-key and --mask-key apply to tfds and huggingface. Remove them for --from {kind}"
        )
    options = Options(
        classes=tuple(name.strip() for name in classes.split(",")) if classes else (),
        background=not no_background,
        skip_empty=skip_empty,
        crowd=crowd or "ignore",  # type: ignore[arg-type]  # one of the choices
        keys=Keys(image_key, mask_key),
        overwrite=overwrite,
    )
    tracked = partial(_with_progress, not console.quiet)
    console.echo(str(convert(kind, annotations, images, output, options, tracked)))


def _with_progress(verbose: bool, annotations: Sequence["Annotation"]) -> Iterator["Annotation"]:
    import keras

    from tfseg.training.progress import verbosity

    progress = keras.utils.Progbar(len(annotations), verbose=verbosity(verbose), unit_name="image")
    for annotation in annotations:
        yield annotation
        progress.add(1)
