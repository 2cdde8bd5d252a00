"""CamVid as the SegNet tutorial cut it: 480x360, 11 classes and void, in `train`, `trainannot`, `val`, ..."""

from pathlib import Path
from typing import Literal

from tfseg.data.examples import Examples, Listing, Source
from tfseg.data.folder import Folder
from tfseg.labels import Labels
from tfseg.spec.declare import spec

_LAYOUT = Folder(images="{split}/{name}.*", masks="{split}annot/{name}.png")


@spec
class CamVid(Source):
    """CamVid, 367/101/233 images; void is id 11 (`labels.ignore: 11`). Brostow et al. 2008, 2009."""

    type: Literal["camvid"] = "camvid"

    def splits(self, root: Path) -> tuple[str, ...]:
        """The splits below `root`."""
        return _LAYOUT.splits(root)

    def listing(self, root: Path, split: str) -> Listing:
        """The examples of a split."""
        return _LAYOUT.listing(root, split)

    def examples(self, listing: Listing, labels: Labels) -> Examples:
        """The examples of a listing, to be read."""
        return _LAYOUT.examples(listing, labels)
