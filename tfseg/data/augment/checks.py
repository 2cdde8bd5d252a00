"""Checks of a list of augmentation ops against the images and the labels."""

from collections.abc import Iterator, Sequence
from typing import Any

from tfseg.data.augment.contract import AugmentSpec
from tfseg.data.augment.magnitudes import THREE_CHANNELS
from tfseg.data.augment.mixing import CopyPaste
from tfseg.data.augment.policies import RandAugment
from tfseg.labels import Labels
from tfseg.spec.messages import nearest
from tfseg.spec.problems import FieldProblem


def channel_problems(ops: Sequence[Any], channels: int) -> Iterator[FieldProblem]:
    """Yields the ops, also those in policies, that do not support images with this number of channels."""
    for path, op in nested(ops):
        if isinstance(op, AugmentSpec) and (problem := op.channel_problem(channels)) is not None:
            yield path, problem
        names = [name for name in op.ops if name in THREE_CHANNELS] if isinstance(op, RandAugment) else []
        if channels != 3 and names:
            message = f"expected ops for images with {channels} channels, without {' and '.join(names)}"
            yield (*path, "ops"), f"{message}; received {', '.join(op.ops)}"


def size_problems(ops: Sequence[Any], crop: object, *, one_size: bool) -> Iterator[FieldProblem]:
    """Yields the ops that mix examples if these may differ in size.

    Args:
        ops: Augmentation ops.
        crop: Size of the crop, or None.
        one_size: Boolean, whether all examples of the source have one size.
    """
    if crop is not None or (one_size and not any(op.BEFORE_CROP for op in ops)):
        return
    for index, op in enumerate(ops):
        if getattr(op, "PARTNERS", 0):
            expected = "expected data.crop, or a source or boxes of one size and no op before the crop"
            yield (index,), f"{op.type} needs examples of one size; {expected}; received no crop"


def class_problems(ops: Sequence[Any], labels: Labels) -> Iterator[FieldProblem]:
    """Yields the class names of ops that are not in the labels."""
    for path, op in nested(ops):
        for index, name in enumerate(op.classes or () if isinstance(op, CopyPaste) else ()):
            if name not in labels.names:
                known = f"expected a class of the labels ({', '.join(labels.names)})"
                yield (*path, "classes", index), f'{known}; received "{name}"{nearest(name, labels.names)}'


def nested(ops: Sequence[Any], path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yields each op with its path, and the ops of its policies."""
    for index, op in enumerate(ops):
        if not isinstance(op, str):  # `rand_augment` has names of ops
            yield (*path, index), op
            inner = getattr(op, "ops", ())
            yield from nested(inner if isinstance(inner, tuple) else (), (*path, index, "ops"))
