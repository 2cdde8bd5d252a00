"""Comparisons of splits: exact and near duplicates, and the shares of the classes."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from tfseg.data.doctor.findings import Finding
from tfseg.data.doctor.image_hash import BITS, THRESHOLD, near_pairs
from tfseg.data.doctor.survey import Survey

RATIO = 5.0
"""Ratio of the shares of a class in two splits above which they differ strongly."""
MIN_IMAGES, MIN_WITH_CLASS = 20, 5
"""Minimum number of images of both splits, and of images with the class in one of them, for such a comparison."""
SHOWN, LISTED = 3, 20
"""Number of pairs of near duplicates in a message, and in a finding."""


def duplicates(surveys: Sequence[Survey]) -> Iterator[Finding]:
    """Reports images with identical pixels in more than one split."""
    first: dict[tuple[int, ...], tuple[Survey, int]] = {}
    for survey in surveys:
        for index in np.flatnonzero(survey.sizes[:, 0]).tolist():
            key = (int(survey.pixels[index]), *survey.sizes[index].tolist())
            other, position = first.setdefault(key, (survey, index))
            if other is not survey:
                pair = (_name(survey, index), _name(other, position))
                where = f"{pair[0]}: is identical to {pair[1]} of the split {other.split}"
                message = f"{where}. Keep the image in one split only."
                name = survey.examples.listing.names[index]
                yield Finding("error", "duplicate", message, survey.split, (name,), pair)


def near_duplicates(surveys: Sequence[Survey]) -> Iterator[Finding]:
    """Warns of images that look like an image of another split, such as re-encoded copies and neighboring frames."""
    for first, second in combinations(surveys, 2):
        pairs = [each for each in near_pairs(first.hashes, second.hashes) if not _identical(first, second, each)]
        if not pairs:
            continue
        shown = [
            f"{_name(second, pair.second)} and {_name(first, pair.first)} ({pair.distance} of {BITS} bits differ)"
            for pair in pairs[:SHOWN]
        ]
        count = "1 image looks" if len(pairs) == 1 else f"{len(pairs)} images look"
        more = f", and {len(pairs) - SHOWN} more" if len(pairs) > SHOWN else ""
        message = (
            f"{second.split}: {count} like an image of the split {first.split} (at most {THRESHOLD} bits of the "
            f"perceptual hash differ): {'; '.join(shown)}{more}. Metrics on copies of training images are too high: "
            "keep copies, and frames of one scene, in one split."
        )
        listed = pairs[:LISTED]
        names = tuple(second.examples.listing.names[pair.second] for pair in listed)
        files = tuple(name for pair in listed for name in (_name(second, pair.second), _name(first, pair.first)))
        yield Finding("warning", "near_duplicate", message, second.split, names, files)


def class_shares(surveys: Sequence[Survey]) -> Iterator[Finding]:
    """Warns of classes whose share of the labeled pixels differs strongly between two splits."""
    large = [survey for survey in surveys if len(survey.sizes) - len(survey.problems) >= MIN_IMAGES]
    for first, second in combinations(large, 2):
        counts = [each.counts() for each in (first, second)]
        shares = [each.classes / max(each.classes.sum(), 1) for each in counts]
        for identity, name in enumerate(first.labels.names):
            low, high = sorted((0, 1), key=lambda split: shares[split][identity])
            if counts[high].images[identity] < MIN_WITH_CLASS:
                continue
            if shares[high][identity] > RATIO * shares[low][identity]:
                splits = (first.split, second.split)
                yield Finding(
                    "warning",
                    "class_share",
                    f"{splits[high]}: the class {name!r} has {shares[high][identity]:.2%} of the labeled pixels, but "
                    f"{shares[low][identity]:.2%} in the split {splits[low]}. Shares differ by more than a factor of "
                    f"{RATIO:g}. Divide the images into splits so that both contain the class.",
                )


def _identical(first: Survey, second: Survey, pair: tuple[int, int, int]) -> bool:
    """Returns whether the pixels of a pair are equal, which is an error of its own."""
    return bool(
        first.pixels[pair[0]] == second.pixels[pair[1]] and (first.sizes[pair[0]] == second.sizes[pair[1]]).all()
    )


def _name(survey: Survey, index: int) -> str:
    """Returns the image file of an example, or its split and name if it has no file."""
    listing = survey.examples.listing
    return listing.files[index][0] if listing.files[index] else f"{survey.split}/{listing.names[index]}"
