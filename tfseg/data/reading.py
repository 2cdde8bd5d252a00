"""Errors on the way from a file to a batch: carried through tf.data as text, named by file, and turned into a DataError.

A tf.data graph cannot catch an error, and what TensorFlow says about a broken file does not tell its name. So faults that
can be foreseen travel as text beside the tensors, and an element that the decoder gave up on is left out; what
follows counts the elements, misses it, and says which one it was.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfseg.errors import DataError

PARALLEL = tf.data.AUTOTUNE

Tensors = tuple[tf.Tensor, ...]

_LOST = "unreadable"
_MARK = re.compile(r"<tfseg-data(?: (?P<lost>unreadable))?>(?P<text>.*?)</tfseg-data>", re.DOTALL)
_ESCAPE = re.compile(r"\\([0-7]{3}|x[0-9a-f]{2}|.)", re.DOTALL)
_CONTROL = {"n": "\n", "t": "\t", "r": "\r"}


def read(
    start: int, stop: int, load: Callable[[tf.Tensor], tuple[Tensors, tf.Tensor]], files: Callable[[tf.Tensor], tf.Tensor]
) -> tf.data.Dataset:
    """`load` of every position from `start` up to `stop`, in order and in parallel.

    Args:
        load: position (int64 scalar) to `(tensors, fault)`, where the fault is a text, empty if all is well.
        files: position to the files that it is read from, one on each line; asked for when nothing came of it.
    """

    @tf.autograph.experimental.do_not_convert
    def numbered(position: tf.Tensor) -> tuple[tf.Tensor, Tensors, tf.Tensor]:
        return position, *load(position)

    loaded = tf.data.Dataset.range(start, stop).map(numbered, num_parallel_calls=PARALLEL, deterministic=True)
    followed = loaded.ignore_errors().concatenate(_end(loaded, stop))

    @tf.autograph.experimental.do_not_convert
    def follow(expected: tf.Tensor, element: tuple[tf.Tensor, Tensors, tf.Tensor]) -> tuple[tf.Tensor, Any]:
        position, tensors, fault = element
        mark = tf.cond(tf.equal(position, expected), lambda: _marked(fault), lambda: _marked(files(expected), _LOST))
        with tf.control_dependencies([tf.debugging.Assert(tf.equal(mark, ""), [mark], summarize=1)]):
            return expected + 1, (tf.identity(position), *tensors)

    kept = followed.scan(tf.constant(start, tf.int64), follow)
    kept = kept.take_while(lambda position, *_: position < stop).map(lambda _, *tensors: tensors)
    return kept.apply(tf.data.experimental.assert_cardinality(stop - start))


def explain(error: BaseException) -> DataError | None:
    """What an error that came out of a dataset means for the user, or None where the data are not to blame."""
    found = _MARK.search(str(error))
    if not found:
        return None
    text = _ESCAPE.sub(_unescaped, found["text"])
    return DataError(_unreadable(text.split("\n")) if found["lost"] else text)


@contextmanager
def explained() -> Iterator[None]:
    """Raises a DataError in place of what TensorFlow says about bad data; any other error passes."""
    try:
        yield
    except tf.errors.OpError as error:
        known = explain(error)
        if known is None:
            raise
        raise known from error


def _end(loaded: tf.data.Dataset, stop: int) -> tf.data.Dataset:
    """One more element, so that a last one that is missing is missed."""
    _, tensors, _ = loaded.element_spec
    blanks = tuple(tf.zeros([side or 0 for side in spec.shape], spec.dtype) for spec in tensors)
    return tf.data.Dataset.from_tensors((tf.constant(stop, tf.int64), blanks, tf.constant("")))


def _marked(text: tf.Tensor, kind: str = "") -> tf.Tensor:
    opening = f"<tfseg-data {kind}>" if kind else "<tfseg-data>"
    mark = tf.strings.join([opening, text, "</tfseg-data>"])
    return mark if kind else tf.where(tf.equal(text, ""), "", mark)


def _unescaped(match: re.Match[str]) -> str:
    code = match[1]
    if len(code) == 3:
        return chr(int(code, 8))
    return chr(int(code[1:], 16)) if len(code) > 1 else _CONTROL.get(code, code)


def _unreadable(files: list[str]) -> str:
    for file in files:
        reason = _reason(Path(file))
        if reason:
            return f"{file}: {reason}"
    return f"{' or '.join(files)}: could not be read a moment ago, but can be now. Run again."


def _reason(file: Path) -> str:
    try:
        data = file.read_bytes()
    except OSError as error:
        return f"cannot be read ({error.strerror}). Restore the file or take it out of the data."
    try:
        np.lib.format.read_magic(file.open("rb")) if file.suffix == ".npy" else tf.io.decode_image(data)
    except (tf.errors.InvalidArgumentError, ValueError):
        kinds = "JPEG, PNG, GIF, BMP or .npy (uint8, row order)"
        return f"cannot be decoded ({len(data)} bytes). Expected {kinds}. Restore the file or take it out of the data."
    return ""
