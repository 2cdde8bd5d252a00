"""Conversion of annotations to masks and a pipeline file, in any of the supported formats."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tfseg.atomic import atomic_directory
from tfseg.data.convert import labelme, yolo
from tfseg.data.convert.annotation import Annotation, Annotations, Invalid, Problems
from tfseg.data.convert.classes import Classes
from tfseg.data.convert.coco import Crowd, read_coco
from tfseg.data.convert.cvat import read_cvat
from tfseg.data.convert.images import Images
from tfseg.data.convert.label_studio import read_label_studio
from tfseg.data.convert.records import Keys, open_huggingface, open_tfds, written_records
from tfseg.data.convert.sbd import read_sbd
from tfseg.data.convert.writing import (
    IMAGES,
    MASKS,
    SPLITS,
    check_output,
    created,
    image_pattern,
    remove_earlier,
    source_of,
    write_lists,
    write_masks,
    write_pipeline,
)
from tfseg.errors import DataError

READERS: dict[str, Callable[[Path, Images], Annotations]] = {
    "coco": read_coco,
    "yolo": yolo.read_yolo,
    "labelme": labelme.read_labelme,
    "cvat": read_cvat,
    "label-studio": read_label_studio,
    "sbd": read_sbd,
}
"""Readers of annotations of images in a folder."""
FOLDERS: dict[str, Callable[[Path], Path]] = {"yolo": yolo.folder_of_images, "labelme": labelme.folder_of_images}
"""Formats whose annotations name the folder of the images."""
RECORDS = {"tfds": open_tfds, "huggingface": open_huggingface}
"""Libraries of datasets that contain both images and masks."""
FORMATS = (*READERS, *RECORDS)
Tracked = Callable[[Sequence[Annotation]], Iterable[Annotation]]


@dataclass(frozen=True)
class Options:
    """Options of a conversion.

    Args:
        classes: Names of the classes to convert, in the order of their ids. Defaults to all.
        background: Boolean, whether pixels outside all shapes are class 0; otherwise they have the ignore label.
        skip_empty: Boolean, whether images without shapes are left out; otherwise all their pixels are background.
        crowd: Treatment of COCO's crowd regions.
        keys: Names of the features with image and mask, for `tfds` and `huggingface`.
        overwrite: Boolean, whether to replace an earlier conversion in the output folder.
    """

    classes: tuple[str, ...] = ()
    background: bool = True
    skip_empty: bool = False
    crowd: Crowd = "ignore"
    keys: Keys = field(default_factory=Keys)
    overwrite: bool = False


@dataclass(frozen=True)
class Report:
    """Result of a conversion.

    Args:
        pipeline: Path of the pipeline file.
        names: Class names.
        masks: Number of masks.
        empty: Number of images without shapes.
        skipped: Number of shapes without area, by type.
    """

    pipeline: Path
    names: tuple[str, ...]
    masks: int
    empty: int
    skipped: Counter[str]

    def __str__(self) -> str:
        lines = [f"{_counted(self.masks, 'mask')} of {_counted(len(self.names), 'class', 'es')}"]
        if self.empty:
            lines.append(f"{_counted(self.empty, 'image')} without shapes")
        if self.skipped:
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.skipped.items()))
            lines.append(f"not drawn, because they have no area: {kinds}")
        return "\n".join([*lines, f"Pipeline saved to {self.pipeline}"])


def convert(
    kind: str,
    annotations: Path | str,
    images: Path | None,
    output: Path,
    options: Options | None = None,
    tracked: Tracked = iter,
) -> Report:
    """Converts annotations to masks and a pipeline file.

    All annotations are read and checked before the first mask is written. Masks are written one at a time to a
    temporary folder, which becomes `<output>/masks`; the pipeline file is written last.

    Args:
        kind: Format, one of `FORMATS`.
        annotations: Path of the annotations; the name of a dataset for `tfds` and `huggingface`.
        images: Folder of the annotated images; None for `tfds` and `huggingface`, whose images are written to
            `<output>/images`. For `labelme`, it defaults to the folder of the annotations, for `yolo` to the one
            that `data.yaml` lists.
        output: Folder to write.
        options: Options. Defaults to those of `Options`.
        tracked: Function that yields the given annotations and shows the progress. Optional.

    Raises:
        DataError: If the annotations are invalid, or the output folder is not empty. It reports all invalid records.
        RunError: If the package of `tfds` or `huggingface` is not installed.
    """
    options = options or Options()
    if images is None and kind in FOLDERS:
        images = FOLDERS[kind](Path(annotations))
    sources = [] if images is None else [Path(annotations), images]
    check_output(output, sources, options.overwrite)
    with created(output):
        try:
            return _convert(kind, annotations, images, output, options, tracked)
        except Invalid as error:  # of a file that concerns all records
            raise DataError(str(error)) from error


def _convert(
    kind: str, annotations: Path | str, images: Path | None, output: Path, options: Options, tracked: Tracked
) -> Report:
    pattern = image_pattern(images or output / IMAGES, output)
    with ExitStack() as stack:
        if images is None:
            records = written_records(RECORDS[kind], str(annotations), output / IMAGES, options.keys)
            read, is_whole = stack.enter_context(records), True
        else:
            folder = Images(images, besides=output / MASKS)
            reader = partial(read_coco, crowd=options.crowd) if kind == "coco" else READERS[kind]
            read = reader(Path(annotations), folder)
            is_whole = _is_whole(read, folder, output)
        classes = Classes(read, Path(annotations), options.classes, options.background)
        chosen = [image for image in read.images if not (options.skip_empty and image.is_empty)]
        _check_names(Path(annotations), chosen)
        write_masks(stack.enter_context(atomic_directory(output / MASKS)), tracked(chosen), classes)
        remove_earlier(output, (MASKS, SPLITS, *([IMAGES] if images is None else [])))
    splits, lists = source_of(
        [image.name for image in chosen], read.splits, is_whole and len(chosen) == len(read.images)
    )
    write_lists(output, lists)
    file = write_pipeline(output, classes, pattern, splits)
    return Report(file, classes.labels.names, len(chosen), sum(image.is_empty for image in chosen), read.skipped)


def _is_whole(annotations: Annotations, images: Images, output: Path) -> bool:
    """Returns whether the images of the folder are those of the annotations, now and after writing masks."""
    inside = output.resolve().is_relative_to(images.folder.resolve())
    return not inside and {image.name for image in annotations.images} == set(images.files)


def _check_names(path: Path, annotations: Sequence[Annotation]) -> None:
    problems = Problems(path)
    if not annotations:
        problems.add(f"{path}: has no annotated image. Expected at least one.")
    for name, count in Counter(annotation.name for annotation in annotations).items():
        if count > 1:
            problems.add(f"{path}: {count} records have the image {name!r}. Expected one record per image.")
        if name.strip() != name or name.splitlines() != [name]:
            problems.add(f"{path}: the image name {name!r} begins or ends with white space, or has several lines.")
    problems.raise_any()


def _counted(count: int, noun: str, plural: str = "s") -> str:
    return f"{count} {noun}{plural if count != 1 else ''}"
