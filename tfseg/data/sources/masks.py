"""Decoding of mask files to class ids: from ids, colors, or black and white."""

from collections.abc import Callable, Iterator
from typing import Annotated, ClassVar, Literal

import numpy as np
import tensorflow as tf
from pydantic import Field

from tfseg.context import Context
from tfseg.images.decode import JPEG
from tfseg.images.png import is_plain, is_png, plain_samples, samples
from tfseg.labels import Color, Labels
from tfseg.spec.declare import ByType, spec
from tfseg.spec.problems import FieldProblem

Decoded = tuple[tf.Tensor, tf.Tensor]
"""Class ids, integers `[height, width]`, and a problem: a message, empty if the mask is valid."""
Reader = Callable[[tf.Tensor], Decoded]
"""Function that decodes the content of a mask file inside the TensorFlow graph."""

_SHOWN = 10
_NOT_PNG = "the mask is not a PNG; other formats lose or shift ids. Save it as PNG."
_JPEG = (
    "the mask is a JPEG, whose compression changes ids at borders. Expected a PNG: export the mask again as PNG; a "
    "converted JPEG keeps the wrong ids."
)
_INVALID = -1

RawId = Annotated[int, Field(ge=0, le=65535)]


class MaskSpec:
    """Base class of mask encodings. A custom one needs `type` and `__call__`."""

    type: str
    ASKED: ClassVar[tuple[str, ...]] = ("__call__",)

    def __call__(self, labels: Labels) -> Reader:
        """Returns a function that decodes the content of a mask file to class ids and a problem."""
        raise NotImplementedError

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """Yields the incompatibilities with the labels, as pairs `(path, message)`."""
        yield from ()


@spec
class Ids(MaskSpec):
    """Masks whose pixel values are class ids: gray, palette (the indices, with any colors) and 16-bit PNG."""

    type: Literal["ids"] = "ids"
    mapping: dict[RawId, RawId] | None = None
    """Class id per raw id (pixel value of the file), for masks with other ids than `labels`, e.g. `{7: 0, 8: 1}`."""
    rest: RawId | None = None
    """Id for raw ids that are not in `mapping`, usually the ignore label. By default, they are an error,
    except for the ignore label."""

    def __call__(self, labels: Labels) -> Reader:
        """Returns a function that decodes ids."""
        count, ignore, expected = labels.count, labels.ignore, _expected(labels)
        table = None if self.mapping is None and self.rest is None else self.table(labels)

        def decode(data: tf.Tensor) -> Decoded:
            raw, problem = samples(data)
            if table is None:  # a lookup per pixel would take as long as decoding
                ids, invalid = raw, tf.logical_and(raw >= count, tf.not_equal(raw, ignore))
            else:
                ids = tf.gather(tf.constant(table), raw)
                invalid = ids < 0
            failed = tf.logical_and(tf.reduce_any(invalid), tf.equal(problem, ""))
            return ids, tf.cond(failed, lambda: _invalid_ids(raw, invalid, expected), lambda: problem)

        return _png(decode) if ignore > 255 or table is not None else _small(_png(decode), count, ignore)

    def table(self, labels: Labels) -> np.ndarray:
        """Returns the id of every raw value, int32 `[65536]`; -1 for invalid values."""
        table = np.full(65536, _INVALID if self.rest is None else self.rest, np.int32)
        if self.mapping is None:
            table[: labels.count] = np.arange(labels.count)
        table[labels.ignore] = labels.ignore
        for raw, identity in (self.mapping or {}).items():
            table[raw] = identity
        return table

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """Yields the incompatibilities with the labels, as pairs `(path, message)`."""
        labels = context.labels
        for raw, identity in (self.mapping or {}).items():
            if not _is_id(identity, labels):
                yield ("mapping", str(raw)), f"{_expected(labels)}; received {identity}"
        if self.rest is not None and not _is_id(self.rest, labels):
            yield ("rest",), f"{_expected(labels)}; received {self.rest}"


@spec
class Binary(MaskSpec):
    """Black and white masks of two classes: 0 is class 0; 255, or 1, is class 1."""

    type: Literal["binary"] = "binary"

    def __call__(self, labels: Labels) -> Reader:
        """Returns a function that decodes black and white masks."""
        return Ids(mapping={0: 0, 1: 1, 255: 1})(labels)

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """Yields the incompatibilities with the labels, as pairs `(path, message)`."""
        if (count := context.labels.count) != 2:
            yield ("type",), f"a binary mask has 2 classes, but `labels` has {count}"


