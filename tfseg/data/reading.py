"""Loading of examples with tf.data, with errors that name the file and become a DataError.

A tf.data graph cannot catch errors, and TensorFlow's errors about corrupt files do not contain the file name. Expected
problems are therefore returned as messages beside the tensors, and elements whose decoder raised an error are dropped.
The next transformation counts the elements and reports the first one that is missing.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfseg.data.records import parsed
from tfseg.data.segmentation_record import MASK_FILES, record_problem
from tfseg.errors import DataError
from tfseg.images import is_decodable
from tfseg.images.native import IMAGE_FILES

PARALLEL = os.cpu_count() or 1
"""Number of examples that are loaded in parallel."""
AHEAD = 2
"""Number of batches to prefetch."""
FIXED = tf.data.Options()
"""Options of every dataset, without autotuning. Autotuning changes the number of parallel calls during a run, so that
the speed of runs differs by a factor of 1.5. Deleting an iterator also waits for its tuning thread, which sleeps for up
to a minute."""
FIXED.autotune.enabled = False
FIXED.threading.max_intra_op_parallelism = 1  # examples are loaded in parallel, so that dividing one costs more

Tensors = tuple[tf.Tensor, ...]
Load = Callable[[tf.Tensor], tuple[Tensors, tf.Tensor]]
"""Function of the number of an example (int64 scalar) that returns `(tensors, problem)`. The problem is a message,
empty if the example is valid."""
Files = Callable[[tf.Tensor], tf.Tensor]
"""Function of the number of an example that returns its files, one per line."""

_LOST = "unreadable"
_MARK = re.compile(r"<tfseg-data(?: (?P<lost>unreadable))?>(?P<text>.*?)</tfseg-data>", re.DOTALL)
_COUNTS = re.compile(r"was expected to contain (\d+) elements? but contained (only|at least) (\d+)")
"""Message of `tf.data.experimental.assert_cardinality`."""
_ESCAPE = re.compile(r"\\([0-7]{3}|x[0-9a-f]{2}|.)", re.DOTALL)
_CONTROL = {"n": "\n", "t": "\t", "r": "\r"}


def read(start: int, stop: int, load: Load, files: Files) -> tf.data.Dataset:
    """Loads the examples numbered `start` to `stop - 1`, in parallel and in order; fails at the first problem."""

    @tf.autograph.experimental.do_not_convert
    def checked(expected: tf.Tensor, element: tuple[tf.Tensor, Tensors, tf.Tensor]) -> tuple[tf.Tensor, Any]:
        position, tensors, problem = element
        mark = tf.cond(tf.equal(position, expected), lambda: _marked(problem), lambda: _marked(files(expected), _LOST))
        with tf.control_dependencies([tf.debugging.Assert(tf.equal(mark, ""), [mark], summarize=1)]):
            return expected + 1, tuple(tf.identity(each) for each in tensors)

    loaded = _loaded(start, stop, load)
    complete = loaded.concatenate(_end(loaded, stop)).scan(tf.constant(start, tf.int64), checked)
    elements = complete.take(stop - start)  # all except the additional one
    return elements.apply(tf.data.experimental.assert_cardinality(stop - start))


def survey(count: int, load: Load, files: Files) -> Iterator[tuple[Tensors | None, str]]:
    """Yields `(tensors, problem)` per example. Unlike `read`, it continues after a problem.

    `tensors` is None if TensorFlow could not read or decode a file.
    """
    expected = 0
    for position, tensors, problem in _loaded(0, count, load):
        for lost in range(expected, int(position)):
            yield None, _unreadable(_text(files(lost)).split("\n"))
        yield tensors, _text(problem)
        expected = int(position) + 1
    for lost in range(expected, count):
        yield None, _unreadable(_text(files(lost)).split("\n"))


def asserted(problem: tf.Tensor, tensors: Tensors) -> Tensors:
    """Returns the tensors of a dataset that is not read by number; fails if the problem is not empty."""
    mark = _marked(problem)
    with tf.control_dependencies([tf.debugging.Assert(tf.equal(mark, ""), [mark], summarize=1)]):
        return tuple(tf.identity(tensor) for tensor in tensors)


def explain(error: BaseException) -> DataError | None:
    """Converts an error of a dataset to a DataError; returns None if the error is not about the data."""
    message = _message(error)
    if counts := _COUNTS.search(message):
        return DataError(
            f"a tf.data.Dataset has {counts[2]} {counts[3]} elements, and had {counts[1]} at first. Expected the same "
            "number whenever it is iterated, as from a generator function that starts again."
        )
    match = _MARK.search(message)
    if not match:
        return None
    text = _ESCAPE.sub(_unescaped, match["text"])
    return DataError(_unreadable(text.split("\n")) if match["lost"] else text)


@contextmanager
def explained() -> Iterator[None]:
    """Context manager that converts TensorFlow errors about the data to a DataError; other errors pass unchanged."""
    try:
        yield
    except (tf.errors.OpError, UnicodeDecodeError) as error:
        explanation = explain(error)
        if explanation is None:
            raise
        raise explanation from error


def arrays(dataset: tf.data.Dataset) -> Iterator[tuple[np.ndarray, ...]]:
    """Yields the elements as NumPy arrays; raises DataError for invalid files."""
    with explained():
        yield from dataset.as_numpy_iterator()


def _message(error: BaseException) -> str:
    """Returns the message of a TensorFlow error, which Python cannot decode if a file name in it is not UTF-8."""
    return os.fsdecode(error.object) if isinstance(error, UnicodeDecodeError) else str(error)


def _loaded(start: int, stop: int, load: Load) -> tf.data.Dataset:
    """Returns `(position, tensors, problem)`, without the examples for which TensorFlow raised an error."""

    @tf.autograph.experimental.do_not_convert
    def numbered(position: tf.Tensor) -> tuple[tf.Tensor, Tensors, tf.Tensor]:
        return position, *load(position)

    positions = tf.data.Dataset.range(start, stop)
    loaded = positions.map(numbered, num_parallel_calls=PARALLEL, deterministic=True).ignore_errors()
    return loaded.with_options(FIXED)


def _end(loaded: tf.data.Dataset, stop: int) -> tf.data.Dataset:
    """Returns an additional element with the number `stop`, so that `read` detects that the last example is missing."""
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
    """Undoes the C escapes of TensorFlow's messages."""
    code = match[1]
    if len(code) == 3:
        return chr(int(code[1:], 16) if code[0] == "x" else int(code, 8))
    return _CONTROL.get(code, code)


def _unreadable(files: list[str]) -> str:
    for number, file in enumerate(files):
        record = parsed(file)
        expected = IMAGE_FILES if number == 0 else MASK_FILES
        if reason := _reason(Path(file), expected) if record is None else record_problem(*record):
            return f"{file}: {reason} Restore the file, or remove the example."
    return f"{' or '.join(files)}: could not be read at first, but is readable now. Run again."


def _reason(file: Path, expected: str) -> str:
    try:
        data = file.read_bytes()
    except OSError as error:
        return f"cannot be read: {error.strerror}."
    if is_decodable(data):
        return ""
    return f"cannot be decoded ({len(data)} bytes). Expected {expected}."
