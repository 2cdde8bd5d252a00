"""Checks of the values of all masks together: encodings other than the configured one, absent classes.

The values of single masks are checked when they are decoded. The checks here find masks in which every value is valid
but has another meaning, and propose an encoding for masks in which most values are invalid.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import fields
from itertools import islice
from typing import Any

import numpy as np
import yaml
from PIL import Image

from tfseg.data.doctor.findings import Finding, Proposal
from tfseg.data.doctor.survey import Survey
from tfseg.data.sources.masks import Binary, Colors, Ids
from tfseg.images.decode import LUMA
from tfseg.labels import Labels

MOST = 0.5
"""Fraction of the masks in which an invalid id must occur to be proposed as the ignore label."""
SCATTERED = 10
"""Number of invalid ids from which on they look like the result of an interpolation or a lossy compression."""
SAMPLE = 8
"""Number of masks of another encoding that are decoded again for a proposal."""
MASK = "data.source.mask"


def absent_classes(survey: Survey, source: Any) -> Iterator[Finding]:
    """Reports classes without pixels in the training masks, an error for black and white masks that are read as ids."""
    pixels, labels = survey.counts().classes, survey.labels
    if not pixels.any() or pixels.all():
        return
    absent = [name for name, count in zip(labels.names, pixels, strict=True) if not count]
    names = ("the class " if len(absent) == 1 else "the classes ") + ", ".join(map(repr, absent))
    message = f"{survey.split}: no mask contains {names}. Correct `labels` or the masks."
    two_values = labels.ignore == 255 and pixels[0] and survey.counts().ignored and not pixels[1:].any()
    if two_values and isinstance(getattr(source, "mask", None), Ids):
        hint = " If they are black and white, set `data.source.mask: binary`."
        yield Finding("error", "black_and_white", message + hint, survey.split)
    else:
        yield Finding("warning", "absent_class", message, survey.split)


def scattered_values(survey: Survey) -> Iterator[Finding]:
    """Warns of many different invalid ids, as masks have after JPEG compression or interpolation."""
    invalid = _invalid(survey.values[0], survey.labels)
    if len(invalid) >= SCATTERED and not _luma_ids(survey.values[0], survey.labels):
        yield Finding(
            "warning",
            "scattered_ids",
            f"{survey.split}: the masks contain {len(invalid)} ids of no class, as after JPEG compression or resizing "
            "with interpolation. Export the masks again as PNG, and resize them with nearest neighbor only.",
            survey.split,
        )


def encoding_proposals(surveys: Sequence[Survey], source: Any) -> Iterator[Proposal]:
    """Yields at most one proposal: another encoding of the masks, or another ignore label."""
    labels, mask = surveys[0].labels, getattr(source, "mask", None)
    has_key = any(field.name == "mask" for field in fields(source))  # the layouts of VOC and CamVid have none
    proposals: list[Iterator[Proposal]] = []
    if has_key and isinstance(mask, Ids) and mask.mapping is None and mask.rest is None:
        proposals = [_two_values(surveys, labels), _gray_colors(surveys, labels), _color_masks(surveys, labels)]
    if has_key and isinstance(mask, Ids):
        proposals.append(_permuted(surveys))
    if has_key and isinstance(mask, Colors):
        proposals = [_id_masks(surveys, labels)]
    if isinstance(mask, Ids | None) and getattr(mask, "mapping", None) is None:
        proposals.append(_ignore_label(surveys, labels, mask is not None))
    yield from islice((proposal for each in proposals for proposal in each), 1)


def _total(surveys: Sequence[Survey]) -> np.ndarray:
    return np.sum([each.values for each in surveys], 0)


def _two_values(surveys: Sequence[Survey], labels: Labels) -> Iterator[Proposal]:
    """Proposes a mapping for masks with two values that are not the two ids."""
    values = np.flatnonzero(_total(surveys)[0]).tolist()
    if labels.count != 2 or len(values) != 2 or values == [0, 1] or values[-1] == surveys[0].bins:
        return
    reason = f"all masks contain {values[0]} and {values[1]} only, and there are two classes"
    if values == [0, 255]:
        yield Proposal(MASK, Binary().type, reason)
    else:
        yield Proposal(MASK, _flow({"type": "ids", "mapping": {values[0]: 0, values[1]: 1}}), reason)


def _gray_colors(surveys: Sequence[Survey], labels: Labels) -> Iterator[Proposal]:
    """Proposes a mapping for color masks that were converted to gray."""
    if mapping := _luma_ids(_total(surveys)[0], labels):
        reason = "the masks contain the gray levels of the colors of the classes"
        yield Proposal(MASK, _flow({"type": "ids", "mapping": mapping}), reason)


def _luma_ids(values: np.ndarray, labels: Labels) -> dict[int, int]:
    """Returns the id per gray level of a color, if all values are such levels and some are invalid ids."""
    used = np.flatnonzero(values).tolist()
    if len(_invalid(values, labels)) < 2:
        return {}
    ids = [*range(min(labels.count, 256)), *([labels.ignore] if labels.ignore < 256 else [])]
    levels = (labels.palette[ids].astype(np.int64) @ LUMA + (1 << 15)) >> 16
    unique = [level for level, count in Counter(levels.tolist()).items() if count == 1]
    mapping = {level: identity for level, identity in zip(levels.tolist(), ids, strict=True) if level in unique}
    return mapping if set(used) <= set(mapping) else {}


def _color_masks(surveys: Sequence[Survey], labels: Labels) -> Iterator[Proposal]:
    """Proposes colors for color images with the colors of the classes."""
    known = {
        tuple(color) for color in labels.palette[[*range(min(labels.count, 256)), min(labels.ignore, 255)]].tolist()
    }
    images = _sample(surveys, ("RGB", "RGBA"))
    colors = {color for image in images for color in _colors(image)}
    if colors and colors <= known:
        yield Proposal(MASK, Colors().type, "the masks are color images with the colors of the classes")


def _id_masks(surveys: Sequence[Survey], labels: Labels) -> Iterator[Proposal]:
    """Proposes ids for gray masks that are read as colors."""
    used = {int(value) for image in _sample(surveys, ("L", "P")) for value in np.unique(np.asarray(image))}
    if used and used <= {*range(labels.count), labels.ignore}:
        yield Proposal(MASK, Ids().type, "the masks are gray images of ids")


def _permuted(surveys: Sequence[Survey]) -> Iterator[Proposal]:
    if count := sum(len(each.heads.permuted) for each in surveys):
        yield Proposal(MASK, Colors().type, f"the palettes of {count} masks have the colors of classes at other ids")


def _ignore_label(surveys: Sequence[Survey], labels: Labels, has_key: bool) -> Iterator[Proposal]:
    """Proposes an ignore label if one invalid id occurs in most masks."""
    pixels, masks = _total(surveys)
    invalid = _invalid(pixels, labels)
    count = sum(each.examples.count for each in surveys)
    if len(invalid) != 1 or pixels[-1] or masks[invalid[0]] <= MOST * count:
        return
    reason = f"{masks[invalid[0]]} of {count} masks contain {invalid[0]}, which is no class"
    if not pixels[labels.ignore]:
        yield Proposal("labels.ignore", str(invalid[0]), reason)
    elif has_key:
        mapping = {**{identity: identity for identity in range(labels.count)}, invalid[0]: labels.ignore}
        yield Proposal(MASK, _flow({"type": "ids", "mapping": mapping}), reason)


def _invalid(values: np.ndarray, labels: Labels) -> list[int]:
    """Returns the values that are neither a class nor the ignore label, without the bin of other values."""
    used = np.flatnonzero(values[:-1])
    return used[(used >= labels.count) & (used != labels.ignore)].tolist()


def _sample(surveys: Sequence[Survey], modes: tuple[str, ...]) -> Iterator[Image.Image]:
    """Decodes some of the masks that could not be read in the configured encoding."""
    files = [
        survey.examples.listing.files[problem.index][1]
        for survey in surveys
        for problem in survey.problems
        if problem.kind in ("ids", "mask") and len(survey.examples.listing.files[problem.index]) == 2
    ]
    for file in files[:SAMPLE]:
        try:
            with Image.open(file, formats=("PNG",)) as image:
                image.load()
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            continue
        if image.mode in modes:
            yield image


def _colors(image: Image.Image) -> set[tuple[int, ...]]:
    colors = np.asarray(image.convert("RGB")).reshape(-1, 3)
    return set(map(tuple, np.unique(colors, axis=0).tolist()))


def _flow(value: Any) -> str:
    """Writes a value as YAML on one line."""
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6).strip()
