"""Writing of converted annotations: masks, lists of splits and a pipeline file."""

import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tfseg.atomic import atomic_file, remove, sweep_directories, write_text
from tfseg.data.convert.annotation import Annotation
from tfseg.data.convert.classes import Classes
from tfseg.data.convert.json_values import is_plain
from tfseg.data.sources.folder import part_of_split
from tfseg.errors import DataError
from tfseg.images.overlay import write_mask
from tfseg.spec.show import dump_plain

MASKS, IMAGES, SPLITS, PIPELINE = "masks", "images", "splits", "pipeline.yaml"
"""Names in the output folder."""
FRACTIONS, OF_TWO = {"train": 0.8, "val": 0.2}, {"train": 0.6, "val": 0.4}
"""Fractions of the examples per split, for formats without splits; 0.8 of two examples would be both."""
HEADER = """\
# Written by `tfseg data convert`. The paths are relative to this file: move the folders together.
#
# command    tfseg fit {file}
#            (with model.backbone.weights=imagenet it starts from ImageNet weights)
"""
SETTINGS: dict[str, Any] = {
    "model": {
        "backbone": {"type": "mobilenet_v2"},
        "decoder": {"type": "fcn", "strides": [32, 16, 8, 4], "filters": 96},
    },
    "training": {"epochs": 24, "optimizer": {"type": "adamw", "learning_rate": 0.003, "weight_decay": 0.01}},
}
"""Network and training of the pipeline file: those of `fcn_mobilenet_v2_camvid`, without pretrained weights."""


def check_output(output: Path, sources: Iterable[Path], overwrite: bool) -> None:
    """Checks that the output folder is empty or may be overwritten, and deletes what a killed conversion left there.

    Raises:
        DataError: If the folder is not empty, or a source is in one of the folders that would be replaced.
    """
    for name in (MASKS, IMAGES) if os.path.isdir(output) else ():
        sweep_directories(output / name)
    if os.path.exists(output) and not output.is_dir():
        raise DataError(f"{output}: is not a folder. Choose another --output.")
    if not overwrite and os.path.isdir(output) and any(output.iterdir()):
        raise DataError(
            f"{output}: is not empty. Choose another --output, or replace an earlier conversion with --overwrite."
        )
    for folder in (output / MASKS, output / SPLITS):
        for source in sources:
            if Path(os.path.realpath(source)).is_relative_to(os.path.realpath(folder)):
                raise DataError(f"{source}: is in {folder}, which would be replaced. Choose another --output.")


def write_masks(folder: Path, annotations: Iterable[Annotation], classes: Classes) -> None:
    """Writes the mask of every image as a palette PNG, one after the other.

    Args:
        folder: Path of the folder of masks.
        annotations: Checked annotations.
        classes: Class ids.
    """
    palette = classes.labels.palette
    for annotation in annotations:
        write_mask(folder / f"{annotation.name}.png", classes.mask(annotation), palette)


def remove_earlier(output: Path, names: Iterable[str]) -> None:
    """Deletes the files of an earlier conversion, first the pipeline file, without which the folder is not complete."""
    for name in (PIPELINE, *names):
        remove(output / name)


def source_of(names: list[str], splits: Mapping[str, str] | None, every: bool) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns the settings of the splits, and the content of their list files by split.

    Fractions select among all images of a folder. They are used if all of them (`every`) were annotated.
    """
    fractions = FRACTIONS if len(names) > 2 else OF_TWO
    if splits is None and every:
        return {"fractions": fractions}, {}
    if splits is None:
        lists = {split: part_of_split(names, fractions, split) for split in fractions}
    else:
        lists = {split: [name for name in names if splits[name] == split] for split in dict.fromkeys(splits.values())}
    contents = {split: "".join(f"{name}\n" for name in members) for split, members in lists.items()}
    return {"lists": f"{SPLITS}/{{split}}.txt"}, contents


def write_lists(output: Path, contents: Mapping[str, str]) -> None:
    """Writes one list of names per split. File names need not be UTF-8."""
    for split, content in contents.items():
        with atomic_file(output / SPLITS / f"{split}.txt") as partial:
            partial.write_bytes(os.fsencode(content))


def image_pattern(images: Path, output: Path) -> str:
    """Returns the path pattern of the images, relative to the output folder.

    Raises:
        DataError: If the path contains parts that have a meaning in patterns, or cannot be written as text.
    """
    path = os.path.relpath(os.path.realpath(images), os.path.realpath(output))
    if re.search(r"\*|\{name\}|\{split\}", path) or not is_plain(path):
        raise DataError(
            f"{images}: the path contains *, {{name}}, {{split}} or control characters, which the pattern of a source "
            "cannot contain. Rename the folder."
        )
    return "{name}.*" if path == "." else f"{path}/{{name}}.*"


def write_pipeline(output: Path, classes: Classes, images: str, splits: Mapping[str, Any]) -> Path:
    """Writes the pipeline file and returns its path.

    Args:
        output: Path of the output folder.
        classes: Class ids.
        images: Path pattern of the images.
        splits: Settings of the splits, `fractions` or `lists`.
    """
    labels = classes.labels
    source = {"type": "folder", "images": images, "masks": f"{MASKS}/{{name}}.png", **splits}
    content = {
        "name": re.sub(r"[^A-Za-z0-9_.-]+|^[^A-Za-z0-9]+", "", output.absolute().name) or "converted",
        "labels": {"names": list(labels.names), "ignore": labels.ignore},
        "data": {
            "source": source,
            "root": ".",
            "crop": [256, 256],
            "batch_size": 8,
            "augment": [{"type": "scale", "min": 0.6, "max": 1.4}, "flip", "color_jitter"],
        },
        **SETTINGS,
    }
    file = output / PIPELINE
    write_text(file, HEADER.format(file=PIPELINE) + dump_plain(content))
    return file


@contextmanager
def created(output: Path) -> Iterator[None]:
    """Context manager that creates the output folder, and finally deletes what it created if that is still empty.

    Raises:
        DataError: If the folder cannot be created, or is not writable.
    """
    missing: list[Path] = []
    try:
        try:
            missing += [folder for folder in (output, *output.parents) if not os.path.lexists(folder)]
            output.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=output):
                pass
        except OSError as error:
            broken = [path for path in (output, *output.parents) if os.path.islink(path) and not os.path.exists(path)]
            reason = f"{broken[0]} is a broken symbolic link" if broken else error.strerror
            raise DataError(
                f"{output}: cannot be written ({reason}). Expected a writable folder, or one that can be created. "
                "Choose another --output."
            ) from error
        yield
    finally:
        with suppress(OSError):
            for folder in missing:
                folder.rmdir()
