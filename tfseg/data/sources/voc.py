"""PASCAL VOC in the layout of the devkit, or with its folders and list files in one folder."""

from pathlib import Path
from typing import Literal

from tfseg.data.sources.folder import Folder
from tfseg.data.sources.layout import Layout, PublishedSource
from tfseg.errors import DataError
from tfseg.spec.declare import spec

_DEVKIT_LISTS = "ImageSets/Segmentation"


@spec
class Voc(PublishedSource):
    """PASCAL VOC; void is 255. `data.root` is `VOCdevkit`, its parent, `VOC2012`, or a folder with custom lists."""

    type: Literal["voc"] = "voc"
    year: str = "2012"
    """Year of the devkit folder, such as `VOC2012` or `VOC2007`."""
    masks: str | None = None
    """Folder of the masks. Defaults to `SegmentationClassAug` if it exists, otherwise to `SegmentationClass`."""

    def layout(self, root: Path) -> Layout:
        """Finds the folder of the year, its masks and its lists."""
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
