"""CamVid in the layout of the SegNet tutorial: 480x360, 11 classes and void, in `train`, `trainannot`, `val`, ..."""

from pathlib import Path
from typing import Literal

from tfseg.data.sources.folder import Folder
from tfseg.data.sources.layout import Layout, PublishedSource, existing
from tfseg.spec.declare import spec

_LAYOUT = Folder(images="{split}/{name}.*", masks="{split}annot/{name}.png")


@spec
class CamVid(PublishedSource):
    """CamVid (Brostow et al. 2008, 2009), 367/101/233 images; void is 11 (`labels.ignore: 11`)."""

    type: Literal["camvid"] = "camvid"

    def layout(self, root: Path) -> Layout:
        """Returns `root` and the patterns."""
        return existing(
            root, [(root, _LAYOUT)], "the folders train and trainannot, val and valannot, test and testannot"
        )
