"""What TensorFlow says when a training step fails, in words that a user can act on."""

import re

from tfseg.errors import RunError, first_line

_NUMBER = r"-?(?:\d+(?:\.\d*)?(?:e[+-]?\d+)?|inf|nan)"
_LABELS = re.compile(rf"(Labels must be [^\]\n]*Received:)[\]'\s\[]*({_NUMBER})(?:,? ({_NUMBER}))?")


def explain(error: BaseException) -> RunError | None:
    """The `RunError` for what went wrong inside `fit`, or None if it is nothing that a user can mend.

    TensorFlow's errors are told apart by the names of their classes, so that this module needs no TensorFlow.
    """
    kind, text = type(error).__name__, str(getattr(error, "message", error))
    if kind == "ResourceExhaustedError":
        return RunError(
            f"training ran out of memory ({first_line(text)}). Use a smaller data.batch_size or data.crop, or "
            "training.precision: mixed_bfloat16"
        )
    if kind == "InvalidArgumentError" and (match := _LABELS.search(text)):
        values = " to ".join(value for value in match.groups()[1:] if value)
        return RunError(f"training stopped: {match[1]} {values}. `tfseg data check` names the files")
    return None
