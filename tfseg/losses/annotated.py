"""Softmax over the classes that the source of each pixel annotates."""

from collections.abc import Sequence

from keras import ops

from tfseg.ops.label_maps import int32_ids, split_source
from tfseg.typing import Tensor

Annotated = tuple[tuple[bool, ...], ...]
"""Boolean per source and class, whether the source annotates the class."""
_LEFT_OUT = -1e9
"""Logit whose probability is exactly 0 in float32, without the NaN that infinities would cause."""


def checked_annotated(annotated: Sequence[Sequence[bool]] | None) -> Annotated | None:
    """Returns the argument `annotated` of a loss as tuples.

    Raises:
        ValueError: If it is empty, rows differ in length, or a source annotates no class.
    """
    if annotated is None:
        return None
    rows = tuple(tuple(bool(each) for each in row) for row in annotated)
    if not rows or len({len(row) for row in rows}) > 1 or not all(map(any, rows)):
        raise ValueError(
            "`annotated` must have one row per source, each with one boolean per class, at least one of them True. "
            f"Received: annotated={annotated!r}"
        )
    return rows


def restricted(labels: Tensor, logits: Tensor, annotated: Annotated | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Removes the sources from labels, and the classes that the source of a pixel does not annotate from its softmax.

    Args:
        labels: Integers `[batch, height, width]` or `[batch, height, width, 1]`, those of `with_source` if `annotated`
            is not None. Pixels without a source have all classes.
        logits: Float32 `[batch, height, width, classes]`.
        annotated: Boolean per source and class.

    Returns:
        Class ids, logits whose gradient is 0 for the classes that are left out, and booleans of the shape of the
        logits, False for these classes; None if `annotated` is None.

    Raises:
        ValueError: If `annotated` has another number of classes than the logits.
    """
    if annotated is None:
        return labels, logits, None
    if len(annotated[0]) != logits.shape[-1]:
        raise ValueError(
            f"`annotated` must have one boolean per class of the logits, that is {logits.shape[-1]}. "
            f"Received: annotated={annotated}"
        )
    labels = int32_ids(labels)
    ids, known = without_sources(labels, len(annotated)), _known(labels, len(annotated))
    rows = ops.where(known, split_source(labels)[1] + 1, 0)
    if len(rows.shape) == len(logits.shape):
        rows = ops.squeeze(rows, axis=-1)
    table = ops.convert_to_tensor(((True,) * logits.shape[-1], *annotated), dtype="bool")
    included = ops.take(table, rows, axis=0)
    return ids, ops.where(included, logits, _LEFT_OUT), included


def without_sources(labels: Tensor, sources: int) -> Tensor:
    """Returns the class ids of labels with sources. Labels of an unknown source stay, so that they are reported."""
    return ops.where(_known(labels, sources), split_source(labels)[0], labels)


def _known(labels: Tensor, sources: int) -> Tensor:
    source = split_source(labels)[1]
    return ops.logical_and(source >= -1, source < sources)
