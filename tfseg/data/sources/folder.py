"""Images and masks in folders, selected by path patterns. The sources of VOC and CamVid use `Folder`."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

import tensorflow as tf
from pydantic import Field, model_validator

from tfseg.data.examples import (
    Checked,
    Examples,
    Listing,
    Loaded,
    Source,
    Window,
    first_problem,
    located,
    size_problem,
)
from tfseg.data.sources.masks import Ids, Mask
from tfseg.data.sources.patterns import Matches, splits
from tfseg.errors import DataError
from tfseg.images import cut, decode_image, decode_native, decode_window
from tfseg.images.suffixes import SUFFIXES
from tfseg.labels import Labels
from tfseg.spec.declare import spec
from tfseg.spec.problems import FieldProblem, InvalidFields

Pair = tuple[Path, Path]
Read = Callable[[tf.Tensor], tf.Tensor]

_WAYS = "splits must be defined in exactly one way: {split} in images, or lists, or fractions"


@spec
class Folder(Source):
    """Pairs of images and masks with the same name, in folders.

    In a pattern, `{name}` is the name of an example (it may contain `/`), `{split}` the split, and `*` any text without
    `/`. Splits are defined by one list file per split (`lists`), by `{split}` in the patterns, or as fractions of all
    examples (`fractions`).
    """

    NATIVE: ClassVar[bool] = True
    type: Literal["folder"] = "folder"
    images: str = "{split}/images/{name}.*"
    """Path pattern of the images, relative to `data.root`."""
    masks: str = "{split}/masks/{name}.png"
    """Path pattern of the masks, relative to `data.root`."""
    lists: str | None = None
    """List file of a split, e.g. `splits/{split}.txt`: one name, or the paths of an image and its mask, per line."""
    fractions: dict[str, Annotated[float, Field(gt=0, le=1)]] | None = None
    """Fraction of the examples per split, e.g. `{train: 0.8, val: 0.2}`. The assignment depends on the names alone."""
    mask: Mask = Ids()
    """Encoding of classes in the masks."""
    channels: Annotated[int, Field(ge=1)] = 3
    """Number of channels of the images."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems: list[FieldProblem] = []
        for field in ("images", "masks"):
            if getattr(self, field).count("{name}") != 1:
                problems.append(((field,), f"expected {{name}} once in the pattern; received {getattr(self, field)!r}"))
        if self.lists is not None and "{split}" not in self.lists:
            problems.append((("lists",), f"expected {{split}} in the path; received {self.lists!r}"))
        if self.lists is not None and self.fractions is not None:
            problems.append((("fractions",), f"{_WAYS}; received lists and fractions"))
        if self.lists is None and ("{split}" in self.images) == (self.fractions is not None):
            received = "none" if self.fractions is None else "{split} and fractions"
            problems.append((("images",), f"{_WAYS}; received {received}"))
        if self.fractions is not None and sum(self.fractions.values()) > 1 + 1e-9:
            problems.append((("fractions",), f"expected a sum of at most 1; received {sum(self.fractions.values()):g}"))
        if problems:
            raise InvalidFields(*problems)
        return self

    def splits(self, root: Path) -> tuple[str, ...]:
        """Returns the names of the splits in `root`."""
        if not root.is_dir():
            raise DataError(f"{root}: no such folder. Correct `data.root`, or put the data there.")
        if self.fractions is not None:
            return tuple(self.fractions)
        patterns = [self.images, self.masks] if self.lists is None else [self.lists]
        names = set.intersection(*(splits(root, pattern) for pattern in patterns if "{split}" in pattern))
        if not names:
            expected = " and ".join(f"`{pattern}`" for pattern in patterns)
            raise DataError(
                f"{root}: contains no split. Expected files that match {expected}. Correct the patterns or `data.root`."
            )
        return tuple(sorted(names))

    def listing(self, root: Path, split: str, suffixes: tuple[str, ...] = SUFFIXES) -> Listing:
        """Lists the examples of a split.

        Args:
            root: Folder of the dataset.
            split: Name of the split.
            suffixes: Suffixes of the images.

        Raises:
            DataError: If the split is empty, a file is missing, or two images have the same name.
        """
        images, masks = Matches(root, self.images, split, suffixes), Matches(root, self.masks, split)
        if self.lists is None:
            pairs, skipped = self._pairs(images, masks, split), tuple(self._skipped(images, masks, root, split))
        else:  # a list may select a part of the files
            pairs, skipped = _listed(root, self.lists.replace("{split}", split), images, masks), ()
        if not pairs:
            patterns = f"`{images.pattern}` and `{masks.pattern}`" if self.lists is None else f"`{self.lists}`"
            others = "" if self.lists else images.unsupported(records=True)
            expected = patterns.replace("{split}", split)
            raise DataError(f"{root}: the split `{split}` is empty. Expected files that match {expected}.{others}")
        files = tuple((str(image), str(mask)) for image, mask in pairs.values())
        return Listing(split, tuple(pairs), files, skipped)

    def examples(self, listing: Listing, labels: Labels) -> Examples:
        """Returns the examples of a listing, to be loaded by index."""
        return self.read_by(tf.io.read_file, listing, labels)

    def native_examples(self, listing: Listing, labels: Labels) -> Examples:
        """Returns the examples with images of any dtype, as float32 with the values of their files."""
        return self.read_by(tf.io.read_file, listing, labels, native=True)

    def read_by(self, read: Read, listing: Listing, labels: Labels, *, native: bool = False) -> Examples:
        """Returns the examples of a listing, whose image files are read by a function of their path in the graph."""
        images, masks = (tf.constant(list(map(os.fsencode, paths))) for paths in zip(*listing.files, strict=True))
        decode_mask, decode = self.mask(labels), decode_native if native else decode_image

        def content(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return read(images[index]), tf.io.read_file(masks[index])

        def mask(index: tf.Tensor) -> Checked:
            ids, problem = decode_mask(tf.io.read_file(masks[index]))
            return ids, located(masks[index], problem)

        def load(index: tf.Tensor) -> Loaded:
            data = read(images[index])
            image, problem = decode(data, self.channels)
            ids, mask_problem = mask(index)
            return image, ids, problems(index, problem, mask_problem, tf.shape(image)[:2], ids, data)

        def load_window(index: tf.Tensor, window: Window) -> Loaded:
            data = read(images[index])
            image, size, sides, problem = decode_window(data, window, self.channels, native=native)
            ids, mask_problem = mask(index)
            return image, cut(ids, sides), problems(index, problem, mask_problem, size, ids, data)

        def problems(
            index: tf.Tensor, of_image: tf.Tensor, of_mask: tf.Tensor, size: tf.Tensor, ids: tf.Tensor, data: tf.Tensor
        ) -> tf.Tensor:
            of_sizes = size_problem()(size, tf.shape(ids), masks[index], data)
            return first_problem(located(images[index], of_image), of_mask, located(images[index], of_sizes))

        return Examples(listing, load, mask, content, load_window=load_window)

    def _pairs(self, images: Matches, masks: Matches, split: str) -> dict[str, Pair]:
        """Returns the pairs that match the patterns; with `fractions`, those of the split."""
        pairs = {name: (path, _partner(masks, name, path)) for name, path in images.files.items()}
        if self.fractions is None:
            return pairs
        return {name: pairs[name] for name in sorted(part_of_split(list(pairs), self.fractions, split))}

    def _skipped(self, images: Matches, masks: Matches, root: Path, split: str) -> Iterator[str]:
        """Yields warnings about files that match the patterns of a split but are not used."""
        of = "" if self.fractions else f" of the split {split}"
        if others := images.unsupported(records=True):
            yield f"{root}: some images{of} are skipped.{others}"
        if alone := [path for name, path in masks.files.items() if name not in images.files]:
            count = "1 mask" if len(alone) == 1 else f"{len(alone)} masks"
            yield (
                f"{root}: {count}{of} without an image, for example {alone[0]}. Expected `{self.images}`. Add the "
                "images, or remove the masks."
            )


def _listed(root: Path, file: str, images: Matches, masks: Matches) -> dict[str, Pair]:
    """Returns the pairs of a list file."""
    pairs: dict[str, Pair] = {}
    for number, line in enumerate(_lines(root / file), 1):
        words, where = line.split(), f"{root / file}:{number}"
        if len(words) == 2 and ((root / words[0].lstrip("/")).is_file() or line not in images.files):
            image, mask = (_existing(root / word.lstrip("/"), where) for word in words)
            if image.stem in pairs:
                message = f"two images have the name {image.stem!r}: {pairs[image.stem][0]} and {image}"
                raise DataError(f"{where}: {message}. Examples are named after their images; rename one of the two.")
            pairs[image.stem] = image, mask
        elif len(words) > 2 and line not in images.files:
            raise DataError(
                f"{where}: cannot read the line {line!r}. Expected a name, or the paths of an image and its mask."
            )
        elif words:
            pairs[line] = _named(images, masks, line, where)
    return pairs


def _named(images: Matches, masks: Matches, name: str, where: str) -> Pair:
    if name not in images.files:
        expected, others = images.pattern.replace("{name}", name), images.unsupported(name, records=True)
        raise DataError(
            f"{where}: `{name}` has no image. Expected `{expected}`. Correct the list or add the image.{others}"
        )
    return images.files[name], _partner(masks, name, images.files[name])


def _partner(masks: Matches, name: str, image: Path) -> Path:
    if name not in masks.files:
        expected, others = masks.pattern.replace("{name}", name), masks.unsupported(name)
        raise DataError(f"{image}: has no mask. Expected `{expected}`. Add the mask or remove the image.{others}")
    return masks.files[name]


def _lines(file: Path) -> list[str]:
    """Reads the lines of a list file. File names need not be UTF-8, so they are decoded with `os.fsdecode`."""
    if not file.is_file():
        raise DataError(f"{file}: is not a file. Expected the list of a split. Correct `data.source.lists`.")
    data = file.read_bytes()
    if b"\0" in data:
        raise DataError(f"{file}: is not UTF-8 text but binary or UTF-16. Save the list as UTF-8.")
    return [os.fsdecode(line).strip() for line in data.removeprefix(b"\xef\xbb\xbf").splitlines()]


def _existing(path: Path, where: str) -> Path:
    if not path.is_file():
        raise DataError(f"{where}: {path}: no such file. Correct the list or restore the file.")
    return path


def part_of_split(names: list[str], fractions: dict[str, float], split: str) -> list[str]:
    """Returns the names of one split: all names, sorted by their hashes and divided by the fractions."""
    order = sorted(names, key=lambda name: hashlib.sha256(os.fsencode(name)).digest())
    before = list(fractions)[: list(fractions).index(split)]
    start = sum(fractions[name] for name in before)
    return order[round(start * len(order)) : round((start + fractions[split]) * len(order))]
