"""Images and masks in folders, found by patterns; the ground that the named data sets stand on."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

import tensorflow as tf
from pydantic import Field, model_validator

from tfseg.data.examples import Checked, Examples, Listing, Loaded, Source, first_fault
from tfseg.data.masks import Ids, Mask
from tfseg.data.patterns import Matches, splits
from tfseg.errors import DataError
from tfseg.images import decode_image
from tfseg.labels import Labels
from tfseg.spec.declare import spec
from tfseg.spec.problems import FieldProblem, InvalidFields

Pair = tuple[Path, Path]

_WAYS = "splits must be told apart in one way: {split} in images, or lists, or fractions"


@spec
class Folder(Source):
    """Images and masks that share a name.

    In a pattern, `{name}` is that name (it may hold `/`), `{split}` the split, and `*` any text without `/`. Splits
    come from a list file for each (`lists`), or from `{split}` in the patterns, or are cut out of all examples
    (`fractions`).
    """

    type: Literal["folder"] = "folder"
    images: str = "{split}/images/{name}.*"
    """Where images lie, below `data.root`."""
    masks: str = "{split}/masks/{name}.png"
    """Where their masks lie."""
    lists: str | None = None
    """The list of a split, e.g. `splits/{split}.txt`: on each line a name, or the paths of an image and its mask."""
    fractions: dict[str, Annotated[float, Field(gt=0, le=1)]] | None = None
    """Parts of all examples, e.g. `{train: 0.8, val: 0.2}`. Who belongs where depends on the names alone."""
    mask: Mask = Ids()
    """How a mask says which class a pixel is."""
    channels: Annotated[int, Field(ge=1)] = 3
    """Channels of an image."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        faults: list[FieldProblem] = []
        for field in ("images", "masks"):
            if getattr(self, field).count("{name}") != 1:
                faults.append(((field,), f"expected {{name}} once in the pattern; received {getattr(self, field)!r}"))
        if self.lists is not None and "{split}" not in self.lists:
            faults.append((("lists",), f"expected {{split}} in the path; received {self.lists!r}"))
        if self.lists is not None and self.fractions is not None:
            faults.append((("fractions",), f"{_WAYS}; received lists and fractions"))
        if self.lists is None and ("{split}" in self.images) == (self.fractions is not None):
            received = "none" if self.fractions is None else "{split} and fractions"
            faults.append((("images",), f"{_WAYS}; received {received}"))
        if self.fractions is not None and sum(self.fractions.values()) > 1 + 1e-9:
            faults.append((("fractions",), f"expected a sum of at most 1; received {sum(self.fractions.values()):g}"))
        if faults:
            raise InvalidFields(*faults)
        return self

    def splits(self, root: Path) -> tuple[str, ...]:
        """The splits that the files below `root` offer."""
        if not root.is_dir():
            raise DataError(f"{root}: no such folder. Correct `data.root`, or put the data there.")
        if self.fractions is not None:
            return tuple(self.fractions)
        patterns = [self.images, self.masks] if self.lists is None else [self.lists]
        found = set.intersection(*(splits(root, pattern) for pattern in patterns if "{split}" in pattern))
        if not found:
            told = " and ".join(f"`{pattern}`" for pattern in patterns)
            raise DataError(
                f"{root}: no split is here. Expected something by {told}. Correct the patterns or `data.root`."
            )
        return tuple(sorted(found))

    def listing(self, root: Path, split: str) -> Listing:
        """The examples of a split, by name. Every image has a mask, and there is at least one."""
        images, masks = (Matches(root, pattern, split) for pattern in (self.images, self.masks))
        if self.lists is None:
            pairs, over = self._found(images, masks, split), tuple(self._passed_over(images, masks, root, split))
        else:  # which may well name a part of the files
            pairs, over = _listed(root, self.lists.replace("{split}", split), images, masks), ()
        if not pairs:
            places = f"`{images.place}` and `{masks.place}`" if self.lists is None else f"`{self.lists}`"
            told, others = places.replace("{split}", split), "" if self.lists else images.unreadable()
            raise DataError(f"{root}: the split `{split}` is empty. Expected at least one example by {told}.{others}")
        texts = tuple((str(image), str(mask)) for image, mask in pairs.values())
        return Listing(split, tuple(pairs), texts, over)

    def examples(self, listing: Listing, labels: Labels) -> Examples:
        """The examples of a listing, to be read."""
        images, masks = (tf.constant(list(map(os.fsencode, paths))) for paths in zip(*listing.files, strict=True))
        ids_of = self.mask(labels)

        def mask(index: tf.Tensor) -> Checked:
            ids, fault = ids_of(tf.io.read_file(masks[index]))
            return ids, _at(masks[index], fault)

        def load(index: tf.Tensor) -> Loaded:
            image, fault = decode_image(tf.io.read_file(images[index]), self.channels)
            ids, wrong = mask(index)
            sizes = _size_fault(image, ids, masks[index])
            return image, ids, first_fault(_at(images[index], fault), wrong, _at(images[index], sizes))

        return Examples(listing, load, mask)

    def _found(self, images: Matches, masks: Matches, split: str) -> dict[str, Pair]:
        """All pairs that the patterns match, or the split's part of them."""
        pairs = {name: (path, _partner(masks, name, path)) for name, path in images.files.items()}
        if self.fractions is None:
            return pairs
        return {name: pairs[name] for name in sorted(_part(list(pairs), self.fractions, split))}

    def _passed_over(self, images: Matches, masks: Matches, root: Path, split: str) -> Iterator[str]:
        """What the patterns match in a split and no example is made of."""
        told = "" if self.fractions else f" of the split {split}"
        if others := images.unreadable():
            yield f"{root}: some images{told} are left out.{others}"
        if alone := [path for name, path in masks.files.items() if name not in images.files]:
            what = "1 mask" if len(alone) == 1 else f"{len(alone)} masks"
            yield (
                f"{root}: {what}{told} without an image, {alone[0]} for one. Expected `{self.images}`. Add the images, "
                "or take the masks out."
            )


