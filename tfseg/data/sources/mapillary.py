"""Mapillary Vistas, versions 1.2 and 2.0."""

from pathlib import Path
from typing import ClassVar, Literal

from tfseg.data.sources.folder import Folder
from tfseg.data.sources.layout import Layout, PublishedSource, existing
from tfseg.data.sources.masks import Ids, Mask
from tfseg.labels import Labels
from tfseg.spec.declare import spec

_CLASSES = {"1.2": 65, "2.0": 123}
"""Number of classes of each version, without the last id of the masks, `Unlabeled`, which is void."""


@spec
class Mapillary(PublishedSource):
    """Mapillary Vistas (Neuhold et al. 2017), 18000/2000 images; the last raw id, `Unlabeled`, is void."""

    type: Literal["mapillary"] = "mapillary"
    version: Literal["1.2", "2.0"] = "1.2"
    """Version of the masks: `"1.2"` with 65 classes, or `"2.0"` with 123."""
    SPLITS: ClassVar[dict[str, str]] = {"train": "training", "val": "validation"}

    @property
    def classes(self) -> int:
        """Number of classes."""
        return _CLASSES[self.version]

    def layout(self, root: Path) -> Layout:
        """Finds the folder of the masks: archives of version 2.0 contain those of both versions."""
        folders = [f"v{self.version}/labels", *(["labels"] if self.version == "1.2" else [])]
        layouts = [
            Folder(images="{split}/images/{name}.*", masks=f"{{split}}/{folder}/{{name}}.png") for folder in folders
        ]
        masks = " or ".join(f"training/{folder}" for folder in folders)
        return existing(root, [(root, layout) for layout in layouts], f"training/images and {masks}, and validation")

    def encoding(self, labels: Labels) -> Mask:
        """Returns the mapping from raw ids to classes."""
        return Ids(mapping={self.classes: labels.ignore, **{raw: raw for raw in range(self.classes)}})
