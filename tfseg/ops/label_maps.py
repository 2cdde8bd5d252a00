"""Label maps as the losses and metrics take them."""

from tfseg.labels import IGNORE


def resolve_ignore_label(ignore_label: int | None, ignore_class: int | None) -> int:
    """Returns the label of pixels that do not count, from the argument and its alias.

    Args:
        ignore_label: Integer, or None if not given.
        ignore_class: Integer, or None if not given. Keras's name for the same argument.

    Returns:
        The given label, or 255 if neither is given.

    Raises:
        ValueError: If both are given and differ.
    """
    if ignore_label is not None and ignore_class is not None and ignore_label != ignore_class:
        raise ValueError(
            "`ignore_class` is an alias of `ignore_label`, and the two must be equal if both are given. "
            f"Received: ignore_label={ignore_label}, ignore_class={ignore_class}"
        )
    given = ignore_class if ignore_label is None else ignore_label
    return IGNORE if given is None else given
