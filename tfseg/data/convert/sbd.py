"""Annotations of SBD (Semantic Boundaries Dataset): one MATLAB file with a mask per image."""

from functools import partial
from pathlib import Path

import numpy as np
import scipy.io

from tfseg.data.convert.annotation import Annotation, Annotations, Invalid, Problems
from tfseg.data.convert.checks import check_size
from tfseg.data.convert.images import Images
from tfseg.errors import DataError, first_line
from tfseg.labels import PUBLISHED

NAMES: tuple[str, ...] = PUBLISHED["voc"]["names"]
"""Classes of PASCAL VOC, whose images SBD annotates."""
FOLDER, KEY = "cls", "GTcls"
"""Folder of the class masks in the published archive, and their variable in the files."""
SPLITS = ("train", "val")


def read_sbd(path: Path, images: Images) -> Annotations:
    """Reads and checks the class masks of SBD. Splits are those of `train.txt` and `val.txt`, if there are both.

    Args:
        path: Folder of the `.mat` files, or the folder that contains it as `cls`.
        images: Annotated images.

    Raises:
        DataError: If there is no file, or a file is invalid.
    """
    folder = path / FOLDER if (path / FOLDER).is_dir() else path
    files = sorted(folder.glob("*.mat"))
    if not files:
        raise DataError(f"{folder}: contains no .mat file. Expected the folder `{FOLDER}` of SBD.")
    problems, found = Problems(path), []
    for file in files:
        with problems.collected():
            suffix = next((suffix for suffix in (".jpg", ".png") if file.stem + suffix in images), ".jpg")
            image = images.find(file.stem + suffix, str(file))
            mask = _mask(file)
            check_size(image, mask.shape[0], mask.shape[1], str(file))
            found.append(Annotation(image.name, image.height, image.width, indices=partial(_mask, file)))
    problems.raise_any()
    return Annotations(NAMES, tuple(found), _splits(folder, [image.name for image in found]), is_complete=True)


def _mask(file: Path) -> np.ndarray:
    """Reads a mask, uint8 `[height, width]`.

    Raises:
        Invalid: If the file is not a mask of SBD.
    """
    try:
        mask = np.asarray(scipy.io.loadmat(file, squeeze_me=True)[KEY]["Segmentation"].item())
    except Exception as error:  # SciPy raises errors of many types for corrupt files
        message = f"is not a file with {KEY}.Segmentation ({first_line(error)}). Expected those of SBD's folder `cls`"
        raise Invalid(f"{file}: {message}") from error
    if mask.ndim != 2 or mask.dtype.kind not in "ui" or mask.max(initial=0) >= len(NAMES) or mask.min(initial=0) < 0:
        received = f"{mask.dtype} {list(mask.shape)}"
        raise Invalid(f"{file}: expected class ids from 0 to {len(NAMES) - 1}, [height, width]; received {received}")
    return mask.astype(np.uint8)


def _splits(folder: Path, names: list[str]) -> dict[str, str] | None:
    """Returns the splits of the list files in the folder or beside it, if they list all images."""
    for parent in (folder, folder.parent):
        lists = {split: parent / f"{split}.txt" for split in SPLITS}
        if all(file.is_file() for file in lists.values()):
            splits = {name: split for split, file in lists.items() for name in _words(file)}
            missing = [name for name in names if name.rpartition("/")[2] not in splits]
            return None if missing else {name: splits[name.rpartition("/")[2]] for name in names}
    return None


def _words(file: Path) -> list[str]:
    return file.read_bytes().decode("utf-8", "replace").split()
