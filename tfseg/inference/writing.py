"""Writing of predicted masks as palette (indexed) PNG files, with overlays, legend and uncertainty maps."""

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
    """Writes the mask of every image to `<output>/<stem>.png`, and yields the path of each written file.

    Args:
        predictor: Predictor of the masks.
        images: Image files (see `read_image`), folders or patterns (see `image_files`), one or several.
        output: Path of the folder for the masks; created if it does not exist.
        labels: Labels with the colors of the classes. Defaults to those stored with the network, else the colors of
            PASCAL VOC.
        overlay: Boolean, whether to also write each mask blended over its image, `<stem>-overlay.png`.
        legend: Boolean, whether to write `<output>/legend.png` first, with the color and name of each class.
        spec: `Inference`, for its `opacity` of overlays, and its `uncertainty`: whether to also write
            `<stem>-uncertainty.png`, which requires a predictor with samples.

    Yields:
        The path of each written file.

    Raises:
        DataError: If an image does not exist or is corrupt, or two of the files to write have the same path.
            Missing images and equal paths are reported before any prediction; corrupt images are skipped and reported
            at the end. No file is left incomplete.
    """
    images = image_files([images] if isinstance(images, str | os.PathLike) else images)
    targets = [Path(output) / f"{path.stem}.png" for path in images]
    overlays = [Path(output) / f"{path.stem}-overlay.png" for path in images] if overlay else []
    spec = spec or Inference()
    legends = [Path(output) / LEGEND] if legend else []
    maps = [Path(output) / f"{path.stem}-uncertainty.png" for path in images] if spec.uncertainty else []
    _check(images, [*targets, *overlays, *maps, *legends])
    _make(Path(output))
    labels = labels or predictor.labels
    palette = labels.palette if labels else voc_palette()
    for path in legends:
        names = labels.names if labels else list(map(str, range(predictor.classes)))
        write_image(path, drawn_legend(names, palette))
        yield path
    problems = []
    for index, path in enumerate(images):
        try:
            image = read_image(path, predictor.channels, predictor.values)
        except DataError as error:
            problems.append(str(error))
            continue
        if spec.uncertainty:
            mask, uncertainty = predictor.predict_with_uncertainty(image)
        else:
            mask, uncertainty = predictor.predict(image, path.stem), None
        write_mask(targets[index], mask, palette)
        yield targets[index]
        if overlay:
            write_image(
                overlays[index], blend(_visible(predictor.values.shown(image)), mask, palette, alpha=spec.opacity)
            )
            yield overlays[index]
        if uncertainty is not None:
            _write_gray(maps[index], shade(uncertainty, predictor.classes))
            yield maps[index]
    if problems:
        count = f"{len(problems)} of {len(images)} images could not be read; the others were predicted.\n"
        raise DataError((count if len(images) > 1 else "") + "\n".join(problems))


def _check(images: Sequence[Path], targets: Sequence[Path]) -> None:
    """Checks the paths of all files before the first prediction."""
    twice = [path for path, times in Counter(targets).items() if times > 1]
    if twice:
        raise DataError(
            f"{twice[0]}: two of the files to write have this path. Masks have the names of their images; predict "
            "images of the same name into different folders."
        )
    for path in targets:
        if len(os.fsencode(path.name)) > longest_name(path.parent):
            raise DataError(f"{path}: the name is too long for the file system. Rename the image.")
    given = {path.resolve() for path in images}
    for path in targets:
        if path.resolve() in given:
            raise DataError(f"{path}: is one of the images and would be overwritten. Choose another --output.")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be created ({error.strerror}). Expected a writable folder; choose another with --output."
        ) from error


def _write_gray(path: Path, gray: np.ndarray) -> None:
    """Writes a 16-bit grayscale PNG. `write_image` supports 8 bits only."""
    with atomic_file(path) as partial:
        Image.fromarray(gray).save(partial, format="PNG")


def _visible(image: np.ndarray) -> np.ndarray:
    """Returns the channels to display: the first three or, if there are fewer, the first."""
    return image[..., : 3 if image.shape[-1] > 2 else 1]
