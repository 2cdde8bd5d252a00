"""Checks of single pairs of an image and a mask: unreadable files, sizes, invalid ids, EXIF rotation, palettes."""

from collections.abc import Iterator, Sequence

from tfseg.data.doctor.findings import Finding, Level
from tfseg.data.doctor.survey import Problem, Survey
from tfseg.data.skipping import limit_problem
from tfseg.data.sources.mix import Mix
from tfseg.data.spec import Data

SHOWN = 3
"""Number of examples that a message about several examples names."""
LISTED = 20
"""Number of examples that a finding about several examples lists."""


def invalid_pairs(survey: Survey, spec: Data) -> Iterator[Finding]:
    """Yields a finding per example that cannot be used; they are warnings if training skips them."""
    level: Level = "warning" if spec.on_error == "skip" else "error"
    mixed = isinstance(spec.source, Mix)
    unlabeled = {} if mixed else {index: _unlabeled(survey, index) for index in survey.unlabeled}
    invalid = {each.index: _invalid(survey, each, level) for each in survey.problems}
    yield from (found for _, found in sorted((unlabeled | invalid).items()))
    if mixed and survey.unlabeled:
        yield _unlabeled_mixed(survey, spec)
    if spec.on_error == "skip":
        messages = {survey.examples.listing.names[each.index]: each.message for each in survey.problems}
        if message := limit_problem(survey.split, messages, survey.examples.count, spec.max_skipped):
            yield Finding("error", "max_skipped", message, survey.split)


def unturned_masks(survey: Survey) -> Iterator[Finding]:
    """Warns of images with an EXIF orientation whose mask has the same size: the mask may not be turned.

    Orientations 5 to 8 exchange height and width, so that a mask of the right size was drawn on the upright image,
    except if the image is a square.
    """
    heights_widths = survey.sizes
    found = [
        index
        for index, orientation in survey.heads.orientations.items()
        if orientation <= 4 or heights_widths[index, 0] == heights_widths[index, 1]
    ]
    if found:
        count = "1 image has" if len(found) == 1 else f"{len(found)} images have"
        yield about(
            survey,
            "exif_orientation",
            found,
            f"{survey.split}: {count} an EXIF orientation that keeps the size, for example {{}}. Images are rotated "
            "upright. Check that the masks were drawn on the upright images.",
        )


def permuted_palettes(survey: Survey) -> Iterator[Finding]:
    """Warns of palette masks whose indices are not the ids, although their colors are those of classes."""
    permuted, names = survey.heads.permuted, survey.labels.names
    if permuted:
        index, (identity, other) = next(iter(permuted.items()))
        count = "1 mask" if len(permuted) == 1 else f"{len(permuted)} masks"
        yield about(
            survey,
            "palette",
            list(permuted),
            f"{survey.split}: the palettes of {count} have colors of classes at the ids of other classes, for example "
            f"{survey.examples.listing.files[index][1]}, where {identity} ({names[identity]}) has the color of "
            f"{names[other]}. The ids of a palette PNG are its indices. If the colors are right, set "
            "`data.source.mask: colors`.",
        )


def about(survey: Survey, kind: str, indices: Sequence[int], message: str) -> Finding:
    """Returns a warning about several examples. `{}` in the message becomes the first of their images or names."""
    listing = survey.examples.listing
    names = tuple(listing.names[index] for index in indices[:LISTED])
    files = tuple(file for index in indices[:LISTED] for file in listing.files[index])
    shown = [(listing.files[index] or (f"{survey.split}/{listing.names[index]}",))[0] for index in indices[:SHOWN]]
    more = ", ..." if len(indices) > SHOWN else ""
    return Finding("warning", kind, message.replace("{}", ", ".join(shown) + more), survey.split, names, files)


def _unlabeled(survey: Survey, index: int) -> Finding:
    name, ignore = survey.examples.listing.names[index], survey.labels.ignore
    message = f"{survey.split}/{name}: all pixels have the ignore label {ignore}. Remove the example."
    return _finding(survey, index, "error", "unlabeled", message)


def _unlabeled_mixed(survey: Survey, spec: Data) -> Finding:
    """Warns of all unlabeled examples at once: a dataset of a mix may have many images of other classes."""
    first, *_ = (survey.examples.listing.names[index] for index in survey.unlabeled)
    training = survey.split == spec.train_split
    effect = "They have no effect on the training" if training else "Metrics do not count them, and their loss is 0"
    message = (
        f"{survey.split}: {len(survey.unlabeled)} of {survey.examples.count} examples have no pixel of a class of "
        f"`labels`, for example {first}. {effect}: map their classes, or leave them out."
    )
    return _finding(survey, survey.unlabeled[0], "warning", "unlabeled", message)


def _invalid(survey: Survey, problem: Problem, level: Level) -> Finding:
    kind = problem.kind
    if kind == "mask" and problem.index in survey.heads.jpeg_masks:
        kind = "jpeg_mask"
    elif kind == "size" and survey.heads.orientations.get(problem.index, 1) > 4:
        kind = "exif_rotation"
    return _finding(survey, problem.index, level, kind, problem.message)


def _finding(survey: Survey, index: int, level: Level, kind: str, message: str) -> Finding:
    listing = survey.examples.listing
    return Finding(level, kind, message, survey.split, (listing.names[index],), listing.files[index])
