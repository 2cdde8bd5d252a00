"""PASCAL VOC: the devkit's layout, or its folders and lists side by side."""

from pathlib import Path
from typing import Literal

from tfseg.data.examples import Examples, Listing, Source
from tfseg.data.folder import Folder
from tfseg.errors import DataError
from tfseg.labels import Labels
from tfseg.spec.declare import spec

_DEVKIT_LISTS = "ImageSets/Segmentation"


@spec
class Voc(Source):
    """PASCAL VOC; void is 255. `data.root` is `VOCdevkit`, its parent, `VOC2012`, or a folder with lists of its own."""

    type: Literal["voc"] = "voc"
    year: str = "2012"
    """Which folder of a devkit: `VOC2012`, `VOC2007`."""
    masks: str | None = None
    """The folder of masks; by default `SegmentationClassAug` where it exists, else `SegmentationClass`."""

    def splits(self, root: Path) -> tuple[str, ...]:
        """The splits that have a list."""
        home, layout = self._layout(root)
        return layout.splits(home)

    def listing(self, root: Path, split: str) -> Listing:
        """The examples of a split."""
        home, layout = self._layout(root)
        return layout.listing(home, split)

    def examples(self, listing: Listing, labels: Labels) -> Examples:
        """The examples of a listing, to be read."""
        return Folder().examples(listing, labels)

    def _layout(self, root: Path) -> tuple[Path, Folder]:
        places = (root, root / f"VOC{self.year}", root / "VOCdevkit" / f"VOC{self.year}")
        home = next((place for place in places if (place / "JPEGImages").is_dir()), None)
        if home is None:
            raise DataError(
                f"{root}: no folder JPEGImages here, in VOC{self.year} or in VOCdevkit/VOC{self.year}. "
                "Correct `data.root`, or put the data there."
            )
        lists = f"{_DEVKIT_LISTS}/{{split}}.txt" if (home / _DEVKIT_LISTS).is_dir() else "{split}.txt"
        augmented = (home / "SegmentationClassAug").is_dir()
        masks = self.masks or ("SegmentationClassAug" if augmented else "SegmentationClass")
        return home, Folder(images="JPEGImages/{name}.jpg", masks=f"{masks}/{{name}}.png", lists=lists)
