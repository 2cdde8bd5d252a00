"""ADE20K in the layout of the scene parsing benchmark."""

from pathlib import Path
from typing import ClassVar, Literal

from tfseg.data.sources.folder import Folder
from tfseg.data.sources.layout import Layout, PublishedSource, existing
from tfseg.data.sources.masks import Ids, Mask
from tfseg.labels import Labels
from tfseg.spec.declare import spec

_LAYOUT = Folder(images="images/{split}/{name}.*", masks="annotations/{split}/{name}.png")
_CLASSES = 150


@spec
class Ade20k(PublishedSource):
    """ADE20K scene parsing (Zhou et al. 2017), 20210/2000 images. Raw id 0 is void, raw id i is class i - 1 (`labels:
    ade20k`). `data.root` is `ADEChallengeData2016` or its parent.
    """

    type: Literal["ade20k"] = "ade20k"
    SPLITS: ClassVar[dict[str, str]] = {"train": "training", "val": "validation"}

    @property
    def classes(self) -> int:
        """Number of classes."""
        return _CLASSES

    def layout(self, root: Path) -> Layout:
        """Finds the folder with `images` and `annotations`."""
        homes = (root, root / "ADEChallengeData2016")
        expected = (
            "images/training, images/validation, annotations/training and annotations/validation, here or in "
            "ADEChallengeData2016"
        )
        return existing(root, [(home, _LAYOUT) for home in homes], expected)

    def encoding(self, labels: Labels) -> Mask:
        """Returns the mapping from raw ids to classes."""
        return Ids(mapping={0: labels.ignore, **{identity + 1: identity for identity in range(_CLASSES)}})
