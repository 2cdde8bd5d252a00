"""Error messages for failed training steps."""

import re

from tfseg.errors import RunError, first_line

_NUMBER = r"-?(?:\d+(?:\.\d*)?(?:e[+-]?\d+)?|inf|nan)"
_LABELS = re.compile(rf"(Labels must be [^\]\n]*Received:)[\]'\s\[]*({_NUMBER})(?:,? ({_NUMBER}))?")


def explain(error: BaseException) -> RunError | None:
    """Returns a `RunError` for an error raised inside `fit`, or None if the user cannot fix it.

    Errors of TensorFlow are distinguished by class name, so that this module does not import TensorFlow.
    """
    kind, text = type(error).__name__, str(getattr(error, "message", error))
    if kind == "ResourceExhaustedError":
        return RunError(
            f"training ran out of memory ({first_line(text)}). Use a smaller data.batch_size or data.crop, or "
            "training.precision: mixed_bfloat16"
        )
    if kind == "InvalidArgumentError" and (match := _LABELS.search(text)):
        values = " to ".join(value for value in match.groups()[1:] if value)
        return RunError(f"training stopped: {match[1]} {values}. Run `tfseg data check` to find the files")
    return None
