"""Checks of image sizes, and a proposal for the crop."""

from collections.abc import Iterator

import numpy as np

from tfseg.context import Grid
from tfseg.data.doctor.findings import Finding, Proposal
from tfseg.data.doctor.pairs import about
from tfseg.data.doctor.survey import Survey
from tfseg.data.spec import Data

RATIO = 3.0
"""Ratio of a height or width to the median above which, or below whose inverse, a size is unusual."""
MIN_IMAGES, RARE = 20, 0.05
"""Minimum number of images, and maximum fraction of unusual ones: a dataset of many sizes has no outliers."""


def unusual_sizes(survey: Survey) -> Iterator[Finding]:
    """Warns of a few images whose height or width differs from the median by more than a factor of 3."""
    indices = np.flatnonzero(survey.sizes.all(1))
    if len(indices) < MIN_IMAGES:
        return
    median = np.median(survey.sizes[indices], 0)
    ratio = survey.sizes[indices] / median
    found = indices[((ratio > RATIO) | (ratio < 1 / RATIO)).any(1)].tolist()
    if found and len(found) <= RARE * len(indices):
        height, width = median
        count = "1 image is" if len(found) == 1 else f"{len(found)} images are"
        yield about(
            survey,
            "image_size",
            found,
            f"{survey.split}: {count} more than {RATIO:g} times larger or smaller than the median size, "
            f"{width:g}x{height:g}: {{}}. Check that they belong to the dataset.",
        )


def crop_proposals(training: Survey, spec: Data, grid: Grid | None) -> Iterator[Proposal]:
    """Proposes a crop if most training images are smaller than the crop, or if batches of whole images need padding."""
    sizes = training.sizes[training.sizes.all(1)]
    if not len(sizes):
        return
    if spec.crop_size is not None:
        smaller = int((sizes < spec.crop_size).any(1).sum())
        reason = f"{smaller} of {len(sizes)} training images are smaller than the crop, {_shown(spec.crop_size)}"
        needed = smaller > len(sizes) / 2
    else:
        reason = "training images of different sizes are padded to the largest of a batch"
        needed = spec.batch_size > 1 and (sizes != np.median(sizes, 0)).any(1).mean() > RARE
    median = np.median(sizes, 0).astype(int).tolist()
    height, width = (_fitting(side, grid) for side in median)
    if needed and height and width:
        yield Proposal("data.crop", f"[{height}, {width}]", reason)


def _fitting(side: int, grid: Grid | None) -> int:
    """Returns the largest side up to the given one that fits the grid of the network; 0 if none does."""
    if grid is None:
        return side
    remainder = grid.remainder or 0
    fitting = (side - remainder) // grid.multiple * grid.multiple + remainder
    return fitting if fitting >= grid.multiple else 0


def _shown(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
