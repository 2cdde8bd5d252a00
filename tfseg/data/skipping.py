"""Invalid examples that training leaves out, for `data.on_error: skip`."""

from collections.abc import Callable, Mapping

import tensorflow as tf

from tfseg.data.dataset import Dataset
from tfseg.data.reading import Tensors, survey

SHOWN = 3
"""Number of examples that a message shows."""
_ROUNDING = 1e-9
"""Tolerance of the product of a fraction and a count: 0.29 of 100 is less than 29 in floating point."""


def invalid_examples(data: Dataset, split: str, progress: Callable[[], None]) -> dict[str, str]:
    """Decodes all examples of a split and returns the messages of those that cannot be used, by name.

    These are unreadable or undecodable files, pairs of different sizes, and masks with ids or colors of no class.

    Args:
        data: Dataset.
        split: Name of the split.
        progress: Function that is called after every example.

    Raises:
        DataError: If the split cannot be listed.
    """
    examples = data.examples(split)

    def load(index: tf.Tensor) -> tuple[Tensors, tf.Tensor]:
        image, mask, problem = examples.load(index)
        return (tf.shape(image), tf.shape(mask)), problem

    found = {}
    for name, (_, message) in zip(examples.listing.names, survey(examples.count, load, examples.files), strict=True):
        if message:
            found[name] = message
        progress()
    return found


def limit_problem(split: str, invalid: Mapping[str, str], count: int, limit: float) -> str | None:
    """Returns a message if too many examples of a split would be left out, or None.

    >>> limit_problem("train", {"a": "a.png: cannot be decoded."}, count=100, limit=0.01) is None
    True

    Args:
        split: Name of the split.
        invalid: Messages by name, as `invalid_examples` returns them.
        count: Integer, number of examples of the split.
        limit: Float, maximum fraction that may be left out (`data.max_skipped`).
    """
    if len(invalid) <= limit * count + _ROUNDING and (len(invalid) < count or not invalid):
        return None
    first = "".join(f"\n  {message}" for message in list(invalid.values())[:SHOWN])
    more = f"\n  and {len(invalid) - SHOWN} more" if len(invalid) > SHOWN else ""
    if len(invalid) == count:
        expected = "Expected at least one valid example. Correct the files"
    else:
        expected = f"Expected at most {limit:.2%} (data.max_skipped). Correct the files, or raise the limit"
    return f"{split}: {len(invalid)} of {count} examples cannot be used. {expected}:{first}{more}"
