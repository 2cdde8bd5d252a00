"""CamVid in the layout of the SegNet tutorial: 480x360, 11 classes and void, in `train`, `trainannot`, `val`, ..."""

from pathlib import Path
from typing import Literal

from tfseg.data.examples import Examples, Listing, Source
from tfseg.data.sources.folder import Folder
from tfseg.labels import Labels
from tfseg.spec.declare import spec

_LAYOUT = Folder(images="{split}/{name}.*", masks="{split}annot/{name}.png")


@spec
class CamVid(Source):
    """CamVid (Brostow et al. 2008, 2009), 367/101/233 images; void is 11 (`labels.ignore: 11`)."""

    type: Literal["camvid"] = "camvid"

    def splits(self, root: Path) -> tuple[str, ...]:
        """Returns the splits in `root`."""
        return _LAYOUT.splits(root)

    def listing(self, root: Path, split: str) -> Listing:
        """Lists the examples of a split."""
        return _LAYOUT.listing(root, split)

    def examples(self, listing: Listing, labels: Labels) -> Examples:
        """Returns the examples of a listing, to be loaded by index."""
        return _LAYOUT.examples(listing, labels)