@spec
class Colors(MaskSpec):
    """Color-coded masks, with one color per class."""

    type: Literal["colors"] = "colors"
    table: tuple[Color, ...] | None = None
    """One color per class. Defaults to the colors of `labels`."""
    ignore: tuple[Color, ...] = ()
    """Colors of ignored pixels. If `table` is not set, the color of the ignore label in `labels` is added."""

    def __call__(self, labels: Labels) -> Reader:
        """Returns a function that decodes colors."""
        known, ids = self.codes(labels)

        def decode(data: tf.Tensor) -> Decoded:
            codes = _code(tf.cast(tf.io.decode_png(data, 3), tf.int32))
            index = tf.searchsorted(tf.constant(known), tf.reshape(codes, [-1]))
            index = tf.reshape(tf.minimum(index, len(known) - 1), tf.shape(codes))
            valid = tf.equal(tf.gather(tf.constant(known), index), codes)
            decoded = tf.where(valid, tf.gather(tf.constant(ids), index), _INVALID)
            return decoded, tf.cond(tf.reduce_all(valid), lambda: "", lambda: _invalid_colors(codes, valid))

        return _png(decode)

    def codes(self, labels: Labels) -> tuple[np.ndarray, np.ndarray]:
        """Returns the known colors as sorted 24-bit integers, and their ids.

        A color of both a class and ignored pixels has the id of the class.
        """
        colors = [tuple(color) for color in (self.table or labels.palette[: labels.count].tolist())]
        void = [tuple(labels.palette[labels.ignore].tolist())] if labels.ignore < 256 and self.table is None else []
        ids = {_number(color): labels.ignore for color in (*void, *self.ignore)}
        ids |= {_number(color): identity for identity, color in enumerate(colors)}
        known = np.array(sorted(ids), np.int32)
        return known, np.array([ids[code] for code in known.tolist()], np.int32)

    def problems(self, context: Context) -> Iterator[FieldProblem]:
        """Yields the incompatibilities with the labels, as pairs `(path, message)`."""
        count = context.labels.count
        if self.table is not None and len(self.table) != count:
            yield ("table",), f"expected {count} colors, one per class; received {len(self.table)}"


Mask = Annotated[Ids | Binary | Colors, ByType(contract=MaskSpec)]


def _is_id(identity: int, labels: Labels) -> bool:
    return identity < labels.count or identity == labels.ignore


def _expected(labels: Labels) -> str:
    return f"expected a class (0 to {labels.count - 1}) or {labels.ignore} (ignore)"


def _number(color: tuple[int, ...]) -> int:
    return color[0] << 16 | color[1] << 8 | color[2]


def _code(colors: tf.Tensor) -> tf.Tensor:
    return colors[:, :, 0] * 65536 + colors[:, :, 1] * 256 + colors[:, :, 2]


def _png(decode: Reader) -> Reader:
    """Returns a function that applies `decode` to PNG files; for other files, it returns a problem."""

    def read(data: tf.Tensor) -> Decoded:
        blank = tf.zeros([0, 0], tf.int32)
        jpeg = tf.equal(tf.strings.substr(data, 0, len(JPEG)), JPEG)
        ids, problem = tf.cond(is_png(data), lambda: decode(data), lambda: (blank, tf.where(jpeg, _JPEG, _NOT_PNG)))
        return tf.ensure_shape(ids, [None, None]), tf.convert_to_tensor(problem)

    return read


def _small(decode: Reader, count: int, ignore: int) -> Reader:
    """Returns a reader of ids below 256 as uint8, which decodes valid masks of 8 bits directly, others by `decode`."""

    def direct(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        ids = plain_samples(data)
        return ids, tf.reduce_all((ids < count) | tf.equal(ids, ignore))

    def other(data: tf.Tensor) -> Decoded:
        ids, problem = decode(data)
        return tf.cast(ids, tf.uint8), problem

    def read(data: tf.Tensor) -> Decoded:
        blank = tf.zeros([0, 0], tf.uint8)
        ids, valid = tf.cond(is_plain(data), lambda: direct(data), lambda: (blank, tf.constant(False)))
        ids, problem = tf.cond(valid, lambda: (ids, tf.constant("")), lambda: other(data))
        return tf.ensure_shape(ids, [None, None]), problem

    return read


def _invalid_ids(raw: tf.Tensor, invalid: tf.Tensor, expected: str) -> tf.Tensor:
    ids = tf.sort(tf.unique(tf.boolean_mask(raw, invalid)).y)
    shown = tf.strings.reduce_join(tf.strings.as_string(ids[:_SHOWN]), separator=", ")
    more = tf.where(tf.size(ids) > _SHOWN, ", ...", "")
    advice = f"; {expected}. Correct the mask or `labels`, or remap the ids with `data.source.mask`."
    return tf.strings.join(["the mask contains ", shown, more, advice])


def _invalid_colors(codes: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    colors = tf.sort(tf.unique(tf.boolean_mask(codes, tf.logical_not(valid))).y)
    parts = [tf.strings.as_string(colors[:_SHOWN] // step % 256) for step in (65536, 256, 1)]
    shown = tf.strings.reduce_join(tf.strings.join(["[", tf.strings.join(parts, ", "), "]"]), separator=", ")
    more = tf.where(tf.size(colors) > _SHOWN, ", ...", "")
    advice = ". Correct the mask, or add them to `labels.colors`, or to `table` or `ignore` of `data.source.mask`."
    return tf.strings.join(["the mask contains colors of no class: ", shown, more, advice])
