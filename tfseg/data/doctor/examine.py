"""Examination of the training and the validation split, for `tfseg data check`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from tfseg.context import Grid
from tfseg.data.class_crop import ClassCrop
from tfseg.data.dataset import Dataset
from tfseg.data.doctor.findings import Finding, Proposal, Report
from tfseg.data.doctor.image_sizes import crop_proposals, unusual_sizes
from tfseg.data.doctor.mask_values import absent_classes, encoding_proposals, scattered_values
from tfseg.data.doctor.pairs import invalid_pairs, permuted_palettes, unturned_masks
from tfseg.data.doctor.splits import class_shares, duplicates, near_duplicates
from tfseg.data.doctor.survey import Survey, surveyed
from tfseg.data.sources.mix import Mix
from tfseg.errors import DataError

UNBALANCED = 50.0
"""Ratio of the pixels of the most frequent to the rarest class from which on class weights are proposed."""

Progress = Callable[[int], Callable[[], None]]
"""Function of the number of examples that returns a function to be called after every example."""


@dataclass(frozen=True)
class Use:
    """Properties of the network and the training for which a dataset is examined.

    Args:
        grid: Sizes that crops should have for the network; None: any.
        weights_key: Dotted path of the key for class weights, if they may be set and are not; None: no proposal.
    """

    grid: Grid | None = None
    weights_key: str | None = None


def _silent(_: int) -> Callable[[], None]:
    return lambda: None


def examine(data: Dataset, use: Use = Use(), progress: Progress = _silent) -> Report:
    """Decodes all examples of the training and the validation split, each once, and checks them.

    Errors are unreadable or unsupported files, pairs of different sizes, ids or colors of no class, images without
    labeled pixels, and images in both splits. Warnings are about data that can be used but look wrong; docs/data.md
    lists them. `boxes` are checked if there is no other error.

    Args:
        data: Dataset.
        use: Properties of the network and the training, for proposals.
        progress: Function of the number of examples that returns a function to be called after every example.
    """
    splits, findings = _listed(data)
    advance = progress(sum(data.count(split) for split in splits))
    surveys = [surveyed(data, split, advance) for split in splits]
    for survey in surveys:
        findings += _split_findings(data, survey)
    findings += [*duplicates(surveys), *near_duplicates(surveys), *class_shares(surveys)]
    for survey in surveys:
        findings += [Finding("warning", "unused_file", each, survey.split) for each in survey.examples.listing.skipped]
    findings = list({each.message: each for each in findings}.values())
    if not any(each.level == "error" for each in findings):
        findings += _training_findings(data, surveys)
    statistics = {survey.split: survey.statistics() for survey in surveys}
    return Report(tuple(findings), tuple(_proposals(data, surveys, use)), statistics)


def _listed(data: Dataset) -> tuple[list[str], list[Finding]]:
    """Returns the used splits that can be listed, and findings about the others."""
    splits, findings = [], []
    for split in data.used_splits:
        try:
            data.listing(split)
        except DataError as error:
            findings.append(Finding("error", "listing", str(error), split))
        else:
            splits.append(split)
    return splits, findings


def _split_findings(data: Dataset, survey: Survey) -> Iterator[Finding]:
    yield from invalid_pairs(survey, data.spec)
    if survey.split == data.spec.train_split:
        yield from absent_classes(survey, data.spec.source)
    yield from scattered_values(survey)
    yield from unturned_masks(survey)
    if not isinstance(data.spec.source, Mix):  # the ids of the files are those of other labels
        yield from permuted_palettes(survey)
    yield from unusual_sizes(survey)


def _training_findings(data: Dataset, surveys: list[Survey]) -> Iterator[Finding]:
    """Computes the training boxes and the classes to sample, without the examples that training would skip."""
    spec = data.spec
    if spec.boxes is None and spec.sampling is None and not isinstance(spec.crop, ClassCrop):
        return
    invalid = {each.split: [each.examples.listing.names[one.index] for one in each.problems] for each in surveys}
    remaining = Dataset(data.spec, data.labels, data.seed, invalid) if any(invalid.values()) else data
    try:
        _ = remaining.stream
    except DataError as error:
        yield Finding("error", "boxes" if spec.boxes is not None else "sampling", str(error), spec.train_split)


def _proposals(data: Dataset, surveys: list[Survey], use: Use) -> Iterator[Proposal]:
    if surveys:
        yield from encoding_proposals(surveys, data.spec.source)
    for survey in surveys:
        if survey.split == data.spec.train_split:
            yield from crop_proposals(survey, data.spec, use.grid)
            yield from _class_weights(survey, use)


def _class_weights(training: Survey, use: Use) -> Iterator[Proposal]:
    pixels, names = training.counts().classes, training.labels.names
    present = np.flatnonzero(pixels)
    if use.weights_key is None or not len(present):
        return
    rarest, largest = (int(present[choose(pixels[present])]) for choose in (np.argmin, np.argmax))
    ratio = pixels[largest] / pixels[rarest]
    if ratio >= UNBALANCED:
        reason = f"{names[largest]} has {ratio:.0f} times as many pixels as {names[rarest]}"
        yield Proposal(use.weights_key, "median_frequency", reason)
