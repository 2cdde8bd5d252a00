"""COCO-Stuff: images of COCO 2017 with masks of things and stuff."""

from pathlib import Path
from typing import Literal

from tfseg.data.sources.folder import Folder
from tfseg.data.sources.layout import Layout, PublishedSource, existing
from tfseg.data.sources.masks import Ids, Mask
from tfseg.labels import Labels
from tfseg.spec.declare import spec

UNUSED = {11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90}
"""Raw ids without a pixel: categories of COCO's paper that were not annotated."""
CLASS_IDS = tuple(raw for raw in range(182) if raw not in UNUSED)
"""Raw ids of the 171 classes, in the order of the classes: 80 things and 91 kinds of stuff."""
_VOID = 255


@spec
class CocoStuff(PublishedSource):
    """COCO-Stuff (Caesar et al. 2018), 118287/5000 images, 171 classes numbered by raw id without gaps; void is 255."""

    type: Literal["coco_stuff"] = "coco_stuff"

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(CLASS_IDS)

    def layout(self, root: Path) -> Layout:
        """Finds the folder of the masks."""
        folders = ("annotations", "stuffthingmaps", "stuffthingmaps_trainval2017")
        layouts = [
            Folder(images="images/{split}2017/{name}.*", masks=f"{folder}/{{split}}2017/{{name}}.png")
            for folder in folders
        ]
        expected = (
            "images/train2017 and images/val2017, and the PNG files of stuffthingmaps_trainval2017.zip in "
            "annotations/train2017 and annotations/val2017 (or in stuffthingmaps or stuffthingmaps_trainval2017)"
        )
        return existing(root, [(root, layout) for layout in layouts], expected)

    def encoding(self, labels: Labels) -> Mask:
        """Returns the mapping from raw ids to classes."""
        return Ids(mapping={_VOID: labels.ignore, **{raw: identity for identity, raw in enumerate(CLASS_IDS)}})
