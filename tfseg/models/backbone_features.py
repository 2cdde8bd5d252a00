"""What a backbone is like, read off the layers that it makes."""

import functools
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import keras

from tfseg.backbones.features import Backbone, Features, Stage
from tfseg.errors import reason
from tfseg.models.coordinates import NoCoordinates, SizeDependent, coordinate_map, receptive_field
from tfseg.spec.problems import FieldProblem
from tfseg.symbolic import symbolically

AXES = (0, 1)


class NoFeatures(ValueError):
    """A backbone that makes no features of the image that it is given."""


def backbone_features(backbone: Backbone, channels: int) -> Features:
    """The features of an image of `channels`, without values for weights: once for each backbone, in 0.02 to 0.4 s.

    Raises:
        NoFeatures: it makes none of such an image.
    """
    try:
        hash(backbone)
    except TypeError:  # one of a user's own may hold a list
        return _features(backbone, channels)
    return _kept(backbone, channels)


def _features(backbone: Backbone, channels: int) -> Features:
    image = keras.Input((None, None, channels), name="image")
    try:
        features = symbolically(lambda: backbone(image))
    except Exception as error:  # one of a user's own can fail in any way
        raise NoFeatures(
            f"{backbone.type} makes no features of an image of {channels} channels ({reason(error)}). Correct it, or "
            "take another backbone"
        ) from error
    if (fault := _fault(features)) is not None:
        raise NoFeatures(f"{backbone.type} {fault}")
    return replace(features, backbone=features.backbone or backbone.type)


def _fault(features: Any) -> str | None:
    """What is wrong with what a backbone of a user's own returned, or None."""
    if not isinstance(features, Features) or not isinstance(features.stages, tuple) or not features.stages:
        return f"must return `Features` of a tuple of one stage or more. Received: {features!r}"
    for stage in features.stages:
        if not isinstance(stage, Stage):
            return f"must return stages as `Stage`. Received: {stage!r}"
        if not isinstance(stage.tensor, keras.KerasTensor) or len(stage.tensor.shape) != 4:
            return f"must give stage {stage.name!r} [batch, height, width, channels]. Received: {stage.tensor!r}"
        if isinstance(stage.stride, bool) or not isinstance(stage.stride, int) or stage.stride < 1:
            return f"must give stage {stage.name!r} an integer stride of at least 1. Received: {stage.stride!r}"
        for axis, sides in zip(AXES, ("rows", "columns"), strict=True):
            if (measured := _stride(stage, axis)) not in (None, stage.stride):
                told = f"but its layers put {measured} pixels between two {sides} of it"
                return f"gives stage {stage.name!r} the stride {stage.stride}, {told}"
    return None


def _stride(stage: Stage, axis: int) -> int | float | None:
    """Image pixels between two of its places; None where a layer is of a kind that is not known."""
    try:
        jump = receptive_field(stage.tensor, axis).jump
    except NoCoordinates:
        return None
    return int(jump) if jump == int(jump) else float(jump)


_kept = functools.lru_cache(maxsize=32)(_features)


def unknown_positions(features: Features) -> NoCoordinates | None:
    """Why the places of the deepest stage do not lie at the same pixels of every image; None where they do."""
    try:
        for axis in AXES:
            coordinate_map(features.deepest.tensor, axis)
    except NoCoordinates as reason:
        return reason
    return None


def extends_beyond_image(features: Features) -> bool:
    """Whether a stage begins beyond the image, so that it cannot just be resized onto it."""
    return any(first < 0 for stage in features.stages for first in _firsts(stage))


def needs_crop(features: Features) -> bool:
    """Whether scores of the deepest stage must be cropped: maps begin beyond the image, and this one is still off.

    Where later layers took away what the first had padded, its first place lies half a stride from the border again, or
    on the first pixel, and it can be resized onto the image.
    """
    aligned = (0, Fraction(features.output_stride - 1, 2))
    return any(first not in aligned for first in _firsts(features.deepest)) and extends_beyond_image(features)


def fixed_crop_problem(features: Features) -> str | None:
    """Why scores cannot be cropped at fixed places, or None."""
    if (reason := unknown_positions(features)) is None:
        first, second = (coordinate_map(features.deepest.tensor, axis) for axis in AXES)
        if first == second:
            return None
        return f"deconv crops alike in both directions, and {features.backbone} pads rows otherwise than columns"
    if isinstance(reason, SizeDependent):
        return (
            f"deconv crops at fixed places, but where {features.backbone} samples the image depends on the image's size"
        )
    return f"deconv crops at fixed places, and those of {features.backbone} are not known ({reason})"


def skip_problem(features: Features) -> str | None:
    """Why a decoder cannot lay finer stages beside the deepest one without cropping them, or None."""
    if not extends_beyond_image(features) or needs_crop(features):  # whose deepest stage is refused by itself
        return None
    return (
        f"finer stages of {features.backbone} in its {features.form or 'overhanging'} form reach beyond the image, and "
        "this decoder does not crop them. Set model.backbone.form to same"
    )


def needs_crop_problems(features: Features) -> Iterator[FieldProblem]:
    """Why a decoder cannot be put on a backbone that pads by more than its kernels, if it does."""
    if needs_crop(features):
        yield (
            (),
            f"places of {features.backbone} in its {features.form or 'padded'} form lie beyond the image, and this "
            "decoder's scores are not cropped. Set model.backbone.form to another one, or the decoder to fcn",
        )


def _firsts(stage: Stage) -> list[Fraction]:
    """The pixel, in both directions, on which its first place lies; none where that is not known."""
    try:
        maps = [coordinate_map(stage.tensor, axis) for axis in AXES]
    except NoCoordinates:
        return []
    return [-each.offset / each.scale for each in maps]
