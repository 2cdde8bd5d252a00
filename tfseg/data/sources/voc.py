"""PASCAL VOC in the layout of the devkit, or with its folders and list files in one folder."""

from pathlib import Path
from typing import Literal

from tfseg.data.examples import Examples, Listing, Source
from tfseg.data.sources.folder import Folder
from tfseg.errors import DataError
from tfseg.labels import Labels
from tfseg.spec.declare import spec

_DEVKIT_LISTS = "ImageSets/Segmentation"


@spec
class Voc(Source):
    """PASCAL VOC; void is 255. `data.root` is `VOCdevkit`, its parent, `VOC2012`, or a folder with custom lists."""

    type: Literal["voc"] = "voc"
    year: str = "2012"
    """Year of the devkit folder, such as `VOC2012` or `VOC2007`."""
    masks: str | None = None
    """Folder of the masks. Defaults to `SegmentationClassAug` if it exists, otherwise to `SegmentationClass`."""

    def splits(self, root: Path) -> tuple[str, ...]:
        """Returns the names of the splits that have a list."""
        home, layout = self._layout(root)
        return layout.splits(home)

    def listing(self, root: Path, split: str) -> Listing:
        """Lists the examples of a split."""
        home, layout = self._layout(root)
        return layout.listing(home, split)

    def examples(self, listing: Listing, labels: Labels) -> Examples:
        """Returns the examples of a listing, to be loaded by index."""
        return Folder().examples(listing, labels)

    def _layout(self, root: Path) -> tuple[Path, Folder]:
        folders = (root, root / f"VOC{self.year}", root / "VOCdevkit" / f"VOC{self.year}")
        home = next((folder for folder in folders if (folder / "JPEGImages").is_dir()), None)
        if home is None:
            raise DataError(
                f"{root}: no folder JPEGImages here, in VOC{self.year} or in VOCdevkit/VOC{self.year}. "
                "Correct `data.root`, or put the data there."
            )
        lists = f"{_DEVKIT_LISTS}/{{split}}.txt" if (home / _DEVKIT_LISTS).is_dir() else "{split}.txt"
        augmented = (home / "SegmentationClassAug").is_dir()
        masks = self.masks or ("SegmentationClassAug" if augmented else "SegmentationClass")
        return home, Folder(images="JPEGImages/{name}.jpg", masks=f"{masks}/{{name}}.png", lists=lists)