def _listed(root: Path, place: str, images: Matches, masks: Matches) -> dict[str, Pair]:
    """The pairs that a split's list names."""
    pairs: dict[str, Pair] = {}
    for number, line in enumerate(_lines(root / place), 1):
        words, where = line.split(), f"{root / place}:{number}"
        if len(words) == 2 and ((root / words[0].lstrip("/")).is_file() or line not in images.files):
            image, mask = (_existing(root / word.lstrip("/"), where) for word in words)
            if image.stem in pairs:
                told = f"two images are called {image.stem!r}: {pairs[image.stem][0]} and {image}"
                raise DataError(f"{where}: {told}. Examples go by the names of their images; rename one.")
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
        place, others = images.place.replace("{name}", name), images.unreadable(name)
        raise DataError(
            f"{where}: `{name}` has no image. Expected `{place}`. Correct the list or add the image.{others}"
        )
    return images.files[name], _partner(masks, name, images.files[name])


def _partner(masks: Matches, name: str, image: Path) -> Path:
    if name not in masks.files:
        place, others = masks.place.replace("{name}", name), masks.unreadable(name)
        raise DataError(f"{image}: has no mask. Expected `{place}`. Add the mask or take the image out.{others}")
    return masks.files[name]


def _lines(file: Path) -> list[str]:
    """The lines of a list. Names are bytes that the file system keeps as they are: they need not be UTF-8."""
    if not file.is_file():
        raise DataError(f"{file}: is no file. Expected the list of a split. Correct `data.source.lists`.")
    data = file.read_bytes()
    if b"\0" in data:
        raise DataError(f"{file}: is not UTF-8 text, as UTF-16 and pictures are not. Save the list as UTF-8.")
    return [os.fsdecode(line).strip() for line in data.removeprefix(b"\xef\xbb\xbf").splitlines()]


def _existing(path: Path, where: str) -> Path:
    if not path.is_file():
        raise DataError(f"{where}: {path}: no such file. Correct the list or restore the file.")
    return path


def _part(names: list[str], fractions: dict[str, float], split: str) -> list[str]:
    """The names of one split: all names in the order of their hashes, cut at the fractions."""
    order = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    before = list(fractions)[: list(fractions).index(split)]
    start = sum(fractions[name] for name in before)
    return order[round(start * len(order)) : round((start + fractions[split]) * len(order))]


def _at(file: tf.Tensor, fault: tf.Tensor) -> tf.Tensor:
    return tf.where(tf.equal(fault, ""), "", tf.strings.join([file, ": ", fault]))


def _size_fault(image: tf.Tensor, ids: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Says so where image and mask differ in size."""
    width, height, mask_width, mask_height = (
        tf.strings.as_string(side) for of in (image, ids) for side in (tf.shape(of)[1], tf.shape(of)[0])
    )
    parts = ["the image is ", width, "x", height, ", but its mask ", mask, " is ", mask_width, "x", mask_height]
    told = tf.strings.join([*parts, ". Expected one size for both. Correct either, or take the example out."])
    return tf.where(tf.reduce_all(tf.equal(tf.shape(image)[:2], tf.shape(ids))), "", told)
