"""Images and masks in folders, found by patterns; the ground that the named data sets stand on."""

import difflib
import hashlib
import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

import tensorflow as tf
from pydantic import Field, model_validator

from tfseg.data.decode import decode_image
from tfseg.data.examples import Examples, Loaded, first_fault
from tfseg.data.masks import Ids, Mask
from tfseg.errors import DataError
from tfseg.labels import Labels
from tfseg.spec.declare import spec

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".npy")

Pair = tuple[Path, Path]
Pairs = dict[str, Pair]


@spec
class Folder:
    """Images and masks that share a name. In a pattern, `{name}` is that name (it may hold `/`), `*` any text without `/`.

    Splits come from a list file for each (`lists`), or from `{split}` in the patterns, or are cut out of all examples
    (`fractions`).
    """

    type: Literal["folder"] = "folder"
    NEEDS_ROOT: ClassVar[bool] = True
    images: str = "{split}/images/{name}.*"
    """Where images lie, below `data.root`."""
    masks: str = "{split}/masks/{name}.png"
    """Where their masks lie."""
    lists: str | None = None
    """Where the list of a split lies, e.g. `splits/{split}.txt`: on each line a name, or the paths of an image and its mask."""
    fractions: dict[str, Annotated[float, Field(gt=0, le=1)]] | None = None
    """Parts of all examples, e.g. `{train: 0.8, val: 0.2}`. Who belongs where depends on the names alone."""
    mask: Mask = Ids()
    """How a mask says which class a pixel is."""
    channels: Annotated[int, Field(ge=1)] = 3
    """Channels of an image."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for field, pattern in (("images", self.images), ("masks", self.masks)):
            if pattern.count("{name}") != 1:
                raise ValueError(f"{field} must hold {{name}} once, as in `images/{{name}}.jpg`. Received: {pattern!r}")
        ways = [self.lists is not None, self.fractions is not None]
        if self.lists is not None and "{split}" not in self.lists:
            raise ValueError(f"lists must hold {{split}}, as in `splits/{{split}}.txt`. Received: {self.lists!r}")
        if sum(ways) != 1 and ("{split}" not in self.images or any(ways)):
            raise ValueError("say how splits are told apart, in one way: {split} in images, or lists, or fractions")
        if self.fractions is not None and sum(self.fractions.values()) > 1 + 1e-9:
            raise ValueError(f"fractions must not sum to more than 1. Received: {self.fractions}")
        return self

    def splits(self, root: Path) -> tuple[str, ...]:
        """The splits that the files below `root` offer."""
        _demand_folder(root)
        if self.fractions is not None:
            return tuple(self.fractions)
        if self.lists is not None:
            return tuple(sorted(_splits(root, self.lists)))
        found = _splits(root, self.images)
        return tuple(sorted(found & _splits(root, self.masks) if "{split}" in self.masks else found))

    def pairs(self, root: Path, split: str) -> Pairs:
        """The files of a split by name, in file order. Every image has a mask, and there is at least one."""
        self._demand_split(root, split)
        if self.lists is not None:
            pairs = self._listed(root, root / self.lists.replace("{split}", split), split)
        else:
            images, masks = self._found(root, self.images, split), self._found(root, self.masks, split)
            pairs = {name: (path, self._partner(masks, name, path, split)) for name, path in sorted(images.items())}
        if self.fractions is not None:
            pairs = {name: pairs[name] for name in sorted(_part(list(pairs), self.fractions, split))}
        if not pairs:
            places = f"`{self.images}` and `{self.masks}`" if self.lists is None else f"`{self.lists}`"
            raise DataError(f"{root}: the split `{split}` is empty. Looked for {places} below this folder.")
        return pairs

    def examples(self, root: Path, split: str, labels: Labels) -> Examples:
        """The examples of a split."""
        pairs = self.pairs(root, split)
        images = tf.constant([str(image) for image, _ in pairs.values()])
        masks = tf.constant([str(mask) for _, mask in pairs.values()])

        def mask(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            ids, fault = self.mask(tf.io.read_file(masks[index]), labels)
            return ids, _at(masks[index], fault)

        def load(index: tf.Tensor) -> Loaded:
            image, fault = decode_image(tf.io.read_file(images[index]), self.channels)
            ids, wrong = mask(index)
            sizes = _size_fault(image, ids, masks[index])
            return image, ids, first_fault(_at(images[index], fault), wrong, _at(images[index], sizes))

        files = tuple((str(image), str(mask)) for image, mask in pairs.values())
        return Examples(tuple(pairs), files, self.channels, load, mask)

    def _demand_split(self, root: Path, split: str) -> None:
        splits = self.splits(root)
        if split not in splits:
            near = difflib.get_close_matches(split, splits, 1)
            hint = f" Did you mean `{near[0]}`?" if near else ""
            have = ", ".join(splits) or "none"
            raise DataError(f"{root}: there is no split `{split}`.{hint} Splits here: {have}.")

    def _found(self, root: Path, pattern: str, split: str) -> dict[str, Path]:
        """Files that match a pattern, by name."""
        pattern = pattern.replace("{split}", split)
        shape = re.compile(_expression(pattern))
        found: dict[str, Path] = {}
        for path in (root / _fixed(pattern)).rglob("*"):
            match = shape.fullmatch(path.relative_to(root).as_posix())
            if match and path.suffix.lower() in SUFFIXES:
                name = match["name"]
                if name in found:
                    raise DataError(f"{path}: has the same name as {found[name]}. `{pattern}` must match one of them only.")
                found[name] = path
        return found

    def _listed(self, root: Path, file: Path, split: str) -> Pairs:
        lines = [line.split() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        images = self._found(root, self.images, split) if any(len(line) == 1 for line in lines) else {}
        masks = self._found(root, self.masks, split) if images else {}
        pairs: Pairs = {}
        for number, line in enumerate(lines, 1):
            if len(line) > 2:
                told = f"expected a name, or an image and a mask. Received: {' '.join(line)!r}"
                raise DataError(f"{file}:{number}: {told}")
            if len(line) == 2:
                image, mask = (root / part.lstrip("/") for part in line)
                pairs[image.stem] = _demand_file(image, file, number), _demand_file(mask, file, number)
                continue
            if line[0] not in images:
                raise DataError(f"{file}:{number}: `{line[0]}` has no image. Looked for `{self.images}` in {root}.")
            pairs[line[0]] = images[line[0]], self._partner(masks, line[0], images[line[0]], split)
        return pairs

    def _partner(self, masks: dict[str, Path], name: str, image: Path, split: str) -> Path:
        if name not in masks:
            place = self.masks.replace("{split}", split).replace("{name}", name)
            raise DataError(f"{image}: has no mask. Expected `{place}`. Add the mask or take the image out.")
        return masks[name]


def _demand_folder(root: Path) -> None:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder. Correct `data.root`, or put the data there.")


def _demand_file(path: Path, file: Path, number: int) -> Path:
    if not path.is_file():
        raise DataError(f"{file}:{number}: {path}: no such file. Correct the list or restore the file.")
    return path


def _expression(pattern: str) -> str:
    """A pattern as a regular expression with the groups `split` and `name`."""
    parts = re.split(r"(\{split\}|\{name\}|\*)", pattern)
    known = {"{split}": "(?P<split>[^/]+)", "{name}": "(?P<name>.+)", "*": "[^/]*"}
    return "".join(known.get(part, re.escape(part)) for part in parts)


def _fixed(pattern: str) -> str:
    """The folders of a pattern before its first placeholder."""
    return re.split(r"[{*]", pattern)[0].rpartition("/")[0]


def _splits(root: Path, pattern: str) -> set[str]:
    """What `{split}` may stand for: the entries that match the one path component that holds it."""
    before, _, after = pattern.partition("{split}")
    folder, _, head = before.rpartition("/")
    shape = re.compile(_expression(f"{head}{{split}}{after.partition('/')[0]}"))
    entries = (root / folder).iterdir() if (root / folder).is_dir() else ()
    return {match["split"] for entry in entries if (match := shape.fullmatch(entry.name))}


def _part(names: list[str], fractions: dict[str, float], split: str) -> list[str]:
    """The names of one split: all names in the order of their hashes, cut at the fractions."""
    order = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    keys = list(fractions)
    sums = [sum(list(fractions.values())[:place]) for place in range(len(keys) + 1)]
    place = keys.index(split)
    return order[round(sums[place] * len(order)) : round(sums[place + 1] * len(order))]


def _at(file: tf.Tensor, fault: tf.Tensor) -> tf.Tensor:
    return tf.where(tf.equal(fault, ""), "", tf.strings.join([file, ": ", fault]))


def _size_fault(image: tf.Tensor, ids: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    sizes = (tf.shape(image)[1], tf.shape(image)[0], mask, tf.shape(ids)[1], tf.shape(ids)[0])
    told = tf.strings.format("the image is {}x{} pixels, but its mask {} is {}x{}. Both must be of one size.", sizes)
    return tf.where(tf.reduce_all(tf.equal(tf.shape(image)[:2], tf.shape(ids))), "", told)
