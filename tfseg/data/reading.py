"""Errors on the way from a file to a batch: texts in tf.data, named by file, that become a DataError.

A tf.data graph cannot catch an error, and what TensorFlow says about a broken file does not tell its name. So faults
that can be foreseen travel as text beside the tensors, and an element that the decoder gave up on is left out; what
follows counts the elements, misses it, and says which one it was.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfseg.errors import DataError
from tfseg.images import is_decodable

PARALLEL = os.cpu_count() or 1
"""Examples that are loaded at once."""
AHEAD = 2
"""Batches that are made before they are asked for."""
FIXED = tf.data.Options()
"""Options of every dataset. Autotuning changes the number of calls as it goes, so that one run is half again as fast as
the next; and deleting an iterator waits for its tuning thread, which sleeps for up to a minute."""
FIXED.autotune.enabled = False

Tensors = tuple[tf.Tensor, ...]
Load = Callable[[tf.Tensor], tuple[Tensors, tf.Tensor]]
"""Position (int64 scalar) to `(tensors, fault)`, where the fault is a text, empty if all is well."""
Files = Callable[[tf.Tensor], tf.Tensor]
"""Position to the files that it is read from, one on each line."""

_LOST = "unreadable"
_MARK = re.compile(r"<tfseg-data(?: (?P<lost>unreadable))?>(?P<text>.*?)</tfseg-data>", re.DOTALL)
_ESCAPE = re.compile(r"\\([0-7]{3}|x[0-9a-f]{2}|.)", re.DOTALL)
_CONTROL = {"n": "\n", "t": "\t", "r": "\r"}


def read(start: int, stop: int, load: Load, files: Files) -> tf.data.Dataset:
    """`load` of every position from `start` up to `stop`, in order and in parallel; ends with an error at a fault."""

    @tf.autograph.experimental.do_not_convert
    def follow(expected: tf.Tensor, element: tuple[tf.Tensor, Tensors, tf.Tensor]) -> tuple[tf.Tensor, Any]:
        position, tensors, fault = element
        mark = tf.cond(tf.equal(position, expected), lambda: _marked(fault), lambda: _marked(files(expected), _LOST))
        with tf.control_dependencies([tf.debugging.Assert(tf.equal(mark, ""), [mark], summarize=1)]):
            return expected + 1, (tf.identity(position), *tensors)

    loaded = _loaded(start, stop, load)
    followed = loaded.concatenate(_end(loaded, stop)).scan(tf.constant(start, tf.int64), follow)
    kept = followed.take_while(lambda position, *_: position < stop).map(lambda _, *tensors: tensors)
    return kept.apply(tf.data.experimental.assert_cardinality(stop - start))


def survey(count: int, load: Load, files: Files) -> Iterator[tuple[Tensors | None, str]]:
    """`(tensors, "")`, or `(None, fault)`, for every position up to `count`: all faults, where `read` ends at one."""
    expected = 0
    for position, tensors, fault in _loaded(0, count, load):
        for lost in range(expected, int(position)):
            yield None, _unreadable(_text(files(lost)).split("\n"))
        text = _text(fault)
        yield (None, text) if text else (tensors, "")
        expected = int(position) + 1
    for lost in range(expected, count):
        yield None, _unreadable(_text(files(lost)).split("\n"))


def explain(error: BaseException) -> DataError | None:
    """What an error that came out of a dataset means for the user, or None where the data are not to blame."""
    found = _MARK.search(_message(error))
    if not found:
        return None
    text = _ESCAPE.sub(_unescaped, found["text"])
    return DataError(_unreadable(text.split("\n")) if found["lost"] else text)


@contextmanager
def explained() -> Iterator[None]:
    """Raises a DataError in place of what TensorFlow says about bad data; any other error passes."""
    try:
        yield
    except (tf.errors.OpError, UnicodeDecodeError) as error:
        known = explain(error)
        if known is None:
            raise
        raise known from error


def arrays(dataset: tf.data.Dataset) -> Iterator[tuple[np.ndarray, ...]]:
    """The elements as NumPy arrays; a bad file is a DataError."""
    with explained():
        yield from dataset.as_numpy_iterator()


def _message(error: BaseException) -> str:
    """What TensorFlow said; where that quotes a file name that is not UTF-8, Python fails to decode it."""
    return os.fsdecode(error.object) if isinstance(error, UnicodeDecodeError) else str(error)


def _loaded(start: int, stop: int, load: Load) -> tf.data.Dataset:
    """`(position, tensors, fault)`, without the positions at which TensorFlow raised an error."""

    @tf.autograph.experimental.do_not_convert
    def numbered(position: tf.Tensor) -> tuple[tf.Tensor, Tensors, tf.Tensor]:
        return position, *load(position)

    positions = tf.data.Dataset.range(start, stop)
    loaded = positions.map(numbered, num_parallel_calls=PARALLEL, deterministic=True).ignore_errors()
    return loaded.with_options(FIXED)


def _end(loaded: tf.data.Dataset, stop: int) -> tf.data.Dataset:
    """One more element, so that a last one that is missing is missed."""
    _, tensors, _ = loaded.element_spec
    blanks = tuple(tf.zeros([side or 0 for side in spec.shape], spec.dtype) for spec in tensors)
    return tf.data.Dataset.from_tensors((tf.constant(stop, tf.int64), blanks, tf.constant("")))


def _marked(text: tf.Tensor, kind: str = "") -> tf.Tensor:
    opening = f"<tfseg-data {kind}>" if kind else "<tfseg-data>"
    mark = tf.strings.join([opening, text, "</tfseg-data>"])
    return mark if kind else tf.where(tf.equal(text, ""), "", mark)


def _text(value: tf.Tensor) -> str:
    return os.fsdecode(value.numpy())


def _unescaped(match: re.Match[str]) -> str:
    """TensorFlow escapes texts in its messages as C does."""
    code = match[1]
    if len(code) == 3:
        return chr(int(code[1:], 16) if code[0] == "x" else int(code, 8))
    return _CONTROL.get(code, code)


def _unreadable(files: list[str]) -> str:
    for file in files:
        if reason := _reason(Path(file)):
            return f"{file}: {reason} Restore the file, or take the example out of the data."
    return f"{' or '.join(files)}: could not be read a moment ago, but can be now. Run again."


def _reason(file: Path) -> str:
    try:
        data = file.read_bytes()
    except OSError as error:
        return f"cannot be read: {error.strerror}."
    if is_decodable(data):
        return ""
    return f"cannot be decoded ({len(data)} bytes). Expected JPEG, PNG, GIF, BMP or .npy (uint8)."
