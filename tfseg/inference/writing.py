"""Masks to files: an index PNG with palette for each image, and the mask over its picture where wanted."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tfseg.atomic import atomic_file, longest_name
from tfseg.errors import DataError
from tfseg.images.overlay import blend, write_image, write_mask
from tfseg.images.overlay import legend as drawn_legend
from tfseg.inference.files import image_files
from tfseg.inference.predictor import Predictor
from tfseg.inference.reading import read_image
from tfseg.inference.sampling import shade
from tfseg.inference.spec import Inference
from tfseg.labels import Labels, voc_palette

LEGEND = "legend.png"


def predict_files(
    predictor: Predictor,
    images: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    output: Path,
    labels: Labels | None = None,
    *,
    overlay: bool = False,
    legend: bool = False,
    spec: Inference | None = None,
) -> Iterator[Path]:
    """Writes `<output>/<stem>.png` for every image, and `<stem>-overlay.png` where `overlay` is set.

    Args:
        predictor: the network.
        images: picture files (see `read_image`), folders of them, or patterns; see `image_files`.
        output: the folder for the masks, made if missing.
        labels: whose colors to use; by default those that came with the network, else PASCAL VOC's.
        overlay: write each mask over its picture as well.
        legend: write `<output>/legend.png` first: the colors of the classes and their names.
        spec: how strong the colors of an overlay are, and whether to write `<stem>-uncertainty.png` as well; the
            predictor then takes samples.

    Yields:
        The path of each file that was written.

    Raises:
        DataError: an image is missing or broken, or two files would be written to one path. Missing images and paths
            are found before anything is predicted; broken ones are left out and listed at the end. Every file that was
            written is whole.
    """
    images = image_files([images] if isinstance(images, str | os.PathLike) else images)
    targets = [Path(output) / f"{path.stem}.png" for path in images]
    overlays = [Path(output) / f"{path.stem}-overlay.png" for path in images] if overlay else []
    spec = spec or Inference()
    key = [Path(output) / LEGEND] if legend else []
    unsure = [Path(output) / f"{path.stem}-uncertainty.png" for path in images] if spec.uncertainty else []
    _check(images, [*targets, *overlays, *unsure, *key])
    _make(Path(output))
    labels = labels or predictor.labels
    palette = labels.palette if labels else voc_palette()
    for path in key:
        names = labels.names if labels else list(map(str, range(predictor.classes)))
        write_image(path, drawn_legend(names, palette))
        yield path
    faults = []
    for index, path in enumerate(images):
        try:
            image = read_image(path, predictor.channels)
        except DataError as error:
            faults.append(str(error))
            continue
        if spec.uncertainty:
            mask, uncertainty = predictor.predict_with_uncertainty(image)
        else:
            mask, uncertainty = predictor.predict(image, path.stem), None
        write_mask(targets[index], mask, palette)
        yield targets[index]
        if overlay:
            write_image(overlays[index], blend(_visible(image), mask, palette, alpha=spec.opacity))
            yield overlays[index]
        if uncertainty is not None:
            _write_gray(unsure[index], shade(uncertainty, predictor.classes))
            yield unsure[index]
    if faults:
        count = f"{len(faults)} of {len(images)} images could not be read, the others are predicted.\n"
        raise DataError((count if len(images) > 1 else "") + "\n".join(faults))


def _check(images: Sequence[Path], targets: Sequence[Path]) -> None:
    """Raises for what can be known before the first image is predicted."""
    twice = [path for path, times in Counter(targets).items() if times > 1]
    if twice:
        raise DataError(
            f"{twice[0]}: two of the images would be written to this path. Masks take the name of their image; predict "
            "images of one name into different folders."
        )
    for path in targets:
        if len(os.fsencode(path.name)) > longest_name(path.parent):
            raise DataError(f"{path}: the name is longer than the file system takes. Rename the image.")
    given = {path.resolve() for path in images}
    for path in targets:
        if path.resolve() in given:
            raise DataError(f"{path}: is one of the images, and its mask would replace it. Choose another --output.")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be made ({error.strerror}). Expected a folder that may be written; choose another with "
            "--output."
        ) from error


def _write_gray(path: Path, gray: np.ndarray) -> None:
    """A 16-bit PNG; an 8-bit one would be called a mask."""
    with atomic_file(path) as partial:
        Image.fromarray(gray).save(partial, format="PNG")


def _visible(image: np.ndarray) -> np.ndarray:
    """What there is to look at: the first three channels, or where there are fewer the first alone."""
    return image[..., : 3 if image.shape[-1] > 2 else 1]
