"""Folders with TIFF and WebP files, which are converted to TFRecord files before training."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import tensorflow as tf

from tfseg.data.dataset import Dataset
from tfseg.data.examples import Examples, Listing, Source
from tfseg.data.sources.folder import Folder
from tfseg.data.sources.patterns import Matches
from tfseg.images.raster import as_npy, check_tifffile
from tfseg.images.suffixes import RASTER_SUFFIXES, SUFFIXES, TIFF_SUFFIXES
from tfseg.labels import Labels


class RasterFolder(Source):
    """Folder whose images may also be TIFF and WebP. They are decoded by Python, which is too slow for training.

    Args:
        folder: Folder, the source.
    """

    type = "folder"
    NATIVE: ClassVar[bool] = True

    def __init__(self, folder: Folder) -> None:
        self.folder, self.channels = folder, folder.channels

    def splits(self, root: Path) -> tuple[str, ...]:
        """Returns the names of the splits in `root`."""
        return self.folder.splits(root)

    def listing(self, root: Path, split: str) -> Listing:
        """Lists the examples of a split."""
        return self.folder.listing(root, split, (*SUFFIXES, *RASTER_SUFFIXES))

    def examples(self, listing: Listing, labels: Labels) -> Examples:
        """Returns the examples of a listing, to be loaded by index."""
        return self.folder.read_by(self._read, listing, labels)

    def native_examples(self, listing: Listing, labels: Labels) -> Examples:
        """Returns the examples with images of any dtype, as float32 with the values of their files."""
        return self.folder.read_by(self._read, listing, labels, native=True)

    def _read(self, path: tf.Tensor) -> tf.Tensor:
        def content(name: bytes) -> np.ndarray:
            return np.array(as_npy(Path(name.decode(errors="surrogateescape")), self.channels), object)

        return tf.ensure_shape(tf.numpy_function(content, [path], tf.string), [])


def with_rasters(data: Dataset) -> Dataset:
    """Returns the dataset, which also reads TIFF and WebP files if its source is a folder with such files.

    Raises:
        DataError: If the folder does not exist.
        RunError: If there are TIFF files, but the package that reads them is not installed.
    """
    source, root = data.spec.source, data.spec.root
    if not isinstance(source, Folder) or root is None:
        return data
    found = set[str]().union(*(Matches(root, source.images, split).suffixes for split in source.splits(root)))
    if found & set(TIFF_SUFFIXES):
        check_tifffile()
    if not found & set(RASTER_SUFFIXES):
        return data
    return Dataset(data.spec, data.labels, data.seed, source=RasterFolder(source))
