"""Datasets of TensorFlow Datasets and Hugging Face, whose records contain both image and mask."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from tfseg.atomic import atomic_directory
from tfseg.data.convert.annotation import Annotation, Annotations, Invalid, Problems
from tfseg.errors import DataError, RunError, first_line, reason
from tfseg.images.overlay import write_image, write_mask
from tfseg.labels import IGNORE, voc_palette

LARGEST = 65535
"""Largest id of a 16-bit mask."""
IMAGE_KEYS = ("image", "img", "pixel_values")
MASK_KEYS = ("segmentation_mask", "mask", "annotation", "label", "labels", "segmentation", "semantic_mask", "seg")
"""Names of features that are tried in this order."""
SPLITS = {"train": "train", "training": "train", "validation": "val", "valid": "val", "val": "val", "test": "test"}
"""Splits of the libraries, and the names of the splits."""


@dataclass(frozen=True)
class Keys:
    """Names of the features of a record. Defaults to the usual names.

    Args:
        image: Feature with the image.
        mask: Feature with the mask of class ids.
    """

    image: str | None = None
    mask: str | None = None


@dataclass(frozen=True)
class Opened:
    """An opened dataset.

    Args:
        features: Features of the records, by name; those with class names have the attribute `names`.
        splits: Records of every split.
    """

    features: Mapping[str, Any]
    splits: Mapping[str, Any]


@contextmanager
def written_records(
    open_dataset: Callable[[str], Opened], name: str, images: Path, keys: Keys
) -> Iterator[Annotations]:
    """Writes the images of a dataset, and yields the annotations of its masks.

    Args:
        open_dataset: Function that opens a dataset, `open_tfds` or `open_huggingface`.
        name: Name of the dataset, or its folder.
        images: Folder of the images; renamed to its final name when the block ends.
        keys: Names of the features.

    Raises:
        DataError: If the dataset cannot be opened, or a record is invalid.
    """
    dataset = _opened(open_dataset, name)
    image_key = _key(dataset.features, keys.image, IMAGE_KEYS, "--image-key", name)
    mask_key = _key(dataset.features, keys.mask, MASK_KEYS, "--mask-key", name)
    names = getattr(dataset.features[mask_key], "names", None)
    problems = Problems(Path(name))
    with atomic_directory(images) as folder, tempfile.TemporaryDirectory(prefix=".masks-", dir=images.parent) as raw:
        splits: dict[str, str] = {}
        largest = 0
        for where, split, index, record in _records(dataset, name):
            example = f"{split}/{index:06d}"
            with problems.collected():
                image, mask = _image(record[image_key], where), _ids(record[mask_key], where, names)
                if image.shape[:2] != mask.shape:
                    raise Invalid(f"{where}: the image is {image.shape[:2]}, its mask {mask.shape} (height, width)")
                write_image(folder / f"{example}.png", image)
                write_mask(Path(raw) / f"{example}.png", mask, voc_palette())
                largest = max(largest, int(mask[mask != IGNORE].max(initial=0)))
                splits[example] = split
        problems.raise_any()
        names = tuple(names or (f"class_{index}" for index in range(largest + 1)))
        found = tuple(_annotation(example, Path(raw) / f"{example}.png", len(names)) for example in splits)
        is_split = {"train", "val"} <= set(splits.values())
        yield Annotations(names, found, splits if is_split else None, is_complete=True)


def _opened(open_dataset: Callable[[str], Opened], name: str) -> Opened:
    try:
        return open_dataset(name)
    except RunError:
        raise
    except Exception as error:  # the libraries raise errors of many types
        message = f"cannot be opened ({reason(error)}). Expected the name or the folder of a dataset."
        raise DataError(f"{name}: {message}") from error


def _records(dataset: Opened, name: str) -> Iterator[tuple[str, str, int, Mapping[str, Any]]]:
    """Yields the location, the split, the index and the record of all examples."""
    for split, records in dataset.splits.items():
        iterator, index = iter(records), 0
        while True:
            try:
                record = next(iterator, None)
            except Exception as error:  # the libraries raise errors of many types
                message = f"cannot be read ({reason(error)}). Restore the dataset."
                raise DataError(f"{name}: {split}[{index}]: {message}") from error
            if record is None:
                break
            yield f"{name}: {split}[{index}]", SPLITS.get(split, split), index, record
            index += 1


def _key(features: Mapping[str, Any], given: str | None, usual: Sequence[str], option: str, name: str) -> str:
    candidates = usual if given is None else (given,)
    found = next((key for key in candidates if key in features), None)
    if found is None:
        raise DataError(
            f"{name}: no feature {' or '.join(candidates)}. Set {option} to one of: {', '.join(features) or 'none'}."
        )
    return found


def _image(value: Any, where: str) -> np.ndarray:
    """Returns an image as uint8 `[height, width]` or `[height, width, 3]`."""
    if isinstance(value, Image.Image):
        value = ImageOps.exif_transpose(value)
        value = np.asarray(value if value.mode in ("L", "RGB", "I;16", "I", "F") else value.convert("RGB"))
    image = np.asarray(value)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3)):
        received = f"{image.dtype} {list(image.shape)}"
        raise Invalid(f"{where}: expected an image of bytes with 1 or 3 channels; received {received}")
    return image


def _ids(value: Any, where: str, names: Sequence[str] | None) -> np.ndarray:
    """Returns a mask as integers `[height, width]`. Color images with three equal channels are accepted."""
    ids = np.asarray(value)
    if ids.ndim == 3 and ids.shape[2] and (ids == ids[:, :, :1]).all():
        ids = ids[:, :, 0]
    if ids.ndim != 2 or ids.dtype.kind not in "ui" or not ids.size or ids.min() < 0 or ids.max() > LARGEST:
        received = f"{ids.dtype} {list(ids.shape)}"
        raise Invalid(f"{where}: expected a mask of class ids, [height, width]; received {received}")
    if names and (invalid := ids[(ids >= len(names)) & (ids != IGNORE)]).size:
        raise Invalid(f"{where}: expected class ids from 0 to {len(names) - 1}, or {IGNORE}; received {invalid[0]}")
    return ids


def _annotation(example: str, mask: Path, classes: int) -> Annotation:
    with Image.open(mask) as opened:
        width, height = opened.size
    return Annotation(example, height, width, indices=partial(_read, mask, classes))


def _read(mask: Path, classes: int) -> np.ndarray:
    """Reads a mask; the value 255 becomes larger than all classes, unless there are that many."""
    with Image.open(mask) as opened:
        ids = np.asarray(opened).astype(np.int64)
    return ids if classes > IGNORE else np.where(ids == IGNORE, classes, ids)


def _extra(module: str, extra: str) -> Any:
    """Imports an optional package.

    Raises:
        RunError: If it, or a package that it needs, is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise RunError(
            f"--from {extra} needs the Python module {error.name or module}, which cannot be imported "
            f"({first_line(error)}). Install the extra `{extra}`: pip install 'tfseg[{extra}]'"
        ) from error


def open_huggingface(name: str) -> Opened:
    """Opens a dataset of Hugging Face: a folder of `save_to_disk`, or a name that `load_dataset` downloads."""
    datasets = _extra("datasets", "huggingface")
    found = datasets.load_from_disk(name) if Path(name).is_dir() else datasets.load_dataset(name)
    splits = found if isinstance(found, dict) else {"all": found}
    return Opened(next(iter(splits.values())).features, splits)


def open_tfds(name: str) -> Opened:
    """Opens a dataset of TensorFlow Datasets: a prepared folder, or a name that is downloaded and prepared."""
    tfds = _extra("tensorflow_datasets", "tfds")
    if Path(name).is_dir():
        builder = tfds.builder_from_directory(name)
    else:
        builder = tfds.builder(name)
        builder.download_and_prepare()
    splits = {split: tfds.as_numpy(builder.as_dataset(split=split)) for split in builder.info.splits}
    return Opened(builder.info.features, splits)
