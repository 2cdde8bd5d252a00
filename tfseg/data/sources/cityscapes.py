"""Cityscapes in the layout of its archives: a folder per city in each split."""

from pathlib import Path
from typing import Literal

from tfseg.data.sources.folder import Folder
from tfseg.data.sources.layout import Layout, PublishedSource, existing
from tfseg.data.sources.masks import Ids, Mask
from tfseg.labels import Labels
from tfseg.spec.declare import spec

CLASS_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The `labelIds` of the 19 classes of training, in the order of their `trainIds`."""


@spec
class Cityscapes(PublishedSource):
    """Cityscapes (Cordts et al. 2016), 2975/500 images; all but 19 classes are void (`labels: cityscapes`)."""

    type: Literal["cityscapes"] = "cityscapes"
    annotation: Literal["fine", "coarse"] = "fine"
    """Masks to use: `fine` (folder `gtFine`) or `coarse` (`gtCoarse`, with the additional split `train_extra`)."""

    @property
    def classes(self) -> int:
        """Number of classes of training."""
        return len(CLASS_IDS)

    def layout(self, root: Path) -> Layout:
        """Finds the folder with `leftImg8bit` and the masks."""
        ground_truth = f"gt{self.annotation.capitalize()}"
        images = "leftImg8bit/{split}/{name}_leftImg8bit.*"
        masks = f"{ground_truth}/{{split}}/{{name}}_{ground_truth}_labelIds.png"
        expected = (
            "leftImg8bit/<split>/<city>/<name>_leftImg8bit.png and "
            f"{ground_truth}/<split>/<city>/<name>_{ground_truth}_labelIds.png"
        )
        return existing(root, [(root, Folder(images=images, masks=masks))], expected)

    def encoding(self, labels: Labels) -> Mask:
        """Returns the mapping from `labelIds` to `trainIds`."""
        return Ids(mapping={raw: identity for identity, raw in enumerate(CLASS_IDS)}, rest=labels.ignore)
